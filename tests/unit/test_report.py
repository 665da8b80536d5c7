"""The JSON document and the end block, from the numbers of a journal."""

from __future__ import annotations

import json
from typing import Any

import pytest

from s3batch.journal import Failure, Job
from s3batch.model import JobState, Kind
from s3batch.reporting.json_stream import Rows, iterate_document_text
from s3batch.reporting.report import (
    EarlierJobs,
    format_end_block,
    format_failure_line,
    format_resume_command,
    make_report_document,
)

JOB = Job(
    id="20261121-1",
    command="sync",
    source="/src",
    target="s3://b/site/",
    endpoint="",
    state=JobState.DONE,
    settings={},
    version="1",
    started=1000.0,
    ended=1003.25,
    exit_code=0,
    resumed=0,
    planned=True,
    unchanged=0,
    files=12,
    bytes=3400,
    requests={"PutObject": 3, "ListObjectsV2": 1},
    retries=2,
    warnings=[],
    number=1,
    after_operation=0,
)
REFUSED = Failure(Kind.UPLOAD, "site/a.txt", "a.txt", "Access Denied", "AccessDenied", 403, "R-1", 3)


def counts_of(planned: int = 0, done: int = 0, failed: int = 0, skipped: int = 0, bytes: int = 0) -> dict[str, int]:  # noqa: A002
    return {"planned": planned, "done": done, "failed": failed, "skipped": skipped, "bytes": bytes}


def documented(job: Job = JOB, *failures: Failure, **counts: dict[str, int]) -> dict[str, Any]:
    by_kind = {kind: counts.get(kind.value, counts_of()) for kind in Kind}
    by_kind[Kind.UPLOAD] = counts.get("upload", counts_of(planned=len(failures), failed=len(failures)))
    return make_report_document(job, by_kind, lambda: iter(failures), journal="/j/x.db", now=1010.0)


def as_json(found: dict[str, Any]) -> dict[str, Any]:
    """The document as programs get it."""
    read: dict[str, Any] = json.loads("".join(iterate_document_text(found)))
    return read


class TestDocument:
    def test_it_has_exactly_the_published_keys(self) -> None:
        assert as_json(documented(JOB, REFUSED, upload=counts_of(4, 3, 1, 0, 99))) == {
            "job": "20261121-1",
            "command": "sync",
            "state": "done",
            "exit_code": 0,
            "seconds": 3.25,
            "seconds_total": 3.25,
            "resumed": False,
            "source": "/src",
            "target": "s3://b/site",
            "endpoint": None,
            "started": "1970-01-01T00:16:40.000Z",
            "ended": "1970-01-01T00:16:43.250Z",
            "journal": "/j/x.db",
            "files": 12,
            "bytes": 3400,
            "unchanged": 0,
            "operations": {
                "upload": counts_of(4, 3, 1, 0, 99),
                "download": counts_of(),
                "copy": counts_of(),
                "redirect": counts_of(),
                "delete": counts_of(),
                "chunk": counts_of(),
            },
            "sent_now": 3,
            "sent_before": 0,
            "requests": {"ListObjectsV2": 1, "PutObject": 3},
            "retries": 2,
            "failures": [
                {
                    "operation": "upload",
                    "key": "site/a.txt",
                    "path": "a.txt",
                    "error": "Access Denied",
                    "code": "AccessDenied",
                    "status": 403,
                    "request_id": "R-1",
                    "attempts": 3,
                }
            ],
            "warnings": [],
        }

    def test_it_is_json_without_types_of_ours(self) -> None:
        found = documented(JOB._replace(resumed=2), REFUSED._replace(path="caf\udce9"))

        assert as_json(found) == {**found, "failures": list(found["failures"])}
        assert found["resumed"] is True
        assert type(found["state"]) is str
        assert type(next(iter(found["failures"]))["operation"]) is str

    def test_a_job_that_still_runs_has_no_exit_code_and_lasts_until_now(self) -> None:
        found = documented(JOB._replace(state=JobState.RUNNING, ended=None, exit_code=None))

        assert (found["state"], found["exit_code"], found["seconds"]) == ("running", None, 10.0)

    def test_a_resumed_job_is_the_sum_of_all_its_runs(self) -> None:
        killed = JOB._replace(ended=None, started=100.0, seen=104.5, files=9, retries=1, requests={"PutObject": 8})
        resumed = JOB._replace(resumed=1)
        before = EarlierJobs([killed], {Kind.UPLOAD: counts_of(8, 8, bytes=80)})

        found = make_report_document(
            resumed, {Kind.UPLOAD: counts_of(4, 3, 1, bytes=30)}, lambda: iter(()), journal="j", now=0, before=before
        )

        assert (found["sent_now"], found["sent_before"]) == (3, 8)
        assert (found["seconds"], found["seconds_total"]) == (3.25, 7.75)
        assert found["operations"]["upload"] == counts_of(12, 11, 1, bytes=110)
        assert (found["files"], found["requests"]["PutObject"], found["retries"]) == (12, 11, 3)
        assert format_end_block(found)[0] == (
            "done in 3.2 s (7.8 s in all): 11 uploaded (110 B), 3 sent now, 8 before, 1 failed"
        )

    def test_comparisons_are_shown_only_while_there_are_any(self) -> None:
        assert "reconcile" not in documented()["operations"]
        assert documented(JOB, reconcile=counts_of(2))["operations"]["reconcile"]["planned"] == 2

    def test_further_warnings_are_added_once(self) -> None:
        found = make_report_document(
            JOB._replace(warnings=["a"]), {}, lambda: iter(()), journal="j", now=0, warnings=["a", "b"]
        )

        assert found["warnings"] == ["a", "b"]


class TestText:
    @pytest.mark.parametrize(
        ("job", "counts", "expected"),
        [
            pytest.param(JOB, {}, "done in 3.2 s: nothing to do", id="nothing"),
            pytest.param(
                JOB._replace(state=JobState.FAILED), {}, "failed in 3.2 s: nothing was done", id="failed early"
            ),
            pytest.param(
                JOB._replace(unchanged=1204),
                {"upload": counts_of(120, 120, bytes=45 << 20), "copy": counts_of(3, 3), "delete": counts_of(2, 2)},
                "done in 3.2 s: 120 uploaded (45 MiB), 3 updated or renamed in the store, 2 deleted, 1,204 unchanged",
                id="all done",
            ),
            pytest.param(
                JOB._replace(state=JobState.INTERRUPTED),
                {"upload": counts_of(9, 2, 1, 1, bytes=512)},
                "interrupted in 3.2 s: 2 uploaded (512 B), 1 failed, 5 left",
                id="interrupted",
            ),
        ],
    )
    def test_the_first_line_says_what_was_done(
        self, job: Job, counts: dict[str, dict[str, int]], expected: str
    ) -> None:
        assert format_end_block(documented(job, **counts))[0] == expected

    def test_a_dry_run_says_what_would_be_done_and_offers_no_resume(self) -> None:
        found = documented(JOB._replace(state=JobState.PLANNING), upload=counts_of(9), delete=counts_of(1))

        assert format_end_block(found, dry_run=True) == ["dry run in 3.2 s: 9 to upload, 1 to delete"]

    @pytest.mark.parametrize(
        ("state", "line"),
        [
            (JobState.FAILED, "dry run failed in 3.2 s: nothing was planned"),
            (JobState.INTERRUPTED, "dry run interrupted in 3.2 s: nothing was planned"),
            (JobState.DONE, "dry run in 3.2 s: nothing to do"),
        ],
    )
    def test_a_dry_run_that_was_cut_short_does_not_say_that_nothing_is_to_do(self, state: JobState, line: str) -> None:
        assert format_end_block(documented(JOB._replace(state=state)), dry_run=True)[0] == line

    @pytest.mark.parametrize(("code", "lines"), [(1, 1), (3, 2)])
    def test_a_job_whose_journal_does_not_tell_that_it_failed_can_be_resumed(self, code: int, lines: int) -> None:
        found = {**documented(JOB._replace(state=JobState.FAILED)), "files": 0, "exit_code": code}

        assert len(format_end_block(found)) == lines

    def test_a_failure_does_not_say_its_code_twice(self) -> None:
        failure = {"operation": "upload", "path": "a", "key": "a", "error": "drifted: it is gone", "code": "Drifted",
                   "attempts": 1, "request_id": "", "status": 0}  # fmt: skip
        assert format_failure_line(failure) == "failed: upload a: drifted: it is gone"

    def test_a_finished_job_is_one_line(self) -> None:
        assert len(format_end_block(documented(JOB, upload=counts_of(1, 1)))) == 1

    @pytest.mark.parametrize("state", [JobState.FAILED, JobState.INTERRUPTED, JobState.RUNNING, JobState.PLANNING])
    def test_work_left_behind_ends_with_the_line_that_finishes_it(self, state: JobState) -> None:
        last = format_end_block(documented(JOB._replace(state=state)))[-1]

        assert last == "to finish it: s3batch resume 20261121-1 --journal /j/x.db"

    def test_every_failure_is_named_up_to_a_limit(self) -> None:
        failures = [REFUSED._replace(key=f"k{n}", path=f"k{n}") for n in range(53)]
        lines = format_end_block(documented(JOB._replace(state=JobState.FAILED), *failures))

        assert [line.split()[2] for line in lines if line.startswith("failed: ")] == [f"k{n}:" for n in range(50)]
        assert lines[-2] == "and 3 more: s3batch jobs show 20261121-1"

    def test_warnings_are_shown_up_to_a_limit(self) -> None:
        lines = format_end_block(documented(JOB._replace(warnings=[f"w{n}" for n in range(51)])))

        assert lines[1:3] == ["warning: w0", "warning: w1"]
        assert lines[-1] == "and 1 more: s3batch jobs show 20261121-1"


@pytest.mark.parametrize(
    ("changes", "headers", "expected"),
    [
        pytest.param(
            {},
            {},
            "failed: upload a.txt to site/a.txt: AccessDenied: Access Denied (HTTP 403, request R-1, tried 3 times); "
            "needs s3:PutObject",
            id="refused",
        ),
        pytest.param(
            {"path": "site/a.txt", "attempts": 1},
            {"x-amz-acl": "public-read"},
            "failed: upload site/a.txt: AccessDenied: Access Denied (HTTP 403, request R-1); "
            "needs s3:PutObject and s3:PutObjectAcl",
            id="refused with an ACL",
        ),
        pytest.param(
            {"error": "the file vanished", "code": "Vanished", "status": 0, "request_id": "", "attempts": 0},
            {},
            "failed: upload a.txt to site/a.txt: Vanished: the file vanished",
            id="a local trouble",
        ),
        pytest.param(
            {"operation": Kind.DELETE, "path": "", "error": "", "code": "SlowDown", "status": 503, "attempts": 10},
            {},
            "failed: delete site/a.txt: SlowDown (HTTP 503, request R-1, tried 10 times)",
            id="no words",
        ),
        pytest.param(
            {
                "operation": Kind.DOWNLOAD,
                "error": "archived; restore it first",
                "code": "",
                "status": 0,
                "request_id": "",
            },
            {},
            "failed: download site/a.txt to a.txt: archived; restore it first (tried 3 times)",
            id="a download",
        ),
        pytest.param(
            {"key": "", "path": "d", "error": "cannot read the directory", "code": "", "status": 0, "request_id": ""},
            {},
            "failed: upload d: cannot read the directory (tried 3 times)",
            id="no key",
        ),
    ],
)
def test_a_failure_says(changes: dict[str, Any], headers: dict[str, str], expected: str) -> None:
    (failure,) = documented(JOB, REFUSED._replace(**changes))["failures"]

    assert format_failure_line(failure, headers) == expected


def test_the_resume_line_of_the_default_journal_is_short() -> None:
    assert format_resume_command("J1", "/state/x.db", True) == "s3batch resume J1"


def test_a_list_of_no_rows_is_never_read() -> None:
    """The failures of a job without any: finding none of them would read every row of the journal."""

    def read():
        raise AssertionError("it was read")

    assert list(Rows(read, 0)) == []
    assert list(Rows(lambda: iter([1]), 1)) == [1]
