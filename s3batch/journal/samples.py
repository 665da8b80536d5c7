"""The course of a job: a row now and then with how far it has come. ``journal.samples``.

A journal keeps a bounded number of rows. When there are too many, every second row of each job goes, and the job at
work takes rows half as often: the picture gets coarser, never shorter.
"""

from __future__ import annotations

from s3batch.base.named_tuple import NamedTuple
from s3batch.journal.current_job import CurrentJob
from s3batch.journal.database import Database
from s3batch.journal.transaction import Transaction

_THIN_OUT = """
DELETE FROM sample WHERE (job, at) IN (
    SELECT job, at FROM (
        SELECT job, at, row_number() OVER (PARTITION BY job ORDER BY at) AS number, count(*) OVER (PARTITION BY job) AS count
        FROM sample)
    WHERE number % 2 = 0 AND number < count)
"""
_FORGET_OLDEST = "DELETE FROM sample WHERE job = (SELECT min(job) FROM sample) AND job <> ?"


class Sample(NamedTuple):
    """How far a job had come at one moment. All counts begin at 0 with the job."""

    at: float
    """Seconds since the epoch."""
    operations: int
    """Settled operations."""
    bytes: int
    """Bytes of bodies on the wire."""
    requests: int
    failed: int


class Samples:
    """The samples of the job at work, and of others that are read."""

    def __init__(
        self, store: Database, transaction: Transaction, current: CurrentJob, *, most: int, every: float
    ) -> None:
        """``most`` rows are kept in all; one is taken ``every`` so many seconds at first."""
        self._store = store
        self._transaction = transaction
        self._current = current
        self._most = most
        self._every = every
        self._last = (0, 0.0)
        """The number of the job at work, and when its last sample was taken."""

    def take(self, now: float, operations: int, size: int, failed: int, *, last: bool = False) -> None:
        """Record how far the job at work has come, if it is time to, or if this is the ``last`` sample of a run."""
        number, taken = self._last
        if number == self._current.number and now - taken < self._every and not last:
            return
        self._last = (self._current.number, now)
        values = (self._current.number, now, operations, size, self._current.request_count, failed)
        with self._transaction.batch():
            self._store.execute("INSERT OR REPLACE INTO sample VALUES (?, ?, ?, ?, ?, ?)", values)
            if self._count() > self._most:
                self._thin_out()

    def read(self) -> list[Sample]:
        """Return the samples of the job at work, the oldest first."""
        found = self._store.rows(
            "SELECT at, operations, bytes, requests, failed FROM sample WHERE job = ? ORDER BY at",
            (self._current.number,),
        )
        return [Sample(*row) for row in found]

    def _count(self) -> int:
        return int(self._store.value("SELECT count(*) FROM sample"))

    def _thin_out(self) -> None:
        self._store.execute(_THIN_OUT)
        self._every *= 2
        while self._count() > self._most // 2 and self._store.execute(_FORGET_OLDEST, (self._current.number,)):
            pass  # many short jobs: each keeps its first and its last row, so whole jobs go
