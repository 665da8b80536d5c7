"""Laws of the comparison: what was written is found right, whatever stores do to it."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from s3batch.model import Attributes
from s3batch.objects.compare import find_copy_reason
from s3batch.objects.headers import RemoteAttributes, make_copy_headers, make_put_headers


def distinct(pairs: tuple[tuple[str, str], ...]) -> bool:
    return len({name.replace("_", "-") for name, _ in pairs}) == len(pairs)


def make_attributes(**given: Any) -> Attributes:
    """Return attributes with these fields; of a named tuple itself hypothesis draws all the other fields too."""
    return Attributes(**given)


TOKEN = st.text("abc-_", min_size=1, max_size=4)
VALUE = st.text("xyz é=?", max_size=5).map(str.strip)
PAIRS = st.dictionaries(TOKEN, VALUE, max_size=3).map(lambda pairs: tuple(sorted(pairs.items())))
OPTIONAL = st.sampled_from(["", "x", "y"])
ATTRIBUTES = st.builds(
    make_attributes,
    content_type=st.sampled_from(["text/html; charset=utf-8", "application/octet-stream", "a/b"]),
    content_type_configured=st.booleans(),
    content_encoding=st.sampled_from(["", "gzip"]),
    cache_control=OPTIONAL,
    content_disposition=OPTIONAL,
    content_language=OPTIONAL,
    expires=OPTIONAL,
    metadata=st.none() | PAIRS.filter(distinct),
    storage_class=st.sampled_from(["", "STANDARD", "GLACIER"]),
)
HEADERS = st.dictionaries(
    st.sampled_from(["content-type", "content-encoding", "cache-control", "expires", "x-amz-meta-a", "x-amz-meta-mtime", "x-amz-storage-class", "x-amz-website-redirect-location"]),
    st.sampled_from(["x", "y", "gzip", "aws-chunked"]),
)  # fmt: skip


@given(attributes=ATTRIBUTES)
def test_what_was_put_is_found_unchanged(attributes: Attributes) -> None:
    assert find_copy_reason(attributes, RemoteAttributes.from_headers(make_put_headers(attributes))) is None


@given(attributes=ATTRIBUTES, head=HEADERS)
def test_a_copy_settles_every_difference(attributes: Attributes, head: dict[str, str]) -> None:
    copied = make_copy_headers(attributes, RemoteAttributes.from_headers(head))

    assert find_copy_reason(attributes, RemoteAttributes.from_headers(copied)) is None


@given(attributes=ATTRIBUTES, head=HEADERS)
def test_stores_that_rename_metadata_make_no_difference(attributes: Attributes, head: dict[str, str]) -> None:
    copied = make_copy_headers(attributes, RemoteAttributes.from_headers(head))
    renamed = {name.replace("_", "-"): value for name, value in copied.items() if value}

    assert find_copy_reason(attributes, RemoteAttributes.from_headers(renamed)) is None
