"""One S3 request and its answer, as values.

Both clients carry out the same :class:`Request`: the native client as bytes on a socket, the other
through boto3. Nothing here knows how. Header names are lower case throughout.
"""

from __future__ import annotations

import os
import re
from base64 import b64encode
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from s3batch.base import hashes
from s3batch.base.named_tuple import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Body = bytes | bytearray | memoryview

_PLAIN = re.compile(r"[A-Za-z0-9/_.~-]*\Z")


class Request(NamedTuple):
    """One request to the job's bucket, or to another one beside it, by S3's own name for it."""

    name: str
    """S3's name of the operation, as in its API reference: ``PutObject``."""
    method: str
    key: str = ""
    """Empty for a request about the bucket itself."""
    query: str = ""
    """Already encoded and in canonical order: ``list-type=2&prefix=a%2F``."""
    headers: Mapping[str, str] = {}
    """Without host, date, length, checksum and authorization; the transport adds those."""
    body: Body = b""
    expected: int = -1
    """GetObject: bytes of body the response may have; -1 where nothing tells."""
    valid: tuple[float, int] | None = None
    """The native lane signs the request so that the store refuses it so many seconds (int) after that time (float)."""
    bucket: str = ""
    """Another bucket of the same endpoint and region; empty for the job's."""
    into: memoryview | None = None
    """GetObject: memory for a body of just that size; the native lane puts it there, and the response has it as its body."""


class Response(NamedTuple):
    """A response of S3. ``headers`` has lower-case names."""

    status: int
    headers: Mapping[str, str]
    body: Body = b""
    document: Any = None
    """The document in the body, if S3 answers the call with one; :mod:`s3batch.s3.validation` parses it."""

    @property
    def ok(self) -> bool:
        """True if the request was carried out."""
        return 200 <= self.status < 300


_new = tuple.__new__
"""Half the time of calling the type, for the most frequent call."""


def percent_encode(text: str, safe: str = "") -> str:
    """Return ``text`` percent-encoded for SigV4: only unreserved characters (and ``safe``) stay."""
    if _PLAIN.match(text) and (safe == "/" or "/" not in text):
        return text
    return quote(os.fsencode(text), safe=safe + "-_.~")


def canonical_query(pairs: Iterable[tuple[str, str]]) -> str:
    """Return ``pairs`` as a canonical query string, sorted by encoded name."""
    return "&".join(
        f"{name}={value}"
        for name, value in sorted((percent_encode(name), percent_encode(value)) for name, value in pairs)
    )


def put_object(key: str, body: Body, headers: Mapping[str, str]) -> Request:
    """Store ``body`` under ``key``."""
    return _new(Request, ("PutObject", "PUT", key, "", headers, body, -1, None, "", None))


def head_object(key: str) -> Request:
    """Ask for size, ETag, attributes and stored checksum of ``key``."""
    return Request("HeadObject", "HEAD", key, "", {"x-amz-checksum-mode": "ENABLED"})


def head_equal_object(key: str) -> Request:
    """Ask for size, ETag and attributes of ``key``: without its checksum, for which KMS asks for a further permission."""
    return Request("HeadObject", "HEAD", key)


def get_object(key: str, first: int = 0, last: int = -1, *, size: int = -1) -> Request:
    """Fetch ``key``, or its bytes ``first`` to ``last`` inclusive; ``size``: of the whole object, where it is known."""
    if last < 0:
        return Request("GetObject", "GET", key, expected=size)
    return Request("GetObject", "GET", key, "", {"range": f"bytes={first}-{last}"}, expected=last - first + 1)


def copy_object(
    key: str, source_bucket: str, headers: Mapping[str, str], source_key: str = "", version: str = ""
) -> Request:
    """Copy ``source_key`` (by default the key itself) to ``key``; the source name is encoded as S3 decodes it.

    ``version`` is of the source; empty for the current one.
    """
    source = name_copy_source(source_bucket, source_key or key)
    source += f"?versionId={percent_encode(version)}" if version else ""
    return Request("CopyObject", "PUT", key, "", {**headers, "x-amz-copy-source": source})


def upload_part_copy(
    key: str, upload_id: str, number: int, source: Mapping[str, str], first: int, last: int
) -> Request:
    """Copy the bytes ``first`` to ``last`` inclusive of an object into a part; ``source`` are the headers that name it."""
    query = canonical_query([("partNumber", str(number)), ("uploadId", upload_id)])
    return Request("UploadPartCopy", "PUT", key, query, {**source, "x-amz-copy-source-range": f"bytes={first}-{last}"})


def name_copy_source(bucket: str, key: str) -> str:
    """Return the name of an object in ``x-amz-copy-source``, encoded as S3 decodes it."""
    name = percent_encode(key, "/")
    return f"{bucket}/object/{name}" if bucket.startswith("arn:") else f"/{bucket}/{name}"


def delete_object(key: str) -> Request:
    """Delete one key: for the few that DeleteObjects cannot name in XML."""
    return Request("DeleteObject", "DELETE", key)


_XML_ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "\r": "&#13;", "\n": "&#10;", "\t": "&#9;"}
_XML_SPECIAL = re.compile('[&<>"\r\n\t]')
_XML_ILLEGAL = "[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]"


def fits_xml(key: str) -> bool:
    """Return whether XML 1.0 can hold ``key``: UTF-8 without control characters."""
    return not re.search(_XML_ILLEGAL, key)


def _escape_xml(text: str) -> str:
    return _XML_SPECIAL.sub(lambda match: _XML_ESCAPES[match[0]], text)


def delete_objects(keys: Iterable[str]) -> Request:
    """Delete up to 1,000 keys (S3's limit) in one request; only failures are listed in the answer."""
    rows = _escape_xml("\0".join(keys)).replace("\0", "</Key></Object><Object><Key>")  # no key of XML holds a NUL
    body = (
        '<Delete xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Quiet>true</Quiet>'
        f"<Object><Key>{rows}</Key></Object></Delete>"
    ).encode()
    # every store accepts Content-MD5 here; some refuse newer checksums
    return Request("DeleteObjects", "POST", "", "delete=", {"content-md5": md5_header(body)}, body)


def list_objects(prefix: str, *, token: str = "", start_after: str = "", limit: int = 1000) -> Request:
    """Return the request for one page of the listing. Names come url-encoded, so that no key can break the XML."""
    pairs = [("list-type", "2"), ("encoding-type", "url"), ("prefix", prefix), ("max-keys", str(limit))]
    if token:
        pairs.append(("continuation-token", token))
    elif start_after:
        pairs.append(("start-after", start_after))
    return Request("ListObjectsV2", "GET", "", canonical_query(pairs))


def create_multipart_upload(key: str, headers: Mapping[str, str]) -> Request:
    """Begin a multipart upload; the attributes go here, not with the parts."""
    return Request("CreateMultipartUpload", "POST", key, "uploads=", headers)


def upload_part(key: str, upload_id: str, number: int, body: Body) -> Request:
    """Send one part. Sending it again replaces it."""
    return Request(
        "UploadPart", "PUT", key, canonical_query([("partNumber", str(number)), ("uploadId", upload_id)]), {}, body
    )


def complete_multipart_upload(
    key: str, upload_id: str, parts: Iterable[tuple[int, str, str]], checksum_name: str, headers: Mapping[str, str]
) -> Request:
    """Make one object of ``parts``: number, ETag, checksum (may be empty), in ascending order."""
    tag = f"Checksum{checksum_name.upper()}"
    rows = "".join(
        f"<Part><ETag>{_escape_xml(etag)}</ETag>{f'<{tag}>{checksum}</{tag}>' if checksum else ''}"
        f"<PartNumber>{number}</PartNumber></Part>"
        for number, etag, checksum in parts
    )
    body = (
        f'<CompleteMultipartUpload xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{rows}</CompleteMultipartUpload>'
    ).encode()
    return Request("CompleteMultipartUpload", "POST", key, canonical_query([("uploadId", upload_id)]), headers, body)


def abort_multipart_upload(key: str, upload_id: str) -> Request:
    """Give up a multipart upload and the parts it holds."""
    return Request("AbortMultipartUpload", "DELETE", key, canonical_query([("uploadId", upload_id)]))


def list_parts(key: str, upload_id: str, marker: int = 0) -> Request:
    """Return the request for one page (1,000) of the parts of an upload, after part ``marker``."""
    pairs = [("uploadId", upload_id)] + ([("part-number-marker", str(marker))] if marker else [])
    return Request("ListParts", "GET", key, canonical_query(pairs))


def list_multipart_uploads(prefix: str, key_marker: str = "", upload_marker: str = "") -> Request:
    """Return the request for one page of the multipart uploads in progress below ``prefix``.

    Names are not asked for url-encoded: Ceph encodes them then and does not say so, others do not encode them.
    """
    pairs = [("uploads", ""), ("prefix", prefix)]
    if key_marker:
        pairs += [("key-marker", key_marker), ("upload-id-marker", upload_marker)]
    return Request("ListMultipartUploads", "GET", "", canonical_query(pairs))


def get_object_acl(key: str) -> Request:
    """Read the grants of ``key``."""
    return Request("GetObjectAcl", "GET", key, "acl=")


def get_object_tagging(key: str) -> Request:
    """Read the tags of ``key``."""
    return Request("GetObjectTagging", "GET", key, "tagging=")


def put_object_tagging(key: str, tags: Iterable[tuple[str, str]]) -> Request:
    """Set the tags of ``key``; they replace those it has."""
    rows = "".join(
        f"<Tag><Key>{_escape_xml(name)}</Key><Value>{_escape_xml(value)}</Value></Tag>" for name, value in tags
    )
    body = f'<Tagging xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><TagSet>{rows}</TagSet></Tagging>'.encode()
    return Request("PutObjectTagging", "PUT", key, "tagging=", {"content-md5": md5_header(body)}, body)


def md5_header(body: Body) -> str:
    """Return the Content-MD5 header of ``body``."""
    return b64encode(hashes.md5(body).digest()).decode()
