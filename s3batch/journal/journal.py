"""The journal: every operation of a job, and how far each has come, in one SQLite file.

    pending --lease--> leased --settle--> done | failed | skipped
       ^                  |
       +------------------+      (a fault worth retrying, or the run that had it leased is dead)

Only the coordinator opens it to write, from one thread, so there is one writer and no waiting. A row moves
to ``done`` after S3 has answered and never before: a crash can repeat an operation, not lose one.
Operations are idempotent, so repeating costs time and nothing else. ``jobs list`` may read meanwhile.

Sizes are bytes, times are UTC seconds since the epoch. docs/journal.md describes the tables.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import accumulate
from types import TracebackType
from typing import Any, Self

from s3batch.errors import SettingsError
from s3batch.files import private
from s3batch.journal import doubts, uploads
from s3batch.journal.database import Database, bindable, open_read_only, open_store
from s3batch.journal.doubts import Doubt
from s3batch.journal.jobs import SIGN_OF_LIFE, Job, Jobs
from s3batch.journal.lock import JournalLock
from s3batch.journal.objects import Facts, Objects
from s3batch.journal.operations import Entry, Failure, Operations
from s3batch.journal.rehearsal import open_rehearsal
from s3batch.journal.uploads import UploadLeft
from s3batch.model import JobState, Kind, KnownObject, ListedObject, Operation, Part, Result, Stage, State

_TIMEOUT = 60.0
"""Seconds: the default of the setting."""
TAKEN_AT_ONCE = 20_000
"""Rows of dead jobs looked at in one transaction: some 0.1 s."""


class Journal:
    """One journal file. Every method that writes has committed when it returns, except inside :meth:`batch`.

    Any trouble with the file or its disk is a JournalError, and then nothing of the open transaction counts.
    """

    def __init__(self, store: Database, lock: JournalLock, stands_for: str = "") -> None:
        self._store = store
        self._lock = lock
        self._stands_for = stands_for
        """For a dry run: the name of the job's own journal. This one is temporary, in a directory of its own."""
        self._owns: Callable[[str], bool] = lambda _: True
        self._store_now: Callable[[], float] = lambda: 0.0
        self._depth = 0
        self._signed = time.monotonic()
        """When the job at work last gave a sign of life."""
        self._unheard: set[str] = set()
        """Keys to which requests of this job may still be under way that nobody waits for."""
        self._job: Job | None = None
        self._history: list[Job] | None = None
        self._jobs = Jobs(store)
        self._operations = Operations(store)
        self._objects = Objects(store)

    @classmethod
    def open(cls, path: str, *, create: bool = True, foreign: bool = False) -> Self:
        """Open the journal for work, creating it if needed; a damaged one is set aside and named.

        ``foreign``: another program may have written it, so its rows are checked.
        """
        lock = JournalLock(path)
        return cls(open_store(path, create=create, refuse_if_held=lock.refuse_if_held, foreign=foreign), lock)

    @classmethod
    def read_only(cls, path: str, *, foreign: bool = False) -> Self:
        """Open a journal to look at, also while its job runs; takes no lock. ``foreign``: see :meth:`open`."""
        return cls(open_read_only(path, foreign=foreign), JournalLock(path))

    @classmethod
    def rehearse(cls, path: str, *, foreign: bool = False) -> Self:
        """Open a temporary journal for a dry run of a job with the journal at ``path``, which is only read.

        JournalLockedError if a job is at work with it. ``foreign``: see :meth:`open`.
        """
        lock = JournalLock(path)
        lock.refuse_if_held()
        folder = private.make_temporary_directory()
        try:
            return cls(open_rehearsal(path, folder, foreign=foreign), lock, path)
        except BaseException:
            private.remove_tree(folder)
            raise

    def check_rows(self, admit: Callable[[Operation], Operation], owns: Callable[[str], bool]) -> None:
        """Have rows that were there before this run looked at, before anything is read or sent for them.

        ``admit`` gives the operation to carry out; a ValueError means that the journal is damaged. So does an upload
        of a key that the job does not own. Changed keys it does not own are passed over.
        """
        self._operations.admit = admit
        self._owns = owns

    @property
    def path(self) -> str:
        """The file's name as given; a dry run's journal tells that of the job's own."""
        return self._stands_for or self._store.path

    def heed(self, stopped: Callable[[], BaseException]) -> None:
        """Let a signal interrupt a long statement; ``stopped`` returns the exception of its handler."""
        self._store.heed(stopped)

    def lock(self) -> None:
        """Be the one coordinator of this journal until :meth:`close`; JournalLockedError names another."""
        self._lock.take()

    def holder(self) -> tuple[int, str] | None:
        """Return pid and host of the coordinator at work, if there is one."""
        return self._lock.holder()

    def close(self) -> None:
        """Close the file and let go of the lock."""
        try:
            self._store.close()
        finally:
            self._lock.release()
            if self._stands_for:
                private.remove_tree(os.path.dirname(self._store.path))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    @contextmanager
    def batch(self) -> Iterator[None]:
        """Commit once, at the end of the block (and where lease, settle or begin_upload do); undo it if it fails."""
        self._depth += 1
        try:
            yield
            if self._depth == 1:
                self.commit()
        except BaseException:
            self._store.rollback()
            raise
        finally:
            self._depth -= 1

    def commit(self) -> None:
        """Make everything so far lasting. Free when nothing was written."""
        if self._job is not None and not self._store.read_only:
            self._jobs.flush(self._job.number)
            if self._store.is_writing and time.monotonic() - self._signed > SIGN_OF_LIFE:
                self._sign()
        self._store.commit()

    def give_sign_of_life(self) -> None:
        """Record once a second that the job lives, also where nothing else is to be written."""
        if time.monotonic() - self._signed > SIGN_OF_LIFE:
            with self.batch():
                self._sign()

    def _sign(self) -> None:
        self._jobs.set_seen(self._current.number, self._store_now())
        self._signed = time.monotonic()

    # -- jobs

    @property
    def job_id(self) -> str:
        """The id of the job at work."""
        return self._current.id

    @property
    def job(self) -> Job:
        """The job at work, as it is now."""
        if not self._store.read_only:
            with self.batch():
                self._jobs.flush(self._current.number)
        return self._jobs.find(self._current.id)

    def begin_job(  # noqa: PLR0913 - the columns of a job
        self, command: str, source: str, target: str, endpoint: str, settings: dict[str, Any], version: str,
        *, continues: str = "", plan: str = "", deletes_anew: bool = False,
    ) -> str:  # fmt: skip
        """Begin a job and return its id. It supersedes unfinished ones to its target and takes over their work.

        Their uploads, facts and doubts always are. Pending operations of the newest one are taken over if ``plan``, the
        digest of source and settings that decide the plan, is the same. Without a plan, jobs of other sources stay.
        With ``deletes_anew`` no delete that a dead job had planned is believed. ``continues`` is the job that
        ``resume`` goes on with: SettingsError if a later one has superseded it.
        """
        with self.batch():
            dead = self._jobs.unfinished(command, target, endpoint, None if plan else source)
            if continues and continues not in {each.id for each in dead[-1:]}:
                raise SettingsError(f"nothing to resume: job {continues} is {self._jobs.find(continues).state}")
            taken = [each for each in dead[-1:] if plan and each.plan == plan and not self._stands_for]
            goes_on_deleting = bool(taken) and taken[0].stage == Stage.DELETE and not deletes_anew
            columns = {
                "command": command,
                "source": source,
                "target": target,
                "endpoint": endpoint,
                "settings": settings,
                "version": version,
                "continues": continues,
                "resumed": dead[-1].resumed + 1 if continues else 0,
                "plan": plan,
                "timeout": float(settings.get("timeout", _TIMEOUT)),
                "stage": Stage.DELETE if goes_on_deleting else Stage.MAIN,
            }
            job = self._jobs.begin(columns, self._operations.last, taken)
            self._jobs.supersede(dead)
            self._enter(job)
        return job.id

    def take_over(self, late: float = 0.0) -> Iterator[int]:
        """Take over the rows of dead jobs, some at a time: facts, doubts, operations to go on with.

        ``late``: see :meth:`learn`.
        Yields by how many operations the job has more to do. Until the end nothing can be decided on facts.
        """
        job = self._current
        unlearned = self._jobs.unlearned(job)
        if not unlearned:
            return
        dead, started = [each.number for each in unlearned], min(each.started for each in unlearned)
        start = self._operations.start_of({*dead, *job.takes})
        for first in range(start, job.after_operation, TAKEN_AT_ONCE):
            last = min(first + TAKEN_AT_ONCE, job.after_operation)
            with self.batch():
                self._objects.learn(dead, first, last, started, late)
                more = self._operations.take_over(dead, first, last, deletes=job.stage == Stage.DELETE)
                if job.takes:
                    self._objects.mark_planned(job.number, job.takes, first, last)
                self._jobs.count({}, {"left_open": more})
            yield more
        with self.batch():
            self._jobs.set_learned(dead)

    def is_taken(self, row: int) -> bool:
        """Return true for an operation that a dead job had planned."""
        return row <= self._current.after_operation

    def history(self) -> list[Job]:
        """Return the jobs that the one at work continues, the oldest first."""
        if self._history is None:
            self._history, at = [], self._current
            while at.continues and (before := self._jobs.with_id(at.continues)):
                self._history.insert(0, before)
                at = before
        return self._history

    def find(self, job_id: str) -> Job:
        """Return the job with this id, or whose id alone begins so. Raises SettingsError."""
        return self._jobs.find(job_id)

    def look_at(self, job_id: str) -> Job:
        """Choose the job that counts, failures and operations report, in any state; change nothing."""
        self._job, self._history = self._jobs.find(job_id), None
        self._operations.enter(self._job.number, self._job.after_operation, self._job.takes)
        return self._job

    def jobs(self) -> list[Job]:
        """Return every job, the newest first."""
        return self._jobs.all()

    def leaves_work(self, job: Job) -> bool:
        """Return whether there is something to resume: not if it failed before anything was planned."""
        return job.is_unfinished and not self._jobs.came_to_nothing(job)

    def forgettable(self, before: float | None = None) -> list[Job]:
        """Return the jobs that :meth:`prune` forgets, the newest first: finished ones that no unfinished one needs.

        ``before``: only those that ended before that time, in seconds since the epoch.
        """
        needed = self._jobs.needed()
        over = [job for job in self.jobs() if not self.leaves_work(job) and job.number not in needed]
        return [job for job in over if before is None or (job.seen if job.ended is None else job.ended) < before]

    def forget(self, job: Job) -> None:
        """Forget a job with all that it did and did not do."""
        with self.batch():
            self._operations.keep_last()
            self._jobs.forget(job)

    def set_state(self, state: JobState, exit_code: int | None = None) -> None:
        """Record how the job stands."""
        with self.batch():
            self._jobs.set_state(self._current.number, state, exit_code)

    def plan_complete(self) -> None:
        """Record that every operation has been added."""
        with self.batch():
            self._jobs.set_planned(self._current.number)

    def enter_stage(self, stage: int) -> None:
        """Record the stage at work."""
        with self.batch():
            self._jobs.set_stage(self._current.number, stage)

    def note_store_date(self, date: float, now: Callable[[], float]) -> None:
        """Record when the store first answered, by its own clock; ``now`` reads that clock, for signs of life."""
        self._store_now = now
        with self.batch():
            self._jobs.set_store_date(self._current.number, date)
            self._sign()

    def add_tally(
        self,
        *,
        files: int = 0,
        bytes: int = 0,  # noqa: A002 - the name in the report
        unchanged: int = 0,
        requests: Mapping[str, int] | None = None,
        retries: int = 0,
    ) -> None:
        """Add to the job's totals; they are written with the next commit."""
        self._jobs.count(requests or {}, {"files": files, "bytes": bytes, "unchanged": unchanged, "retries": retries})

    def warn(self, text: str) -> None:
        """Keep a warning for the report. An equal text is kept once."""
        with self.batch():
            self._jobs.warn(self._current.number, text)

    # -- operations

    def add(self, operations: list[Operation], *, lease: bool = False) -> list[Operation]:
        """Add operations and return them numbered; ``lease`` leases them at once."""
        with self.batch():
            self._jobs.count({}, {"left_open": len(operations)})
            return self._operations.add(operations, State.LEASED if lease else State.PENDING)

    def replan(self, operation: Operation) -> None:
        """Have a pending row be about its file as ``operation`` has it: the file changed while it was read."""
        with self.batch():
            self._unheard.discard(operation.key)
            self._operations.replan(operation)

    def restamp(self, operation: Operation) -> None:
        """Have a row be about another state of its file, of the same size: no part of its upload counts as sent."""
        with self.batch():
            self._unheard.discard(operation.key)
            uploads.restamp(self._store, operation)

    def lease(self, limit: int, stage: int) -> list[Operation]:
        """Hand out up to ``limit`` pending operations of a stage, each once until :meth:`rewind`."""
        with self.batch():
            leased = self._operations.lease(limit, stage)
        self.commit()
        return leased

    def lease_rows(self, ids: Sequence[int]) -> list[Operation]:
        """Hand out those of these operations that are pending: retries that are due."""
        with self.batch():
            leased = self._operations.lease_rows(ids)
        self.commit()
        return leased

    def rewind(self) -> None:
        """Let :meth:`lease` begin at the first operation again."""
        self._operations.rewind()

    def settle(self, outcomes: Iterable[tuple[State, Result]]) -> None:
        """Record outcomes in one transaction: about 4 us a row, where one each costs 240."""
        settled = list(outcomes)
        with self.batch():
            before = [job.number for job in self.history()]
            found_unchanged, closed = self._operations.settle(settled, before)
            self._jobs.count({}, {"found_unchanged": found_unchanged, "left_open": -closed})
        self.commit()

    def put_back(self, ids: Sequence[int]) -> None:
        """Release operations that were leased and never begun; :meth:`lease` returns them again."""
        with self.batch():
            self._operations.put_back(ids)

    def release(self) -> int:
        """Release leased operations at the end of a run, to be checked before a retry; return how many."""
        with self.batch():
            self._sign()
            return self._operations.release()

    def counts(self) -> dict[Kind, dict[str, int]]:
        """Return planned, done, failed, skipped and bytes for each kind; of RECONCILE without unchanged ones."""
        return self._operations.counts()

    def counts_before(self) -> dict[Kind, dict[str, int]]:
        """Return the same counts for the jobs that this one continues."""
        return self._operations.done_by([job.number for job in self.history()])

    def tallies(self) -> Mapping[int, Mapping[str, int]]:
        """Return how many operations of every job, by its number, are in each state; a job without any is empty."""
        return self._operations.tallies()

    def open_count(self, stage: int | None = None) -> int:
        """Return how many operations are pending or leased. Reads every row unless nothing was written meanwhile."""
        return self._operations.open_count(stage)

    def failed_count(self, max_stage: int) -> int:
        """Return how many operations of the stages up to this one failed."""
        return self._operations.failed_count(max_stage)

    def failures(self, limit: int | None = None) -> Iterator[Failure]:
        """Yield the failed operations."""
        return self._operations.failures(limit)

    def operations(self, state: State | None = None) -> Iterator[Entry]:
        """Yield all operations, or those in one state."""
        return self._operations.entries(state)

    def last_change(self, after: int) -> int:
        """Return the highest row above ``after`` with which a sync, this one or an earlier, changed the target; else 0.

        ``after`` is an earlier answer, or :attr:`Job.after_operation`: rows are numbered over all jobs.
        """
        return self._operations.last_change(after, *self._target)

    def changed_keys(self, after: int) -> Iterator[str]:
        """Yield the keys of all such rows."""
        return filter(self._owns, self._operations.changed_keys(after, *self._target))

    # -- multipart uploads

    def begin_upload(self, operation_id: int, upload_id: str, parts: list[Part], fingerprint: str = "") -> None:
        """Record an upload before its first part is sent. ``fingerprint`` is of the attributes it was begun with."""
        with self.batch():
            uploads.begin(self._store, operation_id, upload_id, parts, fingerprint)
        self.commit()

    def parts(self, operation_id: int) -> list[Part]:
        """Return the parts of an operation's upload by their number. They are all of its file, and no more."""
        found = uploads.parts_of(self._store, operation_id)
        ends = list(accumulate((part.size for part in found), initial=0))
        whole = [(number, end) for number, end in enumerate(ends[:-1], 1)] == [
            (part.number, part.offset) for part in found
        ]
        if found and not (whole and ends[-1] == uploads.size_of(self._store, operation_id)):
            self._store.refuse(f"the parts of operation {operation_id} do not make one file")
        return found

    def forget_upload(self, operation_id: int) -> None:
        """Forget an upload that was aborted, or that S3 does not know any more."""
        with self.batch():
            uploads.forget(self._store, operation_id)

    def adoptable(self, key: str, size: int, fingerprint: str = "") -> tuple[str, list[Part]] | None:
        """Return id and parts of an upload that a dead job left of a file of this size with the same attributes."""
        found = uploads.adoptable(self._store, self._target, key, size, fingerprint)
        return found and (found[1], uploads.parts_of(self._store, found[0]))

    def adopt(self, operation_id: int, key: str, upload_id: str) -> list[Part]:
        """Make a dead job's upload this operation's; return its parts, now of this operation.

        Parts that were sent of another state of the file are pending: they count once they have been compared.
        """
        with self.batch():
            uploads.adopt(self._store, operation_id, upload_id, key)
        self.commit()
        return self.parts(operation_id)

    def uploads_left(self, of_dead_jobs_only: bool) -> list[UploadLeft]:
        """Return uploads neither completed nor aborted: to the job's own target and endpoint, without a job to any.

        Those of a dead job; if not ``of_dead_jobs_only`` all others too.
        """
        of = None if self._job is None else self._target
        found = uploads.left(self._store, of, of_dead_jobs_only=of_dead_jobs_only)
        for left in found:
            if not self._owns(left.key):
                self._store.refuse(f"it has a multipart upload of {left.key!r}, which is not below its target")
        return found

    # -- late requests of dead runs -------

    def shrink(self) -> None:
        """Give back memory that is quicker to fill again than to keep."""
        self._store.shrink()

    def doubts(self) -> list[Doubt]:
        """Return the keys that dead runs were working on, until both questions about them are answered."""
        found = doubts.all_of(self._store)
        for doubt in found:
            if not self._owns(doubt.key):
                self._store.refuse(f"it has a doubtful request for {doubt.key!r}, which is not below its target")
        return found

    def doubt_upload(self, operation: Operation) -> None:
        """Note that S3 may have begun an upload for this operation without a recorded id: it is to be aborted."""
        with self.batch():
            self._sign()
            self._unheard.add(operation.key)
            doubts.note_upload(self._store, self._current.number, operation.key, operation.path)

    def doubt_lost(self, lost: Sequence[tuple[int, str]]) -> None:
        """Note that requests for these rows and keys may still land: their worker died."""
        with self.batch():
            self._sign()
            self._unheard.update(key for _, key in lost)
            doubts.note_lost(self._store, self._current.number, [row for row, _ in lost])

    def is_left_to_next(self, doubt: Doubt) -> bool:
        """Return true if what may land is what this job sends: it matters to the next job only.

        So it is where a worker of this job died, and the file has not changed since.
        """
        return doubt.key in self._unheard

    def doubts_looked_at(self, keys: Iterable[str]) -> None:
        """Record that these keys are as they should be, and that nothing is under way to them any more."""
        with self.batch():
            doubts.looked_at(self._store, keys)

    def doubtful_uploads_aborted(self, keys: Iterable[str]) -> None:
        """Record that no upload of these keys is left that a dead run began."""
        with self.batch():
            doubts.uploads_aborted(self._store, keys)

    # -- the listing, and facts

    def begin_listing(self) -> int:
        """Begin a listing; nothing counts as listed or seen any more. Return its generation."""
        with self.batch():
            return self._objects.begin_listing()

    def record_listing(self, objects: list[ListedObject]) -> None:
        """Record a page of the listing."""
        with self.batch():
            self._objects.record(objects)

    def listing_complete(self) -> None:
        """Record that the listing has reached its end."""
        with self.batch():
            self._objects.complete_listing()

    @property
    def listing_is_complete(self) -> bool:
        """True if the last listing begun has reached its end."""
        return self._objects.listing_is_complete()

    def look_up(self, keys: Sequence[str]) -> dict[str, Facts]:
        """Return for every key its row in the listing and the facts of the last own write, or ``None``."""
        return self._objects.look_up(keys)

    def mark_seen(self, keys: Sequence[str]) -> None:
        """Note that the source has a file for these keys: they are no orphans."""
        with self.batch():
            self._objects.mark_seen(keys)

    def keep(self, keys: Iterable[str]) -> None:
        """Note keys at or below which nothing may be deleted. They are this run's own, in a temporary table."""
        with self.batch():
            self._objects.keep(keys)

    def kept_at_or_above(self, keys: Sequence[str]) -> set[str]:
        """Return those of the kept keys that are one of these, or a directory of one."""
        return self._objects.kept_at_or_above(keys)

    def orphans(self, prefix: str) -> Iterator[list[ListedObject]]:
        """Yield, a page at a time by key, the listed objects below ``prefix`` that were not marked as seen."""
        return self._objects.orphans(prefix)

    def count_listed(self) -> int:
        """Return how many objects the listing holds so far."""
        return self._objects.count_listed()

    def has_listed_below(self, prefix: str) -> bool:
        """Return true if the listing shows an object whose key begins with ``prefix``."""
        return self._objects.has_listed_below(prefix)

    def count_orphans(self, prefix: str) -> int:
        """Return how many objects :meth:`orphans` would yield."""
        return self._objects.count_orphans(prefix)

    def learn(self, late: float = 0.0) -> None:
        """Turn what this job has done into facts about the target. Doing it again changes nothing.

        ``late``: seconds by which LastModified of a write may be later than the Date of its response.
        """
        job, floor, last = self._current, self._operations.floor, self._operations.last
        for first in range(floor, last, TAKEN_AT_ONCE):  # a signal may end it between two
            with self.batch():
                self._objects.learn([job.number], first, min(first + TAKEN_AT_ONCE, last), job.started, late)
        with self.batch():
            self._jobs.set_learned([self._current.number])

    def planned_before(self, keys: Sequence[str]) -> set[str]:
        """Return those keys that the job had an operation for when it began, after :meth:`take_over`."""
        job = self._current
        return self._objects.planned(keys, job.number) if job.takes else set()

    def done_before(self, keys: Sequence[str]) -> set[str]:
        """Return those keys that a job wrote last which this one continues."""
        jobs = [job.number for job in self.history()] if keys and self._current.continues else []
        return self._objects.written_by(keys, jobs) if jobs else set()

    def take_facts(self, facts: Sequence[tuple[str, KnownObject]]) -> None:
        """Take over another journal's facts about objects that are listed unchanged and unknown to this one."""
        with self.batch():
            self._objects.take(facts)

    def facts(self, prefix: str) -> Iterator[list[tuple[str, KnownObject]]]:
        """Yield the facts of the objects below ``prefix``, a page at a time by key, after :meth:`learn`."""
        return self._objects.current(prefix, self._current.number)

    # -- the rest

    def remember(self, name: str, value: Any) -> None:
        """Keep a fact about the endpoint."""
        with self.batch():
            self._store.execute(
                "INSERT OR REPLACE INTO remembered VALUES (?, CAST(? AS TEXT))",
                (f"endpoint {name}", bindable(json.dumps(value))),
            )

    def recall(self, name: str) -> Any:
        """Return the fact kept under this name, or ``None``."""
        text = self._store.value("SELECT value FROM remembered WHERE name = ?", (f"endpoint {name}",))
        try:
            return None if text is None else json.loads(text)
        except (ValueError, RecursionError):
            self._store.refuse(f"its entry {name!r} cannot be read")

    def prune(self, keep: int = 0, before: float | None = None) -> int:
        """Delete the :meth:`forgettable` jobs except the newest ``keep``, and free the space; return how many.

        A job with a multipart upload that was not aborted stays, so that it is not lost from sight.
        """
        busy = {left.job_id for left in uploads.left(self._store, None, of_dead_jobs_only=False)}
        forgotten = [job for job in self.forgettable(before)[keep:] if job.id not in busy]
        with self.batch():
            for job in forgotten:
                self.forget(job)
            self._objects.prune()
        self._store.vacuum()
        return len(forgotten)

    @property
    def _current(self) -> Job:
        if self._job is None:
            raise RuntimeError("no job: call begin_job first")
        return self._job

    @property
    def _target(self) -> tuple[str, str]:
        return self._current.target, self._current.endpoint

    def _enter(self, job: Job) -> None:
        self._job, self._history, self._unheard = job, None, set()
        self._operations.enter(job.number, job.after_operation, job.takes)
        self._objects.claim(f"{job.endpoint} {job.target}")
