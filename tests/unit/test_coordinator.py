"""Lease, hand out, judge, settle: with a real journal, and an executor whose answers each test decides."""

from __future__ import annotations

import io
import itertools
import random
import signal
import time
from array import array
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from s3batch.base.errors import JournalError
from s3batch.coordinator.circuit_breaker import SAME_FAILURES
from s3batch.coordinator.coordinator import Coordinator
from s3batch.coordinator.deps import CoordinatorDeps
from s3batch.coordinator.multipart import MultipartUploads
from s3batch.coordinator.signals import InterruptedJobError, Signals, StoppedError
from s3batch.executors import Credit, PollResult, Status, WorkerState, collect_work_tags
from s3batch.journal import Journal
from s3batch.model import (
    Comparison,
    FileToCompare,
    Kind,
    ListedObject,
    Operation,
    PlannedDeletes,
    Reason,
    Result,
    Stage,
    State,
    Step,
    StoredResult,
    Work,
    expand_row,
    good_result,
    make_deleted_result,
    shorten_result,
)
from s3batch.reporting.events import EventStream
from s3batch.reporting.progress import Totals, make_progress
from s3batch.s3.sigv4 import Credentials
from s3batch.worker.bulk import ON_RECORD, UNKNOWN
from tests.rig.stamps import stamp

MIB = 1024 * 1024
LOST = object()
"""Instead of a result: the worker died."""
DROPPED = object()
"""Instead of a result: it was not begun, and drained."""
HUNG = object()
"""Instead of a result: it was begun, and nothing comes."""


class Scripted:
    """An executor: ``answer`` says what comes of each piece of work. ``at_once`` of them in one poll."""

    def __init__(
        self, answer: Callable[[Work], Any], *, room: int = 1000, at_once: int = 1000, untold: bool = False
    ) -> None:
        self.answer, self.at_once = answer, at_once
        self._untold = untold
        """The worker has not yet said what it has begun."""
        self.given: list[Work] = []
        self.most = 0
        self.credentials: list[Credentials] = []
        self.narrowed = 0
        self.drained = False
        self._room = room
        self._waiting: list[Work] = []
        self._idle = 0
        self._state = WorkerState("worker")
        self._ask([])

    def workers(self) -> list[WorkerState]:
        return [self._state]

    def _ask(self, results: list[Result]) -> None:
        works, content, keys = self._state.totals
        credit = Credit(works + self._room - len(self._waiting), content + 10**12, keys + 10**6)
        self._state.on_results(results, Status(0 if self._untold else works, credit))

    def dispatch(self, worker: WorkerState, works: list[Work]) -> None:
        assert works
        assert worker is self._state
        self.given += works
        self._waiting += works
        self.most = max(self.most, len(self._state.given))

    def poll(self, timeout: float) -> PollResult:
        news = PollResult()
        self._idle = 0 if self._waiting else self._idle + 1
        assert self._idle < 400, "the coordinator waits for nothing"
        if self._idle > 1:
            time.sleep(min(timeout, 0.002))
        now, self._waiting = self._waiting[: self.at_once], self._waiting[self.at_once :]
        for work in now:
            answer = self.answer(work)
            if answer is LOST:
                news.lost.append(work)
                news.deaths += 1
                self._state.take_back([work])
            elif answer is HUNG:
                continue
            elif answer is DROPPED:
                if self.drained:
                    news.dropped.append(work)
                    self._state.take_back([work])
                else:
                    self._waiting.append(work)
            elif isinstance(answer, list) and type(answer[0]) is StoredResult:
                news.stored += map(shorten_result, answer)
            else:
                news.results += answer if isinstance(answer, list) else [answer]
        self._ask([*news.results, *map(expand_row, news.stored)])
        return news

    def update_credentials(self, credentials: Credentials) -> None:
        self.credentials.append(credentials)

    def throttle(self) -> None:
        self.narrowed += 1

    def drain(self) -> None:
        self.drained = True

    def close(self) -> None:
        """Nothing is open."""


class Login:
    """Credentials that can be renewed so often."""

    def __init__(self, renewals: int = 0) -> None:
        self.asked, self._renewals = 0, renewals

    def current(self) -> Credentials:
        return Credentials("key", "secret", str(self.asked))

    def renewed(self) -> Credentials | None:
        self.asked += 1
        return self.current() if self.asked <= self._renewals else None


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(random, "uniform", lambda least, _: least)


@pytest.fixture
def journal(tmp_path) -> Iterator[Journal]:
    with Journal.open(str(tmp_path / "journal.db")) as journal:
        journal.jobs.begin("sync", "/src", "bucket/", "http://127.0.0.1", {}, "1")
        yield journal


@pytest.fixture
def coordinate(journal) -> Callable[..., Coordinator]:
    """``coordinate(executor, tries=3)``: a coordinator with it."""

    def build(executor: Scripted, **more: Any) -> Coordinator:
        parts: dict[str, Any] = {
            "journal": journal, "executor": executor, "login": Login(), "signals": Signals(), "totals": Totals(), "events": EventStream(),
            "uploads": MultipartUploads(journal, 5 * MIB, lambda _: "print", lambda _: ""), "tries": 3,
            "progress": make_progress("none", io.StringIO()), "multipart_threshold": 8 * MIB, "whole": lambda _: False,
            "replan": lambda operation: operation, "heard": lambda operation, result: None,
            "say": lambda words: None,
        }  # fmt: skip
        return Coordinator(CoordinatorDeps(**parts | more))

    return build


def upload(key: object, size: int = 10, **more: Any) -> Operation:
    return Operation(Kind.UPLOAD, str(key), Reason.MISSING, str(key), size, stamp(size), **more)


def delete(key: object) -> Operation:
    return Operation(Kind.DELETE, str(key), Reason.ORPHAN, stage=Stage.DELETE)


def plan_deletes(*keys: str) -> PlannedDeletes:
    return PlannedDeletes(keys, ("e",) * len(keys), (0,) * len(keys))


def good(work: Work) -> list[Result]:
    """It worked, whatever it was."""
    extra = {Step.BEGIN: {"upload_id": "u"}}.get(work.step, {"upload_id": work.operation.upload_id})
    return [Result(row, step, part, etag="e", **extra) for row, step, part in collect_work_tags(work)]


def bad(work: Work, code: str, **more: Any) -> list[Result]:
    return [
        Result(row, step, part, error=f"it is {code}", code=code, upload_id=work.operation.upload_id, **more)
        for row, step, part in collect_work_tags(work)
    ]


def planning(coordinator: Coordinator, *batches: list[Operation]) -> Iterator[None]:
    for batch in batches:
        coordinator.add(batch)
        yield


def states(journal: Journal) -> dict[str, State]:
    return {entry.operation.key: entry.state for entry in journal.outcomes.read_entries()}


def stored(work: Work) -> list[Result]:
    """It worked, and a real worker would say so in a short row."""
    return [good_result(work.operation.id, "request", 0.5, work.operation.size, "e", "crc", 9.5, "f")]


@pytest.mark.parametrize("size", [10, 0])
def test_a_short_row_says_what_its_result_says(tmp_path, coordinate, size):
    """The same job twice: with results that are told in short rows, and with those in full."""
    seen = []
    for form in (lambda result: result, lambda result: Result(*result)):
        with Journal.open(str(tmp_path / f"{len(seen)}.db")) as journal:
            journal.jobs.begin("sync", "/src", "bucket/", "http://127.0.0.1", {}, "1")
            totals, heard = Totals(), []
            coordinator = coordinate(
                Scripted(lambda work, form=form: [form(each) for each in stored(work)], room=3), journal=journal,
                totals=totals, heard=lambda operation, result, heard=heard: heard.append((operation, result.already)),
            )  # fmt: skip
            operations = [upload(0, size), upload(1, 7, stage=Stage.PUBLISH_LAST), *map(upload, range(2, 9))]
            coordinator.run(Stage.MAIN, planning(coordinator, operations))
            coordinator.run(Stage.PUBLISH_LAST)
            rows = journal._store.rows("SELECT * FROM operation ORDER BY id")
            seen.append((rows, vars_of(totals), heard, journal.outcomes.count_open()))

    assert seen[0] == seen[1]
    assert seen[0][3] == 0
    assert len(seen[0][2]) == 9


def vars_of(totals: Totals) -> dict[str, Any]:
    return dict(vars(totals))


def test_a_short_row_of_a_suspect_clears_it(journal, coordinate):
    deaths = []

    def once(work: Work) -> Any:
        if not deaths:
            deaths.append(work)
            return LOST
        return stored(work)

    coordinator = coordinate(Scripted(once, room=2))
    coordinator.run(Stage.MAIN, planning(coordinator, [upload(n) for n in range(6)]))

    assert set(states(journal).values()) == {State.DONE}
    assert not coordinator._quarantine.is_in_use


def test_short_rows_are_settled_also_where_another_result_stops_the_job(journal, coordinate):
    executor = Scripted(
        lambda work: bad(work, "NoSuchBucket", fatal=True) if work.operation.key == "3" else stored(work)
    )
    coordinator = coordinate(executor)

    with pytest.raises(StoppedError):
        coordinator.run(Stage.MAIN, planning(coordinator, [upload(n) for n in range(6)]))

    assert [states(journal)[str(n)] for n in (0, 1, 2, 4, 5)] == [State.DONE] * 5


def test_workers_get_what_they_ask_for_before_more_is_planned(journal, coordinate):
    """The clock stands still, so planning is not paused for its time: only for workers that have nothing."""
    executor, given = Scripted(good, room=4), []
    coordinator = coordinate(executor, clock=lambda: 100.0)

    def plan() -> Iterator[None]:
        for batch in range(3):
            given.append(len(executor.given))
            coordinator.add([upload(n + 10 * batch) for n in range(10)])
            yield

    coordinator.run(Stage.MAIN, plan())

    assert given[:2] == [0, 8], "four of the first batch, and four when these are done"
    assert len(executor.given) == 30


def test_workers_that_ask_for_much_get_it_before_more_is_planned(journal, coordinate):
    """They had something to do, and waited until the time for planning was over."""
    executor, given = Scripted(good, room=300, at_once=1), []
    coordinator = coordinate(executor, clock=lambda: 100.0)

    def plan() -> Iterator[None]:
        for batch in range(4):
            given.append(len(executor.given))
            coordinator.add([upload(n + 100 * batch) for n in range(100)])
            yield

    coordinator.run(Stage.MAIN, plan())

    assert given == [0, 100, 200, 300]
    assert len(executor.given) == 400


@pytest.mark.parametrize(("count", "waits"), [pytest.param(0, False, id="nothing"), pytest.param(3, True, id="files")])
def test_only_operations_that_are_open_are_waited_for(journal, coordinate, count, waits):
    """A run with nothing to send waited 0.1 s for the results of nothing."""
    patience: list[float] = []

    class Patient(Scripted):
        def poll(self, timeout: float) -> PollResult:
            patience.append(timeout)
            return super().poll(timeout)

    coordinator = coordinate(Patient(good, at_once=1))

    coordinator.run(Stage.MAIN, planning(coordinator, [upload(n) for n in range(count)]))

    assert any(patience) is waits


@pytest.mark.parametrize("name", ["a", "z"])
def test_a_worker_gets_at_once_what_others_do_not_ask_for(journal, coordinate, name):
    """Half of it came, then half of the rest, one turn after the other: small objects kept their worker waiting."""
    sizes: list[int] = []
    busy = WorkerState(name)
    busy.credit = Credit(1)
    busy.dispatch(Work(upload("elsewhere")), 0)

    class Beside(Scripted):
        def workers(self) -> list[WorkerState]:
            return sorted([busy, self._state], key=lambda each: each.name)

        def dispatch(self, worker: WorkerState, works: list[Work]) -> None:
            sizes.append(len(works))
            super().dispatch(worker, works)

    coordinator = coordinate(Beside(good, room=100))

    coordinator.run(Stage.MAIN, planning(coordinator, [upload(n) for n in range(100)]))

    assert sizes == [49, 51], "before anything worked, 50 are out at most"


def test_everything_planned_is_handed_out_once_and_settled(journal, coordinate):
    executor = Scripted(good, room=64)
    coordinator = coordinate(executor)

    coordinator.run(Stage.MAIN, planning(coordinator, *([upload(n + 100 * m) for n in range(100)] for m in range(9))))

    assert Counter(work.operation.key for work in executor.given) == {str(n): 1 for n in range(900)}
    assert set(states(journal).values()) == {State.DONE}
    assert executor.most <= 64


@pytest.mark.parametrize("state", ["leased", "pending"])
def test_operations_that_a_job_never_handed_out_are_found_again(journal, coordinate, state):
    coordinator = coordinate(Scripted(good))
    taken = journal.operations.add([upload("a"), upload("b")], lease=True)
    if state == "pending":
        journal.operations.put_back([each.id for each in taken])
        journal.operations.lease(2, Stage.MAIN)
        journal.operations.put_back([each.id for each in taken])

    coordinator.run(Stage.MAIN, planning(coordinator, [upload("c")]))

    assert states(journal) == dict.fromkeys("abc", State.DONE)
    assert journal.doubts.list_all() or state == "pending"


def test_operations_are_found_again_in_each_stage(journal, coordinate):
    coordinator = coordinate(Scripted(good))
    coordinator.expect(Stage.MAIN, 1)  # more than there are
    coordinator.run(Stage.MAIN)
    journal.operations.add([upload("a", stage=Stage.PUBLISH_LAST)], lease=True)
    coordinator.expect(Stage.PUBLISH_LAST, 1)

    coordinator.run(Stage.PUBLISH_LAST)

    assert states(journal) == {"a": State.DONE}


def test_a_job_ends_where_the_journal_counts_operations_that_no_lease_finds(journal, coordinate, monkeypatch):
    coordinator = coordinate(Scripted(good))
    journal.operations.add([upload("a")])
    monkeypatch.setattr(journal.operations, "lease", lambda limit, stage: [])

    with pytest.raises(JournalError, match="has 1 operation that cannot be begun"):
        coordinator.run(Stage.MAIN, planning(coordinator, [upload("b")]))


def test_later_stages_wait_for_theirs(journal, coordinate):
    executor = Scripted(good)
    coordinator = coordinate(executor)
    last = [upload("index", stage=Stage.PUBLISH_LAST), delete("x"), upload("a")]

    coordinator.run(Stage.MAIN, planning(coordinator, last))
    after_main = states(journal)
    coordinator.run(Stage.PUBLISH_LAST)

    assert after_main == {"index": State.PENDING, "x": State.PENDING, "a": State.DONE}
    assert states(journal) == {"index": State.DONE, "x": State.PENDING, "a": State.DONE}


def test_a_file_that_changes_while_hundreds_wait_delays_nobody(journal, coordinate):
    changes = Counter[str]()

    def answer(work: Work) -> list[Result]:
        changes[work.operation.key] += 1
        return bad(work, "Changed", retryable=True) if changes[work.operation.key] == 1 else good(work)

    executor = Scripted(answer, room=10)
    coordinator = coordinate(executor, replan=lambda operation: operation._replace(stamp=stamp(mtime_ns=99)))

    coordinator.run(Stage.MAIN, planning(coordinator, [upload(n) for n in range(400)]))

    assert set(states(journal).values()) == {State.DONE}
    assert set(changes.values()) == {2}


def test_an_upload_that_may_have_been_begun_is_looked_for_also_after_its_file_has_changed(journal, coordinate):
    answers = [lambda work: bad(work, "Timeout", retryable=True), lambda work: bad(work, "Changed", retryable=True)]
    executor = Scripted(lambda work: answers.pop(0)(work) if answers else good(work))
    coordinator = coordinate(executor, replan=lambda operation: operation._replace(stamp=stamp(12 * MIB, mtime_ns=99)))

    coordinator.run(Stage.MAIN, planning(coordinator, [upload("big", 12 * MIB)]))

    begins = [work.operation for work in executor.given if work.step is Step.BEGIN]
    assert states(journal) == {"big": State.DONE}
    assert [each.recheck for each in begins] == [False, True, True]


def test_a_file_that_never_comes_to_rest_is_given_up(journal, coordinate):
    executor = Scripted(
        lambda work: bad(work, "Changed", retryable=True) if work.operation.key == "busy" else good(work)
    )
    coordinator = coordinate(executor)

    coordinator.run(Stage.MAIN, planning(coordinator, [upload("busy"), upload("calm")]))

    assert states(journal) == {"busy": State.FAILED, "calm": State.DONE}
    assert [failure.attempts for failure in journal.outcomes.read_failures()] == [1]
    assert [failure.error for failure in journal.outcomes.read_failures()] == ["it is Changed, 5 times"]
    assert sum(work.operation.key == "busy" for work in executor.given) == 5


@pytest.mark.parametrize(
    ("failures", "state", "retries"),
    [(1, State.DONE, 1), (2, State.DONE, 2), (3, State.FAILED, 2), (9, State.FAILED, 2)],
)
def test_what_may_pass_is_tried_so_often(journal, coordinate, failures, state, retries):
    left = [failures]

    def answer(work: Work) -> list[Result]:
        if work.operation.key == "k" and left[0]:
            left[0] -= 1
            return bad(work, "InternalError", retryable=True)
        return good(work)

    executor = Scripted(answer)
    coordinator = coordinate(executor, tries=3)

    coordinator.run(Stage.MAIN, planning(coordinator, [upload("k"), upload("other")]))

    assert states(journal) == {"k": state, "other": State.DONE}
    assert journal.jobs.current.retries == retries
    assert executor.narrowed == 0


def test_a_store_that_asks_for_patience_uses_up_no_tries(journal, coordinate):
    """40 % of all requests are refused, of some keys more often than they have tries."""
    asked = Counter({"all": 0})
    refused: Counter[str] = Counter()

    def answer(work: Work) -> list[Result]:
        asked["all"] += 1
        if asked["all"] % 5 in (1, 3):
            refused[work.operation.key] += 1
            return bad(work, "SlowDown", retryable=True, throttled=True, retry_after=0.01)
        return good(work)

    executor = Scripted(answer, at_once=7)
    coordinator = coordinate(executor, tries=2)

    coordinator.run(Stage.MAIN, planning(coordinator, [upload(key) for key in range(200)]))

    assert set(states(journal).values()) == {State.DONE}
    assert max(refused.values()) >= 2
    assert executor.narrowed > 0


@pytest.mark.parametrize("again", [False, True], ids=["while more is planned", "in a stage that is run again"])
def test_retry_after_is_waited_for_also_where_rows_are_leased_by_their_order(journal, coordinate, again):
    """Rows that were leased as they were added, and wait, lie behind those that no lease has passed."""
    clock, given = Turns(), []

    def answer(work: Work) -> Result:
        if work.operation.key == "0":
            given.append(clock.now)
            if len(given) == 1:
                return bad(work, "SlowDown", retryable=True, throttled=True, retry_after=20.0)
        return good(work)

    executor = Scripted(answer, room=10, at_once=5)
    executor.poll = clock.count(executor.poll)
    coordinator = coordinate(executor, clock=lambda: clock.now)
    batches = [[upload(n) for n in range(10)], [upload(n) for n in range(10, 200)]]
    if again:
        coordinator.run(Stage.MAIN)
        for batch in batches:
            coordinator.add(batch)
        coordinator.run(Stage.MAIN)
    else:
        coordinator.run(Stage.MAIN, clock.slow(planning(coordinator, *batches)))

    assert set(states(journal).values()) == {State.DONE}
    assert len(given) == 2
    assert given[1] - given[0] >= 20


class Turns:
    """A clock that goes on by 0.1 s with each look for news."""

    def __init__(self) -> None:
        self.now = 0.0

    def count(self, poll: Callable[[float], PollResult]) -> Callable[[float], PollResult]:
        def counted(timeout: float) -> PollResult:
            self.now += 0.1
            return poll(0.0)

        return counted

    def slow(self, steps: Iterator[None]) -> Iterator[None]:
        """Let each step take longer than one turn of the coordinator plans."""
        for step in steps:
            self.now += 0.1
            yield step


def test_retry_after_is_waited_for(journal, coordinate):
    busy = [{"retryable": True, "throttled": True, "retry_after": 0.2}]
    executor = Scripted(lambda work: bad(work, "SlowDown", **busy.pop()) if busy else good(work))
    coordinator = coordinate(executor)
    started = time.monotonic()

    coordinator.run(Stage.MAIN, planning(coordinator, [upload("k")]))

    assert time.monotonic() - started >= 0.2


def test_a_key_that_always_fails_fails_alone(journal, coordinate):
    """Nothing has worked for longer than the grace when it fails: there was nothing else to do."""

    def answer(work: Work) -> list[Result]:
        return bad(work, "InternalError", retryable=True, status=500) if work.operation.key == "k" else good(work)

    coordinator = coordinate(Scripted(answer), tries=3, endpoint_gone=0.0)

    coordinator.run(Stage.MAIN, planning(coordinator, [upload("k"), *map(upload, range(5))]))

    assert states(journal) == {"k": State.FAILED} | {str(key): State.DONE for key in range(5)}


def test_the_endpoint_is_gone_when_several_keys_fail(journal, coordinate):
    executor = Scripted(lambda work: bad(work, "Connection", retryable=True))
    coordinator = coordinate(executor, tries=2, endpoint_gone=0.0)

    with pytest.raises(StoppedError, match="the endpoint is gone"):
        coordinator.run(Stage.MAIN, planning(coordinator, list(map(upload, range(5)))))


def test_a_refusal_of_everything_costs_fifty_requests(journal, coordinate):
    executor = Scripted(lambda work: bad(work, "AccessDenied", status=403), at_once=7)
    coordinator = coordinate(executor)

    with pytest.raises(StoppedError, match="the first 50 operations all failed with the same error") as stopped:
        coordinator.run(
            Stage.MAIN, planning(coordinator, *([upload(n + 500 * m) for n in range(500)] for m in range(3)))
        )

    assert stopped.value.exit_code == 4
    assert len(executor.given) <= 2 * SAME_FAILURES
    assert executor.most <= SAME_FAILURES
    assert journal.outcomes.count_open() >= 1500 - 2 * SAME_FAILURES


def test_refusals_do_not_stop_a_job_in_which_something_worked(journal, coordinate):
    executor = Scripted(lambda work: good(work) if work.operation.key == "0" else bad(work, "AccessDenied", status=403))
    coordinator = coordinate(executor)

    coordinator.run(Stage.MAIN, planning(coordinator, [upload(n) for n in range(300)]))

    assert Counter(states(journal).values()) == {State.FAILED: 299, State.DONE: 1}


@pytest.mark.parametrize("code", ["Vanished", "Unreadable", "BrokenLink"])
def test_files_that_cannot_be_read_do_not_stop_a_job(journal, coordinate, code):
    executor = Scripted(lambda work: good(work) if work.operation.key == "last" else bad(work, code))
    coordinator = coordinate(executor)

    coordinator.run(Stage.MAIN, planning(coordinator, [*(upload(n) for n in range(200)), upload("last")]))

    assert Counter(states(journal).values()) == {State.FAILED: 200, State.DONE: 1}


def test_what_worked_beside_a_fatal_failure_is_not_forgotten(journal, coordinate):
    executor = Scripted(
        lambda work: bad(work, "NoSuchBucket", fatal=True, status=404) if work.operation.key == "2" else good(work)
    )
    coordinator = coordinate(executor)

    with pytest.raises(StoppedError, match="NoSuchBucket") as stopped:
        coordinator.run(Stage.MAIN, planning(coordinator, [upload(n) for n in range(6)]))

    found = states(journal)
    assert {key for key, state in found.items() if state is State.DONE} == set("01345")
    assert found["2"] is State.PENDING
    assert stopped.value.exit_code == 1


# --- workers that die -----------------------------------------------------------------------


def test_what_a_dead_worker_had_is_looked_up_and_done(journal, coordinate):
    died: set[str] = set()

    def answer(work: Work) -> Any:
        if work.operation.key in died:
            return good(work)
        died.add(work.operation.key)
        return LOST

    executor = Scripted(answer)
    coordinator = coordinate(executor)

    coordinator.run(Stage.MAIN, planning(coordinator, [upload(n) for n in range(20)]))

    assert set(states(journal).values()) == {State.DONE}
    assert [work.operation.recheck for work in executor.given] == [False] * 20 + [True] * 20


def test_only_the_operation_that_kills_its_worker_is_failed(journal, coordinate):
    """Whoever is out with the killer is lost with it."""
    out: list[Work] = []

    class Deadly(Scripted):
        def poll(self, timeout: float) -> PollResult:
            out[:] = self._waiting
            return super().poll(timeout)

    def answer(work: Work) -> Any:
        return LOST if any(each.operation.key == "killer" for each in out) else good(work)

    executor = Deadly(answer, room=40)
    coordinator = coordinate(executor)

    coordinator.run(Stage.MAIN, planning(coordinator, [*(upload(n) for n in range(30)), upload("killer")]))

    found = states(journal)
    assert found.pop("killer") is State.FAILED
    assert set(found.values()) == {State.DONE}
    assert [failure.code for failure in journal.outcomes.read_failures()] == ["WorkerLost"]


@pytest.mark.parametrize(
    ("size", "deadly", "doubted"),
    [
        pytest.param(10, Step.WHOLE, {"0", "1"}, id="small files"),
        pytest.param(12 * MIB, Step.BEGIN, {"0", "1"}, id="an upload that may have been begun"),
        pytest.param(12 * MIB, Step.PART, set(), id="parts, which change no object"),
        pytest.param(12 * MIB, Step.FINISH, {"0", "1"}, id="uploads that may have been completed"),
    ],
)
def test_requests_of_a_dead_worker_may_land_later(journal, coordinate, size, deadly, doubted):
    died = set[int]()

    def answer(work: Work) -> Any:
        if work.step is Step.SURVEY:
            return [Result(work.operation.id, work.step, upload_id="u")]
        if work.step is not deadly or work.operation.id in died:
            return good(work)
        died.add(work.operation.id)
        return LOST

    coordinator = coordinate(Scripted(answer))

    coordinator.run(Stage.MAIN, planning(coordinator, [upload(n, size) for n in range(2)]))

    assert set(states(journal).values()) == {State.DONE}
    assert {doubt.key for doubt in journal.doubts.list_all() if doubt.until} == doubted


def test_workers_that_die_before_they_do_anything_stop_the_job(journal, coordinate):
    executor = Scripted(lambda _: LOST, at_once=10)
    coordinator = coordinate(executor)

    with pytest.raises(StoppedError, match="worker processes died before anything was done"):
        coordinator.run(Stage.MAIN, planning(coordinator, [upload(n) for n in range(1000)]))

    assert len(executor.given) <= 12 * 10 + SAME_FAILURES


def test_deletes_that_succeeded_in_one_request_are_settled_together(journal, coordinate):
    failed = {"7", "1203"}

    def answer(work: Work) -> Any:
        pairs = list(zip(work.rows, work.keys, strict=True))
        rows = [row for row, key in pairs if key not in failed]
        refused = [Result(row, error="no", code="AccessDenied", status=403) for row, key in pairs if key in failed]
        return [make_deleted_result(rows)._replace(seconds=0.5), *refused]

    heard: list[str] = []
    executor, totals = Scripted(answer), Totals()
    coordinator = coordinate(executor, totals=totals, heard=lambda operation, _: heard.append(operation.key))
    coordinator.add([delete(n) for n in range(2500)])

    coordinator.run(Stage.DELETE)

    found = states(journal)
    assert {key for key, state in found.items() if state is State.FAILED} == failed
    assert Counter(found.values()) == {State.DONE: 2498, State.FAILED: 2}
    assert Counter(heard) == dict.fromkeys(set(map(str, range(2500))) - failed, 1)
    assert (totals.files_done, totals.failed, journal.jobs.current.left_open) == (2500, 2, 0)
    assert {entry.seconds for entry in journal.outcomes.read_entries(State.DONE)} == {0.5}


@pytest.mark.parametrize("trouble", ["", "one", "all", "lost"])
def test_deletes_that_were_leased_as_they_were_planned_end_each_as_it_ended(journal, coordinate, trouble):
    tries: Counter[str] = Counter()

    def answer(work: Work) -> Any:
        tries.update(work.keys)
        if trouble in ("all", "lost") and len(tries) == 400 and tries[work.keys[0]] == 1:
            return bad(work, "SlowDown", retryable=True) if trouble == "all" else LOST
        pairs = zip(work.rows, work.keys, strict=True)
        refused = [Result(row, error="no", code="AccessDenied", status=403) for row, key in pairs if key == trouble]
        rows = [row for row in work.rows if row not in {each.id for each in refused}]
        return [make_deleted_result(rows), *refused]

    heard: Counter[str] = Counter()
    totals, executor = Totals(), Scripted(answer)
    coordinator = coordinate(
        executor, totals=totals, delete_batch=100, heard_deletes=heard.update,
        heard=lambda operation, _: heard.update([operation.key]),
    )  # fmt: skip
    keys = ["one", *(f"{n}" for n in range(999))]

    def steps() -> Iterator[None]:
        for at in range(0, 1000, 100):
            coordinator.add_deletes(plan_deletes(*keys[at : at + 100]))
            yield

    coordinator.run(Stage.DELETE, steps())

    failed = {"one"} if trouble == "one" else set()
    assert {key for key, state in states(journal).items() if state is State.FAILED} == failed
    assert heard == Counter(set(keys) - failed)
    assert sum(tries.values()) == 1000 + (100 if trouble in ("all", "lost") else 0)
    assert (totals.files_done, totals.failed, journal.jobs.current.left_open) == (1000, len(failed), 0)


# --- comparisons in bulk --------------------------------------------------------------------


def alike(*names: object) -> list[Comparison]:
    return [Comparison(FileToCompare(str(n), str(n), stamp(), "e", ""), "p") for n in names]


def comparing(coordinator: Coordinator, *batches: list[Comparison]) -> Iterator[None]:
    for batch in batches:
        coordinator.compare(batch)
        yield


def dates(work: Work, date: Callable[[str], float]) -> Result:
    return Result(work.operation.id, work.step, payload=array("d", [date(each.path) for each in work.files]).tobytes())


def list_objects(journal: Journal, *names: object) -> None:
    journal.objects.begin_listing()
    journal.objects.record_listing([ListedObject(str(name), 10, "e", 100.0) for name in names])
    journal.objects.complete_listing()


def test_equal_files_become_facts_and_have_no_rows(journal, coordinate):
    list_objects(journal, *range(250))
    executor = Scripted(lambda work: dates(work, lambda _: 99.0), room=70)
    totals = Totals()
    coordinator = coordinate(executor, totals=totals)

    coordinator.run(Stage.MAIN, comparing(coordinator, alike(*range(200)), alike(*range(200, 250))))

    assert Counter(each.path for work in executor.given for each in work.files) == {str(n): 1 for n in range(250)}
    assert max(len(work.files) for work in executor.given) <= 70
    assert states(journal) == {}
    facts = journal.objects.look_up([str(n) for n in range(250)])
    assert {known and (known.etag, known.written, known.fingerprint) for _, known in facts.values()} == {
        ("e", 99.0, "p")
    }
    assert (totals.files_planned, totals.files_done, totals.unchanged) == (250, 250, 250)
    assert journal.jobs.current.unchanged == 250


def test_a_file_that_is_not_known_to_be_equal_gets_an_operation(journal, coordinate):
    list_objects(journal, *range(10))

    def answer(work: Work) -> Any:
        if work.files:
            return dates(work, lambda path: UNKNOWN if path in "37" else ON_RECORD)
        return [Result(work.operation.id, already=True, etag="e", date=50.0)]

    executor, totals = Scripted(answer), Totals()
    coordinator = coordinate(executor, totals=totals)

    coordinator.run(Stage.MAIN, comparing(coordinator, alike(*range(10))))

    assert states(journal) == {"3": State.SKIPPED, "7": State.SKIPPED}
    assert [work.operation.kind for work in executor.given if not work.files] == [Kind.RECONCILE] * 2
    assert (totals.files_planned, totals.files_done, totals.unchanged) == (10, 10, 10)
    assert journal.jobs.current.unchanged == 10


def test_files_whose_worker_died_while_it_compared_them_are_tried_one_by_one(journal, coordinate):
    list_objects(journal, *range(5))
    executor = Scripted(lambda work: LOST if work.files else [Result(work.operation.id, already=True, etag="e")])
    coordinator = coordinate(executor)

    coordinator.run(Stage.MAIN, comparing(coordinator, alike(*range(5))))

    assert states(journal) == dict.fromkeys("01234", State.SKIPPED)


def test_a_comparison_that_was_not_begun_goes_to_another_worker(journal, coordinate):
    list_objects(journal, *range(5))
    refused: list[Work] = []

    class Refusing(Scripted):
        def poll(self, timeout: float) -> PollResult:
            if self._waiting and not refused:
                refused.extend(self._waiting)
                self._state.take_back(self._waiting)
                self._waiting = []
                return PollResult(dropped=list(refused))
            return super().poll(timeout)

    executor = Refusing(lambda work: dates(work, lambda _: 99.0))
    coordinator = coordinate(executor)

    coordinator.run(Stage.MAIN, comparing(coordinator, alike(*range(5))))

    assert [work.files for work in executor.given] == [refused[0].files] * 2
    assert states(journal) == {}


def test_a_job_that_stops_leaves_no_rows_of_files_it_was_to_compare(journal, coordinate):
    list_objects(journal, *range(300))
    signals = Signals()

    def answer(work: Work) -> Any:
        signals.seen = signal.SIGTERM
        return dates(work, lambda path: UNKNOWN if int(path) % 2 else 99.0)

    coordinator = coordinate(Scripted(answer, room=100), signals=signals)
    with pytest.raises(InterruptedJobError):
        coordinator.run(Stage.MAIN, comparing(coordinator, alike(*range(300))))

    facts = journal.objects.look_up([str(n) for n in range(300)]).values()
    assert 0 < sum(known is not None for _, known in facts) < 200
    assert not any(state is State.LEASED for state in states(journal).values())


def test_where_most_files_differ_they_are_compared_in_bulk_no_more(journal, coordinate):
    list_objects(journal, *range(900))
    executor = Scripted(
        lambda work: (
            dates(work, lambda path: 99.0 if path.endswith("0") else UNKNOWN)
            if work.files
            else [Result(work.operation.id, already=True, etag="e")]
        ),
        room=100,
    )
    one_batch_a_turn = itertools.count(step=0.008)
    coordinator = coordinate(executor, enough=100, clock=lambda: next(one_batch_a_turn))

    coordinator.run(Stage.MAIN, comparing(coordinator, *(alike(*range(n, n + 100)) for n in range(0, 900, 100))))

    assert 100 <= sum(len(work.files) for work in executor.given) <= 300
    assert journal.jobs.current.unchanged == 900


def test_refused_heads_of_a_comparison_do_not_count_as_something_that_worked(journal, coordinate):
    list_objects(journal, *range(1000))
    executor = Scripted(
        lambda work: dates(work, lambda _: UNKNOWN) if work.files else bad(work, "AccessDenied", status=403)
    )
    coordinator = coordinate(executor)

    with pytest.raises(StoppedError, match="first 50 operations all failed"):
        coordinator.run(Stage.MAIN, comparing(coordinator, alike(*range(1000))))


# --- deletes --------------------------------------------------------------------------------


def run_deletes(coordinator: Coordinator, count: int) -> None:
    coordinator.add([delete(n) for n in range(count)])
    coordinator.run(Stage.DELETE)


def test_deletes_go_a_thousand_in_a_request(journal, coordinate):
    executor = Scripted(good)

    run_deletes(coordinate(executor), 2500)

    assert sorted(len(work.keys) for work in executor.given) == [500, 1000, 1000]
    assert set(states(journal).values()) == {State.DONE}


@pytest.mark.parametrize("trouble", ["Connection", "SlowDown", "lost"])
def test_deletes_that_failed_together_are_tried_again_together(journal, coordinate, trouble):
    tries: Counter[int] = Counter()

    def answer(work: Work) -> Any:
        tries[len(work.keys)] += 1
        if sum(tries.values()) > 1:
            return good(work)
        return LOST if trouble == "lost" else bad(work, trouble, retryable=True)

    executor = Scripted(answer)

    run_deletes(coordinate(executor), 800)

    assert tries == {800: 2}
    assert set(states(journal).values()) == {State.DONE}
    assert len(journal.doubts.list_all()) == (800 if trouble == "lost" else 0)


def test_keys_that_xml_cannot_name_are_deleted_one_by_one(journal, coordinate):
    executor = Scripted(good)
    coordinator = coordinate(executor)
    coordinator.add([delete("plain"), delete("\x01"), delete("caf\udce9")])

    coordinator.run(Stage.DELETE)

    assert sorted(len(work.keys) for work in executor.given) == [0, 0, 1]


# --- credentials ----------------------------------------------------------------------------


def test_credentials_are_renewed_once_for_all_who_were_refused(journal, coordinate):
    executor = Scripted(
        lambda work: good(work) if executor.credentials else bad(work, "ExpiredToken", fatal=True, status=400)
    )
    login = Login(renewals=1)
    coordinator = coordinate(executor, login=login)

    coordinator.run(Stage.MAIN, planning(coordinator, [upload(n) for n in range(40)]))

    assert login.asked == 1
    assert set(states(journal).values()) == {State.DONE}


@pytest.mark.parametrize("renewals", [0, 1, 99], ids=["none to be had", "one more", "new ones that do not help"])
def test_credentials_that_stay_refused_stop_the_job(journal, coordinate, renewals):
    executor = Scripted(lambda work: bad(work, "ExpiredToken", fatal=True, status=400))
    coordinator = coordinate(executor, login=Login(renewals))

    with pytest.raises(StoppedError, match="ExpiredToken") as stopped:
        coordinator.run(Stage.MAIN, planning(coordinator, [upload(n) for n in range(400)]))

    assert stopped.value.exit_code == 4
    assert len(executor.given) <= 3 * SAME_FAILURES
    assert State.FAILED not in states(journal).values()
    assert journal.doubts.list_all() == []  # each request has its answer
    assert {entry.operation.recheck for entry in journal.outcomes.read_entries()} == {False, True}


def test_only_what_a_worker_still_has_is_in_doubt_when_a_job_stops(journal, coordinate):
    """A file in parts whose part was refused, a file that is under way, and one whose refusal stops the job."""
    parts, slow, refused = (upload("parts", 12 * MIB), upload("slow", 6 * MIB), upload("refused"))

    def answer(work: Work) -> Any:
        if work.operation.key == "slow":
            return HUNG
        if work.step is Step.PART or work.operation.key == "refused":
            return bad(work, "ExpiredToken", fatal=True, status=400)
        return good(work)

    signals = Signals()
    signals.grace = 0.01
    coordinator = coordinate(Scripted(answer), login=Login(), signals=signals)

    with pytest.raises(StoppedError, match="ExpiredToken"):
        coordinator.run(Stage.MAIN, planning(coordinator, [parts, slow, refused]))

    assert [(doubt.key, doubt.upload, doubt.until > 0) for doubt in journal.doubts.list_all()] == [("slow", True, True)]
    assert set(states(journal).values()) == {State.PENDING}


# --- stopping -------------------------------------------------------------------------------


def test_refused_credentials_do_not_cut_short_what_may_end_after_a_signal(journal, coordinate):
    """One result comes in each turn: the signal, then the refusal, then what was still under way."""
    done = []

    def answer(work: Work) -> Any:
        done.append(work.operation.key)
        if len(done) == 1:
            signal.raise_signal(signal.SIGTERM)
        return bad(work, "ExpiredToken", fatal=True, status=400) if len(done) == 2 else good(work)

    with Signals() as signals:
        coordinator = coordinate(Scripted(answer, room=5, at_once=1), signals=signals)

        with pytest.raises(InterruptedJobError):
            coordinator.run(Stage.MAIN, planning(coordinator, [upload(n) for n in range(100)]))

    assert states(journal)[done[-1]] is State.DONE
    assert len(done) > 2


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_lets_end_what_is_under_way_and_puts_the_rest_back(journal, coordinate, number, code):
    begun = [0]

    def answer(work: Work) -> Any:
        begun[0] += 1
        if begun[0] == 5:
            signal.raise_signal(number)
        return good(work) if begun[0] <= 8 else DROPPED

    with Signals() as signals:
        coordinator = coordinate(Scripted(answer, at_once=5), signals=signals)

        with pytest.raises(InterruptedJobError, match=signal.Signals(number).name) as stopped:
            coordinator.run(Stage.MAIN, planning(coordinator, [upload(n) for n in range(100)]))

    assert stopped.value.exit_code == code
    assert Counter(states(journal).values()) == {State.DONE: 8, State.PENDING: 92}
    assert not any(entry.operation.recheck for entry in journal.outcomes.read_entries())


@pytest.mark.parametrize("untold", [False, True], ids=["worker told", "worker did not tell yet"])
def test_the_first_signal_says_at_once_what_is_finished(journal, coordinate, untold):
    answered: list[Work] = []
    said: list[tuple[str, int]] = []

    def answer(work: Work) -> Any:
        answered.append(work)
        if len(answered) == 1:
            signal.raise_signal(signal.SIGINT)
        return good(work)

    with Signals() as signals:
        executor = Scripted(answer, room=12, at_once=5, untold=untold)
        coordinator = coordinate(
            executor, signals=signals, say=lambda words: said.append((words, len(executor._waiting)))
        )

        with pytest.raises(InterruptedJobError):
            coordinator.run(Stage.MAIN, planning(coordinator, [upload(n) for n in range(100)]))

    words = "stopping: finishing 7 requests, up to 10 s; Ctrl-C again stops now"
    assert said == [(words, 7)]
    assert Counter(states(journal).values()) == {State.DONE: 12, State.PENDING: 88}


def test_a_signal_is_answered_also_where_nothing_is_under_way(journal, coordinate):
    said: list[str] = []

    def steps() -> Iterator[None]:
        yield
        signal.raise_signal(signal.SIGTERM)
        yield

    with Signals() as signals, pytest.raises(InterruptedJobError):
        coordinate(Scripted(good), signals=signals, say=said.append).run(Stage.MAIN, steps())

    assert said == ["stopping; Ctrl-C again stops now"]


def test_a_signal_ends_a_long_step_of_the_plan_at_once(journal, coordinate):
    def steps(coordinator: Coordinator) -> Iterator[None]:
        coordinator.add([upload(n) for n in range(3)])
        yield
        signal.raise_signal(signal.SIGTERM)  # while it waits for the store, or walks where nothing is wanted
        pytest.fail("the step went on")

    with Signals() as signals:
        coordinator = coordinate(Scripted(good), signals=signals)

        with pytest.raises(InterruptedJobError):
            coordinator.run(Stage.MAIN, steps(coordinator))

    assert set(states(journal).values()) <= {State.DONE, State.PENDING}


def test_a_signal_while_credentials_are_renewed_ends_the_wait_at_once(journal, coordinate):
    class Silent(Login):
        def current(self) -> None:
            signal.raise_signal(signal.SIGTERM)  # while the server of the credentials says nothing
            pytest.fail("the wait went on")

    times = itertools.count(0, 1000.0)
    with Signals() as signals:
        coordinator = coordinate(Scripted(good), signals=signals, login=Silent(), clock=lambda: next(times))

        with pytest.raises(InterruptedJobError):
            coordinator.run(Stage.MAIN, planning(coordinator, [upload(1)]))


def test_a_signal_while_the_fence_is_read_ends_the_wait_at_once(journal, coordinate):
    def look() -> None:
        signal.raise_signal(signal.SIGTERM)
        pytest.fail("the wait went on")

    with Signals() as signals:
        coordinator = coordinate(Scripted(good), signals=signals, look=look)

        with pytest.raises(InterruptedJobError):
            coordinator.run(Stage.MAIN, planning(coordinator, [upload(1)]))


def test_the_second_signal_leaves_what_is_under_way_to_be_looked_up(journal, coordinate):
    def answer(work: Work) -> Any:
        signal.raise_signal(signal.SIGINT)
        return DROPPED

    with Signals() as signals:
        coordinator = coordinate(Scripted(answer), signals=signals)

        with pytest.raises(InterruptedJobError):
            coordinator.run(Stage.MAIN, planning(coordinator, [upload(n) for n in range(10)]))

    assert set(states(journal).values()) == {State.PENDING}
    assert all(entry.operation.recheck for entry in journal.outcomes.read_entries())


def test_a_signal_where_nothing_is_under_way_raises_at_once():
    with Signals(), pytest.raises(InterruptedJobError):
        signal.raise_signal(signal.SIGTERM)


def test_signals_are_as_before_afterwards():
    before = signal.getsignal(signal.SIGTERM)

    with Signals():
        assert signal.getsignal(signal.SIGTERM) != before

    assert signal.getsignal(signal.SIGTERM) == before


# --- comparing, dry runs --------------------------------------------------------------------


def reconcile(key: object) -> Operation:
    return upload(key)._replace(kind=Kind.RECONCILE, reason=Reason.UNKNOWN)


def test_what_is_compared_becomes_an_upload_or_a_copy_or_nothing(journal, coordinate):
    def answer(work: Work) -> list[Result]:
        become = {"differs": Kind.UPLOAD, "copied": Kind.COPY}.get(work.operation.key)
        if work.operation.kind is Kind.UPLOAD or become is None:
            return [good(work)[0]._replace(already=work.operation.kind is Kind.RECONCILE)]
        return [good(work)[0]._replace(become=become, reason=Reason.CONTENT)]

    executor = Scripted(answer)
    coordinator = coordinate(executor)

    coordinator.run(Stage.MAIN, planning(coordinator, [reconcile("differs"), reconcile("copied"), reconcile("same")]))

    found = {entry.operation.key: (entry.operation.kind, entry.state) for entry in journal.outcomes.read_entries()}
    assert found == {
        "differs": (Kind.UPLOAD, State.DONE), "copied": (Kind.COPY, State.DONE), "same": (Kind.RECONCILE, State.SKIPPED),
    }  # fmt: skip
    assert journal.jobs.current.unchanged == 1


def test_a_dry_run_hands_out_nothing_but_comparisons(journal, coordinate):
    told: list[tuple[Kind, str]] = []

    def answer(work: Work) -> list[Result]:
        return [good(work)[0]._replace(become=Kind.UPLOAD, reason=Reason.CONTENT)]

    executor = Scripted(answer)
    coordinator = coordinate(
        executor, dry_run=True, heard=lambda operation, _: told.append((operation.kind, operation.key))
    )

    coordinator.run(
        Stage.MAIN, planning(coordinator, [upload(n) for n in range(2000)], [reconcile("r"), upload("big", 99 * MIB)])
    )
    run_deletes(coordinator, 3)

    assert [work.operation.key for work in executor.given] == ["r"]
    assert Counter(kind for kind, _ in told) == {Kind.UPLOAD: 2002, Kind.DELETE: 3}
    assert set(states(journal).values()) == {State.SKIPPED}


# --- large files ----------------------------------------------------------------------------


def test_a_large_file_is_begun_sent_in_parts_and_finished(journal, coordinate):
    executor = Scripted(good)
    coordinator = coordinate(executor)

    coordinator.run(Stage.MAIN, planning(coordinator, [upload("big", 12 * MIB), upload("small")]))

    steps = [(work.step, work.parts[0].size if work.step is Step.PART else 0) for work in executor.given]
    assert steps[0] == (Step.WHOLE, 0) or steps[0] == (Step.BEGIN, 0)
    assert [step for step in steps if step[0] is not Step.WHOLE] == [
        (Step.BEGIN, 0), (Step.PART, 5 * MIB), (Step.PART, 5 * MIB), (Step.PART, 2 * MIB), (Step.FINISH, 0),
    ]  # fmt: skip
    assert set(states(journal).values()) == {State.DONE}


def test_one_death_of_a_worker_with_many_parts_fails_nothing(journal, coordinate):
    died: set[tuple[Step, int]] = set()

    def answer(work: Work) -> Any:
        if work.step is Step.PART and (tag := (work.step, work.parts[0].number)) not in died:
            died.add(tag)
            return LOST
        return good(work)

    executor = Scripted(answer)
    coordinator = coordinate(executor)

    coordinator.run(Stage.MAIN, planning(coordinator, [upload("big", 200 * MIB)]))

    assert states(journal) == {"big": State.DONE}
    assert sum(work.step is Step.SURVEY for work in executor.given) == 1


def test_a_part_that_is_refused_has_the_upload_aborted(journal, coordinate):
    executor = Scripted(lambda work: bad(work, "AccessDenied", status=403) if work.step is Step.PART else good(work))
    coordinator = coordinate(executor)

    coordinator.run(Stage.MAIN, planning(coordinator, [upload("big", 50 * MIB), *(upload(n) for n in range(3))]))

    assert states(journal)["big"] is State.FAILED
    assert [work.step for work in executor.given if work.step in (Step.ABORT, Step.FINISH)] == [Step.ABORT]
    assert journal.uploads.list_left(of_dead_jobs_only=False) == []


def test_parts_that_cannot_be_sent_today_leave_the_upload_for_a_resume(journal, coordinate):
    def answer(work: Work) -> list[Result]:
        if work.step is Step.PART and work.parts[0].number == 2:
            return bad(work, "InternalError", retryable=True, status=500)
        return good(work)

    executor = Scripted(answer)
    coordinator = coordinate(executor)

    coordinator.run(Stage.MAIN, planning(coordinator, [upload("big", 50 * MIB)]))

    assert states(journal) == {"big": State.FAILED}
    assert [left.upload_id for left in journal.uploads.list_left(of_dead_jobs_only=False)] == ["u"]
    assert sum(work.step is Step.PART and work.parts[0].number == 2 for work in executor.given) == 3


def test_a_job_ends_when_the_parts_under_way_have_ended_and_the_journal_knows_them(journal, coordinate):
    """Else they are cut off, or reach the store after the job's end."""

    def answer(work: Work) -> list[Result]:
        if work.step is Step.PART and work.parts[0].number == 1:
            return bad(work, "InternalError", retryable=True, status=500)
        return good(work)

    executor = Scripted(answer, at_once=1)
    coordinator = coordinate(executor, tries=1)

    coordinator.run(Stage.MAIN, planning(coordinator, [upload("big", 50 * MIB)]))

    sent = [work.parts[0].number for work in executor.given if work.step is Step.PART]
    assert executor.poll(0.0).results == []
    (row,) = [entry.operation.id for entry in journal.outcomes.read_entries()]
    assert [part.number for part in journal.uploads.find_parts(row) if part.state is State.DONE] == sent[1:] != []
    assert states(journal) == {"big": State.FAILED}


def test_parts_that_fail_after_their_upload_is_parked_are_not_tried_again(journal, coordinate):
    tries: Counter[int] = Counter()

    def answer(work: Work) -> Any:
        if work.step is not Step.PART:
            return good(work)
        number = work.parts[0].number
        if number != 1 and tries[1] < 2:
            return DROPPED  # still under way
        tries[number] += 1
        return bad(work, "InternalError", retryable=True, status=500)

    coordinator = coordinate(Scripted(answer), tries=2)

    coordinator.run(Stage.MAIN, planning(coordinator, [upload("big", 50 * MIB)]))

    assert states(journal) == {"big": State.FAILED}
    assert tries == {1: 2} | dict.fromkeys(range(2, 11), 1)
    assert [left.upload_id for left in journal.uploads.list_left(of_dead_jobs_only=False)] == ["u"]


# --- what is held in memory -----------------------------------------------------------------


def test_planning_stops_while_enough_waits_and_goes_on_after(journal, coordinate):
    ticks = itertools.count()
    executor = Scripted(good, room=4, at_once=4)
    planned, ahead = [0], []

    def answered(work: Work) -> list[Result]:
        ahead.append(planned[0] - len(executor.given))
        return good(work)

    executor.answer = answered
    coordinator = coordinate(executor, enough=100, clock=lambda: next(ticks) * 0.008)  # a step of the plan in each turn

    def steps() -> Iterator[None]:
        for batch in range(50):
            coordinator.add([upload(f"{batch}-{number}") for number in range(20)])
            planned[0] += 20
            yield

    coordinator.run(Stage.MAIN, steps())

    assert 80 <= max(ahead) <= 100 + 20
    assert set(states(journal).values()) == {State.DONE}
    assert len(executor.given) == 1000


def test_deletes_are_leased_by_keys_and_not_by_requests(journal, coordinate):
    held = []
    executor = Scripted(good, room=1000, at_once=1)
    coordinator = coordinate(executor, keys_out=2000)

    def answered(work: Work) -> list[Result]:
        held.append(len(coordinator._dispatcher.leased))
        return good(work)

    executor.answer = answered
    for batch in range(10):
        coordinator.add([delete(f"{batch}-{number}") for number in range(1000)])

    coordinator.run(Stage.DELETE)

    assert [len(work.keys) for work in executor.given] == [1000] * 10
    assert max(held) == 2000


def test_deletes_are_planned_no_faster_than_workers_take_them_and_leased_at_once(journal, coordinate):
    planned, ahead = [0], []
    executor = Scripted(good, room=1000, at_once=1)
    coordinator = coordinate(executor, keys_out=200, delete_batch=100)

    def answered(work: Work) -> list[Result]:
        ahead.append(planned[0] - 100 * (len(ahead) + 1))
        return good(work)

    def steps() -> Iterator[None]:
        for batch in range(10):
            coordinator.add_deletes(plan_deletes(*(f"{batch}-{number}" for number in range(100))))
            assert Counter(states(journal).values())[State.PENDING] == 0
            planned[0] += 100
            yield

    executor.answer = answered
    coordinator.run(Stage.DELETE, steps())

    assert [len(work.keys) for work in executor.given] == [100] * 10
    assert max(ahead) <= 200
    assert set(states(journal).values()) == {State.DONE}


def test_deletes_that_xml_cannot_hold_go_alone_among_those_that_go_together(journal, coordinate):
    executor = Scripted(good)
    coordinator = coordinate(executor)

    def steps() -> Iterator[None]:
        coordinator.add_deletes(plan_deletes("a", "b\x01", "c"))
        yield

    coordinator.run(Stage.DELETE, steps())

    assert sorted(work.keys for work in executor.given) == [(), ("a", "c")]
    assert set(states(journal).values()) == {State.DONE}


def test_a_signal_while_what_is_open_is_counted_stops_at_once(journal, coordinate, monkeypatch):
    def count(_: int) -> int:
        signal.raise_signal(signal.SIGINT)
        raise AssertionError("it went on")

    with Signals() as signals:
        coordinator = coordinate(Scripted(good), signals=signals)
        monkeypatch.setattr(journal.outcomes, "count_open", count)

        with pytest.raises(InterruptedJobError):
            coordinator.run(Stage.MAIN, planning(coordinator, [upload("a")]))
