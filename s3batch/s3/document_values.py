"""Documents of S3 made into values: all but the listing of a bucket, which :mod:`s3batch.s3.listing` reads."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from s3batch.base.named_tuple import NamedTuple
from s3batch.model import Part
from s3batch.s3.documents import (
    MalformedResponseError,
    bare_etag,
    expect_root,
    is_truncated,
    parse_moment,
    parse_number,
    read_document,
)

if TYPE_CHECKING:
    from s3batch.s3.requests import Body

_NEVER = "1970-01-01T00:00:00"
"""The time of an element that the store leaves out."""

# --- multipart uploads ---------------------------------------------------------------------


class PartsPage(NamedTuple):
    """One page of ListParts; ``marker`` is 0 on the last."""

    parts: list[Part]
    marker: int


class IncompleteUpload(NamedTuple):
    """A multipart upload in progress."""

    key: str
    upload_id: str
    initiated: float


class UploadsPage(NamedTuple):
    """One page of ListMultipartUploads; ``markers`` are empty on the last."""

    uploads: list[IncompleteUpload]
    markers: tuple[str, str]


def parse_upload_id(body: Body) -> str:
    """Return the upload id in a response to CreateMultipartUpload."""
    document = read_document(body)
    expect_root(document, "InitiateMultipartUploadResult", "InitiateMultipartUpload")  # rclone says the second
    if not document.top.get("UploadId", "").strip():
        raise MalformedResponseError("an upload without an id")
    return document.top["UploadId"]


def parse_completed(body: Body) -> dict[str, str]:
    """Return ETag and checksums in a response to CompleteMultipartUpload."""
    document = read_document(body)
    expect_root(document, "CompleteMultipartUploadResult")
    return document.top


def parse_parts(body: Body) -> PartsPage:
    """Return a page of ListParts; the parts belong to operation 0."""
    document = read_document(body, "Part")
    expect_root(document, "ListPartsResult", "ListPartsResponse")  # moto says the second
    parts = [
        Part(
            0, parse_number(_field_of(row, "PartNumber")), -1, parse_number(_field_of(row, "Size")), _field_of(row, "ETag").strip('"'),
            _checksum_in(row),
        )
        for row in document.rows("Part")
    ]  # fmt: skip
    marker = document.top.get("NextPartNumberMarker", "")
    if not is_truncated(document.top):
        return PartsPage(parts, 0)
    if not (after := parse_number(marker)):
        raise MalformedResponseError("the listing of parts is truncated but has no next marker")
    return PartsPage(parts, after)


def _checksum_in(row: dict[str, str]) -> str:
    return next((value for name, value in row.items() if name.startswith("Checksum") and name != "ChecksumType"), "")


def parse_uploads(body: Body) -> UploadsPage:
    """Return a page of ListMultipartUploads."""
    document = read_document(body, "Upload")
    expect_root(document, "ListMultipartUploadsResult")
    uploads = [
        IncompleteUpload(_field_of(row, "Key"), _field_of(row, "UploadId"), parse_moment(row.get("Initiated", _NEVER)))
        for row in document.rows("Upload")
    ]
    if not is_truncated(document.top):
        return UploadsPage(uploads, ("", ""))
    marker = document.top.get("NextKeyMarker", "")
    if not marker:
        raise MalformedResponseError("the listing of uploads is truncated but has no next marker")
    return UploadsPage(uploads, (marker, document.top.get("NextUploadIdMarker", "")))


# --- deletes, copies, tags, versions -------------------------------------------------------


def parse_delete_errors(body: Body) -> list[dict[str, str]]:
    """Return the errors in a response to DeleteObjects: Key, Code, Message."""
    document = read_document(body, "Error", "Deleted")
    expect_root(document, "DeleteResult")
    return document.rows("Error")


_COPIED = (
    rb"\s*(?:<\?xml [^<>]*\?>\s*)?<(CopyObjectResult|CopyPartResult)(?: [^<>]*)?>"
    rb"(?:\s*<(LastModified|ETag|Checksum[A-Z0-9a-z]+)>[^<>]*</\2>)+\s*</\1>\s*\Z"
)
_COPIED_ETAG = rb"<ETag>([^<>]*)</ETag>"


def parse_copied(body: Body) -> str:
    """Return the new ETag in a response to CopyObject, without quotes; empty where the store does not say.

    A document of the form that stores write is cut out of its text in a fifth of the time of a parser.
    """
    usual = re.match(_COPIED, body)
    if usual is not None and (etag := re.search(_COPIED_ETAG, body)) is not None:
        return bare_etag(etag[1].decode("latin-1").strip())
    document = read_document(body)
    expect_root(document, "CopyObjectResult", "CopyPartResult")
    return document.top.get("ETag", "").strip().strip('"')


def is_usual_copy(body: Body) -> bool:
    """Return whether a response to CopyObject is the document that stores write, which holds elements and texts only."""
    return re.match(_COPIED, body) is not None


def parse_tags(body: Body) -> tuple[tuple[str, str], ...]:
    """Return the tags in a response to GetObjectTagging, sorted."""
    document = read_document(body, "Tag")
    expect_root(document, "Tagging")
    return tuple(sorted((_field_of(row, "Key"), row.get("Value", "")) for row in document.rows("Tag")))


def parse_acl(body: Body) -> None:
    """Raise :class:`MalformedResponseError` unless this is an ACL. The comparison of ACLs parses it."""
    expect_root(read_document(body, "Grant"), "AccessControlPolicy")


def parse_invalidation(body: Body) -> str:
    """Return the id in CloudFront's response to CreateInvalidation."""
    document = read_document(body)
    expect_root(document, "Invalidation")
    return _filled_field(document.top, "Id")


def parse_credentials(body: Body) -> None:
    """Raise :class:`MalformedResponseError` unless STS gives credentials here."""
    document = read_document(body, "Credentials")
    expect_root(document, "AssumeRoleResponse", "AssumeRoleWithWebIdentityResponse")
    rows = document.rows("Credentials")
    for name in ("AccessKeyId", "SecretAccessKey", "SessionToken", "Expiration"):
        _filled_field(rows[0] if rows else {}, name)


def parse_root(body: Body, *roots: str) -> None:
    """Raise :class:`MalformedResponseError` unless this is a document with one of these roots; none: any document."""
    document = read_document(body)
    expect_root(document, *(roots or (document.root,)))


class ObjectVersion(NamedTuple):
    """A version of an object, or a delete marker."""

    key: str
    version: str
    etag: str = ""
    modified: float = 0.0
    is_marker: bool = False


def parse_versions(body: Body) -> list[ObjectVersion]:
    """Return the rows of a ListObjectVersions response, delete markers included; of each key the newest first."""
    document = read_document(body, "Version", "DeleteMarker")
    expect_root(document, "ListVersionsResult")
    return [
        ObjectVersion(
            row.get("Key", ""), row.get("VersionId", "null"), bare_etag(row.get("ETag", "")),
            parse_moment(row.get("LastModified", _NEVER)), name == "DeleteMarker",
        )
        for name, row in document.elements
    ]  # fmt: skip


def _field_of(row: dict[str, str], name: str) -> str:
    if name not in row:
        raise MalformedResponseError(f"an element without {name}: {str(row)[:80]}")
    return row[name]


def _filled_field(row: dict[str, str], name: str) -> str:
    if not (text := row.get(name, "").strip()):
        raise MalformedResponseError(f"no {name}")
    return text
