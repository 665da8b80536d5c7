"""What became of operations: counts, failures, rows, changed keys. ``journal.outcomes``."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from s3batch.base.named_tuple import NamedTuple
from s3batch.journal import rows
from s3batch.journal.current_job import CurrentJob
from s3batch.journal.database import Database, Row, make_bindable
from s3batch.journal.limits import JournalLimits
from s3batch.journal.operations import STAGES
from s3batch.journal.row_spans import find_row_spans
from s3batch.journal.settling import UNCHANGED
from s3batch.model import Kind, Operation, State

_IS_TOLD = "instr(detail, ':') BETWEEN 1 AND instr(detail, ' ')"
_IS_COPY = "detail = 'copied ' || etag"
_PROOF = f"""CASE WHEN kind = 'download' THEN fingerprint
    WHEN {_IS_TOLD} THEN substr(detail, instr(detail, ':') + 1, instr(detail, ' ') - instr(detail, ':') - 1)
    WHEN instr(etag, '-') THEN 'parts' ELSE 'etag' END"""
"""The proof of a transfer is in the text of its spec, before the blank: ``copied:size ETAG``. A plain copy has the ETag there."""
_COUNT = "SELECT kind, state, count(*), sum(CASE kind WHEN 'chunk' THEN bytes ELSE size END) FROM operation"
_AMONG = "id > ? AND id <= ?"
_CHANGE = """
id > ? AND state = 'done' AND kind IN ('upload', 'transfer', 'copy', 'redirect', 'delete', 'restore') AND job IN (
    SELECT number FROM job WHERE command IN ('sync', 'apply', 'undo') AND target = CAST(? AS TEXT) AND endpoint = ?)
"""


class Failure(NamedTuple):
    """A failed operation, as the report names it."""

    operation: Kind
    key: str
    path: str
    error: str
    code: str
    status: int
    request_id: str
    attempts: int


class Entry(NamedTuple):
    """A row of the operations, as ``jobs show`` prints it."""

    operation: Operation
    state: State
    error: str
    code: str
    status: int
    request_id: str
    seconds: float
    sent: int
    """Bytes of content that travelled, over all attempts."""
    etag: str


class Outcomes:
    """Reads the operations of the job at work; of several jobs where a method says so. Writes nothing."""

    def __init__(self, store: Database, current: CurrentJob, limits: JournalLimits) -> None:
        self._store = store
        self._page = limits.page
        self._at_once = limits.taken_at_once
        self._current = current
        self.owns: Callable[[str], bool] = lambda _: True
        """Tells of a key in a row of an earlier run whether it is the job's."""
        self._unsettled: Counter[tuple[int, str]] = Counter()
        self._counted_at: tuple[int, int] | None = None
        """Job and :attr:`Database.writes` when that was counted."""

    def count_by_kind(self) -> dict[Kind, dict[str, int]]:
        """Return planned, done, failed, skipped and bytes for each kind.

        ``bytes`` is the content of done operations; of chunks, the bytes that were sent.
        Files that were reconciled and found unchanged are left out: nothing was to be done for them.
        """
        job = self._current
        counted = self._read_groups(
            f"{_COUNT} WHERE {_AMONG} AND (+job = ? {job.open_too}) AND NOT ({UNCHANGED}) GROUP BY kind, state",
            job.floor, job.number,
        )  # fmt: skip
        return rows.convert_rows(self._store, _count_operations, counted)

    def count_done_before(self) -> dict[Kind, dict[str, int]]:
        """Return the same counts for the done operations of the jobs that this one continues."""
        marks = ", ".join(str(job.number) for job in self._current.list_continued())
        counted = self._read_groups(
            f"{_COUNT} WHERE {_AMONG} AND +job IN ({marks}) AND state = 'done' GROUP BY kind, state",
            self._current.find_floor(),
        )
        return rows.convert_rows(self._store, _count_operations, counted)

    def count_proofs(self) -> dict[str, int]:
        """Return how many objects the job has fetched or transferred with each proof of their content."""
        job = self._current
        numbers = ", ".join(map(str, [job.number, *(each.number for each in job.list_continued())]))
        found: Counter[str] = Counter()
        for proof, count in self._read_groups(
            f"""SELECT {_PROOF} AS proof, count(*) FROM operation WHERE {_AMONG} AND +job IN ({numbers})
            AND (kind = 'download' OR kind = 'transfer' AND ({_IS_TOLD} OR {_IS_COPY}))
            AND state = 'done' GROUP BY proof""",  # noqa: S608 - numbers
            job.find_floor(),
        ):
            found[proof] += count
        return dict(found)

    def _read_groups(self, query: str, floor: int, *values: Any) -> Iterator[Row]:
        """Yield the rows of a query with GROUP BY over some rows at a time: a group may come again.

        Over all rows at once SQLite would sort them in memory: 16 MiB for 200,000.
        """
        last = self._store.value("SELECT max(id) FROM operation") or 0
        for span in find_row_spans(self._store, floor, last, self._at_once):
            yield from self._store.rows(query, (*span, *values))

    def read_unproved(self, limit: int) -> list[str]:
        """Return keys of the objects that this job has fetched, and whose content only their size speaks for."""
        rows = self._store.rows(
            """SELECT key FROM operation WHERE id > ? AND +job = ? AND kind = 'download' AND state = 'done'
            AND fingerprint = 'size' ORDER BY id LIMIT ?""",
            (self._current.floor, self._current.number, limit),
        )
        return [key for (key,) in rows]

    def count_by_job(self) -> Mapping[int, Mapping[str, int]]:
        """Return how many operations of every job, by its number, are in each state; a job without any is empty.

        It is one walk over all rows.
        """
        found: defaultdict[int, Counter[str]] = defaultdict(Counter)
        for job, state, number in self._store.rows(
            f"SELECT job, state, count(*) FROM operation WHERE NOT ({UNCHANGED}) GROUP BY job, state"  # noqa: S608
        ):
            found[job][state] += number
        return found

    def count_open(self, stage: int | None = None) -> int:
        """Return how many operations, of one stage or of all, are pending or leased.

        It reads every row, unless nothing was written since the last time.
        """
        unsettled = self._count_unsettled().items()
        return sum(count for (of, state), count in unsettled if state != "failed" and stage in {None, of})

    def count_failed(self, max_stage: int) -> int:
        """Return how many operations of the stages up to this one failed."""
        unsettled = self._count_unsettled().items()
        return sum(count for (of, state), count in unsettled if state == "failed" and of <= max_stage)

    def read_failures(self, limit: int | None = None) -> Iterator[Failure]:
        """Yield the failed operations in the order they were planned."""
        columns = "kind, key, path, error, code, status, request_id, attempts"
        for row in self._walk(columns, "state = 'failed'", (), limit):
            yield rows.convert_rows(self._store, _decode_failure, row)

    def read_entries(self, state: State | None = None) -> Iterator[Entry]:
        """Yield all operations, or those in one state, in the order they were planned."""
        columns = f"{rows.COLUMNS}, state, error, code, status, request_id, seconds, bytes, etag"
        condition, values = ("1", ()) if state is None else ("state = ?", (rows.STATE_TEXT[state],))
        for row in self._walk(columns, condition, values, None):
            yield rows.convert_rows(self._store, _decode_entry, row)

    def find_last_operation(self, key: str) -> dict[str, Any] | None:
        """Return what the newest row of any job says about a key; ``None`` if there is none. It reads every row."""
        row = next(
            iter(
                self._store.rows(
                    """SELECT job.id, operation.kind, operation.reason, operation.state, operation.error
                    FROM operation JOIN job ON job.number = operation.job
                    WHERE operation.key = CAST(? AS TEXT) ORDER BY operation.id DESC LIMIT 1""",
                    (make_bindable(key),),
                )
            ),
            None,
        )
        return None if row is None else dict(zip(("job", "operation", "reason", "state", "error"), row, strict=True))

    def find_last_change(self, after: int) -> int:
        """Return the highest row above ``after`` with which a sync, this one or an earlier, changed the target; else 0.

        ``after`` is an earlier answer, or :attr:`Job.after_operation`: rows are numbered over all jobs.
        """
        target, endpoint = self._current.target
        table = f"{self._store.earlier}operation"
        query = f"SELECT coalesce(max(id), 0) FROM {table} WHERE {_CHANGE}"  # noqa: S608 - constants
        return int(self._store.value(query, (after, make_bindable(target), endpoint)))

    def read_changed_keys(self, after: int) -> Iterator[str]:
        """Yield the job's own keys of all such rows, in the order of the rows."""
        target, endpoint = self._current.target
        while True:
            page = self._store.rows(
                f"SELECT id, key FROM operation WHERE {_CHANGE} ORDER BY id LIMIT ?",  # noqa: S608 - constants
                (after, make_bindable(target), endpoint, self._page),
            )
            if not page:
                return
            yield from (row[1] for row in page if self.owns(row[1]))
            after = page[-1][0]

    def _count_unsettled(self) -> Counter[tuple[int, str]]:
        """Count pending, leased and failed operations by stage and state, in one walk."""
        job = self._current
        now = (job.number, self._store.writes)
        if self._counted_at != now or self._store.read_only:
            found = self._store.rows(
                f"""SELECT stage, state, count(*) FROM operation
                WHERE id > ? AND state IN ('pending', 'leased', 'failed') AND (+job = ? {job.open_too})
                GROUP BY stage, state""",  # noqa: S608 - constants
                (job.floor, job.number),
            )
            self._unsettled = Counter({(stage, state): count for stage, state, count in found})
            if strange := {stage for stage, _ in self._unsettled}.difference(STAGES):
                self._store.refuse(f"an operation has stage {strange.pop()!r}")  # no lease would ever come by it
            self._counted_at = now
        return self._unsettled

    def _walk(self, columns: str, condition: str, values: tuple[Any, ...], limit: int | None) -> Iterator[Any]:
        """Yield rows page by page, so that nothing is held open while the caller works."""
        job = self._current
        after, left = job.floor, limit
        while left is None or left > 0:
            page = self._store.rows(
                f"""SELECT id, {columns} FROM operation
                WHERE id > ? AND {condition} AND (+job = ? {job.open_too}) ORDER BY id LIMIT ?""",  # noqa: S608 - constants
                (after, *values, job.number, self._page if left is None else min(left, self._page)),
            )
            if not page:
                return
            yield from (row[1:] for row in page)
            after = page[-1][0]
            left = None if left is None else left - len(page)


def _decode_failure(row: Row) -> Failure:
    kind, *rest = row
    return Failure(rows.KIND_OF[kind], *rest)


def _decode_entry(row: Row) -> Entry:
    state, *rest = row[rows.WIDTH :]
    (operation,) = rows.decode_operations([row[: rows.WIDTH]])
    entry = Entry(operation, State(state), *rest)
    rows.require_possible_seconds(entry.seconds)
    return entry


def _count_operations(counted: Iterable[Row]) -> dict[Kind, dict[str, int]]:
    """Return kind, state, number and size of operations as the report counts them."""
    counts = {kind: dict.fromkeys(("planned", "done", "failed", "skipped", "bytes"), 0) for kind in Kind}
    for kind, state, number, size in counted:
        count = counts[rows.KIND_OF[kind]]
        count["planned"] += number
        if state in count:
            count[state] += number
        if state == "done" and kind in {"upload", "download", "transfer", "chunk"}:
            count["bytes"] += size
    return counts
