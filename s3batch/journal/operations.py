"""Operations of one job: added while planning, leased in the order they were added, settled in batches.

Row numbers are given here, not by SQLite, so that a batch knows its own without asking. All rows of a job
lie above the number at which it began, so a job is read by walking up from there, and leasing is a cursor
per stage that moves over every row once.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from s3batch.journal import uploads
from s3batch.journal.settling import KIND_TEXT, REASON_TEXT, STATE_TEXT, UNCHANGED, settle
from s3batch.journal.store import Store, all_bindable, bindable, row_stamp
from s3batch.model import NO_STAMP, Kind, Operation, Reason, Result, State, is_same_file

_KIND = {kind.value: kind for kind in Kind}
_REASON = {reason.value: reason for reason in Reason}
"""From plain text: looking a member up is 0.3 us quicker than making it."""

_PAGE = 1000
"""Rows read at a time where a caller walks over all of them."""

_INSERT = """
INSERT OR IGNORE INTO operation
    (job, state, id, kind, key, reason, path, size, mtime_ns, ctime_ns, device, inode, stage, listed_etag, detail)
VALUES ({job}, '{state}', ?, ?, {text}, ?, {text}, ?, ?, ?, ?, ?, ?, ?, {text})
"""
"""What is the same for all rows of a job is part of the statement: each value bound costs 0.1 us a row."""
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
"""Also above where the jobs begin, since numbers are skipped, and above what was pruned: none is given twice."""

_LEASABLE = f"""
SELECT {_COLUMNS} FROM operation
WHERE id > ? AND +job = ? AND state = 'pending' AND stage = ? ORDER BY id LIMIT ?
"""  # noqa: S608 - constants
_LEASE = """
UPDATE operation SET state = 'leased'
WHERE id BETWEEN ? AND ? AND +job = ? AND state = 'pending' AND stage = ?
"""
_CHANGE = """
id > ? AND state = 'done' AND kind IN ('upload', 'copy', 'redirect', 'delete') AND job IN (
    SELECT number FROM job WHERE command = 'sync' AND target = CAST(? AS TEXT) AND endpoint = ?)
"""
_REPLAN = """
UPDATE operation SET state = ?, kind = ?, reason = ?, path = CAST(? AS TEXT), size = ?, mtime_ns = ?,
    ctime_ns = ?, device = ?, inode = ?,
    stage = ?, listed_etag = ?, detail = CAST(? AS TEXT), attempts = 0, recheck = 0, upload_id = '',
    error = '', code = '', status = 0, request_id = '', seconds = 0, bytes = 0, etag = '', checksum = '',
    written = 0, fingerprint = ''
WHERE id = ?
"""


WITHDRAWN = "a later run of this job found no need for it"
"""Why an operation is skipped that a resume has not planned again."""


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

    def __init__(self, store: Store) -> None:
        self._store = store
        self._next: int = 1 + store.value(_HIGHEST)
        self._job = 0
        self._after = 0
        self._cursor: dict[int, int] = {}
        self._unsettled: Counter[tuple[int, str]] = Counter()
        self._counted_at: tuple[int, int] | None = None
        """Job and :attr:`Store.writes` when that was counted."""

    @property
    def last(self) -> int:
        """The highest row number given so far, by any job."""
        return self._next - 1

    def keep_last(self) -> None:
        """Remember the highest row number, before rows are forgotten."""
        self._store.execute("INSERT OR REPLACE INTO remembered VALUES ('highest operation', ?)", (str(self.last),))

    def enter(self, job: int, after: int) -> None:
        """Work on the job with this number, whose rows are all above ``after``."""
        self._job, self._after = job, after
        self.rewind()

    def rewind(self) -> None:
        """Let leasing begin at the job's first row again."""
        self._cursor = {}

    def add(self, operations: Sequence[Operation], state: State) -> list[Operation]:
        """Insert what has no row yet, plan anew what has one and changed since; return what this has opened."""
        first = self._next
        inserted = self._insert(operations, first, state)
        self._next += len(operations)
        if inserted == len(operations):
            return _numbered(operations, first)
        found = self._store.rows("SELECT id FROM operation WHERE id >= ?", (first,))
        fresh = {row[0] for row in found}
        again = [each for number, each in enumerate(operations, first) if number not in fresh]
        opened = [reopened for each in again if (reopened := self._add_again(each, state)) is not None]
        opened += [each for each in _numbered(operations, first) if each.id in fresh]
        return sorted(opened, key=_number)

    def lease(self, limit: int, stage: int) -> list[Operation]:
        """Hand out up to ``limit`` pending rows of a stage, in the order they were added."""
        cursor = self._cursor.get(stage, self._after)
        if cursor >= self.last:
            return []
        leased = _operations(self._store.rows(_LEASABLE, (cursor, self._job, stage, limit)))
        if leased:
            self._store.execute(_LEASE, (leased[0].id, leased[-1].id, self._job, stage))
        self._cursor[stage] = leased[-1].id if len(leased) == limit else self.last
        return leased

    def lease_rows(self, numbers: Sequence[int]) -> list[Operation]:
        """Hand out those of these rows that are pending."""
        leased = []
        for number in numbers:
            rows = self._store.rows(
                f"SELECT {_COLUMNS} FROM operation WHERE id = ? AND state = 'pending'",  # noqa: S608 - constants
                (number,),
            )
            leased += _operations(rows)
        self._store.execute_many(
            "UPDATE operation SET state = 'leased' WHERE id = ?", [(operation.id,) for operation in leased]
        )
        return leased

    def settle(self, outcomes: Iterable[tuple[State, Result]]) -> int:
        """Record outcomes; return how many reconciled files turned out to be unchanged."""
        return settle(self._store, list(outcomes))

    def put_back(self, numbers: Sequence[int]) -> None:
        """Put back what was leased and never begun: S3 has not heard of it, so there is nothing to look up."""
        self._store.execute_many(
            "UPDATE operation SET state = 'pending' WHERE id = ? AND state = 'leased'",
            [(number,) for number in numbers],
        )
        for number in numbers:
            self._lower_cursor(number)

    def release(self) -> int:
        """Put back what a dead run had leased, to be looked up before it is sent again. All of crash recovery."""
        self._store.execute(
            "UPDATE part SET state = 'pending' WHERE state = 'leased' AND operation > ?", (self._after,)
        )
        self.rewind()
        uploads.doubt(self._store, self._job, self._after)
        return self._store.execute(
            "UPDATE operation SET state = 'pending', recheck = 1 WHERE id > ? AND +job = ? AND state = 'leased'",
            (self._after, self._job),
        )

    def withdraw(self) -> int:
        """Skip what is pending until it is planned again: its file may be gone, its orphan have a file again."""
        self.rewind()
        return self._store.execute(
            "UPDATE operation SET state = 'skipped', error = ? WHERE id > ? AND +job = ? AND state = 'pending'",
            (WITHDRAWN, self._after, self._job),
        )

    def reopen_failed(self) -> int:
        """Put back what failed, with all its attempts before it, and the deletes that were withheld for it.

        S3 may have done what failed, and only its answers were lost: that is looked up.
        """
        self._store.execute(
            "UPDATE part SET state = 'pending' WHERE state = 'failed' AND operation > ?", (self._after,)
        )
        self.rewind()
        return self._store.execute(
            """UPDATE operation SET state = 'pending', attempts = 0, recheck = (state = 'failed')
            WHERE id > ? AND +job = ? AND (state = 'failed' OR (state = 'skipped' AND kind = 'delete'))""",
            (self._after, self._job),
        )

    def last_change(self, after: int, target: str, endpoint: str) -> int:
        """Return the highest row above ``after`` with which any sync changed the target; 0 if none did."""
        values = (after, bindable(target), endpoint)
        return int(self._store.value(f"SELECT coalesce(max(id), 0) FROM operation WHERE {_CHANGE}", values))  # noqa: S608

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

    def settled(self, keys: Sequence[str]) -> set[str]:
        """Return those keys whose operation in this job is done, or was found right."""
        done = set()
        for key in keys:
            state = self._store.value(
                "SELECT state FROM operation WHERE job = ? AND key = CAST(? AS TEXT)", (self._job, bindable(key))
            )
            if state in {"done", "skipped"}:
                done.add(key)
        return done

    def counts(self) -> dict[Kind, dict[str, int]]:
        """Return planned, done, failed, skipped and bytes for each kind.

        ``bytes`` is the content of those that are done and carry content; of chunks, what of it has travelled.
        Files that were reconciled and found unchanged are left out: nothing was to be done for them.
        """
        rows = self._store.rows(
            f"""SELECT kind, state, count(*), sum(CASE kind WHEN 'chunk' THEN bytes ELSE size END) FROM operation
            WHERE id > ? AND +job = ? AND NOT ({UNCHANGED}) GROUP BY kind, state""",  # noqa: S608 - constants
            (self._after, self._job),
        )
        counts = {kind: dict.fromkeys(("planned", "done", "failed", "skipped", "bytes"), 0) for kind in Kind}
        for kind, state, number, size in rows:
            count = counts[_KIND[kind]]
            count["planned"] += number
            if state in count:
                count[state] += number
            if state == "done" and kind in {"upload", "chunk"}:
                count["bytes"] += size
        return counts

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
            yield Failure(_KIND[row[0]], *row[1:])

    def entries(self, state: State | None) -> Iterator[Entry]:
        """Yield every row, or those in one state, in the order they were planned."""
        columns = f"{_COLUMNS}, state, error, code, status, request_id, seconds, bytes, etag"
        condition, values = ("1", ()) if state is None else ("state = ?", (STATE_TEXT[state],))
        for row in self._walk(columns, condition, values, None):
            yield Entry._make((*_operations([row[:_WIDTH]]), State(row[_WIDTH]), *row[_WIDTH + 1 :]))

    def _insert(self, operations: Sequence[Operation], first: int, state: State) -> int:
        """Insert rows, numbered from ``first`` on, but those whose key has one; return how many."""
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
            for number, (
                kind,
                key,
                why,
                path,
                size,
                (_, _, mtime, ctime, device, inode),
                stage,
                etag,
                detail,
                *_,
            ) in enumerate(operations, first)
        ]
        plain = all_bindable([each[1] for each in operations]) and all_bindable(
            [each[3] + each[8] for each in operations]
        )
        if not plain:
            rows = [
                (*row[:2], bindable(row[2]), row[3], bindable(row[4]), *row[5:12], bindable(row[12])) for row in rows
            ]
        text = "?" if plain else "CAST(? AS TEXT)"
        return self._store.execute_many(_INSERT.format(job=self._job, state=STATE_TEXT[state], text=text), rows)

    def _add_again(self, operation: Operation, state: State) -> Operation | None:
        """Plan anew an operation whose key has a row, unless that row says the same or is being worked on.

        Return it if the row was closed. One that was pending stays so, and comes by lease. One that is done says
        the same only if the object is listed as it was written: somebody may have deleted it since.
        """
        found = self._store.rows(
            f"""SELECT {_COLUMNS}, state, error, etag FROM operation
            WHERE job = ? AND key = CAST(? AS TEXT)""",  # noqa: S608 - constants
            (self._job, bindable(operation.key)),
        )
        planned, (was, error, etag) = _operations(found)[0], found[0][_WIDTH:]
        number, upload_id = planned.id, planned.upload_id
        found_right = planned.kind is Kind.RECONCILE and was == "skipped" and not error
        same = _is_same_plan(planned, operation)
        as_it_left_it = (was == "done" or found_right) and etag == operation.etag
        if was == "leased" or (same and (was in {"pending", "failed"} or as_it_left_it)):
            return None
        if same and error == WITHDRAWN:
            return self._restore(number, state)
        if upload_id:
            self._leave_upload(number)
        if found_right:
            self._store.execute("UPDATE job SET found_unchanged = found_unchanged - 1 WHERE number = ?", (self._job,))
        self._replan(operation, number, State.PENDING if was == "pending" else state)
        return None if was == "pending" else _numbered([operation], number)[0]

    def _restore(self, number: int, state: State) -> Operation:
        """Take back a withdrawal: what an earlier run knows of the row still counts."""
        self._store.execute("UPDATE operation SET state = ?, error = '' WHERE id = ?", (STATE_TEXT[state], number))
        self._lower_cursor(number)
        return _operations(self._store.rows(f"SELECT {_COLUMNS} FROM operation WHERE id = ?", (number,)))[0]  # noqa: S608

    def _replan(self, operation: Operation, number: int, state: State) -> None:
        self._store.execute(
            _REPLAN,
            (
                STATE_TEXT[state],
                KIND_TEXT[operation.kind],
                REASON_TEXT[operation.reason],
                bindable(operation.path),
                operation.size,
                *operation.stamp[2:],
                operation.stage,
                operation.etag,
                bindable(operation.detail),
                number,
            ),
        )
        self._lower_cursor(number)

    def _lower_cursor(self, number: int) -> None:
        """Let leasing come by this row again."""
        self._cursor = {stage: min(cursor, number - 1) for stage, cursor in self._cursor.items()}

    def _leave_upload(self, number: int) -> None:
        """Note the multipart upload of a file that has changed since: it must be aborted, not completed."""
        self._store.execute(
            "INSERT INTO upload_left (job, key, upload_id) SELECT job, key, upload_id FROM operation WHERE id = ?",
            (number,),
        )
        self._store.execute("DELETE FROM part WHERE operation = ?", (number,))

    def _count_unsettled(self) -> Counter[tuple[int, str]]:
        """Count what is pending, leased or failed, by stage and state: one walk for all that is asked at one time."""
        now = (self._job, self._store.writes)
        if self._counted_at != now or self._store.read_only:
            rows = self._store.rows(
                """SELECT stage, state, count(*) FROM operation
                WHERE id > ? AND +job = ? AND state IN ('pending', 'leased', 'failed') GROUP BY stage, state""",
                (self._after, self._job),
            )
            self._unsettled = Counter({(stage, state): count for stage, state, count in rows})
            self._counted_at = now
        return self._unsettled

    def _walk(self, columns: str, condition: str, values: tuple[Any, ...], limit: int | None) -> Iterator[Any]:
        """Yield rows page by page, so that nothing is held open while the caller works."""
        after, left = self._after, limit
        while left is None or left > 0:
            page = self._store.rows(
                f"""SELECT id, {columns} FROM operation
                WHERE id > ? AND +job = ? AND {condition} ORDER BY id LIMIT ?""",  # noqa: S608 - constants
                (after, self._job, *values, _PAGE if left is None else min(left, _PAGE)),
            )
            if not page:
                return
            yield from (row[1:] for row in page)
            after = page[-1][0]
            left = None if left is None else left - len(page)


def _number(operation: Operation) -> int:
    return operation.id


def _numbered(operations: Sequence[Operation], first: int) -> list[Operation]:
    """The operations as those of fresh rows, numbered from ``first`` on."""
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


def _is_same_plan(planned: Operation, operation: Operation) -> bool:
    """Return whether a row says what is planned now: the same file, and the same kind or what a worker made of it."""
    kinds = {operation.kind, Kind.UPLOAD, Kind.COPY} if operation.kind is Kind.RECONCILE else {operation.kind}
    same_file = is_same_file(planned.stamp, operation.stamp) or planned.stamp == operation.stamp == NO_STAMP
    same_work = (planned.size, planned.detail) == (operation.size, operation.detail)
    return planned.kind in kinds and same_file and same_work
