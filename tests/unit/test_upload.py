"""A plain upload that has left the short way goes on in the general one, and does nothing twice."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, cast

import pytest

from s3batch.model import KeptAttributes, Kind, Operation, Reason, Result, Work, stamp_of
from s3batch.objects.attributes import AttributeRules
from s3batch.quirks import Quirk, QuirkKind
from s3batch.s3 import checksums
from s3batch.s3.endpoint import Endpoint
from s3batch.s3.faults import Fault, RequestError
from s3batch.s3.plain_put import PlainPut
from s3batch.s3.plain_request import PlainRequests
from s3batch.s3.requests import Request, Response
from s3batch.settings.table import Settings
from s3batch.worker.context import Brief, Tools
from s3batch.worker.dispatch import carry_out
from s3batch.worker.plain_upload import PlainUploads, is_plain_upload

BODY = b"hello"
CRC = checksums.checksum_of("crc64nvme", BODY)
DATE = "Sun, 29 Nov 2026 13:00:00 GMT"
STORED = {"etag": '"e"', "x-amz-checksum-crc64nvme": CRC, "date": DATE, "x-amz-request-id": "r1"}
MD5 = "5d41402abc4b2a76b9719d911017c592"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "a.txt").write_bytes(BODY)
    return tmp_path


def tools_of(source: Path, **settings: Any) -> Tools:
    endpoint = Endpoint(
        bucket="b", region="r", host="127.0.0.1", port=1, tls=False, path_style=True, credentials=None,
        checksum_fallbacks=("crc32", "md5", ""),
    )  # fmt: skip
    rules = AttributeRules.from_settings(Settings(bucket="b", **settings), str(source))
    return Tools(Brief(endpoint=endpoint, root=str(source), rules=rules))


def work_of(source: Path, **changes: Any) -> Work:
    stamp = stamp_of((source / "a.txt").stat())
    return Work(Operation(Kind.UPLOAD, "a.txt", Reason.MISSING, "a.txt", 5, stamp, id=7)._replace(**changes))


class Way:
    """Drives an upload by hand, in the general way from its request on."""

    def __init__(self, work: Work, tools: Tools) -> None:
        self.calls: list[Request] = []
        self.results: list[Result] | None = None
        self.put: PlainPut | None = None
        uploads = PlainUploads(
            tools, cast("PlainRequests", self), time.monotonic, on_stored=pytest.fail, on_ended=self._end
        )
        if not uploads.begin(work):
            self._general = carry_out(work, tools)
            self._go(self._general.send, None)

    def send(self, put: PlainPut) -> None:
        """Stand for the transport's short way, which is closed."""
        put.begun = time.monotonic()
        self.put, self.calls = put, [put.call]
        self._general = put.coroutine

    def _end(self, held: int, weight: int, keys: int, results: list[Result]) -> None:
        assert (held, weight, keys) == (5, 5, 0)
        self.results = results

    def answer(self, status: int, headers: dict[str, str], body: bytes = b"") -> None:
        self._go(self._general.send, Response(status, headers, body))

    def fail(self, fault: Fault) -> None:
        self._go(self._general.throw, RequestError("PutObject", "a.txt", fault))

    def _go(self, resume: Any, value: Any) -> None:
        try:
            self.calls.append(resume(value))
        except StopIteration as end:
            self._end(5, 5, 0, end.value) if self.put is None else self.put.done(end.value)

    @property
    def result(self) -> Result:
        assert self.results is not None
        (result,) = self.results
        return result


def refusal(code: str, words: str = "") -> bytes:
    return f"<Error><Code>{code}</Code><Message>{words}</Message></Error>".encode()


def test_it_is_one_call_and_the_result_says_what_the_general_way_says(source: Path) -> None:
    way = Way(work_of(source), tools_of(source))
    way.answer(200, STORED)
    general = carry_out(work_of(source), tools_of(source))
    general.send(None)
    with pytest.raises(StopIteration) as end:
        general.send(Response(200, STORED))

    assert [call.headers["x-amz-checksum-crc64nvme"] for call in way.calls] == [CRC]
    assert way.result._replace(seconds=0.0) == end.value.value[0]._replace(seconds=0.0)
    assert (way.result.id, way.result.checksum, way.result.request_id, way.result.sent) == (7, CRC, "r1", 5)


def test_an_etag_that_is_the_md5_of_the_body_proves_it(source: Path) -> None:
    way = Way(work_of(source), tools_of(source))
    way.answer(200, {"etag": f'"{MD5}"'})

    assert (way.result.error, way.result.checksum) == ("", CRC)


@pytest.mark.parametrize("headers", [{"etag": f'"{MD5[::-1]}"'}, STORED | {"x-amz-checksum-crc64nvme": "AAAAAAAAAAA="}])
def test_what_is_stored_and_was_not_sent_is_an_error_worth_another_try(source: Path, headers: dict[str, str]) -> None:
    way = Way(work_of(source), tools_of(source))
    way.answer(200, headers)

    assert (way.result.code, way.result.retryable, len(way.calls)) == ("ChecksumMismatch", True, 1)


def test_an_object_whose_body_nothing_proves_is_looked_at_and_not_sent_again(source: Path) -> None:
    way = Way(work_of(source), tools_of(source))
    way.answer(200, {"etag": '"opaque"'})
    way.answer(200, {"etag": '"opaque"', "content-length": "5"})

    assert [call.name for call in way.calls] == ["PutObject", "HeadObject"]
    assert (way.result.error, way.result.etag) == ("", "opaque")


def test_an_acl_that_the_bucket_refuses_is_left_out_in_the_second_call(source: Path) -> None:
    tools = tools_of(source, acl="public-read")
    way = Way(work_of(source), tools)
    way.answer(400, {}, refusal("AccessControlListNotSupported"))
    way.answer(200, STORED)

    assert ["x-amz-acl" in call.headers for call in way.calls] == [True, False]
    assert (tools.acl_refused, bool(way.result.warning), way.result.error) == (True, True, "")


def test_a_checksum_that_the_store_refuses_is_replaced_by_the_next_one(source: Path) -> None:
    tools = tools_of(source)
    way = Way(work_of(source), tools)
    way.answer(400, {}, refusal("InvalidRequest", "unknown checksum crc64nvme"))
    way.answer(200, {"etag": '"e"', "x-amz-checksum-crc32": checksums.checksum_of("crc32", BODY)})

    assert [sorted(call.headers) for call in way.calls] == [
        ["content-type", "x-amz-checksum-crc64nvme"],
        ["content-type", "x-amz-checksum-crc32"],
    ]
    assert (tools.checks.name, way.result.checksum) == ("crc32", checksums.checksum_of("crc32", BODY))


def test_a_refusal_of_what_would_be_sent_otherwise_by_now_does_not_count(source: Path) -> None:
    tools = tools_of(source)
    first, second = (Way(work_of(source), tools) for _ in range(2))
    first.answer(400, {}, refusal("InvalidRequest", "unknown checksum crc64nvme"))
    second.answer(400, {}, refusal("InvalidRequest", "unknown checksum crc64nvme"))
    second.answer(200, {"etag": '"e"', "x-amz-checksum-crc32": checksums.checksum_of("crc32", BODY)})

    assert "x-amz-checksum-crc32" in second.calls[1].headers
    assert second.result.error == ""
    assert tools.checks.name == "crc32"


@pytest.mark.parametrize(("code", "retryable"), [("Timeout", True), ("Connection", True), ("AccessDenied", False)])
def test_a_call_that_came_to_no_answer_fails_and_is_not_repeated_here(source: Path, code: str, retryable: bool) -> None:
    way = Way(work_of(source), tools_of(source))
    way.fail(Fault(code, "words", 403 if code == "AccessDenied" else 0))

    assert len(way.calls) == 1
    assert (way.result.code, way.result.retryable, way.result.id) == (code, retryable, 7)


def test_a_file_that_is_not_the_planned_one_is_not_sent(source: Path) -> None:
    work = work_of(source)
    (source / "a.txt").write_bytes(b"other")
    way = Way(work, tools_of(source))

    assert (way.calls, way.result.code) == ([], "Changed")


def test_what_was_found_out_meanwhile_goes_along(source: Path) -> None:
    tools = tools_of(source)
    way = Way(work_of(source), tools)
    tools.note(Quirk(QuirkKind.REFUSED, "ListParts", "HTTP 403"))
    tools.warn("a warning")
    way.answer(200, STORED)

    assert len(way.calls) == 1
    assert (way.result.warning, [quirk.about for quirk in way.result.quirks]) == ("a warning", ["ListParts"])
    assert not tools.news


def test_gzip_is_left_to_the_general_way(source: Path) -> None:
    way = Way(work_of(source), tools_of(source, gzip="true"))

    assert way.put is None
    assert way.calls[0].headers["content-encoding"] == "gzip"


@pytest.mark.parametrize(
    "changes",
    [{"recheck": True}, {"spec": KeptAttributes(())}, {"size": 2 << 20}, {"kind": Kind.RECONCILE}, {"upload_id": "u"}],
)
def test_a_row_with_more_to_it_is_not_plain(source: Path, changes: dict[str, Any]) -> None:
    assert is_plain_upload(work_of(source))
    assert not is_plain_upload(work_of(source, **changes))


def test_the_first_new_object_is_looked_at_where_the_store_s_clock_is_to_be_told(source: Path) -> None:
    tools = tools_of(source)
    tools.compares_times = True
    way = Way(work_of(source), tools)
    way.answer(200, STORED)
    way.answer(200, {"etag": '"e"', "content-length": "5", "last-modified": "Sun, 29 Nov 2026 13:00:07 GMT"})
    second = Way(work_of(source), tools)
    second.answer(200, STORED)

    assert [call.name for call in way.calls] == ["PutObject", "HeadObject"]
    assert [quirk.about for quirk in way.result.quirks] == ["7"]
    assert (len(second.calls), way.put is None, second.put is None) == (1, True, False)


def test_a_checksum_given_up_meanwhile_still_counts_where_it_was_sent(source: Path) -> None:
    tools = tools_of(source)
    way = Way(work_of(source), tools)
    tools.checks.weaken("crc64nvme")
    way.answer(200, {"etag": f'"{MD5}"'})

    assert (len(way.calls), way.result.checksum) == (1, CRC)
