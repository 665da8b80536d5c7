"""One table: what comes of each call, in either lane, when it is answered in a way that is not S3's.

Each test sends one kind of answer to every call. The table of results is printed at the end of the run.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass

import pytest

import s3batch.s3.boto  # noqa: F401 - importing boto3 holds everybody up, and limits are short here
from s3batch.s3 import requests
from s3batch.s3.bounds import ResponseBounds
from s3batch.s3.calls import catch_request_error, send_request
from s3batch.s3.endpoint import Endpoint, split_url
from s3batch.s3.faults import RequestError, fault_of
from s3batch.s3.lazy_boto import make_boto_sender
from s3batch.s3.requests import Request, Response
from s3batch.s3.sigv4 import Credentials
from s3batch.s3.transfer_managers import copy_large
from s3batch.s3.transport import Transport
from s3batch.s3.validation import RULES
from tests.rig.answering import Answering, Out

LANES = ("lean", "reference")
ROW = (
    "<Contents><Key>p/k</Key><LastModified>2026-11-21T20:15:00.000Z</LastModified>"
    "<ETag>&quot;e&quot;</ETag><Size>{size}</Size></Contents>"
)
LISTING = f"<ListBucketResult><IsTruncated>false</IsTruncated>{ROW}</ListBucketResult>"
PARTS = (
    "<ListPartsResult><IsTruncated>false</IsTruncated><Part><PartNumber>1</PartNumber><ETag>e</ETag>"
    "<Size>{size}</Size></Part></ListPartsResult>"
)
UPLOADS = (
    "<ListMultipartUploadsResult><IsTruncated>false</IsTruncated><Upload><Key>p/k</Key><UploadId>u</UploadId>"
    "<Initiated>2026-11-21T20:15:00.000Z</Initiated></Upload></ListMultipartUploadsResult>"
)
COPIED = "<CopyObjectResult><ETag>&quot;e&quot;</ETag></CopyObjectResult>"
BEGUN = "<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>"
COMPLETED = "<CompleteMultipartUploadResult><ETag>&quot;e-1&quot;</ETag></CompleteMultipartUploadResult>"
DELETED = "<DeleteResult></DeleteResult>"
TAGS = "<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>"
ACL = "<AccessControlPolicy><Owner><ID>o</ID></Owner><AccessControlList/></AccessControlPolicy>"


@dataclass(frozen=True)
class Right:
    """S3's own answer to a call."""

    call: Request
    body: str = ""
    status: int = 200
    etag: bool = False

    def render(self, *, size: str = "7") -> tuple[int, str, bytes]:
        """Status, headers and body; ``size`` is the number in it, where it has one."""
        return self.status, 'ETag: "e"\r\n' if self.etag else "", self.body.replace("{size}", size).encode()


SAID = {
    right.call.name: right
    for right in (
        Right(requests.put_object("k", b"body", {}), etag=True),
        Right(requests.upload_part("k", "u", 1, b"part"), etag=True),
        Right(requests.head_object("k"), etag=True),
        Right(requests.get_object("k", size=4), "body", etag=True),
        Right(requests.copy_object("k", "bucket", {}), COPIED),
        Right(requests.create_multipart_upload("k", {}), BEGUN),
        Right(requests.complete_multipart_upload("k", "u", [(1, "e", "")], "crc32", {}), COMPLETED),
        Right(requests.abort_multipart_upload("k", "u"), status=204),
        Right(requests.delete_object("k"), status=204),
        Right(requests.delete_objects(["k", "l"]), DELETED),
        Right(requests.list_objects("p/"), LISTING),
        Right(requests.list_parts("k", "u"), PARTS),
        Right(requests.list_multipart_uploads("p/"), UPLOADS),
        Right(requests.get_object_tagging("k"), TAGS),
        Right(requests.get_object_acl("k"), ACL),
        Right(Request("PutObjectTagging", "PUT", "k", "tagging=", {}, TAGS.encode())),
        Right(Request("PutObjectAcl", "PUT", "k", "acl=", {"x-amz-acl": "private"})),
    )
}
WITHOUT_DOCUMENT = frozenset(name for name, right in SAID.items() if not right.body) | {"GetObject"}
EMPTY_IS_RIGHT = frozenset({"AbortMultipartUpload", "DeleteObject", "PutObjectTagging", "PutObjectAcl"})

Kind = Callable[[str, Out], object]


def message(status: int, headers: str, body: bytes, *, method_has_body: bool = True) -> bytes:
    sent = body if method_has_body and status != 204 else b""
    return f"HTTP/1.1 {status} Said\r\n{headers}Content-Length: {len(body)}\r\n\r\n".encode() + sent


def say(name: str, out: Out, status: int, headers: str, body: bytes) -> bool:
    out.write(message(status, headers, body, method_has_body=name != "HeadObject"))
    return True


def right(name: str, out: Out) -> object:
    return say(name, out, *SAID[name].render())


def page(name: str, out: Out) -> object:
    return say(name, out, 200, "Content-Type: text/html\r\n", b"<html><body>Please sign in</body></html>")


def page_with_etag(name: str, out: Out) -> object:
    headers = 'Content-Type: text/html\r\nETag: "5f-6432"\r\nLast-Modified: Sat, 21 Nov 2026 20:15:00 GMT\r\n'
    return say(name, out, 200, headers, b"<!doctype html><html><body>Welcome</body></html>")


def empty(name: str, out: Out) -> object:
    return say(name, out, 200, "", b"")


def no_content(name: str, out: Out) -> object:
    return say(name, out, 204, "", b"")


def of_another_call(name: str, out: Out) -> object:
    other = DELETED if name != "DeleteObjects" else COPIED
    return say(name, out, 200, "Content-Type: application/xml\r\n", other.encode())


def cut(name: str, out: Out) -> object:
    status, headers, body = SAID[name].render()
    return say(name, out, status, headers, body[: len(body) * 2 // 3])


def cut_connection(name: str, out: Out) -> object:
    status, headers, body = SAID[name].render()
    whole = message(status, headers, body or b"body", method_has_body=name != "HeadObject")
    out.write(whole[: len(whole) - 3] if name != "HeadObject" else whole[:20])
    return False


def huge_number(name: str, out: Out) -> object:
    status, headers, body = SAID[name].render(size="9" * 5000)
    if b"99" in body:
        return say(name, out, status, headers, body)
    out.write(f"HTTP/1.1 200 OK\r\n{headers}Content-Length: {'9' * 5000}\r\n\r\n".encode())
    return True


def endless(name: str, out: Out) -> object:
    _status, headers, _body = SAID[name].render()
    kept = "" if name == "HeadObject" else "Transfer-Encoding: chunked\r\n"
    out.write(f"HTTP/1.1 200 OK\r\n{headers}{kept}\r\n".encode())
    while name != "HeadObject":
        out.write(b"10000\r\n" + b" " * 0x10000 + b"\r\n")
    return False


def dripping(name: str, out: Out) -> object:
    _status, headers, _body = SAID[name].render()
    out.write(b"HTTP/1.1 200 OK\r\n" + headers.encode())
    for byte in b"X-Slow: " + b"x" * 10_000:
        out.write(bytes([byte]))
        out.wait(DRIP)
    return False


def dripping_body(name: str, out: Out) -> object:
    _status, headers, _body = SAID[name].render()
    out.write(f"HTTP/1.1 200 OK\r\n{headers}Content-Length: 1000\r\n\r\n".encode())
    for _ in range(1000):
        out.write(b"x")
        out.wait(DRIP)
    return False


def endless_continue(name: str, out: Out) -> object:
    while True:
        out.write(b"HTTP/1.1 100 Continue\r\n\r\n" * 100)


def endless_headers(name: str, out: Out) -> object:
    out.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        out.write(b"X-More: of the same\r\n" * 100)


def endless_chunk_line(name: str, out: Out) -> object:
    _, headers, _ = SAID[name].render()
    out.write(f"HTTP/1.1 200 OK\r\n{headers}Transfer-Encoding: chunked\r\n\r\n".encode())
    while True:
        out.write(b"0" * 100_000)


def strange_length(name: str, out: Out) -> object:
    _, headers, _ = SAID[name].render()
    out.write(f"HTTP/1.1 200 OK\r\n{headers}Content-Length: 1x\r\n\r\n".encode())
    return True


def redirect(name: str, out: Out) -> object:
    return say(name, out, 307, "Location: /bucket/k\r\n", b"")


def hidden_error(name: str, out: Out) -> object:
    body = b"\n <Error><Code>InternalError</Code><Message>We are sorry</Message></Error>"
    return say(name, out, 200, "Content-Type: application/xml\r\n", body)


def page_of_404(name: str, out: Out) -> object:
    return say(name, out, 404, "Content-Type: text/html\r\n", b"<html><body>Not Found</body></html>")


DRIP = 0.05
"""Seconds between two bytes; the time limits of these tests are as much shorter than a job's."""
MALFORMED, TIMEOUT, LOST = "MalformedAnswer", "Timeout", "Connection"
BROKEN = frozenset({MALFORMED, TIMEOUT, LOST})
"""What an answer may count as that is none: each is tried again."""


@dataclass(frozen=True)
class Expected:
    """What may come of a kind of answer, by call."""

    kind: Kind
    codes: frozenset[str] = frozenset({MALFORMED})
    right_for: frozenset[str] = frozenset()
    """Calls to which it is S3's answer."""
    other: dict[str, frozenset[str]] | None = None
    """Calls for which other codes are right."""
    seconds: float = 10.0
    """The timeout, and as much grace; short where that is what ends it."""


OBJECT_IS_FREE = frozenset({"GetObject"})
"""Of an object any content may be right; what it should be, those who asked know."""
TABLE = {
    "200 text/html": Expected(page),
    "200 text/html, ETag": Expected(
        page_with_etag, right_for=frozenset({"HeadObject"}),
        other={
            "GetObject": frozenset({"TooLarge"}), "GetObjectTagging": frozenset({"NotImplemented"}),
            "GetObjectAcl": frozenset({"NotImplemented"}),
        },
    ),
    "200, empty": Expected(empty, right_for=EMPTY_IS_RIGHT),
    "204": Expected(no_content, right_for=frozenset({"AbortMultipartUpload", "DeleteObject"})),
    "another call's": Expected(of_another_call),
    "a cut document": Expected(cut, right_for=WITHOUT_DOCUMENT),
    "a cut connection": Expected(cut_connection, BROKEN),
    "5,000 digits": Expected(huge_number),
    "endless body": Expected(endless, BROKEN, frozenset({"HeadObject"})),
    "endless chunk line": Expected(endless_chunk_line, BROKEN, frozenset({"HeadObject"})),
    "endless headers": Expected(endless_headers, BROKEN),
    "endless 100s": Expected(endless_continue, BROKEN),
    "a byte at a time": Expected(dripping, frozenset({TIMEOUT}), seconds=0.4),
    "a byte of body": Expected(
        dripping_body, BROKEN, frozenset({"HeadObject"}), other={"GetObject": frozenset({"TooLarge", TIMEOUT})},
        seconds=0.4,
    ),
    "length 1x": Expected(strange_length),
    "307 for ever": Expected(redirect, frozenset({"TemporaryRedirect"})),
    "error in a 200": Expected(
        hidden_error,
        frozenset({"InternalError"}),
        other={"HeadObject": frozenset({MALFORMED}), "GetObject": frozenset({MALFORMED})},
    ),
    "404 text/html": Expected(
        page_of_404,
        other={
            "PutObject": frozenset({"NotFound"}), "CreateMultipartUpload": frozenset({"NotFound"}),
            "HeadObject": frozenset({"NotFound"}),
        },
    ),
    "S3's answer": Expected(right, right_for=frozenset(SAID)),
}  # fmt: skip


BOUNDS = ResponseBounds(document=1 << 20, error=1 << 18, kept_alive=1.0)
"""Limits that a test can wait for."""


def lane_to(url: str, lane: str, timeout: float = 10.0, **limits: float) -> Transport:
    host, port, tls, _ = split_url(url)
    endpoint = Endpoint(
        bucket="bucket", region="us-east-1", host=host, port=port, tls=tls, path_style=True, url=url, lane=lane,
        credentials=Credentials("key", "secret"), timeout=timeout,
        bounds=BOUNDS._replace(**limits),
    )  # fmt: skip
    return Transport(endpoint, make_boto_sender, limit=32)


def all_at_once(lane: Transport) -> dict[str, object]:
    """What comes of each call."""
    came: dict[str, object] = {}
    for name, said in SAID.items():
        lane.loop.start(
            catch_request_error(send_request(said.call)), lambda value, name=name: came.__setitem__(name, value)
        )
    while len(came) < len(SAID):
        lane.turn(0.2)
    return came


def code_of(came: object) -> str:
    if isinstance(came, RequestError):
        return came.fault.code
    assert isinstance(came, Response)
    return "taken" if came.ok else fault_of(came).code


@pytest.mark.parametrize("lane", LANES)
@pytest.mark.parametrize("kind", TABLE)
def test_what_is_not_s3s_answer_to_a_call_is_none(kind, lane, record_property):
    expected = TABLE[kind]
    with Answering(expected.kind) as server:
        open_lane = lane_to(server.url, lane, expected.seconds, grace=expected.seconds)
        came = all_at_once(open_lane)
        open_lane.close()
    codes = {name: code_of(value) for name, value in came.items()}
    record_property("answers", (lane, kind, codes))

    right = {name: frozenset({"taken"}) for name in expected.right_for} | (expected.other or {})
    assert {name: code for name, code in codes.items() if code not in right.get(name, expected.codes)} == {}


def test_the_table_is_about_every_call():
    made = {
        getattr(requests, name) for name in dir(requests) if name.endswith(("object", "objects", "upload", "uploads"))
    }

    assert RULES.keys() >= SAID.keys()
    assert len(made) <= len(SAID)


@pytest.mark.parametrize("lane", LANES)
@pytest.mark.parametrize("name", ["CompleteMultipartUpload", "CopyObject"])
@pytest.mark.parametrize("framing", ["chunked", "to the end"])
def test_spaces_keep_a_long_call_alive(name, framing, lane):
    """S3 sends the head at once, then spaces while it works, for longer than any other answer may take."""

    def slowly(asked: str, out: Out) -> object:
        if asked != name:
            return right(asked, out)
        chunked = framing == "chunked"
        out.write(
            f"HTTP/1.1 200 OK\r\n{'Transfer-Encoding: chunked' if chunked else 'Connection: close'}\r\n\r\n".encode()
        )
        for piece in [b'<?xml version="1.0"?>\n', *[b" "] * 20, SAID[name].body.encode()]:
            out.write(b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece)
            out.wait(0.1)
        out.write(b"0\r\n\r\n" if chunked else b"")
        return False

    with Answering(slowly) as server:
        open_lane = lane_to(server.url, lane, 0.5, kept_alive=20.0, grace=0.1)
        answer = open_lane.call(SAID[name].call)
        open_lane.close()

    assert answer.ok


@pytest.mark.parametrize("lie", ["CreateMultipartUpload", "UploadPartCopy", "CompleteMultipartUpload", ""])
def test_a_copy_in_parts_believes_only_s3(lie, monkeypatch):
    """s3transfer's own requests are judged too, and tried again."""
    monkeypatch.setattr("random.uniform", lambda least, _: least)

    def answer(name: str, out: Out) -> object:
        if name == lie:
            return page(name, out)
        if name == "UploadPartCopy":
            return say(name, out, 200, "", COPIED.encode())
        if name == "HeadObject":
            out.write(b'HTTP/1.1 200 OK\r\nETag: "e"\r\nContent-Length: 30000000\r\n\r\n')
            return True
        return right(name, out)

    with Answering(answer) as server:
        lane = lane_to(server.url, "reference")
        expected = pytest.raises(RequestError, match=f"{lie} was answered with 200 text/html") if lie else nullcontext()
        with expected as refused:
            copy_large(lane.endpoint, "k", 10 << 20, {"content-type": "a/b"})
        lane.close()

    assert refused is None or refused.value.fault.retryable
    assert not lie or server.names[lie] >= 4
