"""A world in one process, under a clock of its own: a store, its network, workers, and what befalls each of them.

    Coordinator ── give, poll ──> SimulatedExecutor ── messages ──> worker: the real Runner and coroutines
        │ journal: a real file                                          │ calls
        └ calls ─────────────── SimulatedTransport ───────────────────┴──> store: the rig's fake S3, without a socket

Everything that happens is an event of one queue. A seed decides how long each takes, and who dies, stalls or answers
late. The same seed gives the same run.
"""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Callable, Sequence
from email.utils import formatdate
from functools import lru_cache
from itertools import count
from typing import Any
from urllib.parse import parse_qsl

from botocore import xform_name

from s3batch.executors import BEAT, SILENCE, PollResult, RunningTime, Status, WorkerState
from s3batch.executors.worker_loop import WorkerLoop
from s3batch.executors.worker_state import BEGUN, CURRENT
from s3batch.model import Result, Work
from s3batch.s3.endpoint import Endpoint
from s3batch.s3.faults import Fault
from s3batch.s3.requests import Request, Response
from s3batch.s3.transport import Transport
from s3batch.worker.context import Brief
from tests.rig.fake_s3 import FakeS3, Manners, RefusedError, Seen, Stored, error

_GATHERED = 0.02
"""Seconds that a worker gathers results."""
_SAY_EVERY = 1.0
_STEPS = 20_000
"""Events of one run: more means that it does not end."""
_FORSAKEN = 5.0
EPOCH = 2_000_000_000.0
"""The year 2033: no file of today counts as young."""
READS = ("GET", "HEAD")


class CoordinatorKilled(BaseException):
    """The coordinator's process is gone. Nothing that it does from here on counts."""


class Store(FakeS3):
    """The fake S3 without a socket, and with parts of any size."""

    least_part = 0

    def __init__(self, world: World) -> None:
        self.manners, self.meddle = Manners(), lambda _: None
        self.requests, self.objects, self.uploads = [], {"bucket": {}}, {}
        self._numbers = count(1)
        self._world = world

    def carry_out(self, call: Request) -> Response:
        """Do what ``call`` asks, at once."""
        pairs = dict(parse_qsl(call.query, keep_blank_values=True)) if call.query else {}
        target = f"/bucket/{call.key}?{call.query}"
        seen = Seen(call.method, target, "bucket", call.key, pairs, dict(call.headers), bytes(call.body), None)
        headers = {"date": http_date(int(self._world.store_time())), "x-amz-request-id": "SIM"}
        self._world.at_store = True
        try:
            reply = getattr(self, METHODS[call.name])(seen, self.objects["bucket"])
        except RefusedError as refused:
            body = b"" if call.method == "HEAD" else error(refused.code, refused.message, **refused.more)
            return Response(refused.status, headers | {"content-type": "application/xml"}, body)
        finally:
            self._world.at_store = False
        said = headers | reply.headers
        said.setdefault("content-length", str(len(reply.body)))
        return Response(reply.status, said, b"" if call.method == "HEAD" else reply.body)


class _Methods(dict[str, str]):
    def __missing__(self, name: str) -> str:
        self[name] = f"_{xform_name(name)}"
        return self[name]


METHODS = _Methods()
"""The fake's methods by S3's name."""


@lru_cache(maxsize=1024)
def http_date(seconds: int) -> str:
    """A date as S3 tells it."""
    return formatdate(seconds, usegmt=True)


class World:
    """The clocks, the queue of events, and the dice."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.now = 1000.0
        self.skew = 0.0
        """Seconds that this machine's clock is ahead of the store's."""
        self.steps_clock = False
        """Somebody sets this machine's clock now and then."""
        self.late = 0.0
        """Seconds that requests of dead workers may be on their way; 0: they arrive at once."""
        self.at_store = False
        """Who asks for the time is the store."""
        self.store = Store(self)
        self.store_back = 0.0
        """When a store that is gone, or stands still, is back."""
        self.store_stalls = False
        self.completes_slowly = False
        """The store lets a multipart upload go at once, and shows its object later, as moto does."""
        self.landing: dict[str, list[Stored]] = {}
        """Objects by key that uploads which are gone will be."""
        self.trace: list[str] = []
        """What happened, for a schedule that failed."""
        self.kill_at = 0
        """The coordinator dies at its so many-th step; 0 for never. At a negative one, it gets SIGTERM."""
        self.misery = 0.0
        """How likely a request, a message or a worker has bad luck."""
        self.before: Callable[[Request], None] = lambda call: None
        self.after: Callable[[Request], None] = lambda call: None
        """See each request before and after the store carries it out."""
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._number = count()
        self._steps = 0
        self.killed = False

    def clock(self) -> float:
        """Seconds, simulated."""
        return self.now

    def store_time(self) -> float:
        """Seconds since the epoch, by the store's clock."""
        return EPOCH + self.now

    def wall(self) -> float:
        """Seconds since the epoch, by the clock of whoever asks."""
        return EPOCH + self.now + (0.0 if self.at_store else self.skew)

    def sleep(self, seconds: float) -> None:
        """The coordinator waits."""
        self.step("waits")
        self.run(seconds)

    def set_clock(self) -> None:
        """Somebody sets this machine's clock."""
        self.skew = self.dice.choice([0.0, self.dice.uniform(-600, 600)])
        self.note("this machine's clock is ahead by", self.skew)

    def trouble_store(self) -> None:
        """Have the store be gone for a while, or stand still."""
        self.store_stalls = self.dice.random() < 0.5
        self.store_back = self.now + self.dice.uniform(0.1, 4)
        self.note("the store", "stands still" if self.store_stalls else "is gone", "until", self.store_back)

    def note(self, *what: object) -> None:
        """Add a line to the trace."""
        self.trace.append(f"{self.now:9.3f} " + " ".join(map(str, what)))

    def unlucky(self, share: float = 1.0) -> bool:
        """Whether bad luck strikes now."""
        return self.dice.random() < self.misery * share

    def at(self, seconds: float, event: Callable[[], None]) -> None:
        """Have something happen in so many seconds."""
        heapq.heappush(self._events, (self.now + seconds, next(self._number), event))

    def run(self, seconds: float, until: Callable[[], bool] = lambda: False) -> None:
        """Let everything happen that does within so many seconds, or until that is so."""
        end = self.now + seconds
        while not until() and self._events and self._events[0][0] <= end:
            when, _, event = heapq.heappop(self._events)
            self.now = max(self.now, when)
            event()
        if not until():
            self.now = end

    # --- the coordinator's life ---------------------------------------------------------------

    def begin_coordinator(self, kill_at: int, terminate: Callable[[], None]) -> None:
        """A process starts; it dies at its so many-th step, 0 for never. At a negative one, ``terminate`` is called."""
        self.kill_at, self._steps, self.killed, self._terminate = kill_at, 0, False, terminate

    def step(self, what: str) -> None:
        """A point where the coordinator may die."""
        self._steps += 1
        assert self._steps < _STEPS, "the job does not end"
        if self._steps == -self.kill_at:
            self.note("the coordinator gets SIGTERM:", what)
            self._terminate()
        if self._steps == self.kill_at:
            self.note("the coordinator dies:", what)
            self.killed = True
        if self.killed:
            raise CoordinatorKilled(what)

    # --- the network ----------------------------------------------------------------------------

    def send(self, transport: SimulatedTransport, call: Request, answered: Callable[[Response | None], None]) -> None:
        """Carry ``call`` to the store and its answer back; ``None`` for an answer that is lost."""
        there, back = self.dice.uniform(0.001, 0.03), self.dice.uniform(0.001, 0.03)
        latest = self.now + self.late
        if self.unlucky(0.3):
            there += self.dice.uniform(0.5, 2.9)
        fate = self.dice.choice(["lost", "lost", "answer lost", "slow down", "broken"]) if self.unlucky() else ""

        def arrive() -> None:
            if self.store_stalls and self.now < self.store_back:
                self.at(self.store_back - self.now, arrive)
                return
            if self.late and not transport.alive and self.now < latest and self.dice.random() < 0.7:
                self.at(self.dice.uniform(0, latest - self.now), arrive)
                return
            took = 0.0
            if fate == "lost" or self.now < self.store_back:
                answer = None
            elif fate in ("slow down", "broken"):
                code, status = ("SlowDown", 503) if fate == "slow down" else ("InternalError", 500)
                answer = Response(status, {}, b"" if call.method == "HEAD" else error(code))
            else:
                self.before(call)
                held = self.store.objects["bucket"].get(call.key)
                answer = self.store.carry_out(call)
                if self.completes_slowly and answer.ok and call.name == "CompleteMultipartUpload":
                    took = self._show_later(call, held)
                self.after(call)
            self.note(transport.name, call.name, call.key, fate, answer.status if answer else "-")
            self.at(took + back, lambda: answered(None if fate == "answer lost" else answer))

        self.at(there, arrive)

    def _show_later(self, call: Request, held: Stored | None) -> float:
        """Have what was completed be there in some seconds only, which are returned, and ``held`` until then."""
        objects, key, seconds = self.store.objects["bucket"], call.key, self.dice.uniform(0.0, 1.5)
        stored = objects.pop(key)
        if held is not None:
            objects[key] = held
        self.landing.setdefault(key, []).append(stored)

        def show() -> None:
            self.landing[key].remove(stored)
            stored.modified = self.store_time()
            objects[key] = stored
            self.after(call)
            self.note(key, "is complete")

        self.at(seconds, show)
        return seconds


class SimulatedTransport(Transport):
    """The real transport, with the simulated network in the place of sockets."""

    def __init__(self, world: World, name: str, endpoint: Endpoint, carrier: Any, **more: Any) -> None:
        super().__init__(endpoint, carrier, **more | {"clock": world.clock})
        self.loop.close()
        self.loop.call_later, self.loop.submit = self.call_later, self.submit
        self.world, self.name = world, name
        self.alive = True
        self.orphan = False
        """Its worker's coordinator was killed."""
        self.heard = math.inf
        """When its worker heard of the coordinator last."""
        self.defer: Callable[[Callable[[], None]], None] = lambda event: event()
        """Puts off what reaches a worker that stands still."""

    def _send(self, task: Any, call: Request, *, anew: bool = False) -> None:
        forsaken = call.method not in READS and self.world.now - self.heard > _FORSAKEN
        assert not forsaken, f"{self.name} sends {call.name} {self.world.now - self.heard} s after it heard anything"

        def answered(answer: Response | None) -> None:
            if self.alive:
                self.defer(lambda: self._hear(task, call, answer))

        self.world.send(self, call, answered)

    def _hear(self, task: Any, call: Request, answer: Response | None) -> None:
        if answer is None:
            self._fail(task, call, Fault("Connection", "the answer was lost"))
        else:
            self._judge(task, call, answer)

    def _ask_boto(self, task: Any, call: Request, refusal: Response | None = None) -> None:
        self.call_later(0.0, lambda: self.loop.resume(task, refusal))  # boto3 would be told the same

    def submit(self, function: Callable[[], Any], done: Callable[[Any, BaseException | None], None]) -> None:
        value = function()
        self.call_later(0.0, lambda: done(value, None))

    def call_later(self, seconds: float, function: Callable[[], None]) -> None:
        self.world.at(seconds, lambda: self.defer(function) if self.alive else None)

    def turn(self, timeout: float) -> None:
        """For the coordinator's own requests: it waits, and the world goes on."""
        self.world.step("waits for the store")
        seen = self.world.now
        self.world.run(timeout, lambda: self.world.now > seen)

    def close(self) -> None:
        self.alive = False


class Worker:
    """One worker process."""

    def __init__(self, world: World, state: WorkerState, brief: Brief, number: int) -> None:
        self.world, self.state, self.number = world, state, number
        self.page = [0, 0]
        self.alive = True
        self.said = self.told = world.now
        """When the coordinator heard of it last (running time), and when it was told something."""
        self.stalled_until = 0.0
        self.outbox: list[tuple[list[Result], Status]] = []
        """What has reached the coordinator's socket."""
        self.dropped: list[Work] = []
        self._reporting = False
        self.runner = WorkerLoop(brief, self.page, clock=world.clock)
        self.runner.transport.name = f"worker {number}:"
        self.runner.transport.heard = world.now
        self.runner.transport.defer = self.act
        world.at(_SAY_EVERY, self._say)

    def act(self, event: Callable[[], None]) -> None:
        """Have the worker do something, once it does not stand still."""
        if not self.alive:
            return
        if self.world.now < self.stalled_until:
            self.world.at(self.stalled_until - self.world.now, lambda: self.act(event))
            return
        event()
        if self.runner.transport.orphan:
            self.world.at(0.0, self.die)
        self.runner._begin()
        if self.runner.results and not self._reporting:
            self._reporting = True
            self.world.at(_GATHERED, lambda: self.act(self._report))

    def receive(self, works: list[Work] | None, *, drain: bool = False) -> None:
        """A message is on its way to it: work, or only a word."""

        def arrive() -> None:
            if self.runner.transport.orphan:
                self.die()
                return
            self.runner.transport.heard = self.world.now
            self.runner.note_contact()
            if drain:
                self.dropped += self.runner.drop()
            if works:
                self.runner.take(works)

        self.world.at(self.world.dice.uniform(0.0001, 0.005), lambda: self.act(arrive))

    def _say(self) -> None:
        if self.alive:
            self.act(self._report)
            self.world.at(_SAY_EVERY, self._say)

    def _report(self) -> None:
        results, status = self.runner.results, self.runner.status()
        self.runner.results, self._reporting = [], False
        delay = self.world.dice.uniform(0.0001, 0.005)
        self.world.at(delay, lambda: self.outbox.append((results, status)) if self.alive or delay < 0.004 else None)

    def die(self) -> None:
        """SIGKILL."""
        self.alive = self.runner.transport.alive = False


class SimulatedExecutor:
    """Speaks the executors' protocol. Workers are objects, and what befalls them is diced."""

    def __init__(self, world: World, brief: Brief, count: int) -> None:
        self._world = world
        self._brief = brief._replace(limit=4)
        self._running = RunningTime(world.clock)
        self._numbers = iter(range(1, 1000))
        self._workers: list[Worker] = []
        self._dead: list[Worker] = []
        self._count = count
        self._draining = False

    def workers(self) -> Sequence[WorkerState]:
        while len(self._workers) < self._count and not self._draining:
            number = next(self._numbers)
            self._workers.append(Worker(self._world, WorkerState(str(number)), self._brief, number))
            self._workers[-1].said = self._running()
        return [worker.state for worker in self._workers]

    def dispatch(self, worker: WorkerState, works: list[Work]) -> None:
        self._world.step("gives work")
        chosen = next(each for each in self._workers if each.state is worker)
        chosen.told = self._world.now
        chosen.receive(works)

    def poll(self, timeout: float) -> PollResult:
        world = self._world
        world.step("polls")
        if world.unlucky(0.02):
            world.note("the coordinator stands still")
            world.run(world.dice.uniform(2, 40))
        if world.unlucky(0.02):
            world.trouble_store()
        if world.steps_clock and world.unlucky(0.05):
            world.set_clock()
        for worker in self._workers:
            if world.now - worker.told >= BEAT:
                worker.told = world.now
                worker.receive(None)
            if worker.alive and world.unlucky(0.02):
                self._strike(worker)
        world.run(max(timeout, 0.001), lambda: any(each.outbox or not each.alive for each in self._workers))
        return self._news()

    def _strike(self, worker: Worker) -> None:
        if self._world.dice.random() < 0.5:
            self._world.note("worker", worker.number, "dies")
            worker.die()
        else:
            worker.stalled_until = self._world.now + self._world.dice.choice([1, 7, 40])
            self._world.note("worker", worker.number, "stands still until", worker.stalled_until)

    def _news(self) -> PollResult:
        news, now = PollResult(), self._running()
        for worker in list(self._workers):
            if worker.outbox or worker.dropped:
                worker.said = now
            for results, status in worker.outbox:
                worker.state.on_results(results, status)
                news.results += results
            worker.outbox.clear()
            worker.state.take_back(worker.dropped)
            news.dropped += worker.dropped
            worker.dropped = []
            if not worker.alive or now - worker.said > SILENCE:
                self._replace(worker, news)
        return news

    def _replace(self, worker: Worker, news: PollResult) -> None:
        self._world.note("worker", worker.number, "is replaced; it was busy with", worker.page[CURRENT])
        worker.die()
        worker.state.begun = worker.page[BEGUN]
        news.lose(worker.state)
        self._workers.remove(worker)
        self._dead.append(worker)

    def update_credentials(self, credentials: Any) -> None:
        """Nobody's credentials expire here."""

    def learn(self, quirks: Any) -> None:
        for worker in self._workers:
            worker.runner.learn(quirks)

    def throttle(self) -> None:
        for worker in self._workers:
            worker.runner.transport.throttle()

    def drain(self) -> None:
        self._draining = True
        for worker in self._workers:
            worker.receive(None, drain=True)

    def close(self) -> None:
        if self._world.killed:
            return  # a process that is killed runs no `finally`
        for worker in (*self._workers, *self._dead):
            worker.die()

    def orphan(self) -> None:
        """The coordinator was killed: workers notice at once, or stand still and notice when they wake."""
        for worker in self._workers:
            worker.runner.transport.orphan = True
            if worker.stalled_until <= self._world.now:
                worker.die()
