"""The job at work: which rows are its own, its totals since the last commit, its signs of life."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Mapping

from s3batch.journal.database import Database
from s3batch.journal.job_table import Job, JobTable

_TOTALS = ("files", "bytes", "unchanged", "found_unchanged", "retries", "left_open")
_ADD_TOTALS = f"UPDATE job SET {', '.join(f'{name} = {name} + ?' for name in _TOTALS)} WHERE number = ?"  # noqa: S608
SIGN_OF_LIFE = 1.0
"""Seconds: how often a job at work says that it lives."""


class CurrentJob:
    """The job whose work the journal records or reports. Nothing here commits."""

    def __init__(self, store: Database, table: JobTable) -> None:
        self._store = store
        self._table = table
        self._job: Job | None = None
        self._continued: list[Job] | None = None
        self._signed = time.monotonic()
        """When the job last gave a sign of life."""
        self._store_now: Callable[[], float] = lambda: 0.0
        self._totals: Counter[str] = Counter()
        self._requests: Counter[str] = Counter()
        self.request_count = 0
        """The requests that this run has made so far."""
        self.unheard: set[str] = set()
        """Keys to which requests of this job may still be under way that nobody waits for."""
        self.number = 0
        self.after = 0
        """All rows that the job planned are above it."""
        self.floor = 0
        """All rows of the job and of those it takes are above it."""
        self.numbers = "0"
        """Numbers of the job and of those it takes, for SQL."""
        self.open_too = ""
        """SQL that adds the open rows of the jobs it takes."""

    def enter(self, job: Job) -> None:
        """Make this the job at work."""
        self._job, self._continued, self.unheard = job, None, set()
        self.number, self.after = job.number, job.after_operation
        self.numbers = ", ".join(map(str, (job.number, *job.takes)))
        self.floor = self._table.find_start(job.takes) if job.takes else job.after_operation
        taken = ", ".join(map(str, job.takes))
        self.open_too = f"OR (job IN ({taken}) AND state IN ('pending', 'leased'))" if taken else ""

    @property
    def is_set(self) -> bool:
        """True if there is a job at work."""
        return self._job is not None

    @property
    def job(self) -> Job:
        """The job as it was when it became the job at work."""
        if self._job is None:
            raise RuntimeError("no job: call begin first")
        return self._job

    @property
    def target(self) -> tuple[str, str]:
        """Target and endpoint of the job."""
        return self.job.target, self.job.endpoint

    def list_continued(self) -> list[Job]:
        """Return the jobs that this one continues, the oldest first."""
        if self._continued is None:
            self._continued = self._table.list_continued(self.job)
        return self._continued

    def find_floor(self) -> int:
        """Return the number that all rows of the job, and of those that it continues, are above.

        A job owns what it has leased of the rows of an earlier one.
        """
        jobs = (self.job, *self.list_continued())
        return self._table.find_start({number for each in jobs for number in (each.number, *each.takes)})

    def count(self, requests: Mapping[str, int], totals: Mapping[str, int]) -> None:
        """Add to the totals; :meth:`flush` writes them."""
        self._totals.update(totals)
        if requests:
            self._requests.update(requests)
            self.request_count += sum(requests.values())

    def flush(self) -> None:
        """Write the totals counted since the last time."""
        if self._requests:
            known = json.loads(self._store.value("SELECT requests FROM job WHERE number = ?", (self.number,)))
            requests = json.dumps(dict(Counter(known) + self._requests))
            self._store.execute("UPDATE job SET requests = ? WHERE number = ?", (requests, self.number))
            self._requests.clear()
        if any(self._totals.values()):
            self._store.execute(_ADD_TOTALS, [*map(self._totals.__getitem__, _TOTALS), self.number])
            self._totals.clear()

    def complete_commit(self) -> None:
        """Write what belongs to every commit of a job: its totals and, once a second, a sign of life."""
        if self._job is None or self._store.read_only:
            return
        self.flush()
        if self._store.is_writing and self.is_sign_due:
            self.sign()

    @property
    def is_sign_due(self) -> bool:
        """True if the last sign of life is older than a second."""
        return time.monotonic() - self._signed > SIGN_OF_LIFE

    def use_clock(self, store_now: Callable[[], float]) -> None:
        """Read the store's clock with ``store_now``, for signs of life."""
        self._store_now = store_now

    def sign(self) -> None:
        """Record a sign of life, by this machine's clock and by the store's; 0: not known."""
        self._store.execute(
            "UPDATE job SET seen = ?, seen_there = max(seen_there, ?) WHERE number = ?",
            (time.time(), self._store_now(), self.job.number),
        )
        self._signed = time.monotonic()
