"""A small S3 in this process, strict where the local servers are lax: it checks every signature by botocore's own
reckoning, every checksum, and the form of each request. It passes the same tests as the real servers (tests/contract).

    with FakeS3() as fake:
        fake.manners = Manners(checksums_refused=frozenset({"crc64nvme"}))
        fake.meddle = lambda request: Reply(503, body=error("SlowDown")) if request.key == "busy" else None
        ...
        assert [request.name for request in fake.requests] == ["PutObject"]

Buckets come into being with their first use. Objects are in memory only.
"""

from __future__ import annotations

import hashlib
import itertools
import ssl
import threading
import time
import zlib
from base64 import b64decode, b64encode
from calendar import timegm
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from hmac import compare_digest
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qsl, quote_plus, unquote, unquote_plus
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

from awscrt import checksums
from botocore import xform_name
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.rig.operations import operation_name

ACCESS_KEY, SECRET_KEY = "FAKES3FAKES3FAKES3AA", "a-secret-that-is-none"
ATTRIBUTES = {
    "content-type", "content-encoding", "content-disposition", "content-language", "cache-control", "expires",
    "x-amz-storage-class", "x-amz-website-redirect-location", "x-amz-server-side-encryption",
}  # fmt: skip
ALGORITHMS: Mapping[str, Callable[[bytes], bytes]] = {
    "crc32": lambda body: zlib.crc32(body).to_bytes(4),
    "crc32c": lambda body: checksums.crc32c(body).to_bytes(4),
    "crc64nvme": lambda body: checksums.crc64nvme(body).to_bytes(8),
    "sha1": lambda body: hashlib.sha1(body).digest(),
    "sha256": lambda body: hashlib.sha256(body).digest(),
}
_NS = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
_EVERYBODY = "http://acs.amazonaws.com/groups/global/AllUsers"


@dataclass(frozen=True, slots=True)
class Manners:
    """How this S3 differs from Amazon's."""

    protocol: str = "HTTP/1.1"
    keeps_connections: bool = True
    answers_in_chunks: bool = False
    checksums_refused: frozenset[str] = frozenset()
    refusal: tuple[int, str, str] = (400, "InvalidRequest", "The checksum algorithm is not supported.")
    ignores_checksums: bool = False
    md5_etags: bool = True
    spoils: Callable[[bytes], bytes] | None = None
    """What it makes of a body before it stores it."""
    region: str = "us-east-1"
    """Requests signed for another one are told this one."""
    clock: float = 0.0
    """Seconds its clock is ahead."""
    late: float = 0.0
    """Seconds by which LastModified of a write runs ahead of that clock."""
    refuses: Mapping[str, tuple[int, str]] = field(default_factory=dict)
    """Requests that are always refused: status and code by S3's name."""
    copy_drops: frozenset[str] = frozenset()
    """Headers that a copy loses; ``tags`` and ``acl`` are no headers."""
    forgets: frozenset[str] = frozenset()
    """The same for what a PUT loses as well."""
    is_file_system: bool = False
    """An object cannot have others below it."""
    counts_tags: bool = True
    """HEAD says how many tags there are."""
    ignores_conditions: frozenset[str] = frozenset()
    """Requests that are carried out whatever If-Match and If-None-Match say."""
    refuses_conditions: frozenset[str] = frozenset()
    """Requests that are refused for one of the two."""


@dataclass(slots=True)
class Stored:
    """An object, or a part of one."""

    body: bytes
    etag: str
    headers: dict[str, str] = field(default_factory=dict)
    checksum: tuple[str, str] = ("", "")
    modified: float = field(default_factory=lambda: time.time())  # noqa: PLW0108 - looked up late: tests move the clock
    acl: str = "private"
    tags: tuple[tuple[str, str], ...] = ()


@dataclass(slots=True)
class Upload:
    """A multipart upload in progress."""

    key: str
    headers: dict[str, str]
    begun: float = 0.0
    parts: dict[int, Stored] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Seen:
    """A request as it came."""

    method: str
    target: str
    bucket: str
    key: str
    query: dict[str, str]
    headers: dict[str, str]
    """Names in lower case."""
    body: bytes
    client: Any
    """The connection's other end: equal for requests that shared a connection."""

    @property
    def name(self) -> str:
        """S3's name for it."""
        path = self.target.partition("?")[0]
        return operation_name(self.method, path, self.query, self.headers)


@dataclass(frozen=True, slots=True)
class Reply:
    """What is answered."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


class RefusedError(Exception):
    """Ends a request with an error document."""

    def __init__(self, status: int, code: str, message: str = "", **more: str) -> None:
        super().__init__(code)
        self.status, self.code, self.message, self.more = status, code, message, more


def error(code: str, message: str = "", **more: str) -> bytes:
    """An error document."""
    rest = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in more.items())
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code>'
        f"<Message>{escape(message or code)}</Message>{rest}<RequestId>FAKE</RequestId></Error>"
    ).encode()


class FakeS3:
    """See the module."""

    least_part = 5 << 20
    """Bytes of every part but the last."""

    def __init__(self, *, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> None:
        self.manners = Manners()
        self.meddle: Callable[[Seen], Reply | None] = lambda _: None
        """Looks at each request first; what it returns is the answer."""
        self.requests: list[Seen] = []
        self.keys = {ACCESS_KEY: SECRET_KEY}
        """Access keys and their secrets; one that is taken out has expired."""
        self.expired: set[str] = set()
        self.objects: dict[str, dict[str, Stored]] = {}
        self.uploads: dict[str, Upload] = {}
        self._numbers = itertools.count(1)
        self._lock = threading.RLock()
        self._server = _Server((host, 0), _handler(self))
        if tls:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self.port: int = self._server.server_address[1]
        self.url = f"{'https' if tls else 'http'}://{f'[{host}]' if ':' in host else host}:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def forget(self) -> None:
        """Everything: objects, manners, what was seen."""
        self.manners, self.meddle = Manners(), lambda _: None
        self.expired.clear()
        for each in (self.requests, self.objects, self.uploads):
            each.clear()

    def answer(self, request: Seen) -> Reply:
        """The whole of S3."""
        with self._lock:
            self.requests.append(request)
            meddled = self.meddle(request)
        if meddled is not None:
            return meddled
        try:
            with self._lock:
                _check_signature(self, request)
                reply = self._answer(request)
        except RefusedError as refused:
            more = {"x-amz-bucket-region": refused.more["Region"]} if "Region" in refused.more else {}
            body = b"" if request.method == "HEAD" else error(refused.code, refused.message, **refused.more)
            return Reply(refused.status, {"content-type": "application/xml", **more}, body)
        return reply

    def _answer(self, request: Seen) -> Reply:
        if request.name in self.manners.refuses:
            raise RefusedError(*self.manners.refuses[request.name])
        method = getattr(self, f"_{xform_name(request.name)}", None)
        if method is None:
            raise RefusedError(501, "NotImplemented", request.name)
        return method(request, self.objects.setdefault(request.bucket, {}))

    # --- objects ----------------------------------------------------------------------------

    def _put_object(self, request: Seen, objects: dict[str, Stored]) -> Reply:
        if len(request.key.encode("utf-8", "surrogateescape")) > 1024:
            raise RefusedError(400, "KeyTooLongError")
        self._check_condition(request, objects)
        if self.manners.is_file_system and _is_blocked(request.key, objects):
            raise RefusedError(500, "InternalError")
        stored = self._taken(request)
        stored.headers = _attributes(request.headers)
        stored.acl, stored.tags = _acl(request.headers), _tags(request.headers)
        objects[request.key] = _without(stored, self.manners.forgets)
        return Reply(headers=self._said(stored))

    def _taken(self, request: Seen) -> Stored:
        manners, body = self.manners, request.body
        checksum = _checked(request, manners)
        if manners.spoils:
            body = manners.spoils(body)
        digest = hashlib.md5(body).hexdigest()
        etag = digest if manners.md5_etags else hashlib.sha1(body).hexdigest()[:24]
        said = ("", "") if manners.ignores_checksums else checksum
        return Stored(body, f'"{etag}"', checksum=said, modified=self._now())

    def _now(self) -> float:
        """The LastModified of what is written now."""
        return time.time() + self.manners.clock + self.manners.late

    def _said(self, stored: Stored) -> dict[str, str]:
        name, value = stored.checksum
        return {"etag": stored.etag} | ({f"x-amz-checksum-{name}": value} if name else {})

    def _found(self, request: Seen, objects: dict[str, Stored]) -> Stored:
        if request.key not in objects:
            raise RefusedError(404, "NoSuchKey", Key=request.key)
        return objects[request.key]

    def _head_object(self, request: Seen, objects: dict[str, Stored]) -> Reply:
        stored = self._found(request, objects)
        about = {"last-modified": formatdate(stored.modified, usegmt=True), "accept-ranges": "bytes"}
        wanted = request.headers.get("x-amz-checksum-mode") == "ENABLED"
        said = self._said(stored) if wanted else {"etag": stored.etag}
        kind = {"x-amz-checksum-type": "FULL_OBJECT"} if wanted and stored.checksum[0] else {}
        if stored.tags and self.manners.counts_tags:
            about["x-amz-tagging-count"] = str(len(stored.tags))
        return Reply(200, {**stored.headers, **about, **said, **kind, "content-length": str(len(stored.body))})

    def _get_object(self, request: Seen, objects: dict[str, Stored]) -> Reply:
        stored = self._found(request, objects)
        reply = self._head_object(request, objects)
        headers = {name: value for name, value in reply.headers.items() if name != "content-length"}
        if "range" not in request.headers:
            return Reply(200, headers, stored.body)
        first, last = map(int, request.headers["range"].removeprefix("bytes=").split("-"))
        if first >= len(stored.body):
            raise RefusedError(416, "InvalidRange")
        piece = stored.body[first : last + 1]
        end = first + len(piece) - 1
        return Reply(206, headers | {"content-range": f"bytes {first}-{end}/{len(stored.body)}"}, piece)

    def _copy_object(self, request: Seen, objects: dict[str, Stored]) -> Reply:
        bucket, _, key = (
            unquote(request.headers["x-amz-copy-source"], errors="surrogateescape").lstrip("/").partition("/")
        )
        source = self.objects.get(bucket, {}).get(key)
        if source is None:
            raise RefusedError(404, "NoSuchKey")
        self._check_condition(request, objects)
        if request.headers.get("x-amz-copy-source-if-match", source.etag) != source.etag:
            raise RefusedError(412, "PreconditionFailed")
        replace = request.headers.get("x-amz-metadata-directive") == "REPLACE"
        if (bucket, key) == (request.bucket, request.key) and not replace:
            raise RefusedError(400, "InvalidRequest", "This copy request is illegal")
        headers = _attributes(request.headers) if replace else dict(source.headers)
        tags = _tags(request.headers) if request.headers.get("x-amz-tagging-directive") == "REPLACE" else source.tags
        etag = f'"{hashlib.md5(source.body).hexdigest()}"'
        objects[request.key] = copy = Stored(source.body, etag, headers, source.checksum, self._now(), tags=tags)
        copy.acl = _acl(request.headers)
        _without(copy, self.manners.copy_drops | self.manners.forgets)
        body = f"<CopyObjectResult {_NS}><LastModified>{_iso(copy.modified)}</LastModified><ETag>{escape(etag)}</ETag></CopyObjectResult>"
        return _xml(body)

    def _check_condition(self, request: Seen, objects: dict[str, Stored]) -> None:
        if request.name in self.manners.ignores_conditions:
            return
        if request.name in self.manners.refuses_conditions and {"if-match", "if-none-match"} & request.headers.keys():
            raise RefusedError(501, "NotImplemented", "a header that implies unknown functionality")
        there, wanted = objects.get(request.key), request.headers.get("if-match", "")
        if request.headers.get("if-none-match") == "*" and there is not None:
            raise RefusedError(412, "PreconditionFailed")
        if wanted and there is None:
            raise RefusedError(404, "NoSuchKey")
        if wanted and there is not None and wanted != there.etag:
            raise RefusedError(412, "PreconditionFailed")

    def _delete_object(self, request: Seen, objects: dict[str, Stored]) -> Reply:
        self._check_condition(request, objects)
        objects.pop(request.key, None)
        return Reply(204)

    def _delete_objects(self, request: Seen, objects: dict[str, Stored]) -> Reply:
        if "content-md5" not in request.headers and not any(
            f"x-amz-checksum-{name}" in request.headers for name in ALGORITHMS
        ):
            raise RefusedError(400, "InvalidRequest", "Missing required header for this request: Content-MD5")
        _checked(request, self.manners)
        try:
            keys = [row.text or "" for row in ET.fromstring(request.body).iter() if row.tag.endswith("}Key")]
        except ET.ParseError as trouble:
            raise RefusedError(400, "MalformedXML", str(trouble)) from trouble
        if len(keys) > 1000:
            raise RefusedError(400, "MalformedXML", "too many keys")
        refused = [key for key in keys if key.startswith("locked/")]
        for key in keys:
            if key not in refused:
                objects.pop(key, None)
        rows = "".join(
            f"<Error><Key>{escape(key)}</Key><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
            for key in refused
        )
        return _xml(f"<DeleteResult {_NS}>{rows}</DeleteResult>")

    def _get_object_acl(self, request: Seen, objects: dict[str, Stored]) -> Reply:
        acl = self._found(request, objects).acl
        grants = '<Grant><Grantee xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="CanonicalUser"><ID>owner</ID></Grantee><Permission>FULL_CONTROL</Permission></Grant>'
        if acl.startswith("public-read"):
            grants += f'<Grant><Grantee xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="Group"><URI>{_EVERYBODY}</URI></Grantee><Permission>READ</Permission></Grant>'
        return _xml(
            f"<AccessControlPolicy {_NS}><Owner><ID>owner</ID></Owner><AccessControlList>{grants}</AccessControlList></AccessControlPolicy>"
        )

    def _get_object_tagging(self, request: Seen, objects: dict[str, Stored]) -> Reply:
        tags = "".join(
            f"<Tag><Key>{escape(name)}</Key><Value>{escape(value)}</Value></Tag>"
            for name, value in self._found(request, objects).tags
        )
        return _xml(f"<Tagging {_NS}><TagSet>{tags}</TagSet></Tagging>")

    def _put_object_tagging(self, request: Seen, objects: dict[str, Stored]) -> Reply:
        rows = [row for row in ET.fromstring(request.body).iter() if row.tag.endswith("Tag")]
        pairs = [{child.tag.rpartition("}")[2]: child.text or "" for child in row} for row in rows]
        stored = self._found(request, objects)
        stored.tags = tuple((pair["Key"], pair["Value"]) for pair in pairs)
        _without(stored, self.manners.forgets)
        return Reply(200)

    # --- listing ----------------------------------------------------------------------------

    def _list_objects_v2(self, request: Seen, objects: dict[str, Stored]) -> Reply:
        query = request.query
        if query.get("encoding-type") != "url":
            raise RefusedError(400, "InvalidArgument", "this S3 wants encoding-type=url")
        after = unquote_plus(query.get("continuation-token", "").removeprefix("next="), errors="surrogateescape")
        after = after or query.get("start-after", "")
        keys = sorted((key for key in objects if key.startswith(query.get("prefix", ""))), key=_bytes)
        keys = [key for key in keys if _bytes(key) > _bytes(after)] if after else keys
        page, more = keys[: int(query.get("max-keys", "1000"))], len(keys) > int(query.get("max-keys", "1000"))
        rows = "".join(
            f"<Contents><Key>{escape(_url(key))}</Key><LastModified>{_iso(objects[key].modified)}</LastModified>"
            f"<ETag>{_quoted(objects[key].etag)}</ETag><Size>{len(objects[key].body)}</Size>"
            "<StorageClass>STANDARD</StorageClass></Contents>"
            for key in page
        )
        token = f"<NextContinuationToken>next={_url(page[-1])}</NextContinuationToken>" if more else ""
        return _xml(
            f"<ListBucketResult {_NS}><Name>{request.bucket}</Name><Prefix>{escape(_url(query.get('prefix', '')))}</Prefix>"
            f"<KeyCount>{len(page)}</KeyCount><EncodingType>url</EncodingType>"
            f"<IsTruncated>{'true' if more else 'false'}</IsTruncated>{token}{rows}</ListBucketResult>"
        )

    # --- multipart uploads ------------------------------------------------------------------

    def _create_multipart_upload(self, request: Seen, _: dict[str, Stored]) -> Reply:
        name = request.headers.get("x-amz-checksum-algorithm", "").lower()
        if name in self.manners.checksums_refused:
            raise RefusedError(*self.manners.refusal)
        upload_id = f"upload+{next(self._numbers)}/=="
        self.uploads[upload_id] = Upload(request.key, dict(request.headers), time.time() + self.manners.clock)
        body = f"<InitiateMultipartUploadResult {_NS}><Bucket>{request.bucket}</Bucket><Key>{escape(_url(request.key))}</Key><UploadId>{upload_id}</UploadId></InitiateMultipartUploadResult>"
        return _xml(body)

    def _upload(self, request: Seen) -> Upload:
        upload = self.uploads.get(request.query["uploadId"])
        if upload is None or upload.key != request.key:
            raise RefusedError(404, "NoSuchUpload", "The specified multipart upload does not exist.")
        return upload

    def _upload_part(self, request: Seen, _: dict[str, Stored]) -> Reply:
        upload = self._upload(request)
        stored = upload.parts[int(request.query["partNumber"])] = self._taken(request)
        return Reply(headers=self._said(stored))

    def _complete_multipart_upload(self, request: Seen, objects: dict[str, Stored]) -> Reply:
        upload = self._upload(request)
        self._check_condition(request, objects)
        rows = [{child.tag.rpartition("}")[2]: child.text for child in part} for part in ET.fromstring(request.body)]
        numbers = [int(row["PartNumber"]) for row in rows]
        if numbers != sorted(set(numbers)):
            raise RefusedError(400, "InvalidPartOrder")
        for number, row in zip(numbers, rows, strict=True):
            if number not in upload.parts or upload.parts[number].etag.strip('"') != row["ETag"].strip('"'):
                raise RefusedError(400, "InvalidPart")
            _same_checksum(upload.parts[number], row)
        parts = [upload.parts[number] for number in numbers]
        if any(len(part.body) < self.least_part for part in parts[:-1]):
            raise RefusedError(400, "EntityTooSmall")
        stored = objects[request.key] = _joined(parts, upload.headers)
        stored.modified = self._now()
        del self.uploads[request.query["uploadId"]]
        name, value = stored.checksum
        tag = f"<Checksum{name.upper()}>{value}</Checksum{name.upper()}>" if name else ""
        return _xml(
            f"<CompleteMultipartUploadResult {_NS}><ETag>{escape(stored.etag)}</ETag>{tag}</CompleteMultipartUploadResult>"
        )

    def _abort_multipart_upload(self, request: Seen, _: dict[str, Stored]) -> Reply:
        self._upload(request)
        del self.uploads[request.query["uploadId"]]
        return Reply(204)

    def _list_parts(self, request: Seen, _: dict[str, Stored]) -> Reply:
        marker = int(request.query.get("part-number-marker", "0"))
        parts = sorted((number, part) for number, part in self._upload(request).parts.items() if number > marker)
        page, more = parts[:1000], len(parts) > 1000
        rows = "".join(
            f"<Part><PartNumber>{number}</PartNumber><ETag>{escape(part.etag)}</ETag><Size>{len(part.body)}</Size>"
            + (
                f"<Checksum{part.checksum[0].upper()}>{part.checksum[1]}</Checksum{part.checksum[0].upper()}>"
                if part.checksum[0]
                else ""
            )
            + "</Part>"
            for number, part in page
        )
        last = f"<NextPartNumberMarker>{page[-1][0]}</NextPartNumberMarker>" if page else ""
        return _xml(
            f"<ListPartsResult {_NS}>{last}<IsTruncated>{'true' if more else 'false'}</IsTruncated>{rows}</ListPartsResult>"
        )

    def _list_multipart_uploads(self, request: Seen, _: dict[str, Stored]) -> Reply:
        encoded = request.query.get("encoding-type") == "url"
        rows = "".join(
            f"<Upload><Key>{_url(upload.key) if encoded else escape(upload.key)}</Key><UploadId>{upload_id}</UploadId>"
            f"<Initiated>{_iso(upload.begun)}</Initiated></Upload>"
            for upload_id, upload in self.uploads.items()
            if upload.key.startswith(request.query.get("prefix", ""))
        )
        return _xml(
            f"<ListMultipartUploadsResult {_NS}><IsTruncated>false</IsTruncated>{rows}</ListMultipartUploadsResult>"
        )


# --- what a request must be ----------------------------------------------------------------


def _check_signature(fake: FakeS3, request: Seen) -> None:
    said = request.headers.get("authorization", "")
    if "X-Amz-Signature" in request.query:
        _check_presigned(fake, request)
        return
    if not said.startswith("AWS4-HMAC-SHA256 "):
        raise RefusedError(403, "AccessDenied", "Anonymous users have no access here")
    parts = dict(part.strip().split("=", 1) for part in said.removeprefix("AWS4-HMAC-SHA256 ").split(","))
    access, day, region, service, _ = parts["Credential"].split("/")
    if access not in fake.keys:
        raise RefusedError(403, "InvalidAccessKeyId")
    if access in fake.expired:
        raise RefusedError(400, "ExpiredToken", "The provided token has expired.")
    if region != fake.manners.region:
        words = f"the region '{region}' is wrong; expecting '{fake.manners.region}'"
        raise RefusedError(400, "AuthorizationHeaderMalformed", words, Region=fake.manners.region)
    stamp = request.headers["x-amz-date"]
    signed_at = timegm(time.strptime(stamp, "%Y%m%dT%H%M%SZ"))
    if abs(signed_at - time.time() - fake.manners.clock) > 900 or not stamp.startswith(day):
        raise RefusedError(403, "RequestTimeTooSkewed")
    names = parts["SignedHeaders"].split(";")
    missing = [name for name in request.headers if name.startswith("x-amz-") and name not in names]
    expected = _signature(request, names, Credentials(access, fake.keys[access]), (service, region, stamp))
    if missing or not compare_digest(expected, parts["Signature"]):
        raise RefusedError(403, "SignatureDoesNotMatch", f"unsigned: {missing}")
    payload = request.headers["x-amz-content-sha256"]
    if payload != "UNSIGNED-PAYLOAD" and payload != hashlib.sha256(request.body).hexdigest():
        raise RefusedError(400, "XAmzContentSHA256Mismatch")


def _check_presigned(fake: FakeS3, request: Seen) -> None:
    said = request.query
    access, _, region, service, _ = said["X-Amz-Credential"].split("/")
    stamp, names = said["X-Amz-Date"], said["X-Amz-SignedHeaders"].split(";")
    signed_at = timegm(time.strptime(stamp, "%Y%m%dT%H%M%SZ"))
    unsigned = request.target.replace(f"&X-Amz-Signature={said['X-Amz-Signature']}", "")
    expected = _signature(
        replace(request, target=unsigned),
        names,
        Credentials(access, fake.keys.get(access, "")),
        (service, region, stamp),
    )
    if not compare_digest(expected, said["X-Amz-Signature"]):
        raise RefusedError(403, "SignatureDoesNotMatch")
    if time.time() + fake.manners.clock > signed_at + int(said["X-Amz-Expires"]):
        raise RefusedError(403, "AccessDenied", "Request has expired")


def _signature(request: Seen, names: Iterable[str], credentials: Credentials, scope: tuple[str, str, str]) -> str:
    """As botocore reckons it."""
    service, region, stamp = scope
    judge = S3SigV4Auth(credentials, service, region)
    judge.payload = lambda _: "UNSIGNED-PAYLOAD"  # asked where no header tells: of a presigned request
    seen = AWSRequest(request.method, f"http://{request.headers['host']}{request.target}")
    for name in names:
        seen.headers[name] = request.headers.get(name, "")
    seen.context["timestamp"] = stamp
    return judge.signature(judge.string_to_sign(seen, judge.canonical_request(seen)), seen)


def _checked(request: Seen, manners: Manners) -> tuple[str, str]:
    """Name and value of the checksum the request carries, which has to be right."""
    headers, found = request.headers, ("", "")
    if "content-md5" in headers and b64decode(headers["content-md5"]) != hashlib.md5(request.body).digest():
        raise RefusedError(400, "BadDigest", "The Content-MD5 you specified did not match what we received.")
    for name, reckon in ALGORITHMS.items():
        value = headers.get(f"x-amz-checksum-{name}")
        if value and name in manners.checksums_refused:
            raise RefusedError(*manners.refusal)
        if value and not manners.ignores_checksums and b64decode(value) != reckon(request.body):
            raise RefusedError(
                400, "BadDigest", f"The {name.upper()} you specified did not match the calculated checksum."
            )
        found = (name, value) if value else found
    return found


def _same_checksum(part: Stored, row: Mapping[str, str | None]) -> None:
    name, value = part.checksum
    given = row.get(f"Checksum{name.upper()}") if name else None
    if given and given != value:
        raise RefusedError(400, "InvalidPart", "a part's checksum is another")


def _is_blocked(key: str, objects: Iterable[str]) -> bool:
    return any(each.startswith(f"{key}/") or key.startswith(f"{each}/") for each in objects)


def _without(stored: Stored, lost: frozenset[str]) -> Stored:
    stored.headers = {name: value for name, value in stored.headers.items() if name not in lost}
    stored.tags = () if "tags" in lost else stored.tags
    stored.acl = "private" if "acl" in lost else stored.acl
    return stored


def _joined(parts: list[Stored], headers: dict[str, str]) -> Stored:
    body = b"".join(part.body for part in parts)
    digests = b"".join(hashlib.md5(part.body).digest() for part in parts)
    name = headers.get("x-amz-checksum-algorithm", "").lower()
    checksum = (name, b64encode(ALGORITHMS[name](body)).decode()) if name else ("", "")
    stored = Stored(body, f'"{hashlib.md5(digests).hexdigest()}-{len(parts)}"', _attributes(headers), checksum)
    stored.acl, stored.tags = _acl(headers), _tags(headers)
    return stored


def _attributes(headers: Mapping[str, str]) -> dict[str, str]:
    kept = {name: value for name, value in headers.items() if name in ATTRIBUTES or name.startswith("x-amz-meta-")}
    return {"content-type": "binary/octet-stream"} | kept


def _acl(headers: Mapping[str, str]) -> str:
    acl = headers.get("x-amz-acl", "private")
    if acl not in ("private", "public-read", "public-read-write"):
        raise RefusedError(400, "InvalidArgument", f"no such canned ACL: {acl}")
    return acl


def _tags(headers: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(parse_qsl(headers.get("x-amz-tagging", ""), keep_blank_values=True))


def _bytes(key: str) -> bytes:
    return key.encode("utf-8", "surrogateescape")


def _url(key: str) -> str:
    return quote_plus(_bytes(key), safe="/")


def _quoted(etag: str) -> str:
    return escape(etag, {'"': "&quot;"})


def _iso(when: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(when)) + f".{int(when % 1 * 1000):03d}Z"


def _xml(body: str) -> Reply:
    text = f'<?xml version="1.0" encoding="UTF-8"?>\n{body}'
    return Reply(200, {"content-type": "application/xml"}, text.encode("utf-8", "surrogateescape"))


# --- HTTP ----------------------------------------------------------------------------------


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], handler: Any) -> None:
        self.address_family = 10 if ":" in address[0] else 2
        super().__init__(address, handler)

    def handle_error(self, *_: object) -> None:
        """A client that goes away is no news."""


def _handler(fake: FakeS3) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1
        disable_nagle_algorithm = True

        def handle_one_request(self) -> None:
            self.raw_requestline = self.rfile.readline(65537)
            if not self.raw_requestline or not self.parse_request():
                self.close_connection = True
                return
            self._serve(fake.manners)
            self.wfile.flush()

        def _serve(self, manners: Manners) -> None:
            request = self._read()
            reply = fake.answer(request)
            headers = {
                "date": formatdate(time.time() + manners.clock, usegmt=True),
                "x-amz-request-id": "FAKE",
            } | reply.headers
            if request.method != "HEAD" and reply.status != 204 and "content-length" not in headers:
                if manners.answers_in_chunks:
                    headers["transfer-encoding"] = "chunked"
                elif manners.protocol == "HTTP/1.1":
                    headers["content-length"] = str(len(reply.body))
            if not manners.keeps_connections or manners.protocol == "HTTP/1.0":
                headers["connection"], self.close_connection = "close", True
            lines = [
                f"{manners.protocol} {reply.status} Whatever",
                *(f"{name}: {value}" for name, value in headers.items()),
            ]
            self.wfile.write("\r\n".join([*lines, "", ""]).encode("latin-1", "replace"))
            self._write_body(b"" if request.method == "HEAD" else reply.body, chunked="transfer-encoding" in headers)

        def _write_body(self, body: bytes, *, chunked: bool) -> None:
            if not chunked:
                self.wfile.write(body)
                return
            for at in range(0, len(body), 1000):
                piece = body[at : at + 1000]
                self.wfile.write(b"%x;name=value\r\n%s\r\n" % (len(piece), piece))
                self.wfile.flush()
            self.wfile.write(b"0\r\nx-trailer: yes\r\n\r\n")

        def _read(self) -> Seen:
            headers = {name.lower(): value for name, value in self.headers.items()}
            body = self.rfile.read(int(headers.get("content-length", 0)))
            target = "/" + self.path.split("/", 3)[3] if self.path.startswith("http://") else self.path  # as a proxy
            path, _, query = target.partition("?")
            bucket, _, key = path[1:].partition("/")
            pairs = dict(parse_qsl(query, keep_blank_values=True, errors="surrogateescape"))
            name = unquote(key, errors="surrogateescape")
            return Seen(self.command, target, unquote(bucket), name, pairs, headers, body, self.client_address)

        def log_message(self, *_: object) -> None:
            """Tests look at ``fake.requests``."""

    return Handler
