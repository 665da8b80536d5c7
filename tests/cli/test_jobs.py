"""``s3batch jobs``: read from real journals, while nobody and while somebody works on them."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from s3batch.base.errors import JournalError, JournalLockedError, SettingsError
from s3batch.commands.jobs.list import list_jobs
from s3batch.commands.jobs.prune import prune_jobs
from s3batch.commands.jobs.show import run_show
from s3batch.journal import Journal
from s3batch.model import JobState, Kind, Operation, Part, Reason, Result, State
from s3batch.reporting.console import Output
from s3batch.settings.table import Settings

UNREACHABLE = "http://127.0.0.1:9"


class Ran:
    """What a command said, and with which code it ended."""

    def __init__(self, command: Callable[[Settings, Output], int], settings: Settings, **options: Any) -> None:
        out, err = io.StringIO(), io.StringIO()
        self.code = command(settings, Output(out, err, **options))
        self.out, self.err = out.getvalue(), err.getvalue()

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """The state directory, empty."""
    (tmp_path / "state").mkdir()
    return tmp_path / "state"


@pytest.fixture
def settings(state: Path, tmp_path: Path) -> Callable[..., Settings]:
    """Settings of a run in an empty workspace."""
    (tmp_path / "work").mkdir()

    def make(**values: Any) -> Settings:
        return Settings(state_directory=str(state), workspace=str(tmp_path / "work"), **values)

    return make


def uploads(*keys: str) -> list[Operation]:
    return [Operation(Kind.UPLOAD, key, Reason.MISSING, path=key, size=10) for key in keys]


def begin(journal: Journal, *keys: str, target: str = "b/site/", **settings: Any) -> str:
    """A job with these uploads, the first one done, the second one refused, the others left."""
    public = Settings(bucket="b", access_key="A", secret_key="SECRET-KEY", **settings).public()
    job = journal.jobs.begin("sync", "/src", target, "http://store", public, "1.2")
    journal.operations.add(uploads(*keys))
    journal.jobs.set_planned()
    journal.jobs.set_state(JobState.RUNNING)
    leased = journal.operations.lease(2, 0)
    done = Result(leased[0].id, sent=10) if leased else None
    refusal = {"error": "Access Denied", "code": "AccessDenied", "status": 403, "request_id": "R-1"}
    refused = Result(leased[1].id, **refusal) if len(leased) > 1 else None
    journal.operations.settle([(State.DONE, done)] if done else [])
    journal.operations.settle([(State.FAILED, refused)] if refused else [])
    return job


@pytest.fixture
def journal(state: Path) -> Iterator[Journal]:
    """A journal in the state directory, not locked."""
    with Journal.open(str(state / "sync-1.db")) as opened:
        yield opened


class TestList:
    def test_no_job_is_said_where_it_was_looked_for(self, settings: Callable[..., Settings], state: Path) -> None:
        ran = Ran(list_jobs, settings())

        assert (ran.code, ran.out) == (0, "")
        assert f"no jobs in {state} or " in ran.err

    def test_a_missing_state_directory_is_no_error(self, settings: Callable[..., Settings], state: Path) -> None:
        state.rmdir()

        assert Ran(list_jobs, settings()).code == 0

    def test_each_job_is_a_row_with_its_numbers(self, settings: Callable[..., Settings], journal: Journal) -> None:
        job = begin(journal, "a", "b", "c", "d")
        journal.jobs.set_state(JobState.INTERRUPTED, 130)

        head, row, places = Ran(list_jobs, settings()).out.splitlines()

        assert head.split() == ["job", "command", "state", "done", "left", "failed"]
        assert row.split() == [job, "sync", "interrupted", "1", "2", "1"]
        assert places == "  /src -> s3://b/site"

    def test_a_short_job_is_one_line(self, settings: Callable[..., Settings], journal: Journal) -> None:
        job = begin(journal, target="b")
        journal.jobs.set_state(JobState.DONE, 0)

        head, row = Ran(list_jobs, settings()).out.splitlines()

        assert head.split() == ["job", "command", "state", "done", "left", "failed", "source", "->", "target"]
        assert row.split() == [job, "sync", "done", "0", "0", "0", "/src", "->", "s3://b"]

    def test_no_line_is_wider_than_80_columns_and_id_and_target_are_whole(
        self, settings: Callable[..., Settings], journal: Journal
    ) -> None:
        target = "bucket/" + "deep/" * 10
        source = "/home/someone/" + "very-long-name/" * 10
        public = Settings(bucket="b").public()
        job = journal.jobs.begin("cache rebuild", source, target, "http://store", public, "1.2")

        lines = Ran(list_jobs, settings()).out.splitlines()

        assert max(map(len, lines)) <= 80
        assert lines[1].startswith(job)
        assert lines[2].endswith(f"name/ -> s3://{target}".rstrip("/"))

    def test_the_newest_job_of_all_journals_comes_first(
        self, settings: Callable[..., Settings], state: Path, journal: Journal
    ) -> None:
        first = begin(journal)
        workspace = Path(settings().workspace)
        with Journal.open(str(workspace / ".s3batch" / "sync-2.db")) as other:
            second = begin(other)
            third = begin(journal, target="b/other/")

        assert [row["job"] for row in Ran(list_jobs, settings(json=True)).json["jobs"]] == [third, second, first]

    def test_json_has_the_same_as_one_document(self, settings: Callable[..., Settings], journal: Journal) -> None:
        job = begin(journal, "a", "b", "c")
        journal.jobs.set_state(JobState.FAILED, 1)

        (row,) = Ran(list_jobs, settings(json=True)).json["jobs"]
        started, ended = row.pop("started"), row.pop("ended")

        assert row == {
            "job": job,
            "command": "sync",
            "state": "failed",
            "exit_code": 1,
            "resumed": False,
            "continues": None,
            "journal": journal.path,
            "source": "/src",
            "target": "s3://b/site",
            "endpoint": "http://store",
            "pid": None,
            "host": None,
            "done": 1,
            "left": 1,
            "failed": 1,
            "unchanged": 0,
        }
        assert started <= ended
        assert started.endswith("Z")

    def test_a_source_in_s3_has_the_form_of_reports(self, settings: Callable[..., Settings], journal: Journal) -> None:
        public = Settings(bucket="b").public()
        journal.jobs.begin("sync", "s3://a/site/", "b/site/", "http://store", public, "1.2")

        (row,) = Ran(list_jobs, settings(json=True)).json["jobs"]

        assert (row["source"], row["target"]) == ("s3://a/site", "s3://b/site")

    def test_a_job_is_running_while_its_journal_is_held_and_dead_when_it_is_not(
        self, settings: Callable[..., Settings], journal: Journal
    ) -> None:
        begin(journal, "a")
        dead = Ran(list_jobs, settings(json=True)).json["jobs"][0]
        journal.lock()
        running = Ran(list_jobs, settings(json=True)).json["jobs"][0]

        assert (dead["state"], dead["pid"]) == ("dead", None)
        assert running["state"] == "running"
        assert running["pid"] > 0

    def test_of_two_jobs_at_work_in_one_journal_the_newer_is_the_running_one(
        self, settings: Callable[..., Settings], journal: Journal
    ) -> None:
        begin(journal)
        begin(journal, target="b/other/")
        journal.lock()

        states = [row["state"] for row in Ran(list_jobs, settings(json=True)).json["jobs"]]

        assert states == ["running", "dead"]

    def test_a_file_that_is_no_journal_is_named_and_passed_by(
        self, settings: Callable[..., Settings], state: Path, journal: Journal
    ) -> None:
        begin(journal)
        (state / "other.db").write_bytes(b"not a database at all, but long enough to be looked at" * 10)

        ran = Ran(list_jobs, settings(json=True))

        assert len(ran.json["jobs"]) == 1
        assert "other.db" in ran.err

    def test_the_named_journal_is_the_only_one(
        self, settings: Callable[..., Settings], tmp_path: Path, journal: Journal
    ) -> None:
        begin(journal)
        with Journal.open(str(tmp_path / "mine.db")) as mine:
            job = begin(mine)

        rows = Ran(list_jobs, settings(json=True, journal=str(tmp_path / "mine.db"))).json["jobs"]

        assert [row["job"] for row in rows] == [job]

    def test_a_named_journal_that_is_not_there_is_an_error(self, settings: Callable[..., Settings]) -> None:
        with pytest.raises(JournalError, match="there is no journal"):
            Ran(list_jobs, settings(journal="missing.db"))


class TestShow:
    def test_it_says_what_ran_what_failed_and_why_what_is_left_and_how_to_go_on(
        self, settings: Callable[..., Settings], journal: Journal
    ) -> None:
        job = begin(journal, "a", "b", "c", acl="public-read")
        journal.jobs.add_tally(files=3, bytes=30, requests={"PutObject": 2}, retries=4)
        journal.jobs.warn("something odd")
        journal.jobs.set_state(JobState.FAILED, 1)

        lines = Ran(run_show, settings(job=job)).out.splitlines()

        assert f"job       {job}" in lines
        assert "state     failed, exit code 1" in lines
        assert "source    /src" in lines
        assert "found     3 files, 30 B, 0 unchanged" in lines
        assert "requests  2 PutObject" in lines
        assert "retries   4" in lines
        assert "upload      3        1     1       0        1     10 B" in lines
        assert lines[-4:] == [
            "warning: something odd",
            "failed: upload b: AccessDenied: Access Denied (HTTP 403, request R-1); needs s3:PutObject and s3:PutObjectAcl",
            "left: upload c (missing)",
            f"to finish it: s3batch resume {job}",
        ]

    def test_without_an_id_it_is_the_newest_job(self, settings: Callable[..., Settings], journal: Journal) -> None:
        begin(journal)
        newest = begin(journal, target="b/other/")

        assert Ran(run_show, settings(json=True)).json["job"] == newest

    def test_the_beginning_of_an_id_is_enough(self, settings: Callable[..., Settings], journal: Journal) -> None:
        job = begin(journal)

        assert Ran(run_show, settings(json=True, job=job[:-2])).json["job"] == job

    @pytest.mark.parametrize(
        ("wanted", "message"),
        [
            pytest.param("2", "2 jobs begin with 2; write more of the id", id="ambiguous"),
            pytest.param("nope", "there is no job nope", id="unknown"),
        ],
    )
    def test_an_id_that_fits_no_or_several_jobs_is_an_error(
        self, settings: Callable[..., Settings], journal: Journal, wanted: str, message: str
    ) -> None:
        begin(journal)
        begin(journal)

        with pytest.raises(SettingsError, match=message):
            Ran(run_show, settings(job=wanted))

    def test_no_job_at_all_is_an_error(self, settings: Callable[..., Settings]) -> None:
        with pytest.raises(SettingsError, match="there is no job yet"):
            Ran(run_show, settings())

    def test_every_failure_is_named_and_what_is_left_up_to_a_limit(
        self, settings: Callable[..., Settings], journal: Journal
    ) -> None:
        begin(journal, *(f"k{n:03}" for n in range(60)))
        journal.operations.settle(
            [
                (State.FAILED, Result(operation.id, error="No", code="No"))
                for operation in journal.operations.lease(5, 0)
            ]
        )

        brief, long = Ran(run_show, settings()), Ran(run_show, settings(), verbose=1)

        assert brief.out.count("failed: ") == 6
        assert brief.out.count("left: ") == 50
        assert "and 3 more are left; -v names all" in brief.out
        assert long.out.count("left: ") == 53
        assert "more are left" not in long.out

    def test_leased_operations_are_left_too(self, settings: Callable[..., Settings], journal: Journal) -> None:
        begin(journal, "a", "b", "c", "d")
        journal.operations.lease(1, 0)

        assert {row["key"] for row in Ran(run_show, settings(json=True)).json["left"]} == {"c", "d"}

    def test_json_is_the_report_with_what_is_left(self, settings: Callable[..., Settings], journal: Journal) -> None:
        job = begin(journal, "a", "b", "c")
        journal.jobs.set_state(JobState.FAILED, 1)

        found = Ran(run_show, settings(json=True)).json

        assert found["operations"]["upload"] == {"planned": 3, "done": 1, "failed": 1, "skipped": 0, "bytes": 10}
        assert [failure["key"] for failure in found["failures"]] == ["b"]
        assert [(row["operation"], row["key"], row["reason"]) for row in found["left"]] == [("upload", "c", "missing")]
        assert found["resume"] == f"s3batch resume {job}"
        assert (found["state"], found["exit_code"], found["source"]) == ("failed", 1, "/src")

    def test_the_resume_line_names_a_journal_that_resume_would_not_find(
        self, settings: Callable[..., Settings], tmp_path: Path
    ) -> None:
        path = str(tmp_path / "mine.db")
        with Journal.open(path) as mine:
            job = begin(mine)

        assert (
            Ran(run_show, settings(json=True, journal=path)).json["resume"] == f"s3batch resume {job} --journal {path}"
        )

    @pytest.mark.parametrize("end", [JobState.DONE, JobState.SUPERSEDED])
    def test_a_finished_job_has_no_resume_line(
        self, settings: Callable[..., Settings], journal: Journal, end: JobState
    ) -> None:
        begin(journal, "a")
        journal.jobs.set_state(end, 0)

        assert Ran(run_show, settings(json=True)).json["resume"] is None
        assert "resume" not in Ran(run_show, settings()).out

    def test_a_running_job_is_shown_with_who_runs_it_and_no_resume_line(
        self, settings: Callable[..., Settings], journal: Journal
    ) -> None:
        begin(journal, "a", "b", "c")
        journal.lock()

        out = Ran(run_show, settings()).out

        assert "running, pid " in out
        assert "to finish it" not in out

    def test_no_secret_is_shown(self, settings: Callable[..., Settings], journal: Journal) -> None:
        begin(journal, "a")

        assert "SECRET-KEY" not in Ran(run_show, settings()).out + Ran(run_show, settings(json=True)).out


class TestPrune:
    def test_finished_jobs_are_forgotten_and_others_stay(
        self, settings: Callable[..., Settings], journal: Journal
    ) -> None:
        begin(journal, "a")
        journal.jobs.set_state(JobState.DONE, 0)
        kept = begin(journal, "a", "b")
        journal.jobs.set_state(JobState.FAILED, 1)
        journal.close()

        ran = Ran(prune_jobs, settings())

        assert ran.code == 0
        assert ran.err == "1 job forgotten, 0 multipart uploads aborted\n"
        assert [row["job"] for row in Ran(list_jobs, settings(json=True)).json["jobs"]] == [kept]

    def test_a_dry_run_forgets_nothing(self, settings: Callable[..., Settings], journal: Journal) -> None:
        begin(journal, "a")
        journal.jobs.set_state(JobState.DONE, 0)

        ran = Ran(prune_jobs, settings(dry_run=True, json=True))

        told = {"dry_run": True, "forgotten": 1, "aborted": [], "kept": [], "failures": [], "refused": []}
        assert ran.json | told == ran.json
        assert len(Ran(list_jobs, settings(json=True)).json["jobs"]) == 1

    def test_a_journal_at_work_is_left_alone(self, settings: Callable[..., Settings], journal: Journal) -> None:
        begin(journal, "a")
        journal.jobs.set_state(JobState.DONE, 0)
        journal.lock()

        ran = Ran(prune_jobs, settings())

        assert ran.code == 0
        assert "skipped: journal" in ran.err
        assert len(Ran(list_jobs, settings(json=True)).json["jobs"]) == 1
        with pytest.raises(JournalLockedError):
            Ran(prune_jobs, settings(journal=journal.path))

    def test_an_upload_that_resume_would_go_on_with_is_kept_and_said(
        self, settings: Callable[..., Settings], journal: Journal
    ) -> None:
        job = begin(journal, "a", "b", "c", target="b/", endpoint_url=UNREACHABLE)
        (operation,) = journal.operations.lease(1, 0)
        journal.uploads.begin(operation.id, "U1", [Part(operation.id, 1, 0, 10)])
        journal.jobs.set_state(JobState.INTERRUPTED, 143)

        ran = Ran(prune_jobs, settings())

        assert ran.code == 0
        assert f"s3batch resume {job} finishes them" in ran.err
        assert [left.upload_id for left in journal.uploads.list_left(of_dead_jobs_only=False)] == ["U1"]

    def test_an_upload_that_cannot_be_aborted_is_named_kept_and_exit_1(
        self, settings: Callable[..., Settings], journal: Journal
    ) -> None:
        job = begin(journal, "a", "b", "c", target="b/", endpoint_url=UNREACHABLE)
        (operation,) = journal.operations.lease(1, 0)
        journal.uploads.begin(operation.id, "U1", [Part(operation.id, 1, 0, 10)])

        ran = Ran(prune_jobs, settings(json=True, access_key="A", secret_key="S", region="us-east-1"))

        assert ran.code == 1
        assert [(row["job"], row["key"], row["upload_id"]) for row in ran.json["failures"]] == [(job, "c", "U1")]
        assert "cannot abort the multipart upload of c" in ran.err
        assert [left.upload_id for left in journal.uploads.list_left(of_dead_jobs_only=False)] == ["U1"]


@pytest.mark.parametrize("command", ["list.list_jobs", "show.run_show"])
def test_looking_at_jobs_loads_neither_aws_nor_sqlite_utils(
    command: str, settings: Callable[..., Settings], state: Path, journal: Journal
) -> None:
    begin(journal, "a", "b", "c")
    code = (
        "import io, sys; from s3batch.commands.jobs import list, show; from s3batch.reporting.console import Output; from s3batch.settings.table import Settings;"
        f"settings = Settings(state_directory={str(state)!r}, workspace={str(state)!r});"
        f"code = {command}(settings, Output(io.StringIO(), io.StringIO()));"
        "sys.exit(code or ' '.join(sorted({'boto3', 'botocore', 'awscrt', 's3transfer', 'sqlite_utils', 'tqdm',"
        "'s3batch.s3.transport', 's3batch.s3.bucket'} & set(sys.modules))) or 0)"
    )

    ended = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)

    assert (ended.returncode, ended.stderr) == (0, "")
