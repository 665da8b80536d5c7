"""One schedule: a tree, a bucket, and a sync that is killed, begun again, and must come to its end."""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import shutil
import signal
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar
from unittest.mock import patch
from urllib.parse import parse_qsl

from s3batch import __version__
from s3batch.commands.sync import job as sync
from s3batch.coordinator.job_runner import JobRunner
from s3batch.coordinator.signals import InterruptedJobError, Signals
from s3batch.executors import worker_loop
from s3batch.journal import Journal, doubts
from s3batch.journal.database import Database as JournalStore
from s3batch.journal.operations import Operations
from s3batch.model import Kind, Operation, Result, State, Step
from s3batch.plan.spec import SyncSpec
from s3batch.reporting.console import Output
from s3batch.s3 import retrying_sender, store_clock
from s3batch.s3.requests import Request
from s3batch.settings.table import Settings
from s3batch.source import reader
from s3batch.worker.context import Brief
from tests.rig.fake_s3 import Stored
from tests.simulation import journals
from tests.simulation.world import CoordinatorKilled, SimulatedExecutor, SimulatedTransport, World

LONG_AGO = 1_600_000_000
PART = 16
THRESHOLD = 40
"""Bytes: larger files go in parts."""
SIZES = (0, 3, 20, 39, 40, 50, 70)
TIMEOUTS = (3, 15)
"""Seconds that a request may be on its way: a job waits for the end of a dead run's, or leaves that to the next."""
_IN_FILES = 50
"""One of so many schedules has its journal in a file."""


@dataclass(frozen=True)
class Schedule:
    """What befalls a job. ``seed`` decides about everything else."""

    seed: int
    kills: tuple[int, ...] = ()
    """At which step the coordinator of each run but the last dies; negative: gets SIGTERM; 0: neither."""
    misery: float = 0.0
    """How likely a request, a message, a worker or the store has bad luck, in all runs but the last."""
    changes: bool = False
    """Files become others between runs and while they are at work: larger, or of the same size and times."""
    late: bool = False
    """The next run begins at once: requests of a dead one may land while it is at work, or after it."""
    clock: bool = False
    """This machine's clock is set, up to ten minutes ahead or back, between runs and while they are at work."""
    others: bool = False
    """Somebody else writes to the bucket between runs."""
    slow: bool = False
    """A multipart upload is gone at once when it is completed, and its object is there later."""

    @classmethod
    def diced(cls, seed: int) -> Schedule:
        """The schedule of a seed."""
        dice = random.Random(f"schedule {seed}")
        moments = (dice.choice([0, dice.randint(1, 40), dice.randint(20, 110)]) for _ in range(dice.randint(0, 3)))
        kills = tuple(-moment if dice.random() < 0.15 else moment for moment in moments)
        changes, late, clock, others = (dice.random() < 0.4 for _ in range(4))
        misery, slow = dice.choice([0.0, 0.0, 0.03, 0.1, 0.3]), dice.random() < 0.3
        return cls(seed, kills, misery, changes, late, clock, others, slow)


class SimulatedSync(sync.SyncJob):
    """The real sync with simulated workers."""

    world: ClassVar[World]
    job: ClassVar[Job]
    executor: ClassVar[SimulatedExecutor]

    def _executor(self, brief: Brief) -> Any:
        shared = super()._executor(brief)._brief  # type: ignore[attr-defined]  # with the limits of one worker
        shared = shared._replace(stretches=False)  # by a clock of the machine
        SimulatedSync.executor = SimulatedExecutor(self.world, shared, 2)
        return SimulatedSync.executor

    def _heard(self, operation: Operation, result: Result) -> None:
        super()._heard(operation, result)
        self.job.hear(operation)


@dataclass
class Job:
    """The tree and the bucket of one schedule, and what must be true of them."""

    schedule: Schedule
    directory: str
    world: World = field(init=False)
    files: dict[str, bytes] = field(default_factory=dict)
    heard: set[str] = field(default_factory=set)
    """Keys whose upload, as the file is now, the coordinator knows to be done."""
    parts: dict[tuple[str, int, bytes], set[str]] = field(default_factory=lambda: defaultdict(set))
    """Parts that the journal knows to be sent, by key, number and content, with the ids of their uploads."""
    versions: dict[str, set[bytes]] = field(default_factory=lambda: defaultdict(set))
    """What each file has been since the run at work began."""
    ever: dict[str, set[bytes]] = field(default_factory=lambda: defaultdict(set))
    """What each file, and each object of somebody else, has ever been."""
    complete: set[str] = field(default_factory=set)
    """The files when the store last had all of them."""
    arrived: set[str] = field(default_factory=set)
    """The files that the store has had since the run at work began."""
    runs: int = 0

    def __post_init__(self) -> None:
        self.world = World(self.schedule.seed)
        self.source, self.journal = os.path.join(self.directory, "source"), os.path.join(self.directory, "journal.db")
        self.graves = os.path.join(self.directory, "graves")
        for name in os.listdir(self.directory):
            path = os.path.join(self.directory, name)
            shutil.rmtree(path) if os.path.isdir(path) else os.unlink(path)
        os.mkdir(self.source)
        os.mkdir(self.graves)
        self.world.before, self.world.after = self.check_delete, self.check_whole
        self.world.steps_clock = self.schedule.clock
        self.timeout = random.Random(self.schedule.seed).choice(TIMEOUTS)
        self.world.late = self.timeout * self.schedule.late
        self.world.completes_slowly = self.schedule.slow
        journals.begin_afresh()
        self.in_a_file = self.schedule.seed % _IN_FILES == 0
        self.objects = self.world.store.objects["bucket"]
        dice = self.world.dice
        for number in range(dice.randint(1, 6)):
            self.write(f"f{number}", dice.randbytes(dice.choice(SIZES)))
        with patch.object(time, "time", self.world.store_time):
            for number in range(dice.choice([0, 1, 4])):
                self.objects[f"orphan{number}"] = Stored(b"old", '"old"')
            for name in list(self.files)[: dice.choice([0, 0, 2])]:
                self.put_by_others(name, b"other")

    # --- the tree and the bucket --------------------------------------------------------------

    def write(self, name: str, body: bytes, mtime: int = 0) -> None:
        """Make a file, or another of its name. The one before lives on elsewhere, so that its inode does not return."""
        path = os.path.join(self.source, name)
        with open(path + ".new", "wb") as file:
            file.write(body)
        mtime = mtime or LONG_AGO * 10**9 + len(self.files) * 10**6 + self.world.dice.randint(0, 10**6)
        os.utime(path + ".new", ns=(mtime, mtime))
        if name in self.files:
            os.rename(path, os.path.join(self.graves, str(len(os.listdir(self.graves)))))
        os.rename(path + ".new", path)
        self.files[name] = body
        self.versions[name].add(body)
        self.ever[name].add(body)
        self.heard.discard(name)

    def change(self) -> None:
        """Replace a file: by another one, or by one of the same size and times."""
        dice = self.world.dice
        name = dice.choice(sorted(self.files))
        same = dice.random() < 0.5
        found = os.stat(os.path.join(self.source, name))
        body = dice.randbytes(found.st_size if same else dice.choice(SIZES))
        self.world.note(name, "is replaced by", "one of the same size and mtime" if same else "another")
        self.write(name, body, found.st_mtime_ns if same else 0)

    def put_by_others(self, name: str, body: bytes) -> None:
        """Have somebody else write an object."""
        self.world.note("somebody else writes", name)
        self.objects[name] = Stored(body, f'"{hashlib.md5(body).hexdigest()}"', modified=self.world.store_time())
        self.ever[name].add(body)
        self.heard.discard(name)

    def is_right(self, name: str) -> bool:
        """Whether the bucket holds what the file holds."""
        stored = self.objects.get(name)
        return stored is not None and bytes(stored.body) == self.files[name]

    def note_complete(self) -> set[str]:
        """Note the moment if the store has every file, as it has been in this run. Return those it does not have."""
        objects = self.objects
        wrong = {n for n in self.files if n not in objects or bytes(objects[n].body) not in self.versions[n]}
        self.arrived |= self.files.keys() - wrong
        if not wrong:
            self.complete = set(self.files)
        return wrong

    # --- what must be true at any moment ------------------------------------------------------

    def hear(self, operation: Operation) -> None:
        """The coordinator says that it knows this to be done."""
        if operation.kind is Kind.UPLOAD and self.is_right(operation.key):
            self.heard.add(operation.key)

    def hear_parts(self, operations: Operations, outcomes: Iterable[tuple[State, Result]]) -> None:
        """The journal says that it knows these parts to be sent."""
        for state, result in outcomes:
            if state is State.DONE and result.step is Step.PART:
                key, offset, size = operations._store.rows(
                    """SELECT key, part.offset, part.size FROM part JOIN operation ON operation.id = part.operation
                    WHERE part.operation = ? AND number = ?""",
                    (result.id, result.part),
                )[0]
                piece = key, result.part, self.files[key][offset : offset + size]
                if self.holds(result.upload_id, result.part, piece[2]):
                    self.parts[piece].add(result.upload_id)

    def holds(self, upload_id: str, number: int, content: bytes) -> bool:
        """Whether the store has this part of an upload."""
        upload = self.world.store.uploads.get(upload_id)
        return upload is not None and number in upload.parts and bytes(upload.parts[number].body) == content

    def is_known(self, key: str, number: int, content: bytes) -> bool:
        """Whether the journal knows this part to be sent, and the store has it, or an object that was made of it."""
        uploads = self.parts.get((key, number, content), ())
        return bool(uploads) and (
            any(self.holds(each, number, content) for each in uploads)
            or any(bytes(each.body) == self.files[key] for each in self.world.landing.get(key, ()))
            or self.is_right(key)
        )

    def check_delete(self, call: Request) -> None:
        """No delete before success.

        A run goes on at once with the deletes of a dead one that had sent everything. A file that changed after that
        moment is sent beside them. So is one that arrived, and that a late request of a dead run has undone.
        """
        wrong = self.note_complete() - self.complete - self.arrived
        if call.name in ("DeleteObject", "DeleteObjects"):
            assert not wrong, f"{call.name} before {wrong} were there"

    def check_whole(self, call: Request) -> None:
        """Nothing is torn: an object is what a file was, never half of one and half of another."""
        if call.key in self.files and (stored := self.objects.get(call.key)) is not None:
            assert bytes(stored.body) in self.ever[call.key], f"{call.key} is torn by {call.name}: {stored.body!r}"

    def check_send(self, call: Request) -> None:
        """Nothing is sent twice after an acknowledged answer, unless a dead run's request undid it meanwhile."""
        if call.name in ("PutObject", "UploadPart", "CompleteMultipartUpload") and call.key in self.heard:
            assert not self.is_right(call.key), f"{call.name} of {call.key}, which is known to be done"
        if call.name == "UploadPart":
            piece = call.key, int(dict(parse_qsl(call.query))["partNumber"]), bytes(call.body)
            assert not self.is_known(*piece), f"part {piece}, which is known to be sent"

    # --- its runs -----------------------------------------------------------------------------

    def run(self) -> None:
        """All runs, and what must be true after them."""
        schedule, world = self.schedule, self.world
        for kill_at in schedule.kills:
            world.misery = schedule.misery
            self.run_once(kill_at)
            if not schedule.late:
                world.run(20.0)
            self.note_complete()
            self.trouble()
        world.misery, world.store_back = 0.0, 0.0
        self.finish()

    def trouble(self) -> None:
        """What happens between two runs."""
        schedule, dice = self.schedule, self.world.dice
        if schedule.changes and dice.random() < 0.7:
            self.change()
        if schedule.clock:
            self.world.set_clock()
        if schedule.others and dice.random() < 0.5:
            self.world.run(2.0)  # in the second of our own write nobody could tell
            name = dice.choice(sorted(self.files))
            self.put_by_others(name, dice.randbytes(len(self.files[name])))

    def finish(self) -> None:
        """Run to the end. Whatever lands after that is put right by the next run, which was told of it."""
        code, doubtful = self.run_once(0)
        assert code == 0, f"exit code {code}"
        self.check_mirrored(set())
        assert self.world.store.uploads == {} or doubtful, "an upload is left"
        self.world.run(60.0)
        self.check_mirrored(doubtful)
        if doubtful:
            code, _ = self.run_once(0)
            assert code == 0, f"exit code {code}"
            self.check_mirrored(set())
        assert self.world.store.uploads == {}, "an upload is left"

    def check_mirrored(self, doubtful: set[str]) -> None:
        """Nothing lost: the bucket holds the tree, but for keys that the next run will look at."""
        found = {name: bytes(stored.body) for name, stored in self.objects.items()}
        wrong = {name for name in found.keys() | self.files.keys() if found.get(name) != self.files.get(name)}
        assert wrong <= doubtful, f"wrong: {sorted(wrong)}, doubtful: {sorted(doubtful)}"

    def run_once(self, kill_at: int) -> tuple[int, set[str]]:
        """One process. The exit code, -1 for one that was killed, and the keys in doubt."""
        world = self.world
        world.note("--- a run, to be killed at step", kill_at)
        self.versions = defaultdict(set, {name: {body} for name, body in self.files.items()})
        self.arrived.clear()
        self.runs += 1
        signals = Signals()
        world.begin_coordinator(kill_at, lambda: signals._note(signal.SIGTERM, None))
        if self.schedule.changes and world.misery:
            run = self.runs
            world.at(world.dice.uniform(0, 2), lambda: self.change() if self.runs == run else None)
        journal = Journal.open(self.journal) if self.in_a_file else journals.open_journal(self.journal)
        try:
            journal.lock()
            return self._sync(journal, signals), {doubt.key for doubt in journal.doubts.list_all()}
        except InterruptedJobError as error:
            return error.exit_code, set()
        except CoordinatorKilled:
            if hasattr(SimulatedSync, "executor"):
                SimulatedSync.executor.orphan()
            with suppress(CoordinatorKilled):
                journal._store.rollback()
            self._recall(journal)
            return -1, set()
        finally:
            journals.leave(journal)

    def _recall(self, journal: Journal) -> None:
        """What was not committed is not known to be done."""
        rows = journal._store._connection.execute("SELECT key FROM operation WHERE kind = 'upload' AND state = 'done'")
        self.heard &= {key for (key,) in rows}

    def _sync(self, journal: Journal, signals: Signals) -> int:
        settings = Settings(
            source=self.source, bucket="bucket", endpoint_url="http://127.0.0.1:9", region="us-east-1", access_key="key",
            secret_key="secret", delete=True, journal=self.journal, json=True, part_size=PART, retries=10, workers=2,
            multipart_threshold=THRESHOLD, executor="local", max_delete="100%", timeout=self.timeout,
        )  # fmt: skip
        wanted = SyncSpec.from_settings(settings)
        last = journal.jobs.list_all()[:1]
        resumes = bool(last) and journal.jobs.leaves_work(last[0]) and self.world.dice.random() < 0.5
        journal.jobs.begin(
            "sync", wanted.source.root, "bucket/", settings.endpoint_url, settings.public(), __version__,
            continues=last[0].id if resumes else "", plan=settings.plan_digest(),
        )  # fmt: skip
        SimulatedSync.world, SimulatedSync.job = self.world, self
        said = io.StringIO()
        runner = JobRunner(settings, Output(said, io.StringIO()), journal, signals)
        code = runner.run(SimulatedSync(wanted, runner, clock=self.world.clock))
        self.check_report(json.loads(said.getvalue()), code)
        return code

    def check_report(self, report: dict[str, Any], code: int) -> None:
        """The report's sums."""
        operations = report["operations"].items()
        assert report["exit_code"] == code, report
        for kind, count in operations:
            settled = count["done"] + count["failed"] + count["skipped"]
            assert code or count["planned"] == settled, f"{kind}: {count}"
        assert report["sent_now"] + report["sent_before"] == sum(count["done"] for _, count in operations), report
        if not code:
            assert report["files"] == len(self.files), report
            assert self.world.misery or report["bytes"] == sum(map(len, self.files.values())), report


@contextmanager
def simulated(job: Job) -> Iterator[None]:
    """Put the world in the place of sockets, clocks and disks that fail."""
    world, commit, settle = job.world, JournalStore.commit, Operations.settle

    def commit_or_die(store: JournalStore) -> None:
        world.step("commits")
        commit(store)
        world.step("has committed")

    def settle_and_tell(operations: Operations, outcomes: Iterable[tuple[State, Result]]) -> None:
        settled = list(outcomes)
        settle(operations, settled)
        job.hear_parts(operations, settled)

    class Watched(SimulatedTransport):
        def _send(self, task: Any, call: Request, *, anew: bool = False) -> None:
            if not self.orphan:
                job.check_send(call)
            super()._send(task, call, anew=anew)

    random.seed(job.schedule.seed)
    transport = partial(Watched, world, "coordinator:")
    with (
        patch.object(worker_loop, "Transport", transport), patch.object(retrying_sender, "Transport", transport), patch.object(reader, "_TICK_NS", 0),
        patch.object(doubts, "PART_MINIMUM", 0),
        patch.object(Operations, "settle", settle_and_tell), patch.object(JournalStore, "commit", commit_or_die), patch.object(JournalStore, "shrink", lambda _: None),
        patch.object(time, "time", world.wall), patch.object(time, "monotonic", world.clock),
        patch.object(time, "sleep", world.sleep), patch.object(store_clock, "_CLOCK", None),
        patch.object(os, "environ", {"HOME": "/nonexistent"}),
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
