"""Retry queue, quarantine, circuit breaker, sign-in: each alone, under a clock that the test sets."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from contextlib import nullcontext
from itertools import pairwise
from typing import Any

import pytest

from s3batch.coordinator.circuit_breaker import ENDPOINT_GONE, SAME_FAILURES, SEVERAL, WORKER_DEATHS, CircuitBreaker
from s3batch.coordinator.leased_deletes import LeasedDeletes
from s3batch.coordinator.quarantine import Quarantine
from s3batch.coordinator.retry_queue import RetryQueue
from s3batch.coordinator.sign_in import SignIn
from s3batch.coordinator.signals import StoppedError
from s3batch.executors import Credit, Status, WorkerState, collect_work_tags, compute_work_weight
from s3batch.model import (
    NO_STAMP,
    FileToCompare,
    Kind,
    Operation,
    Part,
    PlannedDeletes,
    Reason,
    Result,
    Step,
    Work,
    make_deleted_result,
    read_deleted_spans,
)


class Clock:
    """A clock that stands still until a test moves it."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def work(row: int) -> Work:
    return Work(Operation(Kind.UPLOAD, f"k{row}", Reason.MISSING, id=row))


# --- the retry queue ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pauses", "after", "limit", "due"),
    [
        pytest.param([], 9, 10, [], id="nothing waits"),
        pytest.param([5], 4.9, 10, [], id="too early"),
        pytest.param([5], 5, 10, [0], id="just due"),
        pytest.param([3, 1, 2], 9, 10, [1, 2, 0], id="the earliest first"),
        pytest.param([3, 1, 2], 2, 10, [1, 2], id="only those that are due"),
        pytest.param([3, 1, 2], 9, 2, [1, 2], id="no more than asked for"),
        pytest.param([0], 0, 10, [0], id="at once"),
    ],
)
def test_rows_come_back_when_they_are_due(clock, pauses, after, limit, due):
    retries = RetryQueue(clock)
    for row, pause in enumerate(pauses):
        retries.add_row(row, pause)

    clock.now += after

    assert retries.row_is_due == bool(due)
    assert retries.take_rows(limit) == due


def test_works_that_are_due_together_come_in_the_order_they_were_added(clock):
    retries = RetryQueue(clock)
    for row in (3, 1, 2):
        retries.add_work(work(row), 1.0)

    clock.now += 1

    assert [each.operation.id for each in retries.take_works()] == [3, 1, 2]
    assert retries.take_works() == []


@pytest.mark.parametrize(
    ("rows", "works", "after", "delay"),
    [
        pytest.param([], [], 0, None, id="nothing waits"),
        pytest.param([4], [], 1, 3.0, id="a row"),
        pytest.param([4], [2], 1, 1.0, id="a piece of an upload is due earlier"),
        pytest.param([4], [2], 9, 0.0, id="never below zero"),
    ],
)
def test_the_delay_is_until_the_next_is_due(clock, rows, works, after, delay):
    retries = RetryQueue(clock)
    for row, pause in enumerate(rows):
        retries.add_row(row, pause)
    for row, pause in enumerate(works):
        retries.add_work(work(row), pause)

    clock.now += after

    assert retries.delay() == delay


# --- the circuit breaker --------------------------------------------------------------------


def failure(code: str, row: int = 1, **more: Any) -> Result:
    return Result(row, error=f"it is {code}", code=code, **more)


def unserved(rows: Iterable[int]) -> list[Result]:
    """Failures for good of what may pass at another time."""
    return [failure("Connection", row, retryable=True) for row in rows]


def test_a_success_between_failures_tells_that_the_endpoint_is_there(clock):
    breaker = CircuitBreaker(clock)
    for result in unserved(range(20)):
        clock.now += ENDPOINT_GONE + 1
        if result.id % 2:
            breaker.record_success()
            clock.now += ENDPOINT_GONE + 1
        breaker.record_failure(result)


@pytest.mark.parametrize(
    ("results", "worked", "silence", "words"),
    [
        pytest.param([failure("NoSuchBucket", fatal=True)], True, 0, "it is NoSuchBucket", id="fatal"),
        pytest.param(
            [failure("AccessDenied")] * SAME_FAILURES, False, 0, "all failed with the same error", id="all alike"
        ),
        pytest.param([failure("AccessDenied")] * (SAME_FAILURES - 1), False, 0, "", id="not often enough"),
        pytest.param([failure("AccessDenied")] * 2 * SAME_FAILURES, True, 0, "", id="something worked"),
        pytest.param([failure(f"E{n}") for n in range(2 * SAME_FAILURES)], False, 0, "", id="each another"),
        pytest.param([failure("Vanished")] * 2 * SAME_FAILURES, False, 0, "", id="of one file"),
        pytest.param(unserved(range(SEVERAL)), True, ENDPOINT_GONE + 1, "endpoint is gone", id="gone"),
        pytest.param(unserved(range(SEVERAL)), True, ENDPOINT_GONE - 1, "", id="gone for a moment"),
        pytest.param(unserved([1] * 20), True, ENDPOINT_GONE + 1, "", id="one key alone"),
        pytest.param(unserved(range(SEVERAL - 1)), True, ENDPOINT_GONE + 1, "", id="too few keys"),
        pytest.param([failure("AccessDenied")], True, ENDPOINT_GONE + 1, "", id="an answer is no silence"),
    ],
)
def test_the_job_stops_when_no_other_operation_can_succeed(clock, results, worked, silence, words):
    breaker = CircuitBreaker(clock)
    if worked:
        breaker.record_success()
    clock.now += silence

    expected = pytest.raises(StoppedError, match=words) if words else nullcontext()
    with expected as stopped:
        for result in results:
            breaker.record_failure(result)

    assert stopped is None or stopped.value.exit_code == (1 if worked else 4)


@pytest.mark.parametrize(("deaths", "worked", "stops"), [
    (WORKER_DEATHS - 1, False, False), (WORKER_DEATHS, False, True), (3 * WORKER_DEATHS, True, False),
])  # fmt: skip
def test_workers_that_die_before_anything_worked_stop_the_job(clock, deaths, worked, stops):
    breaker = CircuitBreaker(clock)
    if worked:
        breaker.record_success()

    with pytest.raises(StoppedError) if stops else nullcontext():
        for _ in range(deaths):
            breaker.record_death()


@pytest.mark.parametrize(
    ("worked", "room", "outstanding", "allowed"),
    [(False, 1000, 0, SAME_FAILURES), (False, 1000, 30, SAME_FAILURES - 30), (False, 5, 0, 5), (True, 1000, 30, 1000)],
)
def test_few_are_handed_out_until_one_has_worked(clock, worked, room, outstanding, allowed):
    breaker = CircuitBreaker(clock)
    if worked:
        breaker.record_success()

    assert breaker.allow(room, outstanding) == allowed


# --- the quarantine -------------------------------------------------------------------------


def worker(name: str, *has: int) -> WorkerState:
    state = WorkerState(name)
    for row in has:
        state.dispatch(work(row), 0)
    return state


@pytest.mark.parametrize(("deaths", "suspect", "killer"), [
    (0, False, False), (1, True, False), (2, True, False), (3, True, True),
])  # fmt: skip
def test_suspicion_grows_with_each_death(deaths, suspect, killer):
    quarantine, tag = Quarantine(), collect_work_tags(work(1))[0]
    for _ in range(deaths):
        quarantine.accuse(work(1))

    assert quarantine.is_suspect(tag) is suspect
    assert quarantine.is_killer(tag) is killer
    assert quarantine.withhold(work(1)) is suspect
    assert not quarantine.withhold(work(2))


@pytest.mark.parametrize(
    ("error", "suspect"), [pytest.param("", False, id="it worked"), pytest.param("SlowDown", True, id="it came back")]
)
def test_what_has_worked_is_no_suspect(error, suspect):
    quarantine = Quarantine()
    quarantine.accuse(work(1))

    quarantine.release(Result(1, error=error))

    assert quarantine.is_suspect(collect_work_tags(work(1))[0]) is suspect


@pytest.mark.parametrize(
    ("suspects", "workers", "given", "kept"),
    [
        pytest.param([], [worker("a")], [], "", id="nobody is suspect"),
        pytest.param([1], [worker("a")], [("a", 1)], "a", id="the only worker"),
        pytest.param([1], [worker("a", 7)], [], "a", id="the only worker finishes first"),
        pytest.param([1], [worker("a", 7, 8), worker("b", 9)], [], "b", id="the one with the least to finish"),
        pytest.param([1], [worker("a", 7), worker("b")], [("b", 1)], "b", id="one that has nothing"),
        pytest.param([1, 2, 3], [worker(name) for name in "abcd"], [("a", 1), ("b", 2)], "ab", id="half of them"),
        pytest.param([1], [worker(name) for name in "abcd"], [("a", 1)], "a", id="no more than suspects"),
        pytest.param([1], [], [], "", id="no worker"),
    ],
)
def test_a_suspect_goes_to_a_worker_that_has_nothing_else(suspects, workers, given, kept):
    quarantine = Quarantine()
    for row in suspects:
        quarantine.accuse(work(row))
        quarantine.withhold(work(row))

    assigned = quarantine.assign(workers)

    assert [(each.name, suspect.operation.id) for each, suspect in assigned] == given
    assert "".join(each.name for each in workers if quarantine.uses(each)) == kept


def test_a_worker_is_kept_until_its_suspect_is_back_and_then_let_go():
    quarantine, only = Quarantine(), worker("a")
    for row in (1, 2):
        quarantine.accuse(work(row))
        quarantine.withhold(work(row))

    seen = []
    for _ in range(2):
        ((_, suspect),) = quarantine.assign([only])
        only.dispatch(suspect, 0)
        seen.append((suspect.operation.id, quarantine.assign([only]), quarantine.uses(only)))
        only.take_back([suspect])
    quarantine.assign([only])

    assert seen == [(1, [], True), (2, [], True)]
    assert not quarantine.uses(only)


# --- a worker's state -----------------------------------------------------------------------


def part(row: int, size: int) -> Work:
    operation = Operation(Kind.UPLOAD, f"k{row}", Reason.MISSING, id=row, size=10 * size, upload_id="u")
    return Work(operation, Step.PART, (Part(row, 1, 0, size),))


MIB = 1024 * 1024


@pytest.mark.parametrize(
    ("credit", "has", "wanted", "fits"),
    [
        pytest.param(Credit(0, 0, 0), [], part(1, 900 * MIB), True, id="it has nothing: any single piece"),
        pytest.param(Credit(1, 100, 0), [work(7)], work(1), False, id="no more works"),
        pytest.param(Credit(2, 100, 0), [work(7)], work(1), True, id="one more"),
        pytest.param(Credit(9, 32 * MIB, 0), [part(7, 16 * MIB)], part(1, 16 * MIB), True, id="just as many bytes"),
        pytest.param(Credit(9, 31 * MIB, 0), [part(7, 16 * MIB)], part(1, 16 * MIB), False, id="too many bytes"),
    ],
)
def test_a_worker_is_given_no_more_than_it_asks_for(credit, has, wanted, fits):
    state = WorkerState("a")
    for each in has:
        state.dispatch(each, compute_work_weight(each))
    state.on_results([], Status(0, credit))

    assert state.fits(wanted, compute_work_weight(wanted)) is fits


def test_what_is_on_its_way_while_a_worker_asks_is_not_given_twice():
    state = WorkerState("a")
    for row in range(10):
        state.dispatch(work(row), 0)

    state.on_results([Result(row) for row in range(4)], Status(5, Credit(4 + 8, 10, 0)))  # of ten it has seen four

    assert state.capacity == 2


def test_of_a_dead_workers_work_only_what_it_had_begun_is_lost():
    state = WorkerState("a")
    for row in range(10):
        state.dispatch(work(row), 0)
    state.on_results([Result(row) for row in (0, 2)], Status(5, Credit(20, 10, 0)))

    begun, waiting = state.parted()

    assert [each.operation.id for each in begun] == [1, 3, 4]
    assert [each.operation.id for each in waiting] == [5, 6, 7, 8, 9]


# --- sign-in --------------------------------------------------------------------------------


class Login:
    """Counts what it is asked for."""

    def __init__(self, *renewals: str | None) -> None:
        self.asked: list[str] = []
        self._renewals = list(renewals)

    def current(self) -> Any:
        self.asked.append("current")
        return "now"

    def renewed(self) -> Any:
        self.asked.append("renewed")
        return self._renewals.pop(0)


class Executor:
    def __init__(self) -> None:
        self.given: list[Any] = []

    def update_credentials(self, credentials: Any) -> None:
        self.given.append(credentials)


@pytest.mark.parametrize(
    ("pauses", "given"),
    [
        pytest.param([0], ["fresh 1"], id="once"),
        pytest.param([0, 1, 1], ["fresh 1", "now", "now"], id="all who were refused with the old ones"),
        pytest.param([0, 11], ["fresh 1", "fresh 2"], id="again later"),
    ],
)
def test_credentials_are_resolved_once_for_all_refusals(clock, pauses, given):
    executor = Executor()
    sign_in = SignIn(Login("fresh 1", "fresh 2"), executor, clock)

    for pause in pauses:
        clock.now += pause
        assert sign_in.renew()

    assert executor.given == given


def test_a_login_without_other_credentials_says_so(clock):
    assert not SignIn(Login(None), Executor(), clock).renew()


@pytest.mark.parametrize(("after", "given"), [(29, []), (31, ["now"])])
def test_credentials_are_handed_on_every_half_minute(clock, after, given):
    executor = Executor()
    sign_in = SignIn(Login(), executor, clock)

    clock.now += after
    sign_in.refresh()

    assert executor.given == given


@pytest.mark.parametrize(
    "credit", [Credit(3, 1000, 0), Credit(10, 25, 0), Credit(10, 5, 0), Credit(0, 0, 0), Credit(10, 1000, 0)]
)
@pytest.mark.parametrize("held", [0, 1])
@pytest.mark.parametrize("sizes", [(10, 10, 10, 10), (10, 0, 30, 0, 0), (0, 0), ()])
def test_plain_uploads_are_taken_as_each_work_is_that_fits(credit: Credit, held: int, sizes: tuple[int, ...]):
    """The same uploads twice: as whole operations, which have a short way, and one by one."""
    ready = deque(
        Work(Operation(Kind.UPLOAD, "k", Reason.MISSING, "k", size, id=row)) for row, size in enumerate(sizes)
    )
    together, alone = WorkerState("a"), WorkerState("b")
    for state in (together, alone):
        for row in range(held):
            state.dispatch(Work(Operation(Kind.COPY, "c", Reason.METADATA, id=90 + row)), 7)
        state.on_results([], Status(0, credit))
    singly, waiting = [], deque(ready)
    while waiting and len(singly) < 3 and alone.fits(waiting[0], compute_work_weight(waiting[0])):
        alone.dispatch(waiting[0], compute_work_weight(waiting[0]))
        singly.append(waiting.popleft())

    assert together.take_from(ready, 3) == singly
    assert (ready, together.given, together.totals) == (waiting, alone.given, alone.totals)


def test_deletes_that_succeeded_together_are_off_the_workers_hands():
    state = WorkerState("a")
    for first in (1, 11):
        keys = tuple(f"k{row}" for row in range(first, first + 5))
        work = Work(Operation(Kind.DELETE, keys[0], Reason.ORPHAN, id=first), keys=keys, rows=range(first, first + 5))
        state.dispatch(work, 0)
    state.on_results(
        [make_deleted_result([1, 2, 5]), Result(3, error="no"), Result(4, error="no")], Status(1, Credit(20, 10, 0))
    )

    assert [row for row, _, _ in state.given] == [11]


@pytest.mark.parametrize("rows", [range(3, 4), range(3, 9), [3], [3, 5, 6], [9, 3, 4], [4, 3]])
def test_deletes_that_succeeded_together_are_told_in_spans_of_their_rows(rows):
    spans = read_deleted_spans(make_deleted_result(rows))

    assert [row for span in spans for row in span] == list(rows)
    assert all(first[-1] + 1 != second[0] for first, second in pairwise(spans))


def make_planned(count: int) -> PlannedDeletes:
    return PlannedDeletes(tuple(f"k{n}" for n in range(count)), ("e",) * count, tuple(range(count)))


def test_deletes_of_a_request_stay_together_until_one_of_them_is_told_of():
    leased: dict[int, Operation] = {}
    deletes = LeasedDeletes(leased)
    works = [deletes.add(make_planned(3), range(first, first + 3)) for first in (5, 8, 11)]

    assert deletes.take([range(5, 7)]) is None
    assert deletes.take([range(5, 8)]) == works[0]
    assert (deletes.take([range(5, 8)]), leased) == (None, {})

    deletes.unfold([12])
    assert list(leased.values()) == make_planned(3).make_operations(list(leased))
    assert list(leased) == [11, 12, 13]
    assert (deletes.take([range(11, 14)]), deletes.take([range(8, 11)])) == (None, works[1])
    assert not deletes


def compare_work(first: int, paths: str) -> Work:
    files = tuple(FileToCompare(path, path, NO_STAMP, "e", None) for path in paths)
    return Work(Operation(Kind.RECONCILE, paths[0], Reason.UNKNOWN, paths[0], id=first), Step.COMPARE, files=files)


@pytest.mark.parametrize(("begun", "lost"), [(0, ""), (1, "a"), (2, "ab"), (4, "ab"), (5, "abc"), (9, "abc")])
def test_a_comparison_of_which_one_file_was_begun_is_lost_with_its_worker(begun, lost):
    state = WorkerState("a")
    works = {"a": work(1), "b": compare_work(-1, "xyz"), "c": compare_work(-4, "tuvw")}
    for each in works.values():
        state.dispatch(each, 0)
    state.on_results([], Status(begun, Credit(20, 10, 0)))

    gone, waiting = state.parted()

    assert (gone, waiting) == ([works[name] for name in lost], [works[name] for name in "abc" if name not in lost])


def test_a_comparison_counts_as_many_pieces_as_it_has_files():
    state = WorkerState("a")
    state.on_results([], Status(0, Credit(10, 10, 0)))
    each = compare_work(-1, "xyz")
    state.dispatch(each, 0)
    given = state.capacity
    state.take_back([each])

    assert (given, state.capacity, state.given) == (7, 10, {})


@pytest.mark.parametrize(("row", "path"), [(1, ""), (-1, "x"), (-3, "z"), (-4, "t"), (-7, "w"), (-8, ""), (2, "")])
def test_the_file_that_a_worker_is_busy_with_is_told_by_its_number(row, path):
    state = WorkerState("a")
    for each in (work(1), compare_work(-1, "xyz"), compare_work(-4, "tuvw")):
        state.dispatch(each, 0)

    assert state.find_path(row) == path
