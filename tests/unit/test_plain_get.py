"""A plain GET goes the short way while all is as usual, leaves what the general way leaves, and misses nothing that it sees."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from s3batch.executors.worker_loop import WorkerLoop
from s3batch.model import Kind, Operation, Reason, Result, StoredResult, Work
from s3batch.objects.attributes import AttributeRules
from s3batch.s3 import checksums, plain_heads
from s3batch.s3.answer_forms import FetchedForm
from s3batch.s3.endpoint import Endpoint
from s3batch.s3.plain_get import PLAIN_SIZE
from s3batch.s3.plain_heads import PlainHeadWriter
from s3batch.s3.request_heads import HeadWriter
from s3batch.s3.sigv4 import Credentials
from s3batch.settings.table import Settings
from s3batch.worker import fetch
from s3batch.worker.context import Brief, LocalTarget
from s3batch.worker.object_requests import make_get_request
from s3batch.worker.plain_fetch import PlainFetch, PlainFetches
from tests.rig.scripted import CLOSE, RESET, Scripted, Step, wait
from tests.rig.short_way import carry_out_alone, note_unfolded

BODY = b"a plain body"
MD5 = hashlib.md5(BODY).hexdigest()
CRC = checksums.checksum_of("crc64nvme", BODY)
SHA = checksums.checksum_of("sha256", BODY)
NAME = "x-amz-checksum-crc64nvme"
USUAL = {
    "Date": "Sun, 29 Nov 2026 13:00:00 GMT", "x-amz-request-id": "r1", "Last-Modified": "Sat, 28 Nov 2026 12:00:00 GMT",
    "ETag": f'"{MD5}"', NAME: CRC, "x-amz-checksum-type": "FULL_OBJECT", "Content-Type": "text/plain",
    "Content-Length": str(len(BODY)),
}  # fmt: skip


def answer(status: str = "HTTP/1.1 200 OK", body: bytes = BODY, **changes: str) -> bytes:
    """Return the usual answer with these changes; an underscore in a name is a hyphen, an empty value leaves it out."""
    headers = USUAL | {name.replace("_", "-"): value for name, value in changes.items()}
    return (
        "\r\n".join([status, *(f"{name}: {value}" for name, value in headers.items() if value), "\r\n"]).encode() + body
    )


def head(**changes: str) -> str:
    return answer(body=b"", **changes).decode()


REFUSED = b"HTTP/1.1 503 Slow\r\nContent-Length: 0\r\n\r\n"
GONE = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
CHANGED = b"HTTP/1.1 412 Precondition Failed\r\nContent-Length: 0\r\n\r\n"
OTHER_CRC = "AAAAAAAAAAA="
NO_CRC: dict[str, str] = {NAME: "", "x-amz-checksum-type": ""}


# --- the form of an answer -----------------------------------------------------------------


def test_the_form_of_the_usual_answer_finds_what_is_new_in_the_next_one() -> None:
    form = FetchedForm.of(head(x_amz_meta_mtime="1500000000", x_amz_meta_color="red"))
    assert form is not None

    told = form.read(
        head(ETag='"next-1"', x_amz_request_id="r 2", Date="now", Content_Type="image/png", x_amz_meta_mtime="7", x_amz_meta_color="")
        .replace("Content-Length: 12", "Content-Length: 345")
        .replace("x-amz-meta-mtime: 7\r\n", "x-amz-meta-mtime: 7\r\nx-amz-meta-color: \r\n")
    )  # fmt: skip

    assert told == {
        "etag": '"next-1"', "x-amz-request-id": "r 2", "content-length": "345", "x-amz-meta-mtime": "7",
        "last-modified": USUAL["Last-Modified"], NAME: CRC, "x-amz-checksum-type": "FULL_OBJECT",
    }  # fmt: skip


@pytest.mark.parametrize(
    "odd",
    [
        answer("HTTP/1.0 200 OK", b"").decode(), answer("HTTP/1.1 206 Partial Content", b"").decode(), head(Connection="close"),
        head(Transfer_Encoding="chunked"), head(Content_Range="bytes 0-3/9"), head(ETag=""), head(Last_Modified=""),
        head(**{"Content-Length": ""}), head(x_amz_meta_s3cmd_attrs="mtime:5"), head()[:-2], head(etag='"x"'), head(**{"": "x"}),
        answer().decode(), "HTTP/1.1 100 Continue\r\n\r\n" + head(),
    ],
)  # fmt: skip
def test_no_form_is_learned_from_another_answer(odd: str) -> None:
    assert FetchedForm.of(odd) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"ETag": "unquoted"}, {"ETag": '""'}, {"ETag": 'W/"x"'}, {"Content-Length": "4,4"}, {"Content-Length": "-1"}, {NAME: ""},
        {"x-amz-checksum-type": "COMPOSITE"}, {"x-amz-server-side-encryption": "aws:kms"}, {"Connection": "close"},
        {"Server": "another"}, {"Last-Modified": ""}, {"x-amz-meta-mtime": "5"},
    ],
)  # fmt: skip
def test_the_form_fits_no_answer_that_says_more_or_less(changes: dict[str, str]) -> None:
    form = FetchedForm.of(head())
    assert form is not None
    assert form.read(head(**changes)) is None


def test_an_answer_is_read_once_all_of_it_is_there() -> None:
    forms: list[FetchedForm] = []
    made = PlainFetch(1, "k", MD5, len(BODY))
    assert made.read_answer(forms, answer()) is None
    assert len(forms) == 1

    for end in range(len(answer())):
        assert made.lacks(answer()[:end])
        assert made.read_answer(forms, answer()[:end]) is None
    assert not made.lacks(answer())
    told = made.read_answer(forms, answer())
    assert told is not None
    assert told[1] == BODY
    assert not made.lacks(answer() + b"!")
    assert made.read_answer(forms, answer() + b"!") is None


# --- the head ------------------------------------------------------------------------------

ENDPOINT = Endpoint(
    bucket="b", region="r", host="127.0.0.1", port=1, tls=False, path_style=True,
    credentials=Credentials("key", "secret", "token"),
)  # fmt: skip


@pytest.mark.parametrize("key", ["a", "d\xf6 r/%41+.txt", "line\nbreak", "\udcff"])
@pytest.mark.parametrize("changes", [{}, {"customer_key": "k" * 32}, {"request_payer": True}], ids=str)
def test_the_head_is_the_one_that_the_general_way_writes(
    monkeypatch: pytest.MonkeyPatch, key: str, changes: dict[str, Any]
) -> None:
    monkeypatch.setattr(plain_heads.time, "time", lambda: 1_700_000_000.9)
    endpoint = ENDPOINT._replace(**changes)
    writer = HeadWriter(endpoint)
    assert writer.signer is not None
    work = Work(Operation(Kind.DOWNLOAD, key, Reason.MISSING, "f", 5, etag="100%s-e"))
    made = PlainFetch(1, key, "100%s-e", 5)
    made.work = work

    short = PlainHeadWriter(endpoint, writer.signer).of(made)

    assert short == writer.of(make_get_request(work.operation))
    assert short == writer.of(made.make_request())


# --- the way -------------------------------------------------------------------------------

Fetch = Callable[..., Result]


@pytest.fixture
def general(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the rows of fetches that went the general way."""
    return note_unfolded(monkeypatch, PlainFetch)


@pytest.fixture
def loops() -> list[WorkerLoop]:
    """Return the workers that the test has made."""
    return []


@pytest.fixture
def fetch_from(tmp_path: Path, loops: list[WorkerLoop]) -> Iterator[Callable[..., Fetch]]:
    """Return a function that makes a worker for a server; it fetches a row into ``site``, and returns the result."""

    def connect(server: Scripted, preserve: frozenset[str] = frozenset()) -> Fetch:
        root = tmp_path / "site"
        (root / ".s3batch/tmp").mkdir(parents=True, exist_ok=True)
        rules = AttributeRules.from_settings(Settings(bucket="b"), str(root))
        runner = WorkerLoop(
            Brief(
                endpoint=ENDPOINT._replace(port=server.port, timeout=5.0), root=str(root), rules=rules, sends=False,
                extensions=fetch.EXTENSIONS, target=LocalTarget(root=str(root), prefix="", preserve=preserve),
            )
        )  # fmt: skip
        runner.transport.writes.open(math.inf)
        loops.append(runner)

        def run(row: int, etag: str = MD5, size: int = len(BODY)) -> Result:
            operation = Operation(Kind.DOWNLOAD, f"k{row}", Reason.MISSING, f"d/{row}", size, etag=etag, id=row)
            result = carry_out_alone(runner, operation)
            assert not runner.transport.loop.parked
            assert os.listdir(root / ".s3batch/tmp") == []
            return result

        return run

    yield connect
    for runner in loops:
        runner.transport.close()


def left_by(result: Result) -> tuple[Any, ...]:
    """Return what two fetches of the same object have in common."""
    told = result._replace(id=0, seconds=0.0, stamp=None)
    return (*told, result.stamp is not None and (result.stamp.size, result.stamp.mtime_ns))


def test_it_goes_the_short_way_once_the_form_is_known_and_leaves_the_same(
    fetch_from: Callable[..., Fetch], general: list[int], tmp_path: Path
) -> None:
    with Scripted([[answer()] * 4]) as server:
        run = fetch_from(server)
        results = [run(row) for row in (1, 2, 3, 4)]

    assert general == [1]  # the first answer of its form
    assert len(server.heads) == 4
    assert {type(result) for result in results} == {StoredResult}
    assert len({left_by(result) for result in results}) == 1
    for row in (1, 2, 3, 4):
        file = tmp_path / "site/d" / str(row)
        assert file.read_bytes() == BODY
        assert os.stat(file).st_mtime == results[row - 1].date == 1795867200
        assert results[row - 1].stamp is not None
        assert results[row - 1].stamp.inode == os.stat(file).st_ino


def test_what_comes_the_short_way_is_counted_as_bytes_on_the_wire(
    fetch_from: Callable[..., Fetch], general: list[int], loops: list[WorkerLoop]
) -> None:
    with Scripted([[answer()] * 4]) as server:
        run = fetch_from(server)
        counts = []
        for row in (1, 2, 3, 4):
            run(row)
            counts.append(loops[0].transport.wire[0])

    assert general == [1]
    assert counts == [row * len(answer()) for row in (1, 2, 3, 4)]


CASES: dict[str, tuple[list[Step], bool, str]] = {
    "the usual answer": ([answer()], True, ""),
    "another object": ([answer(ETag='"other"')], False, "Changed"),
    "other bytes": ([answer(body=BODY[::-1])], True, "BadDigest"),
    "another checksum": ([answer(**{NAME: OTHER_CRC})], True, "BadDigest"),
    "a checksum of parts": ([answer(**{NAME: OTHER_CRC, "x-amz-checksum-type": "COMPOSITE"})], False, ""),
    "another kind of checksum": ([answer(**NO_CRC, x_amz_checksum_sha256=SHA)], False, ""),
    "no checksum": ([answer(**NO_CRC)], False, ""),
    "no checksum, other bytes": ([answer(body=BODY[::-1], **NO_CRC)], False, "BadDigest"),
    "under KMS": ([answer(**NO_CRC, x_amz_server_side_encryption="aws:kms")], False, ""),
    "a time in its metadata": ([answer(x_amz_meta_mtime="1500000000.5")], False, ""),
    "a time of s3cmd": ([answer(x_amz_meta_s3cmd_attrs="mtime:1500000001")], False, ""),
    "another type": ([answer(**{"Content-Type": "image/png"})], True, ""),
    "less": ([answer(body=BODY[:5], **{"Content-Length": "5"})], False, "BadDigest"),
    "more": ([answer(body=BODY + b"!", **{"Content-Length": "13"})], False, "Changed"),
    "bytes behind it": ([answer(body=BODY + b"!")], False, ""),
    "a refusal": ([REFUSED], False, "ServiceUnavailable"),
    "gone": ([GONE], False, "Vanished"),
    "changed": ([CHANGED], False, "Changed"),
    "a part": ([answer("HTTP/1.1 206 Partial Content", **{"Content-Range": "bytes 0-11/12"})], False, "MalformedAnswer"),
    "in pieces": ([answer()[:20], wait(0.05), answer()[20:300], wait(0.05), answer()[300:]], False, ""),
    "its head first": ([answer(body=b""), wait(0.05), BODY[:3], wait(0.05), BODY[3:]], False, ""),
    "an interim answer": ([b"HTTP/1.1 100 Continue\r\n\r\n", answer()], False, ""),
    "the last one of the connection": ([answer(Connection="close"), CLOSE], False, ""),
    "one more header": ([answer(Server="another")], False, ""),
    "no ETag": ([answer(ETag="")], False, "MalformedAnswer"),
    "no time": ([answer(**{"Last-Modified": ""})], False, ""),
    "a time that is none": ([answer(**{"Last-Modified": "yesterday"})], True, ""),
    "chunks": ([answer(body=b"c\r\n" + BODY + b"\r\n0\r\n\r\n", Transfer_Encoding="chunked", **{"Content-Length": ""})], False, ""),
    "no HTTP": ([b"no HTTP at all\r\n\r\n"], False, "MalformedAnswer"),
    "cut, and refused on the next connection": ([answer()[:-4], CLOSE], False, "ServiceUnavailable"),
}  # fmt: skip


@pytest.mark.parametrize(("steps", "short", "code"), CASES.values(), ids=CASES)
def test_any_answer_leaves_what_the_general_way_leaves(
    fetch_from: Callable[..., Fetch], general: list[int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
    steps: list[Step], short: bool, code: str,
) -> None:  # fmt: skip
    script = [answer(), answer(), *steps]
    with Scripted([script, [REFUSED]]) as server:
        run = fetch_from(server)
        results = [run(row) for row in (1, 2, 3)]
    monkeypatch.setattr(PlainFetches, "begin", lambda *_: False)
    with Scripted([script, [REFUSED]]) as server:
        run = fetch_from(server)
        others = [run(row) for row in (11, 12, 13)]

    assert (3 not in general) == short
    assert results[2].code == code
    assert left_by(results[2]) == left_by(others[2])
    assert (tmp_path / "site/d/3").exists() == (tmp_path / "site/d/13").exists() == (not code)


def test_a_fetch_that_is_refused_counts_the_seconds_from_its_request_on(fetch_from: Callable[..., Fetch]) -> None:
    with Scripted([[answer(), answer(), wait(0.05), GONE]]) as server:
        run = fetch_from(server)
        refused = [run(row) for row in (1, 2, 3)][2]

    assert refused.code == "Vanished"
    assert refused.seconds >= 0.05


def test_an_idle_connection_that_the_store_has_closed_is_replaced(
    fetch_from: Callable[..., Fetch], general: list[int]
) -> None:
    with Scripted([[answer(), answer(), RESET], [answer()]]) as server:
        run = fetch_from(server)
        codes = [run(row).code for row in (1, 2, 3)]

    assert codes == ["", "", ""]
    assert general == [1, 3]
    assert server.connections == 2


def test_a_file_that_the_disk_refuses_is_told_as_the_general_way_tells_it(
    fetch_from: Callable[..., Fetch], general: list[int], tmp_path: Path
) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site/d").symlink_to(tmp_path)
    with Scripted([[answer()] * 3]) as server:
        run = fetch_from(server)
        results = [run(row) for row in (1, 2, 3)]

    assert general == [1]
    assert len({left_by(result) for result in results}) == 1
    assert (results[2].code, results[2].retryable) == ("Blocked", False)
    assert not (tmp_path / "3").exists()


@pytest.mark.parametrize(
    ("is_listed", "size", "preserve"),
    [
        pytest.param(False, len(BODY), frozenset(), id="no ETag is listed"),
        pytest.param(True, PLAIN_SIZE + 1, frozenset(), id="large"),
        pytest.param(True, len(BODY), frozenset({"mode"}), id="modes are restored"),
    ],
)
def test_other_objects_go_the_general_way(
    fetch_from: Callable[..., Fetch], monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
    is_listed: bool, size: int, preserve: frozenset[str],
) -> None:  # fmt: skip
    body = b"x" * size
    etag = hashlib.md5(body).hexdigest()
    monkeypatch.setattr(PlainFetch, "__init__", lambda *_: pytest.fail("it went the short way"))
    with Scripted([[answer(body=body, **NO_CRC, ETag=f'"{etag}"', **{"Content-Length": str(size)})]]) as server:
        result = fetch_from(server, preserve)(1, etag if is_listed else "", size)

    assert result.error == ""
    assert (tmp_path / "site/d/1").read_bytes() == body
