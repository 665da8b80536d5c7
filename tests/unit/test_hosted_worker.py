"""A worker in a process that is not ours: what it answers, and when it ends."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from types import SimpleNamespace

import pytest

from s3batch import __version__
from s3batch.executors import Credit, Status
from s3batch.executors.dask import hosted_worker
from s3batch.executors.dask.exchange import CoordinatorView, ExchangeRequest, ExchangeResponse, SealedValue
from s3batch.executors.dask.target_check import ViewAnswer
from s3batch.executors.worker_process import pack_works, unpack_results, unpack_works
from s3batch.model import Kind, Operation, Reason, Result, Work
from s3batch.s3.tally import EMPTY_TALLY, Tally


class FakeRunner:
    """Does what ``now`` allows, at most ``room`` things at once."""

    made: list[FakeRunner] = []  # noqa: RUF012

    def __init__(self, brief: SimpleNamespace, page: list[int], *, lead: float) -> None:
        self.heard = 0
        self.forbidden = False
        self.brief = brief
        self.results: list[Result] = []
        self.taken: list[Work] = []
        self.transport = self.loop = self.fallback = self
        self.writes = SimpleNamespace(close=self.forbid)
        self.tally = EMPTY_TALLY._replace(unheard=[])
        self.signed_with: list[str] = []
        self.narrowed = 0
        self.closed = False
        FakeRunner.made.append(self)

    def take_tally(self) -> Tally:
        told, self.tally = self.tally, EMPTY_TALLY._replace(unheard=[])
        return told

    @property
    def busy(self) -> bool:
        return bool(self.taken)

    @property
    def hungry(self) -> bool:
        return not self.taken

    def watch(self, sock, ready) -> None:
        self.sock, self.ready = sock, ready

    def note_contact(self) -> None:
        self.heard += 1

    def forbid(self) -> None:
        self.forbidden = True

    def status(self) -> Status:
        return Status(0, Credit())

    def take(self, works: list[Work]) -> None:
        self.taken += works

    def drop(self) -> list[Work]:
        dropped, self.taken = self.taken, []
        return dropped

    def update_credentials(self, credentials: str) -> None:
        self.signed_with.append(credentials)

    def throttle(self) -> None:
        self.narrowed += 1

    def close(self) -> None:
        self.closed = True

    def turn(self, timeout: float) -> None:
        self.sock.setblocking(True)
        self.sock.settimeout(min(timeout, 0.01))
        with suppress(TimeoutError):
            self.ready(1)
        if self.brief.breaks and self.taken:
            raise MemoryError("no room")
        if not self.brief.stuck:
            count = self.tally.requests.get("PutObject", 0) + len(self.taken)
            keys = [*self.tally.unheard, *(work.operation.key for work in self.taken)]
            self.tally = Tally({"PutObject": count}, {}, keys)
            self.results += [Result(work.operation.id) for work in self.taken]
            self.taken = []


@pytest.fixture
def begin(monkeypatch):
    """Begin a worker; its token and runner."""
    monkeypatch.setattr(hosted_worker, "WorkerLoop", FakeRunner)
    tokens: list[str] = []

    def run(*, stuck: bool = False, breaks: bool = False, patience: float = 60.0) -> str:
        tokens.append(f"token-{len(tokens)}")
        brief = SealedValue(SimpleNamespace(stuck=stuck, breaks=breaks))
        place = CoordinatorView(__version__, "/", ())
        assert asyncio.run(hosted_worker.begin_worker(tokens[-1], "owner", place, brief, patience)) == ViewAnswer()
        return tokens[-1]

    yield run
    hosted_worker.dismiss_workers(tokens)


def works(*rows: int) -> list[tuple]:
    return pack_works([Work(Operation(Kind.UPLOAD, f"k{row}", Reason.MISSING, f"p{row}", id=row)) for row in rows])


def exchange(token: str, number: int, *rows: int, wait: float = 60.0, **words: object) -> ExchangeResponse:
    """Make an exchange; it ends with its news."""
    request = SealedValue(ExchangeRequest(works(*rows), words))
    return asyncio.run(hosted_worker.exchange_work(token, number, request, wait)).open()


def rows_of(answer: ExchangeResponse) -> list[int]:
    return [result.id for result in unpack_results(answer.results)]


def until(happened) -> None:
    end = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_an_exchange_brings_work_and_takes_what_is_done(begin):
    answer = exchange(begin(), 1, 7, 8)

    assert rows_of(answer) == [7, 8]
    assert Tally(*answer.tally) == Tally({"PutObject": 2}, {}, ["k7", "k8"])
    assert answer.gone == ""


@pytest.mark.parametrize(("interval", "lead"), [(0.0, 0.5), (0.25, 0.5), (0.9, 1.8), (30.0, 4.0)])
def test_a_worker_asks_for_what_lasts_until_its_answer_is_answered(interval, lead):
    assert hosted_worker.choose_lead(interval) == lead


def test_an_exchange_asked_twice_is_answered_twice_and_done_once(begin):
    token = begin()
    first, again = exchange(token, 1, 7), exchange(token, 1, 7)

    assert rows_of(first) == rows_of(again) == [7]
    assert Tally(*exchange(token, 2, 8).tally) == Tally({"PutObject": 1}, {}, ["k8"])


def test_what_takes_longer_than_an_exchange_comes_with_a_later_one(begin):
    token = begin(stuck=True)
    runner = FakeRunner.made[-1]

    assert rows_of(exchange(token, 1, 7, wait=0.01)) == []
    runner.brief.stuck = False
    assert rows_of(exchange(token, 2)) == [7]


def test_words_reach_the_runner_and_drain_gives_back_what_was_not_begun(begin):
    token = begin(stuck=True)
    exchange(token, 1, 7, 8, wait=0.05, credentials="fresh", throttle=None)
    answer = exchange(token, 2, drain=None)

    assert [work.operation.id for work in unpack_works(answer.dropped)] == [7, 8]
    assert (FakeRunner.made[-1].signed_with, FakeRunner.made[-1].narrowed) == (["fresh"], 1)


def test_a_worker_that_breaks_says_so_and_is_gone(begin):
    token = begin(breaks=True)

    assert exchange(token, 1, 7).gone == "MemoryError: no room"
    assert exchange(token, 2).gone == "this process has no such worker"


def test_a_worker_that_nobody_asks_drops_its_work_and_goes(begin):
    token = begin(stuck=True, patience=0.3)
    exchange(token, 1, 7, wait=0.01)
    until(lambda: FakeRunner.made[-1].closed)

    assert exchange(token, 2).gone == "this process has no such worker"


def test_a_dismissed_worker_ends_with_work_under_way(begin):
    token = begin(stuck=True)
    exchange(token, 1, 7, wait=0.01)
    hosted_worker.dismiss_workers([token, "another job's"])

    until(lambda: FakeRunner.made[-1].closed)


def test_the_next_job_of_an_owner_dismisses_the_workers_of_the_one_before(begin):
    token = begin(stuck=True)
    exchange(token, 1, 7, wait=0.01)

    assert asyncio.run(hosted_worker.dismiss_older_workers("another"))
    assert not FakeRunner.made[-1].closed
    assert asyncio.run(hosted_worker.dismiss_older_workers("owner"))
    assert FakeRunner.made[-1].closed
    assert FakeRunner.made[-1].forbidden
    assert exchange(token, 2).gone == "this process has no such worker"


def test_another_version_and_another_source_are_refused(tmp_path):
    other = CoordinatorView("0.0.0", str(tmp_path), ())
    elsewhere = CoordinatorView(__version__, str(tmp_path / "none"), ())

    assert (
        f"has s3batch {__version__}, and this is 0.0.0"
        in asyncio.run(hosted_worker.check_coordinator_view(other)).trouble
    )
    assert "has no" in asyncio.run(hosted_worker.begin_worker("t", "owner", elsewhere, SealedValue(None))).trouble


def test_a_sealed_value_shows_nothing():
    sealed = SealedValue({"secret_key": "hunter2"})

    assert "hunter2" not in f"{sealed} {sealed!r}"
    assert sealed.open() == {"secret_key": "hunter2"}
