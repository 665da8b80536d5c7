"""The end of a job: its state, its exit code and what is said of it, whichever command it is of."""

from __future__ import annotations

import io
import json
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from s3batch.base.errors import EndpointError, JobFailedError, JournalError, SupersededError
from s3batch.coordinator.job_description import JobDescription
from s3batch.coordinator.job_runner import JobRunner
from s3batch.coordinator.signals import InterruptedJobError, Signals
from s3batch.journal import Journal
from s3batch.model import Kind, Operation, Reason, Result, State
from s3batch.reporting.console import Output
from s3batch.s3.faults import Fault, RequestError
from s3batch.settings.table import Settings


@dataclass
class SmallJob(JobDescription):
    """A job that does what its test says."""

    runner: JobRunner
    action: Callable[[Journal], object]
    outputs: dict[str, str | int | bool] = field(default_factory=dict)

    def carry_out(self) -> None:
        self.action(self.runner.journal)

    def collect_outputs(self, document: dict[str, Any]) -> dict[str, str | int | bool]:
        return self.outputs


@dataclass
class ForgivingJob(SmallJob):
    """A job whose errors break no build."""

    def choose_exit_code(self, stopped: Exception | None, *, failed: bool) -> int:
        return 0


@dataclass
class End:
    """What a run left behind."""

    code: int
    document: dict[str, Any]
    said: str
    state: str
    kept_code: int | None


@pytest.fixture
def end(tmp_path) -> Callable[..., End]:
    """``end(action, fail_on=())``: run a job with this action to its end."""

    def run(action: Callable[[Journal], object], kind: type[SmallJob] = SmallJob, **more: Any) -> End:
        outputs = more.pop("outputs", {})
        settings = Settings(command="sync", json=True, **more)
        stdout, stderr = io.StringIO(), io.StringIO()
        with Journal.open(str(tmp_path / "journal.db")) as journal:
            runner = JobRunner(settings, Output(stdout, stderr), journal, Signals())
            runner.begin("/src", "bucket/")
            code = runner.run(kind(runner, action, outputs))
            job = journal.jobs.current
            return End(code, json.loads(stdout.getvalue()), stderr.getvalue(), str(job.state), job.exit_code)

    return run


def settle(state: State, error: str = "") -> Callable[[Journal], None]:
    def action(journal: Journal) -> None:
        [row] = journal.operations.add([Operation(Kind.DELETE, "key", Reason.ORPHAN)], lease=True)
        journal.operations.settle([(state, Result(row.id, error=error))])

    return action


def stop(error: Exception) -> Callable[[Journal], None]:
    def action(_: Journal) -> None:
        raise error

    return action


def nothing(_: Journal) -> None:
    """Do nothing."""


def warn(journal: Journal) -> None:
    journal.jobs.warn("look here")


REFUSED = RequestError("PutObject", "key", Fault("AccessDenied", "no", 403))


@pytest.mark.parametrize(
    ("action", "code", "state", "error"),
    [
        pytest.param(nothing, 0, "done", None, id="nothing to do"),
        pytest.param(settle(State.DONE), 0, "done", None, id="all done"),
        pytest.param(settle(State.FAILED, "no"), 1, "failed", None, id="an operation failed"),
        pytest.param(stop(JobFailedError("a rule")), 1, "failed", "a rule", id="a rule stopped it"),
        pytest.param(stop(EndpointError("no store")), 4, "failed", "no store", id="no endpoint"),
        pytest.param(stop(REFUSED), 1, "failed", str(REFUSED), id="a request was refused"),
        pytest.param(stop(InterruptedJobError(signal.SIGTERM)), 143, "interrupted", "interrupted by SIGTERM", id="signal"),
    ],
)  # fmt: skip
def test_an_end_is_one_state_one_exit_code_and_one_document(end, action, code, state, error) -> None:
    ended = end(action)

    assert (ended.code, ended.state, ended.kept_code) == (code, state, code)
    assert (ended.document["exit_code"], ended.document["state"]) == (code, state)
    assert ended.document.get("error") == error
    assert ended.said.count(f"error: {error}\n") == (error is not None)


@pytest.mark.parametrize(
    ("action", "fail_on", "words"),
    [
        (warn, ("warnings",), "there are warnings, and fail_on says warnings"),
        (settle(State.DONE), ("changes",), "something changed, and fail_on says changes"),
        (nothing, ("changes", "nothing"), "nothing changed, and fail_on says changes, nothing"),
        (nothing, ("warnings", "changes"), ""),
    ],
)
def test_fail_on_makes_the_exit_code_1_of_a_job_that_is_done(end, action, fail_on, words) -> None:
    ended = end(action, fail_on=fail_on)

    assert (ended.code, ended.state) == (int(bool(words)), "done")
    assert ended.document.get("error", "") == words


def test_a_job_that_a_newer_one_supersedes_is_no_failure(end) -> None:
    ended = end(stop(SupersededError("run 8 has begun")))

    assert (ended.code, ended.state, ended.document["error"]) == (0, "superseded", "run 8 has begun")
    assert ended.said.startswith("run 8 has begun\n")


def test_fail_on_says_nothing_of_a_job_that_failed(end) -> None:
    ended = end(stop(EndpointError("no store")), fail_on=("nothing",))

    assert (ended.code, ended.document["error"]) == (4, "no store")


def test_an_error_that_is_forgiven_is_said_and_leaves_a_failed_job(end) -> None:
    ended = end(stop(EndpointError("no store")), ForgivingJob, fail_on=("nothing",))

    assert (ended.code, ended.state, ended.kept_code) == (0, "failed", 0)
    assert ended.said.startswith("no store\n")
    assert "error" not in ended.document


def test_the_outputs_of_a_job_go_to_later_steps(end, tmp_path) -> None:
    end(nothing, outputs={"cache_hit": False}, output_file=str(tmp_path / "outputs"))

    assert (tmp_path / "outputs").read_text() == "cache_hit=false\n"


def test_an_exception_that_is_no_end_is_raised(end) -> None:
    with pytest.raises(ZeroDivisionError):
        end(lambda _: 1 / 0)


def test_a_full_disk_ends_a_job_in_words_though_its_end_cannot_be_noted(end, monkeypatch) -> None:
    def fail(*_: object) -> None:
        raise JournalError("the disk is full")

    def action(journal: Journal) -> None:
        monkeypatch.setattr(type(journal.jobs), "set_state", fail)
        fail()

    ended = end(action)

    assert (ended.code, ended.document["exit_code"], ended.document["state"]) == (3, 3, "failed")
    assert ended.kept_code is None


@pytest.mark.parametrize(
    ("error", "dry_run", "said"),
    [
        pytest.param({"remedy": "make room"}, False, "no room; make room, then resume", id="a job"),
        pytest.param({"remedy": "make room"}, True, "no room; make room, then run it again", id="a dry run"),
        pytest.param({"hint": "give --resume-from 7"}, True, "no room; give --resume-from 7", id="other words stay"),
    ],
)
def test_a_hint_is_worded_for_the_kind_of_run(end, error, dry_run, said):
    ended = end(stop(JobFailedError("no room", **error)), dry_run=dry_run)

    assert ended.document["error"] == said
