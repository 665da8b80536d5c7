"""Files that are probably equal to their objects are compared in bulk: only certain equality is told, all else is unknown."""

from __future__ import annotations

import os
import time
from hashlib import md5
from pathlib import Path
from typing import Any

import pytest

from s3batch.model import COMPARE, FileToCompare, Kind, Operation, Reason, Work, stamp_of
from s3batch.objects.attributes import AttributeRules
from s3batch.quirks import Quirk, QuirkKind
from s3batch.s3 import checksums
from s3batch.s3.clock import seconds_of
from s3batch.s3.endpoint import Endpoint
from s3batch.s3.etag import multipart_etag
from s3batch.s3.faults import Fault, RequestError
from s3batch.s3.requests import Request, Response
from s3batch.settings.table import Settings
from s3batch.worker.bulk import ON_RECORD, UNKNOWN, BulkComparison, compare_alike, compare_on_record, read_dates
from s3batch.worker.context import Brief, Tools

BODY = b"hello"
MD5 = md5(BODY, usedforsecurity=False).hexdigest()
DATE = "Sun, 29 Nov 2026 13:00:00 GMT"
SHOWN = {"etag": f'"{MD5}"', "content-length": "5", "content-type": "text/plain; charset=utf-8", "last-modified": DATE}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "a.txt").write_bytes(BODY)
    return tmp_path


def tools_of(source: Path, **settings: Any) -> Tools:
    endpoint = Endpoint(
        bucket="b", region="r", host="127.0.0.1", port=1, tls=False, path_style=True, credentials=None
    )  # fmt: skip
    rules = AttributeRules.from_settings(Settings(bucket="b", **settings), str(source))
    return Tools(Brief(endpoint=endpoint, root=str(source), rules=rules))


def file_of(source: Path, **changes: Any) -> FileToCompare:
    stamp = stamp_of((source / "a.txt").stat())
    return FileToCompare("a.txt", "k/a.txt", stamp, MD5, None)._replace(**changes)


def compared(file: FileToCompare, tools: Tools, *answers: Response | Exception) -> tuple[float, list[Request]]:
    """Return the date, and the requests that were made for it."""
    step, calls, waiting = compare_alike(file, tools), [], list(answers)
    resume, value = step.send, None
    while True:
        try:
            calls.append(resume(value).request)
        except StopIteration as end:
            return end.value, calls
        answer = waiting.pop(0)
        resume, value = (step.throw, answer) if isinstance(answer, Exception) else (step.send, answer)


def test_a_file_is_equal_after_one_read_and_one_head(source: Path) -> None:
    date, calls = compared(file_of(source), tools_of(source), Response(200, SHOWN))

    assert date == seconds_of(DATE)
    assert [(call.name, call.key, dict(call.headers)) for call in calls] == [("HeadObject", "k/a.txt", {})]


@pytest.mark.parametrize(
    ("changes", "equal"),
    [
        pytest.param({"checksum": ""}, True, id="the ETag is the MD5"),
        pytest.param({"checksum": "some"}, True, id="and a checksum is on record"),
        pytest.param({"checksum": None}, False, id="the attributes are unknown"),
        pytest.param({"checksum": "", "etag": MD5[::-1]}, False, id="another ETag"),
        pytest.param({"checksum": "", "path": "gone"}, False, id="no such file"),
        pytest.param({"checksum": "", "stamp": stamp_of(os.stat("/"))}, False, id="another stamp"),
    ],
)
def test_a_file_on_record_is_equal_after_one_read(source: Path, changes, equal: bool) -> None:
    os.utime(source / "a.txt", (1, 1))
    time.sleep(0.05)  # a younger file is read after the next tick of the clock

    assert (compare_on_record(file_of(source, **changes), tools_of(source)) == ON_RECORD) is equal


@pytest.mark.parametrize(
    ("etag", "checksum", "date"),
    [
        pytest.param("opaque-1", checksums.checksum_of("crc64nvme", BODY), ON_RECORD, id="the ETag is no MD5"),
        pytest.param("opaque-1", checksums.checksum_of("crc64nvme", b"world"), UNKNOWN, id="another checksum"),
        pytest.param(multipart_etag([md5(BODY).digest()]), "a checksum of parts-1", ON_RECORD, id="an ETag of parts"),
        pytest.param(MD5, None, None, id="its attributes are not known"),
    ],
)
def test_one_read_is_enough_where_the_record_tells(
    source: Path, etag: str, checksum: str | None, date: float | None
) -> None:
    os.utime(source / "a.txt", (1, 1))
    time.sleep(0.05)  # as above

    assert compare_on_record(file_of(source, etag=etag, checksum=checksum), tools_of(source)) == date


@pytest.mark.parametrize(
    "answer",
    [
        Response(200, SHOWN | {"etag": f'"{MD5[::-1]}"'}),
        Response(200, SHOWN | {"content-length": "6"}),
        Response(200, {name: SHOWN[name] for name in ("etag", "content-type", "last-modified")}),
        Response(200, SHOWN | {"cache-control": "no-cache"}),
        Response(200, SHOWN | {"content-type": "text/html"}),
        Response(200, SHOWN | {"content-encoding": "gzip"}),
        Response(200, SHOWN | {"last-modified": "some day"}),
        Response(404, {}),
        Response(403, {}),
        RequestError("HeadObject", "k/a.txt", Fault("Timeout", "no answer")),
    ],
    ids=lambda answer: str(getattr(answer, "headers", answer))[-60:],
)
def test_anything_but_the_wanted_object_leaves_it_unknown(source: Path, answer: Response | Exception) -> None:
    date, _ = compared(file_of(source), tools_of(source), answer)

    assert date == UNKNOWN


def test_other_content_asks_for_nothing(source: Path) -> None:
    (source / "a.txt").write_bytes(b"world")

    assert compared(file_of(source), tools_of(source)) == (UNKNOWN, [])


def test_a_file_that_changed_after_it_was_planned_is_unknown(source: Path) -> None:
    file = file_of(source)
    os.utime(source / "a.txt", (1, 1))

    assert compared(file, tools_of(source)) == (UNKNOWN, [])


def test_a_file_that_is_gone_is_unknown(source: Path) -> None:
    file = file_of(source)
    (source / "a.txt").unlink()

    assert compared(file, tools_of(source)) == (UNKNOWN, [])


@pytest.mark.parametrize(
    ("etag", "checksum", "date"),
    [
        (MD5, "", ON_RECORD),
        (MD5, "not of it", ON_RECORD),
        ("opaque-1", checksums.checksum_of("crc64nvme", BODY), ON_RECORD),
        ("opaque-1", checksums.checksum_of("crc64nvme", b"world"), UNKNOWN),
        ("opaque-1", "", UNKNOWN),
        (MD5[::-1], "", UNKNOWN),
    ],
)
def test_with_attributes_on_record_the_file_is_only_read(source: Path, etag: str, checksum: str, date: float) -> None:
    assert compared(file_of(source, etag=etag, checksum=checksum), tools_of(source)) == (date, [])


def test_a_verdict_counts_for_equal_headers_only(source: Path) -> None:
    tools = tools_of(source)
    dates = [
        compared(file_of(source), tools, Response(200, SHOWN | more))[0]
        for more in ({}, {"x-amz-request-id": "2"}, {"cache-control": "no-store"}, {"x-amz-request-id": "3"})
    ]

    assert dates == [seconds_of(DATE), seconds_of(DATE), UNKNOWN, seconds_of(DATE)]
    assert len(tools.verdicts) == 2


def test_what_the_store_does_not_return_is_no_difference_once_that_is_known(source: Path) -> None:
    tools = tools_of(source, cache_control="no-cache")
    before = compared(file_of(source), tools, Response(200, SHOWN))[0]
    tools.note(Quirk(QuirkKind.NOT_ECHOED, "cache-control"))
    after = compared(file_of(source), tools, Response(200, SHOWN))[0]

    assert (before, after) == (UNKNOWN, seconds_of(DATE))


def test_one_result_tells_of_all_files_of_a_work(source: Path) -> None:
    work = Work(Operation(Kind.RECONCILE, "k/a.txt", Reason.UNKNOWN, id=-5), COMPARE, files=(file_of(source),) * 3)
    comparison = BulkComparison(work)
    comparison.end_file(2, 7.5)
    comparison.end_file(0, ON_RECORD)
    result = comparison.make_result()

    assert (result.id, result.step, comparison.left) == (-5, COMPARE, 1)
    assert list(read_dates(result)) == [ON_RECORD, UNKNOWN, 7.5]
