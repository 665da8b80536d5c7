"""What a report shows of the operations of a job and of those it continues. ``journal.statistics``.

Rows are read page by page, and counts are made by SQLite: a report of a million operations needs no more memory than
one of a hundred.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from s3batch.base.named_tuple import NamedTuple
from s3batch.journal import rows
from s3batch.journal.current_job import CurrentJob
from s3batch.journal.database import Database, Row
from s3batch.journal.settling import UNCHANGED
from s3batch.model import Kind, State

_COLUMNS = "kind, key, path, state, reason, size, bytes, seconds, attempts, code, status, error, request_id"
_WORDS = {(kind.value, state.value) for kind in Kind for state in State}
_SLOWEST = "state = 'done' AND seconds > 0"


class OperationRow(NamedTuple):
    """A row of the operations, as a report lists it."""

    job: str
    """The id of the job that planned it."""
    operation: str
    key: str
    path: str
    state: str
    reason: str
    size: int
    bytes: int
    """Bytes of content that travelled, over all attempts."""
    seconds: float
    attempts: int
    code: str
    status: int
    error: str
    request_id: str


_SECONDS = OperationRow._fields.index("seconds")


class Statistics:
    """Reads the operations of the job at work and of the jobs it continues. Writes nothing."""

    def __init__(self, store: Database, current: CurrentJob, page: int) -> None:
        """``page``: see :attr:`JournalLimits.page`."""
        self._store = store
        self._current = current
        self._page = page

    def read_rows(self, condition: str = "1") -> Iterator[OperationRow]:
        """Yield the operations for which an SQL ``condition`` holds, in the order they were planned.

        Files that a worker compared and found unchanged are left out. Of the jobs before, only what is done counts.
        """
        names, selected = self._select_jobs()
        after = self._current.find_floor()
        while True:
            page = self._store.rows(
                f"SELECT id, job, {_COLUMNS} FROM operation WHERE id > ? AND {selected} AND ({condition}) "  # noqa: S608 - constants
                "ORDER BY id LIMIT ?",
                (after, self._page),
            )
            if not page:
                return
            yield from rows.convert_rows(
                self._store, _decode_operation_rows, [(names[row[1]], *row[2:]) for row in page]
            )
            after = page[-1][0]

    def find_slowest(self, limit: int) -> list[OperationRow]:
        """Return the operations that took longest, the slowest first."""
        names, selected = self._select_jobs()
        found = self._store.rows(
            f"SELECT job, {_COLUMNS} FROM operation WHERE {selected} AND {_SLOWEST} ORDER BY seconds DESC, id LIMIT ?",  # noqa: S608
            (limit,),
        )
        return rows.convert_rows(self._store, _decode_operation_rows, [(names[job], *row) for job, *row in found])

    def count_durations(self) -> dict[int, int]:
        """Count done operations by duration: the number whose milliseconds have ``n`` binary digits, for each ``n``."""
        return self._count_digits("CAST(seconds * 1000 AS INTEGER)", _SLOWEST)

    def count_sizes(self) -> dict[int, int]:
        """Count done uploads and the like by size: the number whose size has ``n`` binary digits, for each ``n``."""
        return self._count_digits("size", "state = 'done' AND kind NOT IN ('delete', 'redirect', 'copy')")

    def _count_digits(self, amount: str, condition: str) -> dict[int, int]:
        _, selected = self._select_jobs()
        digits = " ".join(f"WHEN {amount} < {1 << number} THEN {number}" for number in range(50))
        found = self._store.rows(
            f"SELECT CASE {digits} ELSE 50 END AS digits, count(*) FROM operation WHERE {selected} AND {condition} "  # noqa: S608
            "GROUP BY digits ORDER BY digits"
        )
        return dict(found)

    def _select_jobs(self) -> tuple[dict[int, str], str]:
        """Return the ids of the jobs by number, and SQL that is true of their rows."""
        job, before = self._current, self._current.list_continued()
        names = {each.number: each.id for each in before} | dict.fromkeys(
            job.job.takes, job.job.continues or job.job.id
        )
        names[job.number] = job.job.id
        marks = ", ".join(str(each.number) for each in before)
        done = f"OR (job IN ({marks}) AND state = 'done')" if marks else ""
        return names, f"(+job = {job.number} {job.open_too} {done}) AND NOT ({UNCHANGED})"


def _decode_operation_rows(page: Sequence[Row]) -> list[OperationRow]:
    """Return the rows of a page. Raises ValueError for a row that s3batch does not write."""
    strange = {row[1:6:3] for row in page} - _WORDS or {row[5] for row in page} - set(rows.REASON_OF)
    if strange:
        raise ValueError(f"{min(strange)!r}")
    for row in page:
        rows.require_possible_seconds(row[_SECONDS])
    return list(map(OperationRow._make, page))
