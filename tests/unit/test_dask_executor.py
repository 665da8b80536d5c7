"""Who of a Dask cluster gets which work, and what becomes of it; the cluster itself is played."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest

from s3batch.base.errors import JobFailedError
from s3batch.executors import Status, compute_work_weight
from s3batch.executors.dask import cluster as dask
from s3batch.executors.dask import hosted_worker
from s3batch.executors.dask.exchange import ExchangeResponse, SealedValue
from s3batch.executors.dask.executor import DaskExecutor
from s3batch.executors.dask.shared_place import SharedSource
from s3batch.executors.dask.target_check import ViewAnswer
from s3batch.executors.worker_process import unpack_works
from s3batch.model import Kind, Operation, Reason, Result, Stage, Work
from s3batch.s3.endpoint import Endpoint
from s3batch.worker.context import Brief

MIB = 1024 * 1024


class Companion:
    """The task beside a worker."""

    def __init__(self, address: str) -> None:
        self.address, self.released = address, False

    def release(self) -> None:
        self.released = True


class Task:
    """An exchange that a test answers."""

    def __init__(self, address: str, token: str, number: int, ask: SealedValue) -> None:
        self.address, self.token, self.number = address, token, number
        self.works, self.words = unpack_works(ask.open().works), ask.open().words
        self.answered = False
        self.status: Status | None = None
        self.go_on: Any = None

    def __await__(self) -> Any:
        return (yield self)

    @property
    def rows(self) -> list[int]:
        return [work.operation.id for work in self.works]

    def reply(self, *, dropped: list[Work] | None = None, gone: str = "", done: list[int] | None = None,
              silent: float = 0.0, busy_row: int = 0) -> None:  # fmt: skip
        results = [tuple(Result(row)) for row in (self.rows if done is None else done)]
        answer = ExchangeResponse(
            results,
            ({"PutObject": len(results)}, {}, []),
            hosted_worker.pack_works(dropped or []),
            self.status,
            gone=gone,
        )
        self.answer(SealedValue(answer._replace(silent=silent, busy_row=busy_row)))

    def answer(self, told: Any) -> None:
        """End it with what the worker tells, or with an exception."""
        self.answered = True
        self.go_on({self.address: told})


class FakeClient:
    """What of ``distributed.Client`` is used; whatever Dask does on its thread is done at once."""

    def __init__(self, *addresses: str) -> None:
        self.status = "running"
        self.loop = self
        self.addresses = list(addresses)
        self.refusals: dict[str, Any] = {}
        self.tasks: list[Task] = []
        self.companions: list[Companion] = []
        self.dismissed: list[str] = []

    def add_callback(self, function: Any, *arguments: Any) -> None:
        self.step(function(*arguments), None)

    def step(self, coroutine: Any, value: Any) -> None:
        """Run a coroutine until it ends or waits for the answer of an exchange."""
        with suppress(StopIteration):
            coroutine.send(value).go_on = partial(self.step, coroutine)

    def sync(self, function: Any, callback_timeout: float) -> None:
        asyncio.run(function())

    async def nthreads(self) -> dict[str, int]:
        return dict.fromkeys(self.addresses, 1)

    async def run(self, function: Any, *arguments: Any, workers: list[str], on_error: str) -> dict[str, Any]:
        if function is hosted_worker.dismiss_workers:
            self.dismissed += arguments[0]
        if function is hosted_worker.exchange_work:
            self.tasks.append(Task(workers[0], *arguments))
            return await self.tasks[-1]
        return {each: ViewAnswer(self.refusals.get(each, "")) for each in workers if each in self.addresses}

    def submit(self, function: Any, *_: Any, workers: list[str], **__: Any) -> Companion:
        assert function is dask.accompany_worker
        self.companions.append(Companion(workers[0]))
        return self.companions[-1]

    def open_tasks(self) -> dict[str, Task]:
        """What has been asked and not answered, by address; no worker is asked twice at once."""
        asked = [task for task in self.tasks if not task.answered]
        assert len({task.address for task in asked}) == len(asked)
        return {task.address: task for task in asked}


@pytest.fixture
def client() -> FakeClient:
    return FakeClient("a", "b")


@pytest.fixture
def now(monkeypatch) -> SimpleNamespace:
    clock = SimpleNamespace(time=1000.0)
    monkeypatch.setattr(time, "monotonic", lambda: clock.time)
    return clock


@pytest.fixture
def executor(client, now, tmp_path) -> DaskExecutor:
    endpoint = Endpoint(
        bucket="b", region="r", host="h", port=80, tls=False, path_style=True, credentials=None, checksum=""
    )
    cluster = dask.Cluster(client, "tcp://s:1", SharedSource(str(tmp_path)), ("a", "b"), 2)
    return DaskExecutor(cluster, Brief(endpoint=endpoint, root=str(tmp_path), rules=None, limit=4), 2)


def works(*rows: int) -> list[Work]:
    return [Work(Operation(Kind.UPLOAD, f"k{row}", Reason.MISSING, f"p{row}", id=row)) for row in rows]


def lost(news) -> list[int]:
    return sorted(work.operation.id for work in news.lost)


def submit(executor: DaskExecutor, works: list[Work]) -> None:
    """Give each worker its share, whatever it asks for."""
    for _ in range(2):  # one look notices what has gone, the next has begun others
        executor.poll(0)
        workers = executor.workers()
    share = -(-len(works) // max(1, len(workers)))
    for number, worker in enumerate(workers):
        if batch := works[number * share : (number + 1) * share]:
            for work in batch:
                worker.dispatch(work, compute_work_weight(work))
            executor.dispatch(worker, batch)


def outstanding(executor: DaskExecutor) -> int:
    return sum(len(seat.state.given) for seat in executor._seats.values())


def look_again(executor, now):
    """The next look at who is there; what it brought."""
    now.time += 2
    return executor.poll(0)


def test_work_is_spread_over_the_workers_and_comes_back_as_results(client, executor):
    submit(executor, works(*range(10)))
    executor.poll(0)
    tasks = client.open_tasks()
    assert sorted(len(task.works) for task in tasks.values()) == [5, 5]
    assert outstanding(executor) == 10

    for task in tasks.values():
        task.reply()
    news = executor.poll(0)

    assert sorted(result.id for result in news.results) == list(range(10))
    assert news.requests == {"PutObject": 10}
    assert (outstanding(executor), client.open_tasks()) == (0, {})


def test_a_worker_with_work_left_is_asked_again_and_given_more_meanwhile(client, executor):
    submit(executor, works(1, 2, 3, 4))
    executor.poll(0)
    first = client.open_tasks()["a"]
    first.reply(done=first.rows[:1])
    executor.poll(0)
    second = client.open_tasks()["a"]

    assert (second.number, second.rows) == (first.number + 1, [])
    submit(executor, works(5, 6, 7, 8))
    second.reply(done=[])
    executor.poll(0)
    assert len(client.open_tasks()["a"].rows) >= 2


def test_a_batch_of_deletes_is_one_piece_until_all_its_keys_are_told_of(client, executor):
    keys = tuple(f"k{row}" for row in range(1, 1001))
    work = Work(Operation(Kind.DELETE, "k1", Reason.ORPHAN, id=1, stage=Stage.DELETE), keys=keys, rows=range(1, 1001))
    submit(executor, [work])
    executor.poll(0)

    assert outstanding(executor) == 1
    (task,) = client.open_tasks().values()
    task.reply(done=list(work.rows))
    executor.poll(0)
    assert outstanding(executor) == 0


def test_the_work_of_a_dask_worker_that_is_gone_is_lost_and_another_takes_its_place(client, executor, now):
    submit(executor, works(1, 2, 3, 4))
    executor.poll(0)
    had = client.open_tasks()["a"].rows
    client.addresses = ["b", "c"]
    news = look_again(executor, now)

    assert lost(news) == sorted(had)
    assert outstanding(executor) == 2
    submit(executor, works(5, 6))
    executor.poll(0)
    assert "c" in client.open_tasks()


def test_what_a_lost_worker_still_says_is_not_heard(client, executor, now):
    submit(executor, works(1, 2))
    executor.poll(0)
    task = client.open_tasks()["a"]
    client.addresses = ["b"]
    look_again(executor, now)
    task.reply()

    assert executor.poll(0).results == []


@pytest.mark.parametrize("how", ["gone", "raised"])
def test_work_given_to_a_process_that_forgot_its_worker_is_lost_and_the_worker_begun_anew(client, executor, how):
    submit(executor, works(1, 2))
    executor.poll(0)
    task = client.open_tasks()["a"]
    if how == "gone":
        task.reply(done=[], gone="this process has no such worker")
    else:
        task.answer(ZeroDivisionError("1 / 0"))
        client.open_tasks()["a"].answer(ZeroDivisionError("1 / 0"))
    news = executor.poll(0)

    assert lost(news) == task.rows
    submit(executor, works(3, 4))
    executor.poll(0)
    assert client.open_tasks()["a"].token != task.token


def test_what_a_worker_gave_up_unasked_comes_back_as_not_begun(client, executor):
    submit(executor, works(1))
    executor.poll(0)
    (task,) = client.open_tasks().values()
    task.reply(done=[], dropped=works(1))
    news = executor.poll(0)

    assert ([work.operation.id for work in news.dropped], news.lost, outstanding(executor)) == ([1], [], 0)


def test_drain_gives_back_what_waits_here_and_there(client, executor):
    submit(executor, works(1, 2, 3, 4))
    submit(executor, works(*range(5, 105)))
    executor.drain()
    here = executor.poll(0)
    assert sorted(work.operation.id for work in here.dropped) == list(range(5, 105))

    for task in client.open_tasks().values():
        task.reply(done=task.rows[:1])
    executor.poll(0)
    there = client.open_tasks()
    assert all("drain" in task.words for task in there.values())
    for task in there.values():
        task.reply(done=[], dropped=[])
    executor.poll(0)
    assert outstanding(executor) == 2


def test_what_was_not_sent_to_a_lost_worker_is_no_suspect(client, executor, now):
    submit(executor, works(1, 2))
    submit(executor, works(3, 4))
    client.addresses = ["b"]
    news = look_again(executor, now)

    assert lost(news) == [1]
    assert [work.operation.id for work in news.dropped] == [3]
    assert news.deaths == 1


def test_a_worker_that_hangs_in_a_read_is_replaced_and_the_file_named(client, executor):
    submit(executor, works(1, 2, 3, 4))
    task = client.open_tasks()["a"]
    task.reply(done=[1], silent=14.0, busy_row=2)
    executor.poll(0)
    patient = client.open_tasks()["a"]
    patient.reply(done=[], silent=16.0, busy_row=2)
    news = executor.poll(0)

    assert lost(news) == [2]
    assert news.warnings == ["the worker in a did not respond for 16 s while it read 'p2'; it was replaced"]
    assert client.dismissed == [task.token]
    submit(executor, works(5, 6))
    assert client.open_tasks()["a"].token != task.token


def test_fresh_credentials_and_a_throttle_go_with_the_next_exchange(client, executor):
    submit(executor, works(1, 2, 3))
    executor.poll(0)
    executor.update_credentials("fresh")
    executor.throttle()
    for task in client.open_tasks().values():
        task.reply(done=[])
    executor.poll(0)

    assert [task.words for task in client.open_tasks().values()] == [{"credentials": "fresh", "throttle": None}] * 2


def test_a_worker_that_was_not_asked_for_long_is_begun_anew_before_it_gets_work(client, executor, now):
    submit(executor, works(1))
    executor.poll(0)
    (first,) = client.open_tasks().values()
    first.reply()
    executor.poll(0)
    now.time += 100
    submit(executor, works(*range(2, 10)))
    executor.poll(0)
    executor.poll(0)

    assert first.token not in {task.token for task in client.open_tasks().values()}
    assert sum(len(task.works) for task in client.open_tasks().values()) == 8


def test_a_newcomer_that_does_not_see_the_source_gets_no_work_until_it_does(client, executor, now):
    client.refusals["b"] = "host has no /src"
    submit(executor, works(1, 2, 3, 4))
    executor.poll(0)
    assert list(client.open_tasks()) == ["a"]

    client.refusals.clear()
    look_again(executor, now)
    assert list(client.open_tasks()) == ["a"]
    now.time += 10
    submit(executor, works(*range(5, 20)))
    executor.poll(0)
    assert sorted(client.open_tasks()) == ["a", "b"]


def test_a_cluster_without_workers_stops_the_job_after_a_while(client, executor, now):
    submit(executor, works(1, 2))
    executor.poll(0)
    client.addresses = []
    assert lost(look_again(executor, now)) == [1, 2]
    submit(executor, works(1, 2))
    look_again(executor, now)
    now.time += 100

    with pytest.raises(JobFailedError, match="no worker for this job for 60 s"):
        executor.poll(0)


def test_a_lost_scheduler_stops_the_job_and_a_drained_one_only_loses(client, executor):
    submit(executor, works(1, 2))
    executor.poll(0)
    client.status = "connecting"
    with pytest.raises(JobFailedError, match="the connection to the Dask scheduler at tcp://s:1 is gone"):
        executor.poll(0)
    assert outstanding(executor) == 0

    client.status = "running"
    submit(executor, works(3))
    executor.poll(0)
    executor.drain()
    client.status = "closed"
    assert lost(executor.poll(0)) == [3]


def test_close_dismisses_every_worker(client, executor):
    submit(executor, works(1, 2))
    executor.poll(0)
    tokens = sorted(task.token for task in client.tasks)
    executor.close()

    assert sorted(client.dismissed) == tokens


def test_an_exchange_whose_answer_is_lost_is_repeated_once_under_its_number(executor, client, now):
    submit(executor, works(1))
    client.tasks[0].answer(OSError("the connection broke"))
    repeated = client.tasks[1]
    repeated.reply()

    news = executor.poll(0)

    assert (repeated.number, repeated.rows) == (client.tasks[0].number, [1])
    assert ([result.id for result in news.results], news.deaths) == ([1], 0)


def test_a_worker_that_cannot_be_reached_twice_is_lost_and_told_to_end(executor, client, now):
    submit(executor, works(1))
    for number in (0, 1):
        client.tasks[number].answer(OSError("the connection broke"))

    news = executor.poll(0)

    assert (lost(news), news.deaths) == ([1], 1)
    assert client.dismissed == [client.tasks[0].token]


def test_each_worker_has_a_task_beside_it_while_it_lasts(executor, client, now):
    executor.workers()
    executor.poll(0)
    before = [(each.address, each.released) for each in client.companions]
    executor.close()

    assert before == [("a", False), ("b", False)]
    assert all(each.released for each in client.companions)
