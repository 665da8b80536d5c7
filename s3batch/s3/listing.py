"""Answers in XML made into values: the listing (hot: a page of 1,000 keys in about 10 ms) and the rare ones."""

from __future__ import annotations

import re
from calendar import timegm
from functools import lru_cache
from html import unescape
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote
from xml.etree import ElementTree as ET

from s3batch.model import Listed, Part

if TYPE_CHECKING:
    from collections.abc import Iterator

    from s3batch.s3.calls import Body

_ROW = re.compile(rb"<Contents>(.*?)</Contents>", re.DOTALL)
_IN_ROW = re.compile(rb"<(Key|LastModified|ETag|Size)>([^<]*)</")
_TRUNCATED = re.compile(rb"<IsTruncated>\s*true\s*</IsTruncated>")
_TOKEN = re.compile(rb"<NextContinuationToken>([^<]*)</NextContinuationToken>")
_ENCODED = re.compile(rb"<EncodingType>\s*url\s*</EncodingType>")


class MalformedAnswerError(ValueError):
    """What came is none of S3's documents: cut, or some proxy's page."""


class Page(NamedTuple):
    """One page of the listing; ``token`` is empty on the last."""

    objects: list[Listed]
    token: str


def parse_page(body: Body) -> Page:
    """A ListObjectsV2 answer. Raises ``ValueError`` when it is none, or a row lacks what every store gives.

    Values of a listing hold no markup, so the rows are cut out of the text: a third of the time a parser takes.
    """
    data = bytes(body)
    if b"<ListBucketResult" not in data[:1000] or not data.rstrip().endswith(b"</ListBucketResult>"):
        raise MalformedAnswerError(f"this is no listing: {data[:80]!r}")
    encoded = _ENCODED.search(data) is not None
    objects = [_row(match[1], encoded=encoded) for match in _ROW.finditer(data)]
    token = _TOKEN.search(data)
    if _TRUNCATED.search(data) is None:
        return Page(objects, "")
    if token is None:
        raise MalformedAnswerError("the listing goes on but gives no token to go on with")
    return Page(objects, unescape(token[1].decode()))


def _row(row: bytes, *, encoded: bool) -> Listed:
    found = dict(_IN_ROW.findall(row))
    try:
        key, etag = found[b"Key"].decode("utf-8", "surrogateescape"), found.get(b"ETag", b"").decode()
        return Listed(
            _name(key, encoded=encoded),
            int(found[b"Size"]),
            _bare(etag),
            _seconds(found[b"LastModified"][:19]) + _fraction(found[b"LastModified"]),
        )
    except KeyError as error:
        raise MalformedAnswerError(f"a listed object has no {error.args[0].decode()}: {row[:80]!r}") from error


def _bare(etag: str) -> str:
    """Without the quotes, however they are written: SeaweedFS says ``&#34;``."""
    etag = etag.replace("&quot;", "")
    return (unescape(etag) if "&" in etag else etag).strip('"')


def _name(text: str, *, encoded: bool) -> str:
    if "&" in text:
        text = unescape(text)
    if encoded:
        text = text.replace("+", " ")
        if "%" in text:
            return unquote(text, errors="surrogateescape")
    return text


@lru_cache(maxsize=4096)
def _seconds(text: bytes) -> float:
    """``2026-11-21T20:15:00`` in seconds since the epoch."""
    digits = text.decode()
    parts = (digits[0:4], digits[5:7], digits[8:10], digits[11:13], digits[14:16], digits[17:19])
    return float(timegm((*map(int, parts), 0, 0, 0)))


def _fraction(text: bytes) -> float:
    return float(text[19:].rstrip(b"Z")) if text[19:20] == b"." else 0.0  # some stores write two digits, some nine


def _elements(body: Body, name: str) -> Iterator[dict[str, str]]:
    """Each element called ``name`` as a mapping of its children's names to their texts.

    Raises :class:`MalformedAnswerError`.
    """
    try:
        document = ET.fromstring(bytes(body))  # noqa: S314 - no entities: S3's own answers
    except ET.ParseError as error:
        raise MalformedAnswerError(f"this is no answer of S3: {bytes(body[:80])!r}") from error
    for element in document.iter():
        if element.tag.rpartition("}")[2] == name:
            yield {child.tag.rpartition("}")[2]: child.text or "" for child in element}


def parse_upload_id(body: Body) -> str:
    """The upload id in an answer to CreateMultipartUpload."""
    for name in ("InitiateMultipartUploadResult", "InitiateMultipartUpload"):  # the second is what rclone says
        for found in _elements(body, name):
            return found["UploadId"]
    raise MalformedAnswerError("the answer to CreateMultipartUpload names no upload id")


def parse_completed(body: Body) -> dict[str, str]:
    """ETag and checksums in an answer to CompleteMultipartUpload."""
    for found in _elements(body, "CompleteMultipartUploadResult"):
        return found
    raise MalformedAnswerError("the answer to CompleteMultipartUpload holds no result")


def parse_parts(body: Body, operation: int) -> tuple[list[Part], int]:
    """A page of ListParts, and the marker to go on after; 0 on the last page."""
    parts = [
        Part(operation, int(row["PartNumber"]), -1, int(row["Size"]), row["ETag"].strip('"'), _checksum_in(row))
        for row in _elements(body, "Part")
    ]
    for top in _elements(body, "ListPartsResult"):
        if top.get("IsTruncated", "").strip() == "true" and parts:
            return parts, int(top.get("NextPartNumberMarker") or parts[-1].number)
    return parts, 0


def _checksum_in(row: dict[str, str]) -> str:
    return next((value for name, value in row.items() if name.startswith("Checksum") and name != "ChecksumType"), "")


class Upload(NamedTuple):
    """A multipart upload in progress."""

    key: str
    upload_id: str
    initiated: float


def parse_uploads(body: Body, *, encoded: bool = False) -> tuple[list[Upload], tuple[str, str]]:
    """A page of ListMultipartUploads, and the two markers to go on after; empty on the last page.

    ``encoded``: names were asked for url-encoded. Raises :class:`MalformedAnswerError` for what is no such page.
    """
    top = next(_elements(body, "ListMultipartUploadsResult"), {})
    uploads = [
        Upload(
            _name(row["Key"], encoded=encoded), row["UploadId"], _seconds(row.get("Initiated", _NEVER)[:19].encode())
        )
        for row in _elements(body, "Upload")
    ]
    if top.get("IsTruncated", "").strip() == "true" and uploads:
        marker = _name(top.get("NextKeyMarker", ""), encoded=encoded) or uploads[-1].key
        return uploads, (marker, top.get("NextUploadIdMarker", ""))
    return uploads, ("", "")


_NEVER = "1970-01-01T00:00:00"


def parse_delete_errors(body: Body) -> list[dict[str, str]]:
    """The keys an answer to DeleteObjects says were not deleted: Key, Code, Message."""
    return list(_elements(body, "Error")) if body else []


_ETAG = re.compile(rb"<ETag>([^<]*)</ETag>")


def copied_etag(body: Body) -> str:
    """The new ETag in an answer to CopyObject, without quotes; empty where the store does not say."""
    found = _ETAG.search(body)
    return unescape(found[1].decode()).strip('"') if found else ""


def parse_tags(body: Body) -> tuple[tuple[str, str], ...]:
    """The tags in an answer to GetObjectTagging, sorted."""
    return tuple(sorted((row["Key"], row.get("Value", "")) for row in _elements(body, "Tag")))
