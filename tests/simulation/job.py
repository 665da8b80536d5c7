"""One schedule: a tree, a bucket, and a sync that is killed, begun again, and must come to its end."""

from __future__ import annotations

import io
import os
import random
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any, ClassVar
from unittest.mock import patch

from s3batch import __version__, content, late_requests, sync
from s3batch.executors import runner
from s3batch.journal import Journal, doubts
from s3batch.journal.store import Store as JournalStore
from s3batch.model import Kind, Operation, Result
from s3batch.output import Output
from s3batch.s3 import bucket
from s3batch.s3.calls import Call
from s3batch.settings import Settings
from s3batch.stopping import Signals
from s3batch.wanted import Wanted
from tests.rig.fake_s3 import Stored
from tests.simulation.world import CoordinatorKilled, SimulatedExecutor, SimulatedLane, World

LONG_AGO = 1_600_000_000
PART = 16
THRESHOLD = 40
"""Bytes: larger files go in parts."""


late_requests.LONGEST_WAIT = 0.0  # seconds of the real clock


@dataclass(frozen=True)
class Schedule:
    """What befalls a job. ``seed`` decides about everything else."""

    seed: int
    kills: tuple[int, ...] = ()
    """At which step the coordinator of each run but the last dies; 0: it does not."""
    misery: float = 0.0
    """How likely a request, a message or a worker has bad luck, in all runs but the last."""
    changes: bool = False
    """Files change between runs."""
    late: bool = False
    """Requests of a dead run may land while the next one is at work."""

    @classmethod
    def diced(cls, seed: int) -> Schedule:
        """The schedule of a seed."""
        dice = random.Random(f"schedule {seed}")
        kills = tuple(dice.choice([0, dice.randint(1, 40), dice.randint(1, 200)]) for _ in range(dice.randint(0, 3)))
        return cls(seed, kills, dice.choice([0.0, 0.0, 0.03, 0.1, 0.3]), dice.random() < 0.3)


class SimulatedSync(sync.Sync):
    """The real sync with simulated workers."""

    world: ClassVar[World]
    job: ClassVar[Job]
    executor: ClassVar[SimulatedExecutor]

    def _executor(self) -> Any:
        brief = super()._executor()._brief
        SimulatedSync.executor = SimulatedExecutor(self.world, brief, 2)
        return SimulatedSync.executor

    def _heard(self, operation: Operation, result: Result) -> None:
        super()._heard(operation, result)
        if operation.kind is Kind.UPLOAD:
            self.job.heard.add(operation.key)


@dataclass
class Job:
    """The tree and the bucket of one schedule, and what must be true of them."""

    schedule: Schedule
    directory: str
    world: World = field(init=False)
    files: dict[str, bytes] = field(default_factory=dict)
    heard: set[str] = field(default_factory=set)
    """Keys whose upload the coordinator knows to be done."""

    def __post_init__(self) -> None:
        self.world = World(self.schedule.seed)
        self.source, self.journal = os.path.join(self.directory, "source"), os.path.join(self.directory, "journal.db")
        for name in os.listdir(self.directory):
            path = os.path.join(self.directory, name)
            shutil.rmtree(path) if os.path.isdir(path) else os.unlink(path)
        os.mkdir(self.source)
        shutil.copyfile(template(), self.journal)
        self.objects = self.world.store.objects["bucket"]
        dice = self.world.dice
        for number in range(dice.randint(1, 9)):
            self.write(f"f{number}", dice.randbytes(dice.choice([0, 3, 20, 39, 40, 50, 100])))
        for number in range(dice.choice([0, 1, 4])):
            self.objects[f"orphan{number}"] = Stored(b"old", '"old"')
        for name in list(self.files)[: dice.choice([0, 0, 2])]:
            self.objects[name] = Stored(b"other", '"other"')
        self.complete: set[str] = set()
        """The files when the store last had all of them."""
        self.world.watch = self.watch

    def write(self, name: str, body: bytes) -> None:
        """Make a file, or another of its name."""
        path = os.path.join(self.source, name)
        with open(path + ".new", "wb") as file:
            file.write(body)
        os.utime(path + ".new", (LONG_AGO, LONG_AGO + len(self.files) + self.world.dice.randint(0, 10**6)))
        os.rename(path + ".new", path)
        self.files[name] = body
        self.heard.discard(name)

    def watch(self, call: Call, now: float) -> None:
        """No delete before success.

        A run goes on at once with the deletes of a dead one that had sent everything. A file that changed after that
        moment is sent beside them.
        """
        wrong = self.note_complete()
        if call.name in ("DeleteObject", "DeleteObjects"):
            assert wrong <= self.complete, f"{call.name} before {wrong - self.complete} were there"

    def note_complete(self) -> set[str]:
        """Note the moment if the store has every file. Return those it does not have."""
        wrong = {name for name in self.files if not self.is_right(name)}
        if not wrong:
            self.complete = set(self.files)
        return wrong

    def is_right(self, name: str) -> bool:
        """Whether the bucket holds what the file holds."""
        stored = self.objects.get(name)
        return stored is not None and bytes(stored.body) == self.files[name]

    def sends(self, call: Call) -> None:
        """Nothing is sent twice after an acknowledged answer."""
        if call.name in ("PutObject", "UploadPart", "CompleteMultipartUpload"):
            assert call.key not in self.heard, f"{call.name} of {call.key}, which is known to be done"

    # --- its runs -----------------------------------------------------------------------------

    def run(self) -> None:
        """All runs, and what must be true after them."""
        schedule, world = self.schedule, self.world
        for kill_at in schedule.kills:
            world.misery = schedule.misery
            self.run_once(kill_at)
            if not schedule.late:
                world.run(10.0)
            self.note_complete()
            if schedule.changes:
                for name in world.dice.sample(sorted(self.files), 1):
                    self.write(name, world.dice.randbytes(world.dice.choice([5, 39, 41, 80])))
        world.misery = 0.0
        code = self.run_once(0)
        assert code == 0, f"exit code {code}"
        assert {name: bytes(stored.body) for name, stored in self.objects.items()} == self.files
        assert world.store.uploads == {}, "an upload is left"

    def run_once(self, kill_at: int) -> int:
        """One process. The exit code, -1 for one that was killed."""
        self.world.note("--- a run, to be killed at step", kill_at)
        self.world.begin_coordinator(kill_at)
        journal = Journal.open(self.journal)
        try:
            journal.lock()
            return self._sync(journal)
        except CoordinatorKilled:
            if hasattr(SimulatedSync, "executor"):
                SimulatedSync.executor.orphan()
            with suppress(CoordinatorKilled):
                journal._store.rollback()
            self._recall(journal)
            return -1
        finally:
            journal._store._connection.close()
            journal._lock.release()

    def _recall(self, journal: Journal) -> None:
        """What was not committed is not known to be done."""
        rows = journal._store._connection.execute("SELECT key FROM operation WHERE kind = 'upload' AND state = 'done'")
        self.heard &= {key for (key,) in rows}

    def _sync(self, journal: Journal) -> int:
        settings = Settings(
            source=self.source, bucket="bucket", endpoint_url="http://127.0.0.1:9", region="us-east-1", access_key="key",
            secret_key="secret", delete=True, journal=self.journal, quiet=True, part_size=PART, retries=10, workers=2,
            multipart_threshold=THRESHOLD, executor="local", max_delete="100%",
        )  # fmt: skip
        wanted = Wanted.from_settings(settings)
        journal.begin_job(
            "sync", wanted.source.root, "bucket/", settings.endpoint_url, settings.public(), __version__,
            plan=settings.plan_digest(),
        )  # fmt: skip
        SimulatedSync.world, SimulatedSync.job = self.world, self
        output = Output(io.StringIO(), io.StringIO(), quiet=True)
        running = SimulatedSync(wanted, journal, Signals(), output, clock=self.world.clock)
        code = running.run()
        counts = journal.counts()
        for kind, count in counts.items():
            settled = count["done"] + count["failed"] + count["skipped"]
            assert code or count["planned"] == settled, f"{kind}: {count}"
        return code


@cache
def template() -> str:
    """An empty journal: making its tables takes longer than most schedules."""
    path = os.path.join(tempfile.mkdtemp(prefix="s3batch-simulation-"), "journal.db")
    Journal.open(path).close()
    return path


@contextmanager
def simulated(job: Job) -> Iterator[None]:
    """Put the world in the place of sockets, clocks and disks that fail."""
    world, commit = job.world, JournalStore.commit

    def commit_or_die(store: JournalStore) -> None:
        world.step("commits")
        commit(store)
        world.step("has committed")

    class Watched(SimulatedLane):
        def _send(self, task: Any, call: Call, *, anew: bool = False) -> None:
            job.sends(call)
            super()._send(task, call, anew=anew)

    random.seed(job.schedule.seed)
    lane = partial(Watched, world, "coordinator:")
    with (
        patch.object(runner, "Lane", lane), patch.object(bucket, "Lane", lane), patch.object(content, "_TICK_NS", 0), patch.object(doubts, "_PARTS_FROM", 0), patch.object(late_requests, "LONGEST_WAIT", 0.0),
        patch.object(JournalStore, "commit", commit_or_die),
    ):  # fmt: skip
        yield


def carry_out(schedule: Schedule, directory: str) -> Job:
    """Run a schedule. An AssertionError says what is wrong, and after it comes what happened."""
    job = Job(schedule, directory)
    try:
        with simulated(job):
            job.run()
    except Exception as error:
        raise AssertionError(f"{schedule}: {error!r}\n" + "\n".join(job.world.trace[-200:])) from error
    return job
