"""Operations of one job: added while planning, leased in the order they were added, settled in batches.

Row numbers are given here, not by SQLite, so that a batch knows its own without asking. All rows of a job lie above the
number at which it began, so a job is read by walking up from there. Leasing is a cursor per stage that moves over every
row once.

What dead jobs had planned and not done is leased like the job's own, and is the job's from then on. So a
job with millions of them begins at once; :meth:`Operations.take_over` looks at them by and by.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

from s3batch.journal import doubts
from s3batch.journal.database import Database, all_bindable, bindable, row_stamp
from s3batch.journal.fresh import FreshRows
from s3batch.journal.settling import KIND_TEXT, REASON_TEXT, STATE_TEXT, UNCHANGED, settle
from s3batch.model import NO_STAMP, Kind, Operation, Reason, Result, Stage, State

_KIND = {kind.value: kind for kind in Kind}
_REASON = {reason.value: reason for reason in Reason}
"""Reasons by their text: looking a member up is 0.3 us quicker than making it."""

_Made = TypeVar("_Made")

_PAGE = 1000
"""Rows read at a time where a caller walks over all of them."""

_INSERT = """
INSERT INTO operation
    (job, state, id, kind, key, reason, path, size, mtime_ns, ctime_ns, device, inode, stage, listed_etag, detail)
VALUES ({job}, '{state}', ?, ?, {text}, ?, {text}, ?, ?, ?, ?, ?, ?, ?, {text})
"""
"""Values that are equal for all rows of a job are part of the statement: each bound value costs 0.1 us a row."""
_COLUMNS = (
    "kind, key, reason, path, size, mtime_ns, ctime_ns, device, inode, stage, listed_etag, detail, id, attempts, "
    "recheck, upload_id"
)
"""In the order of the fields of Operation, with those of its stamp in the stamp's place."""
_WIDTH = _COLUMNS.count(",") + 1

_HIGHEST = """
SELECT max(
    coalesce((SELECT max(id) FROM operation), 0),
    coalesce((SELECT max(after_operation) FROM job), 0),
    coalesce((SELECT CAST(value AS INTEGER) FROM remembered WHERE name = 'highest operation'), 0))
"""
"""Also above the first numbers of jobs, since numbers are skipped, and above pruned rows: none is given twice."""

_LEASABLE = f"""
SELECT {_COLUMNS} FROM operation
WHERE id > ? AND +job IN ({{jobs}}) AND state = 'pending' AND stage = ? ORDER BY id LIMIT ?
"""  # noqa: S608 - constants
_LEASE = """
UPDATE operation SET state = 'leased', job = ?
WHERE id BETWEEN ? AND ? AND +job IN ({jobs}) AND state = 'pending' AND stage = ?
"""
_CHANGE = """
id > ? AND state = 'done' AND kind IN ('upload', 'copy', 'redirect', 'delete') AND job IN (
    SELECT number FROM job WHERE command = 'sync' AND target = CAST(? AS TEXT) AND endpoint = ?)
"""
_REPLAN = """
UPDATE operation SET size = ?, mtime_ns = ?, ctime_ns = ?, device = ?, inode = ?, upload_id = '', fingerprint = '',
    detail = CASE kind WHEN 'reconcile' THEN '' ELSE detail END, recheck = max(recheck, ?)
WHERE id = ?
"""
_OF_ONE_FILE = "('Changed', 'Vanished', 'BrokenLink', 'Unreadable', 'Busy')"
"""Codes of failures that the walk sees for itself."""
_TAKE_AGAIN = f"""
UPDATE operation SET state = 'pending', recheck = kind <> 'delete', attempts = 0
WHERE id > ? AND id <= ? AND +job IN ({{jobs}}) AND state = 'failed' AND code NOT IN {_OF_ONE_FILE} AND stage <= ?
"""  # noqa: S608 - constants
_STAGES = (Stage.MAIN, Stage.PUBLISH_LAST, Stage.REDIRECT, Stage.DELETE)
DECIDED_ANEW = "a later job planned it again"
"""Why an operation is skipped that a dead job had planned and a later one has no use for."""
_CLOSE = """
UPDATE operation SET state = 'skipped', error = ?
WHERE id > ? AND id <= ? AND +job IN ({jobs}) AND state = 'pending' AND stage IN ({stages})
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


class Operations:
    """The operations of the job :meth:`enter` was called with. Nothing here commits."""

    def __init__(self, store: Database) -> None:
        self._store = store
        self._next: int = 1 + store.value(_HIGHEST)
        self._inherited = self._next - 1
        """Rows up to this number were there before this run."""
        self.admit: Callable[[Operation], Operation] | None = None
        """Gives the operation to carry out for such a row, or raises ValueError."""
        self._found_out: set[int] = set()
        """Those of them that this run has turned into something: they are its own from then on."""
        self._job = 0
        self._after = 0
        self._jobs = "0"
        """Numbers of the job and of those it takes, for SQL."""
        self.floor = 0
        """All rows of the job and of those it takes are above it."""
        self._open_too = ""
        """SQL that adds the open rows of the jobs it takes."""
        self._cursor: dict[int, int] = {}
        """Up to which row leasing by order has come, by stage; without an entry to :attr:`floor`."""
        self._pending_to: dict[int, int] = {}
        """The highest row that leasing by order may still have to hand out, by stage."""
        self._fresh = FreshRows()
        self._unsettled: Counter[tuple[int, str]] = Counter()
        self._counted_at: tuple[int, int] | None = None
        """Job and :attr:`Database.writes` when that was counted."""

    @property
    def last(self) -> int:
        """The highest row number given so far, by any job."""
        return self._next - 1

    def keep_last(self) -> None:
        """Remember the highest row number, before rows are forgotten."""
        self._store.execute("INSERT OR REPLACE INTO remembered VALUES ('highest operation', ?)", (str(self.last),))

    def enter(self, job: int, after: int, takes: Sequence[int] = ()) -> None:
        """Work on the job with this number, whose rows are all above ``after``, and on open ones of those it takes."""
        self._job, self._after = job, after
        self._jobs = ", ".join(map(str, (job, *takes)))
        self.floor = after if not takes else self.start_of(takes)
        self._open_too = (
            f"OR (job IN ({', '.join(map(str, takes))}) AND state IN ('pending', 'leased'))" if takes else ""
        )
        self.rewind()

    def start_of(self, jobs: Iterable[int]) -> int:
        """Return the number that all rows of these jobs are above."""
        marks = ", ".join(map(str, jobs))
        return int(self._store.value(f"SELECT coalesce(min(after_operation), 0) FROM job WHERE number IN ({marks})"))  # noqa: S608

    def rewind(self) -> None:
        """Let leasing begin at the job's first row again."""
        self._cursor = {}
        self._pending_to = dict.fromkeys(_STAGES, self.last)
        self._fresh.clear()

    def add(self, operations: Sequence[Operation], state: State) -> list[Operation]:
        """Insert operations and return them numbered."""
        first = self._next
        self._next += len(operations)
        self._insert(operations, first, state)
        added = _numbered(operations, first)
        stages = {each.stage for each in added}
        if state is State.PENDING:
            self._fresh.add(added)
            self._pending_to |= dict.fromkeys(stages, self.last)
            return added
        for stage in stages:
            if self._cursor.get(stage, self.floor) >= self._pending_to[stage]:
                self._cursor[stage] = self.last  # one of these that is to be tried again waits for its own time
        return added

    def lease(self, limit: int, stage: int) -> list[Operation]:
        """Hand out up to ``limit`` pending rows of a stage, in the order they were added."""
        cursor = self._cursor.get(stage, self.floor)
        if cursor >= self.last:
            return []
        leased = self._fresh.take(cursor, limit, stage, self.last) or self._leasable(cursor, stage, limit)
        if leased:
            marks = (self._job, leased[0].id, leased[-1].id, stage)
            self._store.execute(_LEASE.format(jobs=self._jobs), marks)
        self._cursor[stage] = leased[-1].id if len(leased) == limit else self.last
        return leased if not leased or leased[0].id > self._after else list(map(self._distrust, leased))

    def _leasable(self, cursor: int, stage: int, limit: int) -> list[Operation]:
        rows = self._store.rows(_LEASABLE.format(jobs=self._jobs), (cursor, stage, limit))
        return self._admitted(self._made_of(_operations, rows))

    def _distrust(self, operation: Operation) -> Operation:
        """Have a dead job's comparison checked again: file or object may have changed since."""
        old = operation.id <= self._after and operation.kind is Kind.RECONCILE
        return operation._replace(recheck=True) if old else operation

    def lease_rows(self, numbers: Sequence[int]) -> list[Operation]:
        """Hand out those of these rows that are pending, each once."""
        self._fresh.note_changed(numbers)
        leased = []
        for number in dict.fromkeys(numbers):
            rows = self._store.rows(
                f"SELECT {_COLUMNS} FROM operation WHERE id = ? AND state = 'pending'",  # noqa: S608 - constants
                (number,),
            )
            leased += self._admitted(self._made_of(_operations, rows))
        self._store.execute_many(
            "UPDATE operation SET state = 'leased' WHERE id = ?", [(operation.id,) for operation in leased]
        )
        return leased

    def _made_of(self, make: Callable[[Any], _Made], rows: Any) -> _Made:
        """Convert rows with ``make``; values that s3batch does not write mean a damaged journal."""
        try:
            return make(rows)
        except (KeyError, ValueError, TypeError) as error:
            self._store.refuse(f"its operations have a row that s3batch does not write ({error!r})")

    def _admitted(self, operations: list[Operation]) -> list[Operation]:
        """Return the operations to carry out for these rows, whose numbers rise."""
        if self.admit is None or not operations or operations[0].id > self._inherited:
            return operations
        admitted = []
        for operation in operations:
            try:
                is_ours = operation.id > self._inherited or operation.id in self._found_out
                admitted.append(operation if is_ours else self.admit(operation))
            except (ValueError, TypeError, AttributeError) as error:  # the latter two: a value of another type
                self._store.refuse(f"row {operation.id} of its operations: {error}")
            if admitted[-1].detail != operation.detail:
                values = (bindable(admitted[-1].detail), operation.id)
                self._store.execute("UPDATE operation SET detail = CAST(? AS TEXT) WHERE id = ?", values)
        return admitted

    def settle(self, outcomes: list[tuple[State, Result]], before: Sequence[int] = ()) -> tuple[int, int]:
        """Record outcomes; return how many reconciled files are unchanged, and how many operations are closed."""
        if self.admit is not None and self._inherited:
            self._found_out.update(result.id for _, result in outcomes if result.become is not None)
        self._fresh.note_changed(result.id for _, result in outcomes)
        return settle(self._store, outcomes, before)

    def put_back(self, numbers: Sequence[int]) -> None:
        """Release leased operations that were not begun: no request was sent, so S3 need not be asked about them."""
        self._store.execute_many(
            "UPDATE operation SET state = 'pending' WHERE id = ? AND state = 'leased'",
            [(number,) for number in numbers],
        )
        for number in numbers:
            self._lower_cursor(number)

    def release(self) -> int:
        """Release leased operations, to be checked before a retry: their requests may still land."""
        self._store.execute(
            """UPDATE part SET state = 'pending' WHERE state = 'leased' AND operation IN
            (SELECT id FROM operation WHERE id > ? AND +job = ? AND state = 'leased')""",
            (self.floor, self._job),
        )
        self.rewind()
        return self._put_back_leased(self.floor, self.last, str(self._job))

    def replan(self, operation: Operation) -> None:
        """Have a row that is pending be about the file as ``operation`` has it."""
        self._fresh.note_changed([operation.id])
        self._store.execute(_REPLAN, (operation.size, *operation.stamp[2:], operation.recheck, operation.id))
        self._store.execute("DELETE FROM part WHERE operation = ?", (operation.id,))

    def take_over(self, dead: Sequence[int], first: int, last: int, *, deletes: bool) -> int:
        """Take over rows of dead jobs from ``first`` to ``last``, as this job needs them.

        Their leases become void. Failures of the jobs it takes are tried again, and operations it plans itself are
        closed. Returns by how many operations the job has more (or less) to do.
        """
        self._fresh.clear()
        void = self._put_back_leased(first, last, ", ".join(map(str, dead)))
        self._store.execute(
            "UPDATE part SET state = 'pending' WHERE operation > ? AND operation <= ? AND state IN ('leased', 'failed')",
            (first, last),
        )
        taken = ", ".join(self._jobs.split(", ")[1:])
        if not taken:
            return 0
        closed = f"{Stage.REDIRECT}" if deletes else f"{Stage.REDIRECT}, {Stage.DELETE}"
        again = self._store.execute(
            _TAKE_AGAIN.format(jobs=taken), (first, last, Stage.DELETE if deletes else Stage.PUBLISH_LAST)
        )
        if void or again:
            self._lower_cursor(first + 1)
        return again - self._store.execute(_CLOSE.format(jobs=taken, stages=closed), (DECIDED_ANEW, first, last))

    def _put_back_leased(self, first: int, last: int, jobs: str) -> int:
        """Void the leases of jobs, and record their keys: requests that they sent may still arrive."""
        doubts.note(self._store, first, last, jobs)
        return self._store.execute(
            f"""UPDATE operation SET state = 'pending', recheck = 1
            WHERE id > ? AND id <= ? AND +job IN ({jobs}) AND state = 'leased'""",  # noqa: S608 - numbers
            (first, last),
        )

    def last_change(self, after: int, target: str, endpoint: str) -> int:
        """Return the highest row above ``after`` with which any sync changed the target; 0 if none did."""
        values = (after, bindable(target), endpoint)
        table = f"{self._store.earlier}operation"
        return int(self._store.value(f"SELECT coalesce(max(id), 0) FROM {table} WHERE {_CHANGE}", values))  # noqa: S608

    def changed_keys(self, after: int, target: str, endpoint: str) -> Iterator[str]:
        """Yield the keys of those rows, in their order."""
        while True:
            page = self._store.rows(
                f"SELECT id, key FROM operation WHERE {_CHANGE} ORDER BY id LIMIT ?",  # noqa: S608 - constants
                (after, bindable(target), endpoint, _PAGE),
            )
            if not page:
                return
            yield from (row[1] for row in page)
            after = page[-1][0]

    def counts(self) -> dict[Kind, dict[str, int]]:
        """Return planned, done, failed, skipped and bytes for each kind.

        ``bytes`` is the content of done operations; of chunks, the bytes that were sent.
        Files that were reconciled and found unchanged are left out: nothing was to be done for them.
        """
        rows = self._store.rows(
            f"""SELECT kind, state, count(*), sum(CASE kind WHEN 'chunk' THEN bytes ELSE size END) FROM operation
            WHERE id > ? AND (+job = ? {self._open_too}) AND NOT ({UNCHANGED}) GROUP BY kind, state""",  # noqa: S608 - constants
            (self.floor, self._job),
        )
        return self._made_of(_counted, rows)

    def done_by(self, jobs: Sequence[int]) -> dict[Kind, dict[str, int]]:
        """Return the same counts for the done operations of these jobs."""
        marks = ", ".join(map(str, jobs))
        rows = self._store.rows(
            f"""SELECT kind, state, count(*), sum(CASE kind WHEN 'chunk' THEN bytes ELSE size END) FROM operation
            WHERE +job IN ({marks}) AND state = 'done' GROUP BY kind, state"""  # noqa: S608 - numbers
        )
        return self._made_of(_counted, rows)

    def tallies(self) -> dict[int, Counter[str]]:
        """Return how many operations are in each state, for every job by its number, in one walk over all rows."""
        found: defaultdict[int, Counter[str]] = defaultdict(Counter)
        for job, state, number in self._store.rows(
            f"SELECT job, state, count(*) FROM operation WHERE NOT ({UNCHANGED}) GROUP BY job, state"  # noqa: S608
        ):
            found[job][state] += number
        return found

    def open_count(self, stage: int | None) -> int:
        """Return how many rows, of one stage or of all, are pending or leased."""
        unsettled = self._count_unsettled().items()
        return sum(count for (of, state), count in unsettled if state != "failed" and stage in {None, of})

    def failed_count(self, max_stage: int) -> int:
        """Return how many rows failed in the stages up to this one."""
        unsettled = self._count_unsettled().items()
        return sum(count for (of, state), count in unsettled if state == "failed" and of <= max_stage)

    def failures(self, limit: int | None) -> Iterator[Failure]:
        """Yield the failed operations in the order they were planned."""
        columns = "kind, key, path, error, code, status, request_id, attempts"
        for row in self._walk(columns, "state = 'failed'", (), limit):
            yield self._made_of(_failure, row)

    def entries(self, state: State | None) -> Iterator[Entry]:
        """Yield every row, or those in one state, in the order they were planned."""
        columns = f"{_COLUMNS}, state, error, code, status, request_id, seconds, bytes, etag"
        condition, values = ("1", ()) if state is None else ("state = ?", (STATE_TEXT[state],))
        for row in self._walk(columns, condition, values, None):
            yield self._made_of(_entry, row)

    def _insert(self, operations: Sequence[Operation], first: int, state: State) -> None:
        """Insert rows, numbered from ``first`` on."""
        rows: list[tuple[Any, ...]] = [
            (
                number,
                KIND_TEXT[kind],
                key,
                REASON_TEXT[why],
                path,
                size,
                mtime,
                ctime,
                device,
                inode,
                stage,
                etag,
                detail,
            )
            for number, (kind, key, why, path, size, stamp, stage, etag, detail, *_) in enumerate(operations, first)
            for _, _, mtime, ctime, device, inode in (stamp,)
        ]
        plain = all_bindable([text for row in rows for text in (row[2], row[4], row[12])])
        if not plain:
            rows = [
                (*row[:2], bindable(row[2]), row[3], bindable(row[4]), *row[5:12], bindable(row[12])) for row in rows
            ]
        text = "?" if plain else "CAST(? AS TEXT)"
        self._store.execute_many(_INSERT.format(job=self._job, state=STATE_TEXT[state], text=text), rows)

    def _lower_cursor(self, number: int) -> None:
        """Let leasing come by this row again."""
        self._fresh.clear()
        self._cursor = {stage: min(cursor, number - 1) for stage, cursor in self._cursor.items()}
        self._pending_to = {stage: max(row, number) for stage, row in self._pending_to.items()}

    def _count_unsettled(self) -> Counter[tuple[int, str]]:
        """Count pending, leased and failed operations by stage and state, in one walk."""
        now = (self._job, self._store.writes)
        if self._counted_at != now or self._store.read_only:
            rows = self._store.rows(
                f"""SELECT stage, state, count(*) FROM operation
                WHERE id > ? AND state IN ('pending', 'leased', 'failed') AND (+job = ? {self._open_too})
                GROUP BY stage, state""",  # noqa: S608 - constants
                (self.floor, self._job),
            )
            self._unsettled = Counter({(stage, state): count for stage, state, count in rows})
            self._counted_at = now
        return self._unsettled

    def _walk(self, columns: str, condition: str, values: tuple[Any, ...], limit: int | None) -> Iterator[Any]:
        """Yield rows page by page, so that nothing is held open while the caller works."""
        after, left = self.floor, limit
        while left is None or left > 0:
            page = self._store.rows(
                f"""SELECT id, {columns} FROM operation
                WHERE id > ? AND {condition} AND (+job = ? {self._open_too}) ORDER BY id LIMIT ?""",  # noqa: S608 - constants
                (after, *values, self._job, _PAGE if left is None else min(left, _PAGE)),
            )
            if not page:
                return
            yield from (row[1:] for row in page)
            after = page[-1][0]
            left = None if left is None else left - len(page)


def _numbered(operations: Sequence[Operation], first: int) -> list[Operation]:
    """Return the operations with the numbers of new rows, from ``first`` on."""
    new = tuple.__new__
    return [new(Operation, (*each[:9], number, 0, False, "")) for number, each in enumerate(operations, first)]


def _operations(rows: list[tuple[Any, ...]]) -> list[Operation]:
    kind, reason, new = _KIND, _REASON, tuple.__new__
    stamps = [row_stamp(row[4:9]) if row[8] or row[5] else NO_STAMP for row in rows]
    return [
        new(
            Operation,
            (kind[row[0]], row[1], reason[row[2]], row[3], row[4], stamp, *row[9:14], row[14] == 1, row[15]),
        )
        for row, stamp in zip(rows, stamps, strict=True)
    ]


def _failure(row: tuple[Any, ...]) -> Failure:
    return Failure(_KIND[row[0]], *row[1:])


def _entry(row: tuple[Any, ...]) -> Entry:
    return Entry._make((*_operations([row[:_WIDTH]]), State(row[_WIDTH]), *row[_WIDTH + 1 :]))


def _counted(rows: Iterable[tuple[str, str, int, int]]) -> dict[Kind, dict[str, int]]:
    """Return kind, state, number and size of operations as the report counts them."""
    counts = {kind: dict.fromkeys(("planned", "done", "failed", "skipped", "bytes"), 0) for kind in Kind}
    for kind, state, number, size in rows:
        count = counts[_KIND[kind]]
        count["planned"] += number
        if state in count:
            count[state] += number
        if state == "done" and kind in {"upload", "chunk"}:
            count["bytes"] += size
    return counts
