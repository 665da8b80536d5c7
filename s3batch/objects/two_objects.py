"""Two objects side by side: whether they hold the same content, and the attributes that a transfer gives its target.

    content      a checksum of the whole that both have > equal ETags > two MD5s; else it is unknown
    attributes   those of the source object, with the configured ones in their place

Storage class, encryption and ACL belong to the target: they come from the settings, or from its bucket's defaults.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from s3batch.objects.content_match import ContentEvidence
from s3batch.objects.headers import REDIRECT_HEADER, RemoteAttributes, canonical_name, make_put_headers
from s3batch.s3.checksums import NAMES
from s3batch.s3.etag import md5_of_etag

if TYPE_CHECKING:
    from collections.abc import Mapping

    from s3batch.model import Attributes

_BROUGHT = (
    "content_type",
    "content_encoding",
    "cache_control",
    "content_disposition",
    "content_language",
    "expires",
)
"""The attributes that an object brings along. A copy gives all or none of them, and the metadata, anew."""


def is_same_object_content(source: Mapping[str, str], target: Mapping[str, str]) -> bool | None:
    """Return whether the objects behind two HEADs hold the same bytes; ``None`` if the HEADs do not tell."""
    if source.get("content-length", "") != target.get("content-length", ""):
        return False
    if source.get("content-length") == "0":
        return True
    if (checksums := compare_object_checksums(source, target)) is not None:
        return checksums
    return is_same_etag(ContentEvidence.from_head(source), ContentEvidence.from_head(target))


def is_same_etag(source: ContentEvidence, target: ContentEvidence) -> bool | None:
    """Return whether two ETags mean the same bytes; ``None`` if they do not tell: of other parts, or encrypted by KMS."""
    if source.etag and source.etag == target.etag:
        return True
    both_md5 = source.etag_is_md5 and target.etag_is_md5
    return False if both_md5 and md5_of_etag(source.etag) and md5_of_etag(target.etag) else None


def compare_object_checksums(source: Mapping[str, str], target: Mapping[str, str]) -> bool | None:
    """Return whether a checksum that both show is the same. Two of parts tell nothing if they differ."""
    composite = "COMPOSITE" in (_checksum_type(source), _checksum_type(target))
    for name in NAMES:
        ours, theirs = source.get(f"x-amz-checksum-{name}", ""), target.get(f"x-amz-checksum-{name}", "")
        if ours and theirs and (ours == theirs or not composite):
            return ours == theirs
    return None


def _checksum_type(headers: Mapping[str, str]) -> str:
    return headers.get("x-amz-checksum-type", "").upper()


def needs_source_head(configured: Attributes, size: int) -> bool:
    """Return whether a copy has to name the attributes that the source object brings along.

    An empty object may be a redirect, which no copy takes along by itself.
    """
    return not size or configured.metadata is not None or any(getattr(configured, name) for name in _BROUGHT)


def merge_attributes(configured: Attributes, source: RemoteAttributes) -> Attributes:
    """Return the attributes of the target: the configured ones, and the source's where none is configured."""
    brought = {name: getattr(configured, name) or getattr(source, name) for name in _BROUGHT}
    ours = {canonical_name(name) for name, _ in configured.metadata or ()}
    metadata = [pair for pair in source.metadata if canonical_name(pair[0]) not in ours]
    return configured._replace(**brought, content_type_configured=True, gzip=False,
        metadata=tuple(sorted([*metadata, *(configured.metadata or ())])),
    )  # fmt: skip


def make_transfer_headers(merged: Attributes, source: RemoteAttributes) -> dict[str, str]:
    """Return the headers with which the target is written, of attributes from :func:`merge_attributes`."""
    redirect = {REDIRECT_HEADER: source.redirect} if source.redirect else {}
    return {**redirect, **make_put_headers(merged)}
