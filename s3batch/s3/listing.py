"""Documents of S3 made into values: the listing (hot: a page of 1,000 keys in less than 1 ms) and the rare ones.

A listing is complete only where S3 says so: ``IsTruncated`` false, or left out beside no token, in a whole document.
"""

from __future__ import annotations

import re
from datetime import date
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote

from s3batch.model import ListedObject, Part
from s3batch.s3.documents import (
    Document,
    MalformedResponseError,
    check_document,
    decode_references,
    read_document,
)
from s3batch.s3.listing_rows import UniformRows, read_uniform_rows

if TYPE_CHECKING:
    from collections.abc import Mapping

    from s3batch.s3.requests import Body

_EPOCH = date(1970, 1, 1).toordinal()
_LARGEST = 2**63 - 1
"""The journal's largest number, far beyond S3's largest object."""
_ROOT = re.compile(rb"\s*(?:<\?xml [^>]*\?>\s*)?<ListBucketResult[\s>]")
_DECLARED = re.compile(rb"\s*<\?xml [^>]*encoding=(?!.utf-8)", re.IGNORECASE)
_IN_ROW = rb"<(Key|LastModified|ETag|Size)>([^<]*)</"
_USUAL_ROW = r"""(?x)<Contents>\s*<Key>([^<&]*)</Key>\s*
    <LastModified>([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8})(\.[0-9]{1,12})?Z</LastModified>\s*
    <ETag>(?:"|&quot;|&\#34;)([^<&"]*)(?:"|&quot;|&\#34;)</ETag>\s*
    (?:<(?:ChecksumAlgorithm|ChecksumType)>[^<]*</[A-Za-z]*>\s*)*
    <Size>([0-9]{1,18})</Size>\s*
    (?:<StorageClass>[^<]*</StorageClass>\s*)?</Contents>"""
"""A row as S3 and nearly all other stores write it. All rows of a page are found in a third of the time of one by one.

Compiled with the first page that has rows, as all patterns here that are texts: compiling it takes 0.4 ms.
"""
_USUAL_WIDTH = 1 + 5
"""Pieces for each row: what is before it, and its groups."""
_TOP = re.compile(rb"<(IsTruncated|NextContinuationToken|EncodingType)>([^<]*)</")
_NUMBER = re.compile(r"[0-9]{1,19}\Z")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d")
_FRACTION = re.compile(r"\.\d{1,12}")


class _UnknownFormError(Exception):
    """The quick reader does not know this form; the real one decides."""


class ListingPage(NamedTuple):
    """One page of the listing; ``token`` is empty on the last."""

    objects: list[ListedObject]
    token: str


def parse_number(text: str) -> int:
    """Return the number ``text`` is. Raises :class:`MalformedResponseError` for none, or one too large to be true."""
    text = text.strip()
    if not _NUMBER.match(text) or (value := int(text)) > _LARGEST:
        raise MalformedResponseError(f"{text[:40]!r} where a number should be")
    return value


# --- the listing ---------------------------------------------------------------------------


def parse_page(body: Body) -> ListingPage:
    """Return the page in a ListObjectsV2 response. Raises :class:`MalformedResponseError` for other bodies.

    Values of a listing hold no markup, so the rows are cut out of the text in a third of the time of a parser. A text
    of another form than stores write (prefixes, comments, CDATA) goes to a real parser.
    """
    data = bytes(body)
    if (rows := read_uniform_rows(data)) is not None and (page := _uniform_page(rows)) is not None:
        return page
    check_document(data)
    try:
        return _quick_page(data)
    except _UnknownFormError:
        return _page_of_document(read_document(data, "Contents", "CommonPrefixes"))


def _uniform_page(rows: UniformRows) -> ListingPage | None:
    """Return the page of rows that are all written alike; ``None`` if what is around them has another form."""
    outside = rows.outside
    check_document(outside)  # the rows are whole by their form
    if _is_unusual(outside) or b"<Contents" in outside:
        return None
    try:
        top = _read_top(outside)
    except _UnknownFormError:
        return None
    keys, new = rows.keys, tuple.__new__
    if _is_encoded(top):
        keys = [_decode_name(key, encoded=True) if "+" in key or "%" in key else key for key in keys]
    moments = map(_parse_remembered_moment, rows.times)
    objects = [new(ListedObject, row) for row in zip(keys, rows.sizes, rows.etags, moments, strict=True)]
    return ListingPage(objects, _next_token(top))


def _is_unusual(data: bytes) -> bool:
    return not _ROOT.match(data) or b"<!" in data or _DECLARED.match(data) is not None or b"<CommonPrefixes" in data


def _quick_page(data: bytes) -> ListingPage:
    """Return the page of a document in the form that all stores write; raise :class:`_UnknownFormError` for any other."""
    if _is_unusual(data):
        raise _UnknownFormError
    text = data.decode("utf-8", "surrogateescape")
    pieces = re.split(_USUAL_ROW, text) if "<Contents" in text else [text]
    outside = "".join(pieces[::_USUAL_WIDTH])
    if "<Contents" not in outside:
        top = _read_top(outside.encode("utf-8", "surrogateescape"))
        return ListingPage(_convert_usual_rows(pieces, encoded=_is_encoded(top)), _next_token(top))
    return _page_in_any_order(data)


def _convert_usual_rows(pieces: list[str], *, encoded: bool) -> list[ListedObject]:
    """Return the objects in a document that :data:`_USUAL_ROW` has split."""
    keys, seconds, fractions, etags, sizes = (pieces[at::_USUAL_WIDTH] for at in range(1, _USUAL_WIDTH))
    new, parse = tuple.__new__, _parse_seconds
    if encoded:
        keys = [_decode_name(key, encoded=True) if "+" in key or "%" in key else key for key in keys]
    return [
        new(ListedObject, (key, int(size), etag, parse(second) + float(fraction) if fraction else parse(second)))
        for key, second, fraction, etag, size in zip(keys, seconds, fractions, etags, sizes, strict=True)
    ]


def _page_in_any_order(data: bytes) -> ListingPage:
    """Return the page of a document whose rows have their elements in any order."""
    pieces = data.split(b"<Contents>")
    if len(pieces) - 1 != data.count(b"<Contents") or data.count(b"<?") > 1:
        raise _UnknownFormError
    rows: list[bytes] = []
    outside = [pieces[0]]
    for piece in pieces[1:]:
        row, end, after = piece.partition(b"</Contents>")
        if not end:
            raise _UnknownFormError
        rows.append(row)
        if after:
            outside.append(after)
    top = _read_top(b"".join(outside))
    encoded = _is_encoded(top)
    return ListingPage([_parse_row(row, encoded=encoded) for row in rows], _next_token(top))


def _read_top(rest: bytes) -> dict[str, str]:
    """Return the elements beside the rows that count."""
    found = _TOP.findall(rest)
    top = {name.decode(): decode_references(value.decode("utf-8", "surrogateescape")) for name, value in found}
    if len(top) != sum(rest.count(b"<" + name) for name in _TOP_NAMES) or rest.count(b"<?") > 1:
        raise _UnknownFormError
    return top


_TOP_NAMES = (b"IsTruncated", b"NextContinuationToken", b"EncodingType")


def _parse_row(row: bytes, *, encoded: bool) -> ListedObject:
    fields = re.findall(_IN_ROW, row)
    found = dict(fields)
    try:
        key, when = found[b"Key"].decode("utf-8", "surrogateescape"), found[b"LastModified"].decode()
        if len(found) != len(fields) or "&#" in key:  # one of another element; a character that HTML lacks
            raise _UnknownFormError
        key = decode_references(key)
        size, etag = found[b"Size"], found.get(b"ETag", b"").decode()
    except (KeyError, UnicodeError):
        raise _UnknownFormError from None
    return ListedObject(
        _decode_name(key, encoded=encoded),
        int(size) if len(size) < 19 and size.isdigit() else parse_number(size.decode("latin-1")),
        _bare_etag(etag),
        _parse_moment(when),
    )


def _page_of_document(document: Document) -> ListingPage:
    """Return the page in a document that a real parser has read."""
    _expect_root(document, "ListBucketResult")
    if any(document.rows("CommonPrefixes")):
        raise MalformedResponseError("a listing of folders, which hides their objects")
    encoded = _is_encoded(document.top)
    objects = []
    for row in document.rows("Contents"):
        for name in ("Key", "Size", "LastModified"):
            if name not in row:
                raise MalformedResponseError(f"a listed object without {name}: {str(row)[:80]}")
        etag = row.get("ETag", "").strip('"')
        key = _decode_name(row["Key"], encoded=encoded)
        objects.append(ListedObject(key, parse_number(row["Size"]), etag, _parse_moment(row["LastModified"])))
    return ListingPage(objects, _next_token(document.top))


def _is_encoded(top: Mapping[str, str]) -> bool:
    return top.get("EncodingType", "").strip() == "url"


def is_truncated(top: Mapping[str, str]) -> bool | None:
    """Return ``IsTruncated``; ``None`` if it is left out."""
    text = top.get("IsTruncated")
    if text is None:
        return None
    said = {"true": True, "false": False}.get(text.strip().lower())
    if said is None:
        raise MalformedResponseError(f"IsTruncated is {text[:40]!r}")
    return said


def _next_token(top: Mapping[str, str]) -> str:
    """Return the token to go on with; empty on the last page."""
    truncated, token = is_truncated(top), top.get("NextContinuationToken", "")
    if truncated and not token:
        raise MalformedResponseError("the listing is truncated but has no continuation token")
    return "" if truncated is False else token


def _bare_etag(etag: str) -> str:
    """Return an ETag without its quotes, in any notation: SeaweedFS sends ``&#34;``."""
    etag = etag.replace("&quot;", "")
    return decode_references(etag).strip('"')


def _decode_name(text: str, *, encoded: bool) -> str:
    """Return a name as it is, without the encoding it was asked for."""
    if encoded:
        text = text.replace("+", " ")
        if "%" in text:
            return unquote(text, errors="surrogateescape")
    return text


def _parse_moment(text: str) -> float:
    """Return ``2026-11-21T20:15:00.123Z`` in seconds since the epoch; some stores write two digits, some nine."""
    seconds = _parse_seconds(text[:19])  # up to the seconds: equal for many objects, so it is cached
    if text[19:20] == "." and (fraction := _FRACTION.match(text, 19)):
        return seconds + float(fraction[0])
    return seconds


_parse_remembered_moment = lru_cache(maxsize=4096)(_parse_moment)


@lru_cache(maxsize=4096)
def _parse_seconds(text: str) -> float:
    """Return ``2026-11-21T20:15:00`` in seconds since the epoch."""
    if not _TIME.match(text):
        raise MalformedResponseError(f"{text!r} where a time should be")
    year, month, day, hour, minute, second = map(int, re.split("[-T:]", text))
    try:
        days = date(year, month, 1).toordinal() - _EPOCH + day - 1
    except ValueError as error:
        raise MalformedResponseError(f"{text!r} where a time should be") from error
    return float(((days * 24 + hour) * 60 + minute) * 60 + second)  # as calendar.timegm, whose import takes 1 ms


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
    _expect_root(document, "InitiateMultipartUploadResult", "InitiateMultipartUpload")  # rclone says the second
    if not document.top.get("UploadId", "").strip():
        raise MalformedResponseError("an upload without an id")
    return document.top["UploadId"]


def parse_completed(body: Body) -> dict[str, str]:
    """Return ETag and checksums in a response to CompleteMultipartUpload."""
    document = read_document(body)
    _expect_root(document, "CompleteMultipartUploadResult")
    return document.top


def parse_parts(body: Body) -> PartsPage:
    """Return a page of ListParts; the parts belong to operation 0."""
    document = read_document(body, "Part")
    _expect_root(document, "ListPartsResult", "ListPartsResponse")  # moto says the second
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
    _expect_root(document, "ListMultipartUploadsResult")
    uploads = [
        IncompleteUpload(_field_of(row, "Key"), _field_of(row, "UploadId"), _parse_moment(row.get("Initiated", _NEVER)))
        for row in document.rows("Upload")
    ]
    if not is_truncated(document.top):
        return UploadsPage(uploads, ("", ""))
    marker = document.top.get("NextKeyMarker", "")
    if not marker:
        raise MalformedResponseError("the listing of uploads is truncated but has no next marker")
    return UploadsPage(uploads, (marker, document.top.get("NextUploadIdMarker", "")))


_NEVER = "1970-01-01T00:00:00"


def _expect_root(document: Document, *roots: str) -> None:
    if document.root not in roots:
        raise MalformedResponseError(f"a document {document.root[:40]!r}, not {roots[0]}")


def _field_of(row: dict[str, str], name: str) -> str:
    if name not in row:
        raise MalformedResponseError(f"an element without {name}: {str(row)[:80]}")
    return row[name]


# --- deletes, copies, tags, versions -------------------------------------------------------


def parse_delete_errors(body: Body) -> list[dict[str, str]]:
    """Return the errors in a response to DeleteObjects: Key, Code, Message."""
    document = read_document(body, "Error", "Deleted")
    _expect_root(document, "DeleteResult")
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
        return _bare_etag(etag[1].decode("latin-1").strip())
    document = read_document(body)
    _expect_root(document, "CopyObjectResult", "CopyPartResult")
    return document.top.get("ETag", "").strip().strip('"')


def is_usual_copy(body: Body) -> bool:
    """Return whether a response to CopyObject is the document that stores write, which holds elements and texts only."""
    return re.match(_COPIED, body) is not None


def parse_tags(body: Body) -> tuple[tuple[str, str], ...]:
    """Return the tags in a response to GetObjectTagging, sorted."""
    document = read_document(body, "Tag")
    _expect_root(document, "Tagging")
    return tuple(sorted((_field_of(row, "Key"), row.get("Value", "")) for row in document.rows("Tag")))


def parse_acl(body: Body) -> None:
    """Raise :class:`MalformedResponseError` unless this is an ACL. The comparison of ACLs parses it."""
    _expect_root(read_document(body, "Grant"), "AccessControlPolicy")


def parse_invalidation(body: Body) -> str:
    """Return the id in CloudFront's response to CreateInvalidation."""
    document = read_document(body)
    _expect_root(document, "Invalidation")
    return _filled_field(document.top, "Id")


def parse_credentials(body: Body) -> None:
    """Raise :class:`MalformedResponseError` unless STS gives credentials here."""
    document = read_document(body, "Credentials")
    _expect_root(document, "AssumeRoleResponse", "AssumeRoleWithWebIdentityResponse")
    rows = document.rows("Credentials")
    for name in ("AccessKeyId", "SecretAccessKey", "SessionToken", "Expiration"):
        _filled_field(rows[0] if rows else {}, name)


def _filled_field(row: dict[str, str], name: str) -> str:
    if not (text := row.get(name, "").strip()):
        raise MalformedResponseError(f"no {name}")
    return text


def parse_root(body: Body, *roots: str) -> None:
    """Raise :class:`MalformedResponseError` unless this is a document with one of these roots; none: any document."""
    document = read_document(body)
    _expect_root(document, *(roots or (document.root,)))


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
    _expect_root(document, "ListVersionsResult")
    return [
        ObjectVersion(
            row.get("Key", ""), row.get("VersionId", "null"), _bare_etag(row.get("ETag", "")),
            _parse_moment(row.get("LastModified", _NEVER)), name == "DeleteMarker",
        )
        for name, row in document.elements
    ]  # fmt: skip
