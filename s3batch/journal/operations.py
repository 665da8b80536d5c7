"""Operations of one job: added while planning, leased in the order they were added, settled in batches.

Row numbers are given here, not by SQLite, so that a batch knows its own without asking. All rows of a job lie above the
number at which it began, so a job is read by walking up from there. Leasing is a cursor per stage that moves over every
row once.

What dead jobs had planned and not done is leased like the job's own, and is the job's from then on. So a
job with millions of them begins at once; :meth:`Operations.take_over` looks at them by and by.
:mod:`s3batch.journal.outcomes` reads what became of them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence

from s3batch.base.error_codes import Trait, select_codes
from s3batch.journal import doubts, rows
from s3batch.journal.current_job import CurrentJob
from s3batch.journal.database import Database, make_bindable
from s3batch.journal.fresh import FreshRows
from s3batch.journal.row_types import ROW_LIMIT
from s3batch.journal.settling import settle_outcomes
from s3batch.journal.specs import encode_spec
from s3batch.journal.transaction import Transaction
from s3batch.model import Kind, Operation, PlannedDeletes, Result, ShortRow, SourceObject, Stage, State, is_fetched_row

_HIGHEST = """
SELECT max(
    coalesce((SELECT max(id) FROM operation), 0),
    coalesce((SELECT max(after_operation) FROM job), 0),
    coalesce((SELECT CAST(value AS INTEGER) FROM remembered WHERE name = 'highest operation'), 0))
"""
"""Also above the first numbers of jobs, since numbers are skipped, and above pruned rows: none is given twice."""

_LEASABLE = f"""
SELECT {rows.COLUMNS} FROM operation
WHERE id > ? AND +job IN ({{jobs}}) AND state = 'pending' AND stage = ? ORDER BY id LIMIT ?
"""  # noqa: S608 - constants
_PENDING_ROW = f"SELECT {rows.COLUMNS} FROM operation WHERE id = ? AND state = 'pending'"  # noqa: S608 - constants
_LEASE = """
UPDATE operation SET state = 'leased', job = ?
WHERE id BETWEEN ? AND ? AND +job IN ({jobs}) AND state = 'pending' AND stage = ?
"""
_REPLAN = """
UPDATE operation SET size = ?, mtime_ns = ?, ctime_ns = ?, device = ?, inode = ?, listed_etag = ?,
    upload_id = '', fingerprint = '',
    detail = CASE WHEN ? <> '' THEN CAST(? AS TEXT) WHEN kind = 'reconcile' THEN '' ELSE detail END,
    recheck = max(recheck, ?)
WHERE id = ?
"""
_TAKE_AGAIN = """
UPDATE operation SET state = 'pending', recheck = kind <> 'delete', attempts = 0
WHERE id > ? AND id <= ? AND +job IN ({jobs}) AND state = 'failed' AND stage <= ?
"""
_SEEN_ANEW = f"AND code NOT IN ({', '.join(map(repr, sorted(select_codes(Trait.SEEN_ANEW))))})"
STAGES = (Stage.MAIN, Stage.PUBLISH_LAST, Stage.REDIRECT, Stage.DELETE)
DECIDED_ANEW = "a later job planned it again"
"""Why an operation is skipped that a dead job had planned and a later one has no use for."""
LEFT_OUT = "an ignore file leaves it out by now"
"""Why an operation is skipped that a dead job had planned."""
_SKIP = "UPDATE operation SET state = 'skipped', error = ? WHERE id = ?"
_CLOSE = """
UPDATE operation SET state = 'skipped', error = ?
WHERE id > ? AND id <= ? AND +job IN ({jobs}) AND state = 'pending' AND stage IN ({stages})
"""


_DELETED = """
UPDATE operation SET state = 'done', attempts = attempts + 1, recheck = 0, error = '', code = '', status = 0, seconds = ?
WHERE id BETWEEN ? AND ?
"""


class Operations:
    """The operations of the job at work. Every method that writes commits, unless a batch is open."""

    def __init__(self, store: Database, transaction: Transaction, current: CurrentJob, fresh: int) -> None:
        """``fresh``: see :attr:`JournalLimits.fresh`."""
        self._store = store
        self._transaction = transaction
        self._current = current
        self._next: int = 1 + store.value(_HIGHEST)
        if self._next > ROW_LIMIT:
            store.refuse("its operations are numbered beyond what a journal can hold")
        self.deletes_from = self._next
        """All rows from this number on are deletes of orphans: what is learned of other operations lies before."""
        self._inherited = self._next - 1
        """Rows up to this number were there before this run."""
        self.admit: Callable[[Operation], Operation | None] | None = None
        """Gives the operation to carry out for such a row; ``None`` to skip it. Raises ValueError for a wrong one."""
        self._found_out: set[int] = set()
        """The rows that this run has turned into something: they are its own from then on."""
        self._cursor: dict[int, int] = {}
        """Up to which row leasing by order has come, by stage; without an entry to :attr:`CurrentJob.floor`."""
        self._pending_to: dict[int, int] = {}
        """The highest row that leasing by order may still have to hand out, by stage."""
        self._fresh = FreshRows(fresh)

    @property
    def last(self) -> int:
        """The highest row number given so far, by any job."""
        return self._next - 1

    def keep_last(self) -> None:
        """Remember the highest row number, before rows are forgotten. Part of a batch."""
        self._store.execute("INSERT OR REPLACE INTO remembered VALUES ('highest operation', ?)", (str(self.last),))

    def rewind(self) -> None:
        """Let :meth:`lease` begin at the job's first row again."""
        self._cursor = {}
        self._pending_to = dict.fromkeys(STAGES, self.last)
        self._fresh.clear()

    def is_taken(self, row: int) -> bool:
        """Return true for an operation that a dead job had planned."""
        return row <= self._current.after

    def add(self, operations: Sequence[Operation], *, lease: bool = False) -> list[Operation]:
        """Add operations and return them numbered; ``lease`` leases them at once."""
        with self._transaction.batch():
            first = self._give_numbers(len(operations)).start
            state = State.LEASED if lease else State.PENDING
            rows.insert_operations(self._store, self._current.number, operations, first, state)
            added = rows.number_operations(operations, first)
            self.deletes_from = self._next
            if not lease:
                self._fresh.add(added)
            self._note_added({each.stage for each in added}, lease=lease)
            return added

    def add_orphans(self, deletes: PlannedDeletes, *, lease: bool = False) -> range:
        """Add the deletes of orphans, as :meth:`add` does; return their rows."""
        with self._transaction.batch():
            numbers = self._give_numbers(len(deletes.keys))
            state = State.LEASED if lease else State.PENDING
            rows.insert_orphans(self._store, self._current.number, deletes, numbers, state)
            self._note_added([Stage.DELETE], lease=lease)
            return numbers

    def _give_numbers(self, count: int) -> range:
        """Return the numbers of so many new rows, which count as open."""
        self._current.count({}, {"left_open": count})
        first = self._next
        self._next += count
        return range(first, self._next)

    def _note_added(self, stages: Iterable[int], *, lease: bool) -> None:
        """Let leasing by order come by the rows that were added last, or pass those that are leased already."""
        if not lease:
            self._pending_to |= dict.fromkeys(stages, self.last)
            return
        for stage in stages:
            if self._cursor.get(stage, self._current.floor) >= self._pending_to[stage]:
                self._cursor[stage] = self.last  # one of these that is to be tried again waits for its own time

    def lease(self, limit: int, stage: int) -> list[Operation]:
        """Hand out up to ``limit`` pending operations of a stage, in the order they were added.

        Each is handed out once until :meth:`rewind`.
        """
        with self._transaction.batch():
            leased = self._lease_next(limit, stage)
        self._transaction.commit()
        return leased

    def _lease_next(self, limit: int, stage: int) -> list[Operation]:
        cursor = self._cursor.get(stage, self._current.floor)
        if cursor >= self.last:
            return []
        leased = self._fresh.take(cursor, limit, stage, self.last) or self._read_leasable(cursor, stage, limit)
        if leased:
            marks = (self._current.number, leased[0].id, leased[-1].id, stage)
            self._store.execute(_LEASE.format(jobs=self._current.numbers), marks)
        self._cursor[stage] = leased[-1].id if len(leased) == limit else self.last
        return leased if not leased or leased[0].id > self._current.after else list(map(self._require_recheck, leased))

    def _read_leasable(self, cursor: int, stage: int, limit: int) -> list[Operation]:
        leased: list[Operation] = []
        while (room := limit - len(leased)) > 0:
            found = self._store.rows(_LEASABLE.format(jobs=self._current.numbers), (cursor, stage, room))
            operations = rows.convert_rows(self._store, rows.decode_operations, found)
            leased += self._select_admitted(operations)
            if len(operations) < room:
                break
            cursor = operations[-1].id
        return leased

    def _require_recheck(self, operation: Operation) -> Operation:
        """Have a dead job's comparison checked again: file or object may have changed since."""
        old = operation.id <= self._current.after and operation.kind is Kind.RECONCILE
        return operation._replace(recheck=True) if old else operation

    def lease_rows(self, numbers: Sequence[int]) -> list[Operation]:
        """Hand out those of these operations that are pending, each once: retries that are due."""
        with self._transaction.batch():
            self._fresh.note_changed(numbers)
            leased = []
            for number in dict.fromkeys(numbers):
                found = self._store.rows(_PENDING_ROW, (number,))
                leased += self._select_admitted(rows.convert_rows(self._store, rows.decode_operations, found))
            self._store.execute_many(
                "UPDATE operation SET state = 'leased' WHERE id = ?", [(operation.id,) for operation in leased]
            )
        self._transaction.commit()
        return leased

    def _select_admitted(self, operations: list[Operation]) -> list[Operation]:
        """Return the operations to carry out for these rows, whose numbers rise."""
        if self.admit is None or not operations or operations[0].id > self._inherited:
            return operations
        admitted: list[Operation] = []
        for operation in operations:
            try:
                is_ours = operation.id > self._inherited or operation.id in self._found_out
                wanted = operation if is_ours else self.admit(operation)
            except (ValueError, TypeError, AttributeError) as error:  # the latter two: a value of another type
                self._store.refuse(f"row {operation.id} of its operations: {error}")
            if wanted is None:
                self._store.execute(_SKIP, (LEFT_OUT, operation.id))
                self._current.count({}, {"left_open": -1})
                continue
            admitted.append(wanted)
            if wanted.spec is operation.spec:
                continue
            if (detail := encode_spec(wanted.spec)) != encode_spec(operation.spec):
                values = (make_bindable(detail), operation.id)
                self._store.execute("UPDATE operation SET detail = CAST(? AS TEXT) WHERE id = ?", values)
        return admitted

    def claim(self, numbers: Sequence[int]) -> None:
        """Make operations this job's own that dead jobs had planned, and that it settles without a lease."""
        with self._transaction.batch():
            self._store.execute_many(
                "UPDATE operation SET job = ? WHERE id = ?", [(self._current.number, number) for number in numbers]
            )

    def settle(self, outcomes: Iterable[tuple[State, Result]]) -> None:
        """Record outcomes in one transaction: about 4 us a row, where one each costs 240."""
        settled = list(outcomes)
        with self._transaction.batch():
            if self.admit is not None and self._inherited:
                self._found_out.update(result.id for _, result in settled if result.become is not None)
            self._fresh.note_changed(result.id for _, result in settled)
            before = [job.number for job in self._current.list_continued()]
            found_unchanged, closed = settle_outcomes(self._store, settled, before)
            self._current.count({}, {"found_unchanged": found_unchanged, "left_open": -closed})
        self._transaction.commit()

    def settle_stored(self, stored: Sequence[ShortRow]) -> None:
        """Record plain work that was done, in one transaction."""
        if not stored:
            return
        with self._transaction.batch():
            self._fresh.note_changed([max(row[-1] for row in stored)])
            # a job fetches, or it stores
            statement = rows.SETTLE_FETCHED if is_fetched_row(stored[0]) else rows.SETTLE_DONE
            self._store.execute_many(statement, stored)
            self._current.count({}, {"left_open": -len(stored)})
        self._transaction.commit()

    def settle_deleted(self, deleted: Sequence[tuple[float, range]]) -> None:
        """Record deletes that have succeeded, in one transaction: the seconds of their request, and spans of rows."""
        if not deleted:
            return
        with self._transaction.batch():
            self._store.execute_many(_DELETED, [(seconds, span[0], span[-1]) for seconds, span in deleted])
            self._current.count({}, {"left_open": -sum(len(span) for _, span in deleted)})
        self._transaction.commit()

    def put_back(self, numbers: Sequence[int], *, recheck: bool = False) -> None:
        """Release operations of which no request is under way; :meth:`lease` returns them again.

        With ``recheck`` S3 is asked about them first: they were begun.
        """
        with self._transaction.batch():
            self._store.execute_many(
                "UPDATE operation SET state = 'pending', recheck = max(recheck, ?) WHERE id = ? AND state = 'leased'",
                [(recheck, number) for number in numbers],
            )
            for number in numbers:
                self._lower_cursor(number)

    def release(self, under_way: Collection[int] | None = None) -> int:
        """Release leased operations at the end of a run; return how many.

        They are checked before a retry. Requests of those ``under_way``, or of all of them, may still land.
        """
        with self._transaction.batch():
            self._current.sign()
            floor, number = self._current.floor, self._current.number
            self._store.execute(
                """UPDATE part SET state = 'pending' WHERE state = 'leased' AND operation IN
                (SELECT id FROM operation WHERE id > ? AND +job = ? AND state = 'leased')""",
                (floor, number),
            )
            self.rewind()
            return self._put_back_leased(floor, self.last, str(number), under_way)

    def void_leases(self) -> int:
        """Void the leases of this job and of those it takes, while no worker has any of them; return how many there were."""
        with self._transaction.batch():
            self.rewind()
            return self._put_back_leased(self._current.floor, self.last, self._current.numbers)

    def replan(self, operation: Operation) -> None:
        """Have a pending row be about its file or object as ``operation`` has it: that changed while it was read."""
        with self._transaction.batch():
            self._current.unheard.discard(operation.key)
            self._fresh.note_changed([operation.id])
            source = encode_spec(operation.spec) if isinstance(operation.spec, SourceObject) else ""
            self._store.execute(
                _REPLAN,
                (
                    operation.size, *rows.make_stamp_values(operation.stamp), operation.etag, source, make_bindable(source),
                    operation.recheck, operation.id,
                ),
            )  # fmt: skip
            self._store.execute("DELETE FROM part WHERE operation = ?", (operation.id,))

    def note_source(self, operation: Operation) -> None:
        """Record another way in which a transfer gets its source."""
        with self._transaction.batch():
            values = (make_bindable(encode_spec(operation.spec)), operation.id)
            self._store.execute("UPDATE operation SET detail = CAST(? AS TEXT) WHERE id = ?", values)

    def have_failed(self) -> bool:
        """Return whether an operation of the job, or of those it takes, has failed."""
        query = f"""SELECT EXISTS (SELECT 1 FROM operation
            WHERE id > ? AND +job IN ({self._current.numbers}) AND state = 'failed')"""  # noqa: S608 - numbers
        return bool(self._store.value(query, (self._current.floor,)))

    def take_over(self, dead: Sequence[int], first: int, last: int, *, deletes: bool, closes: bool = True) -> int:
        """Take over rows of dead jobs from ``first`` to ``last``, as this job needs them. Part of a batch.

        Their leases become void. Failures of the jobs it takes are tried again, and with ``closes`` the operations that
        it plans itself are closed. Returns by how many operations the job has more (or less) to do. Rows below the job's
        floor stay as they ended: no lease comes by them.
        """
        self._fresh.clear()
        void = self._put_back_leased(first, last, ", ".join(map(str, dead)))
        self._store.execute(
            "UPDATE part SET state = 'pending' WHERE operation > ? AND operation <= ? AND state IN ('leased', 'failed')",
            (first, last),
        )
        taken = ", ".join(self._current.numbers.split(", ")[1:])
        if not taken:
            return 0
        closed = f"{Stage.REDIRECT}" if deletes else f"{Stage.REDIRECT}, {Stage.DELETE}"
        sql, first = _TAKE_AGAIN.format(jobs=taken) + _SEEN_ANEW * closes, max(first, self._current.floor)
        again = self._store.execute(sql, (first, last, Stage.DELETE if deletes else Stage.PUBLISH_LAST))
        if void or again:
            self._lower_cursor(first + 1)
        if not closes:
            return again
        return again - self._store.execute(_CLOSE.format(jobs=taken, stages=closed), (DECIDED_ANEW, first, last))

    def _put_back_leased(self, first: int, last: int, jobs: str, under_way: Collection[int] | None = None) -> int:
        """Void the leases of jobs, and record their keys: requests that they sent may still arrive."""
        doubts.note_leased(self._store, first, last, jobs, under_way)
        return self._store.execute(
            f"""UPDATE operation SET state = 'pending', recheck = 1
            WHERE id > ? AND id <= ? AND +job IN ({jobs}) AND state = 'leased'""",  # noqa: S608 - numbers
            (first, last),
        )

    def _lower_cursor(self, number: int) -> None:
        """Let leasing come by this row again."""
        self._fresh.clear()
        self._cursor = {stage: min(cursor, number - 1) for stage, cursor in self._cursor.items()}
        self._pending_to = {stage: max(row, number) for stage, row in self._pending_to.items()}
