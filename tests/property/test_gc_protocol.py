"""Builds and clean-ups side by side, over every order of requests: no published manifest names a missing chunk.

The coroutines are those of the program (:mod:`s3batch.cache.gc_protocol`). The store is a dictionary with a clock.
Requests land late, in any order, also after their sender was killed; answers come late or never; machines have
clocks of their own.
"""

from __future__ import annotations

import os
import types
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings, strategies
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from s3batch.cache.gc_protocol import RECORDS, Deletion, LapsedError, Names, Protection, read_names
from s3batch.cache.object_keys import CHUNKS, EVICTED, KEYS, aside_key, chunk_key
from s3batch.model import ListedObject
from s3batch.s3.store_clock import StoreClock, TimeBounds

IDS = [f"{number:02x}" * 32 for number in range(4)]
GRACE = 2.0
"""Seconds; tiny, so that every chunk is always in danger."""
RUNS = int(os.environ.get("S3BATCH_TEST_GC_RUNS", "1000"))


class LostError(Exception):
    """An answer that never comes: the program gives up."""


@dataclass(eq=False)
class Request:
    """One request of a task, before and after the store has seen it."""

    task: Task
    act: Callable[[], Any]
    landed: bool = False
    value: Any = None
    date: float = 0.0
    sent: float = 0.0


@dataclass(eq=False)
class Pause:
    seconds: float


@dataclass(eq=False)
class Gather:
    coroutines: list[Coroutine]


@types.coroutine
def wish(what: Any) -> Any:
    return (yield what)


@dataclass(eq=False)
class Task:
    """A coroutine of a process; ``done`` gets its value or its error."""

    process: Process
    coroutine: Coroutine
    done: Callable[[Any, BaseException | None], None]
    wakes: float | None = None


@dataclass(eq=False)
class Process:
    """A build or a clean-up, with a clock of its own."""

    world: World
    offset: float
    alive: bool = True
    ended: bool = False
    clock: StoreClock = field(init=False)

    def __post_init__(self) -> None:
        self.clock = StoreClock(lambda: self.world.time + self.offset)


class Port:
    """The store as the protocol knows it: each method is one request."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.world = process.world

    def now(self) -> TimeBounds:
        return self.process.clock.now()

    async def put(self, key: str, body: bytes) -> None:
        await wish(lambda: self.world.objects.__setitem__(key, (body, self.world.time)))

    async def get(self, key: str) -> bytes | None:
        return await wish(lambda: self.world.objects.get(key, (None, 0))[0])

    async def listed(self, prefix: str) -> Sequence[ListedObject]:
        objects = self.world.objects
        return await wish(
            lambda: [ListedObject(key, 0, "", at // 1) for key, (_, at) in objects.items() if key.startswith(prefix)]
        )

    async def has(self, key: str) -> bool:
        return await wish(lambda: key in self.world.objects)

    async def delete(self, keys: Sequence[str], until: float) -> None:
        if not await wish(lambda: self.world.delete(keys, until)):
            raise LapsedError

    async def delete_if(self, key: str, body: bytes) -> None:
        await wish(lambda: self.world.objects.get(key, (None, 0))[0] == body and self.world.objects.pop(key))

    async def pause(self, seconds: float) -> None:
        await wish(Pause(seconds))

    async def gather(self, coroutines: Iterable[Coroutine]) -> list[Any]:
        return await wish(Gather(list(coroutines)))


class World:
    """The store, its clock, and everything that runs."""

    def __init__(self) -> None:
        self.time = 1_800_000_000.0
        self.objects: dict[str, tuple[bytes, float]] = {}
        self.requests: list[Request] = []
        self.sleeping: list[Task] = []
        self.processes: list[Process] = []

    def delete(self, keys: Sequence[str], until: float) -> bool:
        if self.time > until:
            return False
        for key in keys:
            self.objects.pop(key, None)
        return True

    def begin(self, main: Callable[[Port], Coroutine], offset: float) -> None:
        process = Process(self, offset)
        self.processes.append(process)
        task = Task(process, main(Port(process)), lambda value, error: setattr(process, "ended", True))
        self.resume(task)

    def resume(self, task: Task, value: Any = None, error: BaseException | None = None) -> None:
        if not task.process.alive:
            return
        try:
            what = task.coroutine.send(value) if error is None else task.coroutine.throw(error)
        except StopIteration as stop:
            task.done(stop.value, None)
        except (LostError, LapsedError) as failed:
            task.done(None, failed)
        else:
            self.grant(task, what)

    def grant(self, task: Task, what: Any) -> None:
        if isinstance(what, Pause):
            task.wakes = self.time + what.seconds
            self.sleeping.append(task)
        elif isinstance(what, Gather):
            self.gather(task, what.coroutines)
        else:
            self.requests.append(Request(task, what, sent=task.process.clock.read_local()))

    def gather(self, task: Task, coroutines: list[Coroutine]) -> None:
        results: list[Any] = [None] * len(coroutines)
        left, failed = [len(coroutines)], []
        if not coroutines:
            self.resume(task, [])

        def done(at: int, value: Any, error: BaseException | None) -> None:
            results[at] = value
            left[0] -= 1
            failed.extend([error] if error else [])
            if not left[0]:
                self.resume(task, results, failed[0] if failed else None)

        for at, coroutine in enumerate(coroutines):
            self.resume(Task(task.process, coroutine, lambda value, error, at=at: done(at, value, error)))

    def land(self, request: Request) -> None:
        request.landed, request.value, request.date = True, request.act(), self.time

    def answer(self, request: Request) -> None:
        self.requests.remove(request)
        process = request.task.process
        if process.alive:
            process.clock.observe({"date": formatdate(int(request.date), usegmt=True)}, request.sent)
            self.resume(request.task, request.value)

    def lose(self, request: Request) -> None:
        self.requests.remove(request)
        self.resume(request.task, error=LostError())

    def advance(self, seconds: float) -> None:
        self.time += seconds
        for task in [task for task in self.sleeping if task.wakes <= self.time]:
            self.sleeping.remove(task)
            self.resume(task)

    def step(self, number: int) -> None:
        """Let one request land, or its answer come."""
        if self.requests:
            request = self.requests[number % len(self.requests)]
            self.answer(request) if request.landed else self.land(request)

    def missing(self) -> list[str]:
        return [
            each
            for key, (body, _) in self.objects.items()
            if key.startswith(KEYS)
            for each in ids_in(body)
            if chunk(each) not in self.objects
        ]


def chunk(identity: str) -> str:
    return chunk_key("", bytes.fromhex(identity))


def ids_in(body: bytes) -> list[str]:
    return body.decode().split()


def build(key: str, wanted: list[str], name: str, *, sends_all: bool):
    """A build that names ``wanted``: it keeps the chunks that are there, or sends all."""

    async def run(store: Port) -> None:
        await store.has(KEYS + key)
        since = store.now().low
        for each in wanted:
            if sends_all or not await store.has(chunk(each)):
                await store.put(chunk(each), b"")
        protection = Protection(store, "", name, since)
        while missing := await protection.protect(frozenset(wanted)):
            for each in missing:
                await store.put(chunk(each), b"")
        assert protection.is_fresh
        await store.put(KEYS + key, " ".join(wanted).encode())
        await protection.release()

    return run


def prune(name: str, evicted: str):
    """A clean-up that evicts one cache and deletes every chunk that has no name."""

    async def run(store: Port) -> None:
        body = await store.get(KEYS + evicted)
        if body is not None:
            await store.put(aside_key("", KEYS + evicted), body)
            await store.delete_if(KEYS + evicted, body)

        async def read(listed: ListedObject) -> Names:
            body = await store.get(listed.key)
            return frozenset() if body is None else frozenset(ids_in(body))

        for each in await store.listed(EVICTED):
            if store.now().low - each.modified > GRACE:
                await store.delete([each.key], float("inf"))
        named = await read_names(store, "", read)
        listed = await store.listed(CHUNKS)
        old = [each.key.rpartition("/")[2] for each in listed if store.now().low - each.modified > GRACE]
        if due := [each for each in old if each not in named]:
            await Deletion(store, "", name, due).run(lambda: read_names(store, "", read), batch=2)

    return run


class GarbageCollection(RuleBasedStateMachine):
    """Hypothesis chooses who begins, what lands when, and who dies."""

    offsets = strategies.sampled_from([0.0, 600.0, -600.0, 86400.0])
    keys = strategies.sampled_from(["main", "feature"])
    numbers = strategies.integers(0, 30)

    @initialize(old=strategies.booleans())
    def begin(self, old: bool) -> None:
        self.world, self.count = World(), 0
        for each in IDS:  # nobody names them, and they are old
            self.world.objects[chunk(each)] = (b"", self.world.time - 100)
        if old:
            self.world.objects[KEYS + "main"] = (" ".join(IDS[:2]).encode(), self.world.time - 100)

    def name(self) -> str:
        self.count += 1
        return str(self.count)

    @rule(key=keys, wanted=strategies.lists(strategies.sampled_from(IDS), min_size=1, unique=True),
          offset=offsets, sends_all=strategies.booleans())  # fmt: skip
    def begin_build(self, key: str, wanted: list[str], offset: float, sends_all: bool) -> None:
        self.world.begin(build(key, wanted, self.name(), sends_all=sends_all), offset)

    @rule(evicted=keys, offset=offsets)
    def begin_prune(self, evicted: str, offset: float) -> None:
        self.world.begin(prune(self.name(), evicted), offset)

    @rule(number=numbers)
    def step(self, number: int) -> None:
        self.world.step(number)

    @rule(count=strategies.integers(2, 40), pick=strategies.sampled_from([0, -1, 1]))
    def go_on(self, count: int, pick: int) -> None:
        for _ in range(count):
            self.world.step(pick)

    @rule(seconds=strategies.sampled_from([0.3, 1.0, 3.0, 7.0]))
    def wait(self, seconds: float) -> None:
        self.world.advance(seconds)

    @rule(number=numbers)
    def lose(self, number: int) -> None:
        if self.world.requests:
            self.world.lose(self.world.requests[number % len(self.world.requests)])

    @rule(number=numbers)
    def kill(self, number: int) -> None:
        """What it has sent may land all the same."""
        if self.world.processes:
            self.world.processes[number % len(self.world.processes)].alive = False

    @invariant()
    def every_published_manifest_is_whole(self) -> None:
        if hasattr(self, "world"):
            assert self.world.missing() == []

    def teardown(self) -> None:
        """Who lives comes to an end, within seconds of a clean-up that was killed."""
        if not hasattr(self, "world"):
            return
        for _ in range(400):
            while self.world.requests:
                self.world.step(0)
            if all(each.ended or not each.alive for each in self.world.processes):
                break
            self.world.advance(0.3)
        assert self.world.missing() == []
        assert [each for each in self.world.processes if each.alive and not each.ended] == []


@pytest.mark.timeout(3600)
def test_no_published_manifest_ever_names_a_missing_chunk():
    run_state_machine_as_test(
        GarbageCollection,
        settings=settings(
            max_examples=RUNS, stateful_step_count=40, deadline=None, database=None,
            suppress_health_check=list(HealthCheck), phases=[Phase.generate],
        ),
    )  # fmt: skip


def test_a_record_that_cannot_be_read_may_name_anything():
    world = World()
    world.objects[RECORDS + "1"] = (b"rubbish", world.time)
    world.begin(build("main", IDS, "b", sends_all=False), 0.0)

    while world.requests:
        world.step(0)

    assert world.missing() == []
    assert world.objects[KEYS + "main"][0].decode().split() == IDS
