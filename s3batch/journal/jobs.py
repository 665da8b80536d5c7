"""Jobs: begun, continued, reported, forgotten. ``journal.jobs``.

    planning --> running --> done
                    |------> failed, interrupted, or killed --a later job to the same target--> superseded

A job runs once. A later job to the same target begins with what an unfinished one has left; one that ``resume``
began says so in ``continues``. Totals are counted in memory and written with the next commit.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from s3batch.base.errors import SettingsError
from s3batch.journal.current_job import CurrentJob
from s3batch.journal.database import Database, make_bindable
from s3batch.journal.facts import ObjectFacts
from s3batch.journal.job_table import Job, JobTable
from s3batch.journal.objects import Objects
from s3batch.journal.operations import Operations
from s3batch.journal.row_spans import find_row_spans
from s3batch.journal.transaction import Transaction
from s3batch.journal.uploads import find_uploads_left
from s3batch.model import JobState, Stage
from s3batch.settings.direction import format_place

_TIMEOUT = 60.0
"""Seconds: the default of the setting."""


class Jobs:
    """The jobs of a journal, and the one at work. Every method that writes commits, unless a batch is open."""

    def __init__(  # noqa: PLR0913 - the parts of a journal
        self, store: Database, transaction: Transaction, current: CurrentJob, table: JobTable,
        operations: Operations, objects: Objects, facts: ObjectFacts, *, is_rehearsal: bool, at_once: int,
    ) -> None:  # fmt: skip
        """``at_once``: see :attr:`JournalLimits.taken_at_once`."""
        self._store = store
        self._at_once = at_once
        self._transaction = transaction
        self._table = table
        self._current = current
        self._operations = operations
        self._objects = objects
        self._facts = facts
        self._is_rehearsal = is_rehearsal
        self._heard: Callable[[str], None] = lambda _: None
        self.has_superseded = False
        """True if the job at work has superseded an unfinished one, so that only it knows what that one left."""

    # -- the job at work

    def listen(self, heard: Callable[[str], None]) -> None:
        """Pass each warning to ``heard`` at once, also one that is kept already."""
        self._heard = heard

    @property
    def current_id(self) -> str:
        """The id of the job at work."""
        return self._current.job.id

    @property
    def current(self) -> Job:
        """The job at work, as it is now."""
        if not self._store.read_only:
            with self._transaction.batch():
                self._current.flush()
        return self._table.find(self._current.job.id)

    def begin(  # noqa: PLR0913 - the columns of a job
        self, command: str, source: str, target: str, endpoint: str, settings: dict[str, Any], version: str,
        *, continues: str = "", plan: str = "", deletes_anew: bool = False, facts_of: str = "",
    ) -> str:  # fmt: skip
        """Begin a job and return its id. It supersedes unfinished ones to its target and takes over their work.

        Their uploads, facts and doubts always are. Pending operations of the newest one are taken over if ``plan``, the
        digest of source and settings that decide the plan, is the same. Without a plan, jobs of other sources stay.
        With ``deletes_anew`` no delete that a dead job had planned is believed. ``continues`` is the job that
        ``resume`` goes on with: SettingsError if a later one has superseded it. ``facts_of`` names what the facts about
        objects are of, where that is not the target: facts of anything else are forgotten.
        """
        with self._transaction.batch():
            dead = self._table.find_unfinished(command, target, endpoint, None if plan else source)
            if continues and continues not in {each.id for each in dead[-1:]}:
                left = self._table.find(continues)
                why = (
                    f"was begun at {format_place(left.target)}, not at {format_place(target)}"
                    if left.target != target
                    else f"is {left.state}"
                )
                raise SettingsError(f"nothing to resume: job {continues} {why}")
            taken = [each for each in dead[-1:] if plan and each.plan == plan and not self._is_rehearsal]
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
            job = self._table.insert(columns, self._operations.last, taken)
            self.has_superseded = bool(dead)
            # when and how they ended stays as it was
            self._store.execute_many(
                "UPDATE job SET state = 'superseded' WHERE number = ?", [(each.number,) for each in dead]
            )
            self._enter(job)
            self._objects.claim(f"{job.endpoint} {facts_of or job.target}")
        return job.id

    def select(self, job_id: str) -> Job:
        """Choose the job that counts, failures and operations report, in any state; change nothing."""
        self._enter(self._table.find(job_id))
        return self._current.job

    def take_over(self, late: float = 0.0) -> Iterator[int]:
        """Take over the rows of dead jobs, some at a time: facts, doubts, operations to go on with.

        ``late``: see :meth:`learn_facts`. Where nothing is planned anew, no operation is closed.
        Yields by how many operations the job has more to do. Until the end nothing can be decided on facts.
        """
        job = self._current.job
        deletes = job.is_planned_once or job.stage == Stage.DELETE
        unlearned = self._table.find_unlearned(job)
        if not unlearned:
            return
        dead, started = [each.number for each in unlearned], min(each.started for each in unlearned)
        equal = [each.number for each in unlearned if _have_equal_facts(each, job)]
        # rows that a dead job had taken of its predecessors lie below its own
        owners = {number for each in unlearned for number in (each.number, *each.takes)}
        start = self._table.find_start({*owners, *job.takes})
        for first, last in find_row_spans(self._store, start, job.after_operation, self._at_once):
            with self._transaction.batch():
                self._facts.learn(equal, first, last, started, late)
                more = self._operations.take_over(dead, first, last, deletes=deletes, closes=not job.is_planned_once)
                if job.takes:
                    self._objects.mark_planned(job.number, job.takes, max(first, self._current.floor), last)
                self._current.count({}, {"left_open": more})
            yield more
        self._set_learned(dead)

    def learn_facts(self, late: float = 0.0) -> None:
        """Turn what this job has done into facts about the target, after its last operation: none is left to take over.

        Failures are, where nothing plans them anew.
        ``late``: seconds by which LastModified of a write may be later than the Date of its response.
        """
        self.learn_facts_so_far(late)
        if not (self._current.job.is_planned_once and self._operations.have_failed()):
            self._set_learned([self._current.job.number])

    def learn_facts_so_far(self, late: float = 0.0) -> None:
        """Turn what this job has done by now into facts, with operations still to come. Doing it again changes nothing.

        ``late``: see :meth:`learn_facts`.
        """
        job, spans = self._current.job, (self._current.floor, self._operations.last, self._at_once)
        for first, last in find_row_spans(self._store, *spans):  # a signal may end it between two
            with self._transaction.batch():
                if first + 1 < self._operations.deletes_from:
                    self._facts.learn([job.number], first, last, job.started, late)
                else:
                    self._facts.forget_deleted([job.number], first, last)

    def set_state(self, state: JobState, exit_code: int | None = None) -> None:
        """Record how the job stands, and the time where it is a state that ends a run."""
        ended = None if state in {JobState.PLANNING, JobState.RUNNING} else time.time()
        self._update_job("state = ?, ended = ?, exit_code = ?", state.value, ended, exit_code)

    def supersede(self, job_id: str) -> None:
        """Record that a newer run has begun elsewhere, so that nothing is to be resumed of an unfinished job."""
        with self._transaction.batch():
            self._store.execute("UPDATE job SET state = 'superseded' WHERE id = ?", (self._table.find(job_id).id,))

    def set_planned(self) -> None:
        """Record that every operation has been added."""
        self._update_job("planned = 1")

    def set_stage(self, stage: int) -> None:
        """Record the stage at work."""
        self._update_job("stage = ?", stage)

    def note_store_date(self, date: float, now: Callable[[], float]) -> None:
        """Record when the store first answered this job or one that it goes on with, by the store's clock.

        ``now`` reads that clock, for signs of life.
        """
        self._current.use_clock(now)
        number = self._current.job.number
        with self._transaction.batch():
            self._store.execute("UPDATE job SET store_date = ? WHERE number = ? AND store_date = 0", (date, number))
            self._current.sign()

    def give_sign_of_life(self) -> None:
        """Record once a second that the job lives, also where nothing else is to be written."""
        if self._current.is_sign_due:
            with self._transaction.batch():
                self._current.sign()

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
        self._current.count(
            requests or {}, {"files": files, "bytes": bytes, "unchanged": unchanged, "retries": retries}
        )

    def note_found_unchanged(self, count: int) -> None:
        """Count files that workers have found equal to their objects; written with the next commit."""
        self._current.count({}, {"found_unchanged": count})

    def warn(self, text: str) -> None:
        """Keep a warning for the report. An equal text is kept once."""
        self._heard(text)
        number = self._current.job.number
        with self._transaction.batch():
            self._store.execute(
                "INSERT OR IGNORE INTO warning (job, text) VALUES (?, CAST(? AS TEXT))", (number, make_bindable(text))
            )

    # -- all jobs

    def list_all(self) -> list[Job]:
        """Return every job, the newest first."""
        return self._table.list_all()

    def list_continued(self) -> list[Job]:
        """Return the jobs that the one at work continues, the oldest first."""
        return self._current.list_continued()

    def list_chain(self, job_id: str) -> list[Job]:
        """Return a job and those it continues, the oldest first. Raises SettingsError if one of them was forgotten."""
        job = self._table.find(job_id)
        chain = [*self._table.list_continued(job), job]
        if forgotten := chain[0].continues:
            raise SettingsError(f"job {job.id} goes on with job {forgotten}, which this journal does not have any more")
        return chain

    def find(self, job_id: str) -> Job:
        """Return the job with this id, or whose id alone begins so. Raises SettingsError."""
        return self._table.find(job_id)

    def leaves_work(self, job: Job) -> bool:
        """Return whether there is something to resume: not if it failed before anything was planned."""
        return job.is_unfinished and not self._table.came_to_nothing(job)

    def list_forgettable(self, before: float | None = None) -> list[Job]:
        """Return the jobs that :meth:`prune` forgets, the newest first: finished ones that no unfinished one needs.

        ``before``: only those that ended before that time, in seconds since the epoch.
        """
        needed = self._table.find_needed()
        over = [job for job in self.list_all() if not self.leaves_work(job) and job.number not in needed]
        return [job for job in over if before is None or (job.seen if job.ended is None else job.ended) < before]

    def forget(self, job: Job) -> None:
        """Forget a job with its operations, parts and warnings."""
        rows = (job.number,)
        with self._transaction.batch():
            self._operations.keep_last()
            self._store.execute("DELETE FROM part WHERE operation IN (SELECT id FROM operation WHERE job = ?)", rows)
            for table in ("operation", "warning", "sample", "ending"):
                self._store.execute(f"DELETE FROM {table} WHERE job = ?", rows)  # noqa: S608 - constants
            self._store.execute("DELETE FROM job WHERE number = ?", rows)

    def prune(self, keep: int = 0, before: float | None = None) -> int:
        """Delete the :meth:`list_forgettable` jobs except the newest ``keep``, and free the space; return how many.

        A job with a multipart upload that was not aborted stays, so that it is not lost from sight.
        """
        busy = {left.job_id for left in find_uploads_left(self._store, None, of_dead_jobs_only=False)}
        forgotten = [job for job in self.list_forgettable(before)[keep:] if job.id not in busy]
        with self._transaction.batch():
            for job in forgotten:
                self.forget(job)
            self._objects.prune()
        self._store.vacuum()
        return len(forgotten)

    def _enter(self, job: Job) -> None:
        self._current.enter(job)
        self._operations.rewind()

    def _update_job(self, columns: str, *values: Any) -> None:
        """Set columns of the job at work."""
        number = self._current.job.number
        with self._transaction.batch():
            self._store.execute(f"UPDATE job SET {columns} WHERE number = ?", (*values, number))  # noqa: S608 - constants

    def _set_learned(self, numbers: Iterable[int]) -> None:
        """Record that the results of these jobs are facts now, and that none of their operations is leased."""
        with self._transaction.batch():
            self._store.execute_many("UPDATE job SET learned = 1 WHERE number = ?", [(number,) for number in numbers])


def _have_equal_facts(dead: Job, job: Job) -> bool:
    """Return whether what a dead job did is a fact for this one: a file fetched without its mode may have another."""
    return not os.path.isabs(job.target) or dead.settings.get("preserve", []) == job.settings.get("preserve", [])
