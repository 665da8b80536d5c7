"""A plain PUT goes the short way while all is as usual, says what the general way says, and misses nothing that it sees."""

from __future__ import annotations

import gc
import hashlib
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from s3batch.executors.worker_loop import WorkerLoop
from s3batch.model import Kind, Operation, Reason, Result
from s3batch.objects.attributes import AttributeRules
from s3batch.s3 import checksums, clock, plain_heads, requests
from s3batch.s3.answer_forms import AnswerForm
from s3batch.s3.endpoint import Endpoint
from s3batch.s3.plain_body import PlainBody
from s3batch.s3.plain_heads import PlainHeadWriter
from s3batch.s3.request_heads import HeadWriter
from s3batch.s3.sigv4 import Credentials, UnsafeTextError
from s3batch.settings.table import Settings
from s3batch.worker.context import Brief
from s3batch.worker.plain_upload import PlainUpload
from tests.rig.scripted import CLOSE, RESET, Scripted, Step, wait
from tests.rig.short_way import carry_out_alone, note_unfolded
from tests.rig.stamps import stamp_at

BODY = b"a plain body"
CRC = checksums.checksum_of("crc64nvme", BODY)
MD5 = hashlib.md5(BODY).hexdigest()
USUAL = {
    "Date": "Sun, 29 Nov 2026 13:00:00 GMT", "x-amz-request-id": "r1", "ETag": f'"{MD5}"',
    "x-amz-checksum-crc64nvme": CRC, "Content-Length": "0",
}  # fmt: skip
NAME = "x-amz-checksum-crc64nvme"


def answer(status: str = "HTTP/1.1 200 OK", rest: bytes = b"", **changes: str) -> bytes:
    """Return the usual answer with these changes; an underscore in a name is a hyphen, an empty value leaves it out."""
    headers = USUAL | {name.replace("_", "-"): value for name, value in changes.items()}
    lines = [f"{name}: {value}" for name, value in headers.items() if value]
    return "\r\n".join([status, *lines, "\r\n"]).encode() + rest


REFUSED = b"HTTP/1.1 503 Slow\r\nContent-Length: 0\r\n\r\n"
NO_PROOF: dict[str, str] = {"ETag": '"another"', NAME.replace("-", "_"): ""}


# --- the form of an answer -----------------------------------------------------------------


def test_the_form_of_the_usual_answer_finds_what_is_new_in_the_next_one() -> None:
    form = AnswerForm.of_stored(answer().decode(), NAME)
    assert form is not None

    found = form.pattern.fullmatch(answer(ETag='"next-1"', x_amz_request_id="r 2", Date="now").decode())

    assert found is not None
    assert found.group("etag", "date", "id", "version", "checksum") == ("next-1", "now", "r 2", "", CRC)


def test_the_form_of_a_bucket_with_versions_finds_the_version() -> None:
    form = AnswerForm.of_stored(answer(x_amz_version_id="v1").decode(), NAME)
    assert form is not None

    found = form.pattern.fullmatch(answer(x_amz_version_id="v2").decode())

    assert found is not None
    assert found.group("version") == "v2"


def test_the_form_of_a_store_that_repeats_no_checksum_and_tells_no_time() -> None:
    form = AnswerForm.of_stored(answer(Date="", x_amz_request_id="", **{NAME: ""}).decode(), NAME)

    assert form is not None
    found = form.pattern.fullmatch(answer(Date="", x_amz_request_id="", **{NAME: ""}).decode())
    assert found is not None
    assert found.group("etag", "date", "id", "checksum") == (MD5, "", "", "")


ODD = {
    "HTTP/1.0": answer("HTTP/1.0 200 OK"),
    "another success": answer("HTTP/1.1 202 Accepted"),
    "close": answer(Connection="close"),
    "chunks": answer(Transfer_Encoding="chunked", Content_Length=""),
    "a body": answer(rest=b"hello", **{"Content-Length": "5"}),
    "more than an answer": answer(rest=b"HTTP/1.1 200 OK"),
    "no length": answer(**{"Content-Length": ""}),
    "no ETag": answer(ETag=""),
    "half of it": answer()[:-2],
    "a header twice": answer(etag='"x"'),
    "no name": answer(**{"": "x"}),
    "an interim answer": b"HTTP/1.1 100 Continue\r\n\r\n" + answer(),
}


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
def test_no_form_is_learned_from_another_answer(odd: bytes) -> None:
    assert AnswerForm.of_stored(odd.decode(), NAME) is None


@pytest.mark.parametrize(
    "odd",
    [*ODD.values(), answer(ETag="no quotes"), answer(ETag='""'), answer(Content_MD5="x"), answer(x_amz_request_id="")],
)
def test_the_form_fits_no_other_answer(odd: bytes) -> None:
    form = AnswerForm.of_stored(answer().decode(), NAME)
    assert form is not None
    assert form.pattern.fullmatch(odd.decode()) is None


def test_an_etag_under_kms_is_no_md5_and_so_no_proof() -> None:
    encrypted = {"x-amz-server-side-encryption": "aws:kms"}

    assert AnswerForm.of_stored(answer(**encrypted).decode(), NAME) is not None
    assert AnswerForm.of_stored(answer(**encrypted, **{NAME: ""}).decode(), NAME) is None
    form = AnswerForm.of_stored(answer(**{NAME: ""}).decode(), NAME)
    assert form is not None
    assert form.pattern.fullmatch(answer(**encrypted, **{NAME: ""}).decode()) is None


# --- the head ------------------------------------------------------------------------------

ENDPOINT = Endpoint(
    bucket="b", region="r", host="127.0.0.1", port=1, tls=False, path_style=True,
    credentials=Credentials("key", "secret", "token"),
)  # fmt: skip


class Put(PlainBody):
    """A PUT that ends nowhere."""

    def stored(self, etag: str, date: str, request_id: str, version: str, seconds: float) -> None:
        raise AssertionError

    def unfold(self, request: requests.Request) -> Any:
        raise AssertionError


@pytest.mark.parametrize("key", ["a", "d\xf6 r/%41+.txt", "line\nbreak", "\udcff"])
@pytest.mark.parametrize("body", [b"", BODY, b"x" * 70_000])
@pytest.mark.parametrize(
    ("headers", "checksum", "changes"),
    [
        ({"content-type": "text/plain"}, (NAME, CRC), {}),
        ({"x-amz-meta-a": "100 %s  of ", "x-amz-acl": "private"}, ("content-md5", "x=="), {"sign_payload": "always"}),
        ({}, ("x-amz-checksum-sha256", "y="), {"sign_payload": "never", "credentials": Credentials("k", "s")}),
        ({"expires": "x"}, (NAME, CRC), {"customer_key": "a2V5", "path_style": False, "base_path": "/p"}),
    ],
)
def test_the_head_is_the_one_of_the_general_way(
    key: str, body: bytes, headers: dict[str, str], checksum: tuple[str, str], changes: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(plain_heads.time, "time", lambda: 1_700_000_000.9)
    monkeypatch.setattr(clock, "offsets", {("127.0.0.1", 1): 7.0})
    endpoint = ENDPOINT._replace(**changes)
    writer = HeadWriter(endpoint)
    assert writer.signer is not None
    general = writer.of(requests.put_object(key, body, {**headers, checksum[0]: checksum[1]}))
    short = PlainHeadWriter(endpoint, writer.signer)

    put = Put(1, key, body, headers, "f", checksum)
    assert [sorted(short.of(put).split(b"\r\n")) for _ in range(2)] == [sorted(general.split(b"\r\n"))] * 2


def test_each_second_and_each_checksum_has_a_form_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1_700_000_000.0]
    monkeypatch.setattr(plain_heads.time, "time", lambda: now[0])
    signer = HeadWriter(ENDPOINT).signer
    assert signer is not None
    writer = PlainHeadWriter(ENDPOINT, signer)
    first = writer.of(Put(1, "a", BODY, {}, "f", (NAME, CRC)))
    now[0] += 1
    second = writer.of(Put(1, "a", BODY, {}, "f", (NAME, CRC)))
    other = writer.of(Put(1, "a", BODY, {}, "f", ("x-amz-checksum-crc32", "c")))

    assert b"T221320Z" in first
    assert b"T221321Z" in second
    assert b"x-amz-checksum-crc32: c" in other
    assert NAME.encode() not in other


@pytest.mark.parametrize(
    ("headers", "base_path"),
    [({"x-amz-meta-a": "x\r\nevil: 1"}, ""), ({"x-amz-meta-a": "\1payload\1"}, ""), ({}, "/x\n")],
)
def test_a_form_that_a_text_would_break_is_refused(headers: dict[str, str], base_path: str) -> None:
    endpoint = ENDPOINT._replace(base_path=base_path)
    signer = HeadWriter(endpoint).signer
    assert signer is not None
    with pytest.raises(UnsafeTextError):
        PlainHeadWriter(endpoint, signer).of(Put(1, "a", BODY, headers, "f", (NAME, CRC)))


# --- over a socket -------------------------------------------------------------------------

Upload = Callable[..., Result]
AT_REST = 0.03
"""Seconds after which no write leaves a file's stamp as it is."""


@pytest.fixture
def general(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the rows of uploads that went the general way."""
    return note_unfolded(monkeypatch, PlainUpload)


@pytest.fixture
def upload_to(tmp_path: Path) -> Iterator[Callable[..., Upload]]:
    """Return a function that makes a worker for a server; it uploads the body as one row, and returns the result."""
    made: list[WorkerLoop] = []

    def connect(server: Scripted, **settings: Any) -> Upload:
        endpoint = ENDPOINT._replace(port=server.port, timeout=5.0, **settings)
        rules = AttributeRules.from_settings(Settings(bucket="b"), str(tmp_path))
        runner = WorkerLoop(Brief(endpoint=endpoint, root=str(tmp_path), rules=rules))
        runner.transport.writes.open(math.inf)
        made.append(runner)
        for row in range(1, 7):
            (tmp_path / f"{row}.txt").write_bytes(BODY)
        time.sleep(AT_REST)

        def upload(row: int, body: bytes = BODY) -> Result:
            path = tmp_path / f"{row}.txt"
            if body != BODY:
                path.write_bytes(body)
                time.sleep(AT_REST)
            stamp = stamp_at(path)
            operation = Operation(Kind.UPLOAD, f"{row}.txt", Reason.MISSING, f"{row}.txt", len(body), stamp, id=row)
            return carry_out_alone(runner, operation)

        return upload

    yield connect
    for runner in made:
        runner.transport.close()


def test_it_goes_the_short_way_once_the_form_is_known_and_says_the_same(
    upload_to: Callable[..., Upload], general: list[int]
) -> None:
    with Scripted([[answer()] * 4]) as server:
        upload = upload_to(server)
        results = [upload(row) for row in (1, 2, 3, 4)]

    assert general == [1]  # the first answer of its form
    assert len(server.heads) == 4
    assert len({result._replace(id=0, seconds=0.0, fingerprint="") for result in results}) == 1
    assert (results[3].id, results[3].etag, results[3].checksum, results[3].request_id) == (4, MD5, CRC, "r1")
    assert (results[3].sent, results[3].error, results[3].date > 0) == (len(BODY), "", True)


def test_the_etag_is_the_proof_of_a_store_that_repeats_no_checksum(
    upload_to: Callable[..., Upload], general: list[int]
) -> None:
    plain = answer(**{NAME: ""})
    with Scripted([[plain, plain, plain, answer(ETag=f'"{MD5[::-1]}"', **{NAME: ""}), plain]]) as server:
        upload = upload_to(server)
        codes = [upload(row).code for row in (1, 2, 3, 4)]

    assert codes == ["", "", "", "ChecksumMismatch"]
    assert general == [1, 4]


@pytest.mark.parametrize(
    ("steps", "code"),
    [
        pytest.param([answer(**{NAME: "AAAAAAAAAAA="})], "ChecksumMismatch", id="another checksum"),
        pytest.param([REFUSED], "ServiceUnavailable", id="a refusal"),
        pytest.param([b"HTTP/1.1 200 OK\r\n", wait(0.05), answer()[17:]], "", id="in two pieces"),
        pytest.param([b"HTTP/1.1 100 Continue\r\n\r\n", answer()], "", id="an interim answer"),
        pytest.param([answer(Connection="close")], "", id="the last one of the connection"),
        pytest.param([answer(Server="another")], "", id="one more header"),
        pytest.param([answer(ETag="")], "MalformedAnswer", id="no ETag"),
        pytest.param([b"no HTTP at all\r\n\r\n"], "MalformedAnswer", id="no HTTP"),
    ],
)
def test_any_other_answer_is_judged_by_the_general_way(
    upload_to: Callable[..., Upload], general: list[int], steps: list[Step], code: str
) -> None:
    with Scripted([[answer()] * 3 + steps + [answer()] * 2, [answer()] * 3]) as server:
        upload = upload_to(server)
        for row in (1, 2, 3):
            upload(row)
        result = upload(4)
        after = [upload(row).error for row in (5, 6)]

    assert result.code == code
    assert (result.error == "") == (code == "")
    assert general[:2] == [1, 4]
    assert after == ["", ""]


@pytest.mark.parametrize("end", [CLOSE, RESET])
def test_a_connection_that_the_store_had_closed_is_replaced_once(
    upload_to: Callable[..., Upload], general: list[int], end: Step
) -> None:
    with Scripted([[answer()] * 3 + [end], [answer()] * 3]) as server:
        upload = upload_to(server)
        errors = [upload(row).error for row in (1, 2, 3, 4)]

    assert errors == [""] * 4
    assert general == [1, 4]
    assert server.connections == 2


def test_a_body_that_the_socket_does_not_take_at_once_arrives_whole(
    upload_to: Callable[..., Upload], general: list[int]
) -> None:
    body = bytes(range(256)) * 4096
    told = answer(ETag=f'"{hashlib.md5(body).hexdigest()}"', **{NAME: checksums.checksum_of("crc64nvme", body)})
    with Scripted([[answer(), answer(), told]]) as server:
        upload = upload_to(server)
        errors = [upload(1).error, upload(2).error, upload(3, body).error]

    assert errors == [""] * 3
    assert server.bodies[2] == body


def test_a_content_md5_is_no_checksum_that_the_store_keeps(
    upload_to: Callable[..., Upload], general: list[int]
) -> None:
    with Scripted([[answer(**{NAME: ""})] * 3]) as server:
        upload = upload_to(server, checksum="md5")
        results = [upload(row) for row in (1, 2, 3)]

    assert general == [1]
    assert [(result.error, result.etag, result.checksum) for result in results] == [("", MD5, "")] * 3
    assert all(b"content-md5: " in head for _, head in server.heads)


def test_an_idle_connection_does_not_hold_the_body_of_its_last_request(upload_to: Callable[..., Upload]) -> None:
    with Scripted([[answer()] * 3]) as server:
        upload_to(server)(1)
        gc.collect()
        held = [each for each in gc.get_objects() if type(each) is requests.Request and bytes(each.body) == BODY]

    assert held == []


def test_the_reference_lane_and_requests_without_signature_take_no_short_way(
    upload_to: Callable[..., Upload], general: list[int]
) -> None:
    with Scripted([[answer()] * 3]) as server:
        upload = upload_to(server, credentials=None)
        errors = [upload(row).error for row in (1, 2, 3)]

    assert errors == [""] * 3
    assert general == [1, 2, 3]
