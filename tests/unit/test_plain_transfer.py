"""A plain copy goes the short way while all is as usual, says what the general way says, and misses nothing that it sees."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from s3batch.executors.worker_loop import WorkerLoop
from s3batch.model import Kind, Operation, Reason, Result, SourceObject, StoredResult, Work, WrittenVersion
from s3batch.objects.attributes import AttributeRules
from s3batch.quirks import TAGS, Quirk, QuirkKind, Quirks
from s3batch.s3 import clock, plain_heads, requests
from s3batch.s3.answer_forms import AnswerForm
from s3batch.s3.endpoint import Endpoint
from s3batch.s3.plain_copy import PlainCopy
from s3batch.s3.plain_heads import PlainHeadWriter
from s3batch.s3.request_heads import HeadWriter
from s3batch.s3.sigv4 import Credentials, UnsafeTextError
from s3batch.settings.table import Settings
from s3batch.worker.context import Brief, SourceBucket
from s3batch.worker.plain_transfer import PlainTransfer, is_plain_transfer
from tests.rig.scripted import CLOSE, RESET, Scripted, Step, wait
from tests.rig.short_way import carry_out_alone, note_unfolded

ETAG = "0123456789abcdef0123456789abcdef"
OTHER = ETAG[::-1]
PARTS = f"{ETAG}-2"
USUAL = {"Date": "Sun, 29 Nov 2026 13:00:00 GMT", "x-amz-request-id": "r1", "Content-Type": "application/xml"}
DOCUMENT = (
    '<?xml version="1.0" encoding="UTF-8"?><CopyObjectResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
    "<LastModified>{date}</LastModified><ETag>{quote}{etag}{quote}</ETag>{more}</CopyObjectResult>"
)


def document(etag: str = ETAG, date: str = "2026-11-29T13:00:00.000Z", quote: str = "&quot;", more: str = "") -> str:
    return DOCUMENT.format(etag=etag, date=date, quote=quote, more=more)


def answer(
    body: str | None = None, status: str = "HTTP/1.1 200 OK", length: int | None = None, **changes: str
) -> bytes:
    """Return the usual answer with these changes; an underscore in a name is a hyphen, an empty value leaves it out."""
    body = document() if body is None else body
    headers = USUAL | {name.replace("_", "-"): value for name, value in changes.items()}
    size = len(body) if length is None else length
    lines = [f"{name}: {value}" for name, value in {**headers, "Content-Length": str(size)}.items() if value]
    return ("\r\n".join([status, *lines, "\r\n"]) + body).encode()


SHOWN = f'HTTP/1.1 200 OK\r\nETag: "{OTHER}"\r\nContent-Length: 5\r\n\r\n'.encode()
REFUSED = b"HTTP/1.1 503 Slow\r\nContent-Length: 0\r\n\r\n"


# --- the form of an answer -----------------------------------------------------------------


@pytest.mark.parametrize("quote", ["&quot;", "&#34;", '"'])
@pytest.mark.parametrize("etag", [ETAG, PARTS])
def test_the_form_of_the_usual_answer_finds_what_is_new_in_the_next_one(quote: str, etag: str) -> None:
    checksum = "<ChecksumCRC64NVME>{}</ChecksumCRC64NVME>"
    form = AnswerForm.of_copied(answer(document(etag, quote=quote, more=checksum.format("AAAA="))).decode(), etag)
    assert form is not None
    following = document(etag[::-1], "2026-11-30T01:02:03.000Z", quote, checksum.format("BBBB="))

    found = form.pattern.fullmatch(answer(following, x_amz_request_id="r 2", Date="now").decode())

    assert found is not None
    assert found.group("etag", "date", "id", "version") == (etag[::-1], "now", "r 2", "")


ODD = {
    "another success": answer(status="HTTP/1.1 202 Accepted"),
    "HTTP/1.0": answer(status="HTTP/1.0 200 OK"),
    "close": answer(Connection="close"),
    "chunks": answer(Transfer_Encoding="chunked"),
    "an error in a 200": answer("<Error><Code>InternalError</Code></Error>"),
    "a document without an ETag": answer("<CopyObjectResult><LastModified>x</LastModified></CopyObjectResult>"),
    "another ETag": answer(document(f"{OTHER}x")),
    "two ETags": answer(document(more=f"<ETag>&quot;{OTHER}&quot;</ETag>")),
    "another element": answer(document(more="<Other>1</Other>")),
    "a reference in the ETag": answer(document(f"&#x{ETAG[5:]};x")),
    "half a document": answer()[:-5],
    "more than an answer": answer() + b"HTTP/1.1 200 OK",
    "another length": answer(length=7),
    "no document": answer(""),
    "a keep-alive before the document": answer(f" {document()}"),
}


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
def test_the_form_fits_no_other_answer(odd: bytes) -> None:
    form = AnswerForm.of_copied(answer().decode(), ETAG)
    assert form is not None
    assert form.pattern.fullmatch(odd.decode()) is None


@pytest.mark.parametrize("odd", [odd for name, odd in ODD.items() if "keep-alive" not in name])
def test_no_form_is_learned_from_another_answer(odd: bytes) -> None:
    assert AnswerForm.of_copied(odd.decode(), ETAG) is None


# --- the head ------------------------------------------------------------------------------

ENDPOINT = Endpoint(
    bucket="b", region="r", host="127.0.0.1", port=1, tls=False, path_style=True,
    credentials=Credentials("key", "secret", "token"),
)  # fmt: skip


class Copy(PlainCopy):
    """A copy that ends nowhere."""

    def stored(self, etag: str, date: str, request_id: str, version: str, seconds: float) -> None:
        raise AssertionError

    def unfold(self, request: requests.Request) -> Any:
        raise AssertionError


@pytest.mark.parametrize("key", ["a", "d\xf6 r/%41+.txt", "line\nbreak", "\udcff"])
@pytest.mark.parametrize("headers", [{}, {"x-amz-acl": "private", "x-amz-storage-class": "100 %s  of "}])
@pytest.mark.parametrize("changes", [{}, {"path_style": False, "credentials": Credentials("k", "s")}])
def test_the_head_is_the_one_of_the_general_way(
    key: str, headers: dict[str, str], changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plain_heads.time, "time", lambda: 1_700_000_000.9)
    monkeypatch.setattr(clock, "offsets", {("127.0.0.1", 1): 7.0})
    endpoint = ENDPOINT._replace(**changes)
    writer = HeadWriter(endpoint)
    assert writer.signer is not None
    pinned = {**headers, "x-amz-copy-source-if-match": f'"{ETAG}"'}
    general = writer.of(requests.copy_object(key, "from", pinned, f"x/{key}"))
    short = PlainHeadWriter(endpoint, writer.signer)

    copy = Copy(1, key, headers, "f", requests.name_copy_source("from", f"x/{key}"), ETAG)

    assert [sorted(short.of(copy).split(b"\r\n")) for _ in range(2)] == [sorted(general.split(b"\r\n"))] * 2
    assert writer.of(copy.make_request()).count(b"x-amz-copy-source") == general.count(b"x-amz-copy-source")


def test_a_value_that_breaks_a_header_is_refused() -> None:
    signer = HeadWriter(ENDPOINT).signer
    assert signer is not None
    with pytest.raises(UnsafeTextError):
        PlainHeadWriter(ENDPOINT, signer).of(Copy(1, "a", {}, "f", "/b/a", "x\r\nevil: 1"))


# --- over a socket -------------------------------------------------------------------------

PROBED = Quirk(QuirkKind.COPY_PROBED)
Transfer = Callable[..., Result]


@pytest.fixture
def general(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the rows of copies that went the general way after their request."""
    return note_unfolded(monkeypatch, PlainTransfer)


@pytest.fixture
def copy_at(tmp_path: Path) -> Iterator[Callable[..., Transfer]]:
    """Return a function that makes a worker for a server; it copies one object as one row, and returns the result."""
    made: list[WorkerLoop] = []

    def connect(server: Scripted, quirks: tuple[Quirk, ...] = (PROBED,), **settings: Any) -> Transfer:
        endpoint = ENDPOINT._replace(port=server.port, timeout=5.0)
        rules = AttributeRules.from_settings(Settings(bucket="b", **settings), str(tmp_path), guesses_types=False)
        source = SourceBucket(endpoint._replace(bucket="from"), "x/", copies=True)
        brief = Brief(endpoint=endpoint, root="", rules=rules, source=source, quirks=Quirks.of(quirks))
        runner = WorkerLoop(brief)
        runner.transport.writes.open(math.inf)
        made.append(runner)

        def copy(row: int, etag: str = ETAG, **changes: Any) -> Result:
            path = f"{row}.txt"
            operation = Operation(Kind.TRANSFER, path, Reason.MISSING, path, 5, spec=SourceObject(etag), id=row)
            return carry_out_alone(runner, operation._replace(**changes))

        return copy

    yield connect
    for runner in made:
        runner.transport.close()


def test_it_goes_the_short_way_once_the_form_is_known_and_says_the_same(
    copy_at: Callable[..., Transfer], general: list[int]
) -> None:
    with Scripted([[answer()] * 4]) as server:
        copy = copy_at(server)
        results = [copy(row) for row in (1, 2, 3, 4)]

    assert general == [1]  # the first answer of its form
    assert len(server.heads) == 4
    assert [type(result) for result in results] == [Result, StoredResult, StoredResult, StoredResult]
    told = {
        (result.etag, result.date > 0, result.request_id, result.fingerprint, result.sent, result.error)
        for result in results
    }
    assert len(told) == 1
    assert (results[3].id, results[3].etag, results[3].request_id, results[3].seconds > 0) == (4, ETAG, "r1", True)
    assert all(b'x-amz-copy-source-if-match: "' + ETAG.encode() in head for _, head in server.heads)
    assert b"x-amz-copy-source: /from/x/4.txt\r\n" in server.heads[3][1]


@pytest.mark.parametrize(
    ("steps", "code"),
    [
        pytest.param([answer(document(OTHER)), SHOWN], "", id="another ETag"),
        pytest.param([REFUSED], "ServiceUnavailable", id="a refusal"),
        pytest.param([b"HTTP/1.1 412 No\r\nContent-Length: 0\r\n\r\n"], "Changed", id="the source changed"),
        pytest.param([answer()[:150], wait(0.05), answer()[150:]], "", id="in two pieces"),
        pytest.param([b"HTTP/1.1 100 Continue\r\n\r\n", answer()], "", id="an interim answer"),
        pytest.param([answer(Connection="close")], "", id="the last one of the connection"),
        pytest.param([answer(Server="another")], "", id="one more header"),
        pytest.param([answer("<Error><Code>InternalError</Code></Error>")], "InternalError", id="an error in a 200"),
        pytest.param([answer("<html></html>", Content_Type="text/html")], "MalformedAnswer", id="a web page"),
        pytest.param([b"no HTTP at all\r\n\r\n"], "MalformedAnswer", id="no HTTP"),
    ],
)
def test_any_other_answer_is_judged_by_the_general_way(
    copy_at: Callable[..., Transfer], general: list[int], steps: list[Step], code: str
) -> None:
    with Scripted([[answer()] * 3 + steps + [answer()] * 2, [answer()] * 3]) as server:
        copy = copy_at(server)
        for row in (1, 2, 3):
            copy(row)
        result = copy(4)
        after = [copy(row).error for row in (5, 6)]

    assert result.code == code
    assert general[:2] == [1, 4]
    assert after == ["", ""]
    if not code:
        assert result.spec == SourceObject(ETAG, proof="size" if result.etag == OTHER else "etag")


@pytest.mark.parametrize("end", [CLOSE, RESET])
def test_a_connection_that_the_store_had_closed_is_replaced_once(
    copy_at: Callable[..., Transfer], general: list[int], end: Step
) -> None:
    with Scripted([[answer()] * 3 + [end], [answer()] * 3]) as server:
        copy = copy_at(server)
        results = [copy(row) for row in (1, 2, 3, 4)]

    assert [result.error for result in results] == [""] * 4
    assert general == [1, 4]
    assert server.connections == 2
    assert type(results[3]) is StoredResult, "the answer over the new connection has the known form"


def test_a_copy_without_an_etag_is_proved_by_a_head(copy_at: Callable[..., Transfer], general: list[int]) -> None:
    nameless = answer("<CopyObjectResult><LastModified>x</LastModified></CopyObjectResult>")
    shown = f'HTTP/1.1 200 OK\r\nETag: "{ETAG}"\r\nContent-Length: 0\r\n\r\n'.encode()
    with Scripted([[nameless, shown, nameless, shown]]) as server:
        copy = copy_at(server)
        results = [copy(row) for row in (1, 2)]

    assert [result.etag for result in results] == [ETAG, ETAG]
    assert [head.split(b" ")[0] for _, head in server.heads] == [b"PUT", b"HEAD"] * 2
    assert general == [1, 2]


def test_the_version_of_a_plain_copy_is_told(copy_at: Callable[..., Transfer], general: list[int]) -> None:
    with Scripted([[answer(x_amz_version_id=f"v{row}") for row in (1, 2, 3)]]) as server:
        copy = copy_at(server)
        results = [copy(row) for row in (1, 2, 3)]

    assert general == [1]
    assert [each.spec.written for each in results if isinstance(each.spec, WrittenVersion)] == ["v1", "v2", "v3"]


def test_copies_that_lose_tags_take_no_short_way(copy_at: Callable[..., Transfer], general: list[int]) -> None:
    head = f'HTTP/1.1 200 OK\r\nETag: "{ETAG}"\r\nContent-Length: 5\r\nx-amz-tagging-count: 0\r\n\r\n'.encode()
    with Scripted([[answer(), answer()], [head, head]]) as server:
        copy = copy_at(server, quirks=(PROBED, Quirk(QuirkKind.COPY_DROPS, TAGS)))
        errors = [copy(row).error for row in (1, 2)]

    assert errors == ["", ""]
    assert general == []


def test_configured_attributes_that_the_source_brings_along_take_no_short_way(
    copy_at: Callable[..., Transfer], general: list[int]
) -> None:
    head = f'HTTP/1.1 200 OK\r\nETag: "{ETAG}"\r\nContent-Length: 5\r\n\r\n'.encode()
    with Scripted([[head], [answer()]]) as server:
        error = copy_at(server, cache_control="no-cache")(1).error

    assert error == ""
    assert general == []


PLAIN = Operation(Kind.TRANSFER, "a", Reason.MISSING, "a", 5, spec=SourceObject(ETAG), id=1)


@pytest.mark.parametrize(
    ("changes", "plain"),
    [
        ({}, True),
        ({"attempts": 1}, True),
        ({"spec": SourceObject(PARTS)}, True),
        ({"spec": SourceObject("")}, False),
        ({"spec": SourceObject("a\r\nb: 12345678")}, False),
        ({"spec": SourceObject(ETAG, streamed=True)}, False),
        ({"spec": None}, False),
        ({"size": 0}, False),
        ({"recheck": True}, False),
        ({"reason": Reason.LATE}, False),
        ({"upload_id": "u"}, False),
        ({"kind": Kind.RECONCILE}, False),
    ],
)
def test_only_a_plain_row_is_plain(changes: dict[str, Any], plain: bool) -> None:
    assert is_plain_transfer(Work(PLAIN._replace(**changes))) == plain
