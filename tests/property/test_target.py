"""Laws of keys: below the prefix, never empty, never with a slash in front."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from s3batch.objects.target import normalise_target

TARGET = st.text("ab/.", max_size=8).filter(lambda target: ".." not in target.split("/"))
PATH = st.lists(st.text("ab.", min_size=1, max_size=3), min_size=1, max_size=3).map("/".join)


@given(target=TARGET, path=PATH, strip_prefix=st.text("ab/*?.", max_size=4))
def test_every_key_is_below_the_prefix(target: str, path: str, strip_prefix: str) -> None:
    found = normalise_target("bucket", target, strip_prefix)

    for key in (found.key(path), found.key_of_single("a") + "/"):
        assert key.startswith(found.prefix)
        assert key
        assert not key.startswith("/")
    assert not found.key(path).endswith("/")


@given(target=TARGET)
def test_a_prefix_is_empty_or_has_one_slash_at_its_end(target: str) -> None:
    prefix = normalise_target("bucket", target).prefix

    assert prefix == "" or (prefix.endswith("/") and "//" not in prefix and not prefix.startswith("/"))
    assert normalise_target("bucket", prefix).prefix == prefix


@given(target=TARGET, one=PATH, two=PATH)
def test_two_files_never_share_a_key(target: str, one: str, two: str) -> None:
    found = normalise_target("bucket", target)

    assert (found.key(one) == found.key(two)) is (one == two)
