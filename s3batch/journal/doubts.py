"""Doubts: keys that a dead run or a dead worker was working on, or to which a write was sent that no answer came to.

Its requests may still land, or have begun an unrecorded upload. A row exists from the moment a lease is void, a
worker is lost, or a connection breaks, until both questions are answered. ``until`` is 0 when no request can be
under way any more and the key was checked. ``upload`` is 0 when uploads that may have been begun are aborted.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence

from s3batch.base.named_tuple import NamedTuple
from s3batch.journal.current_job import CurrentJob
from s3batch.journal.database import Database, make_bindable
from s3batch.journal.transaction import Transaction
from s3batch.model import KIN_OF_SYNC, Kind, Operation
from s3batch.settings.s3_limits import PART_MINIMUM

_MARGIN = 7.0
"""Seconds: a sign of life may be one second old, and workers whose coordinator stands still go on for five."""

_END = "coalesce(nullif(job.seen_there, 0), job.seen) + job.timeout + ?"
_KIN = str(KIN_OF_SYNC)
_MAY_BEGIN_UPLOAD = "kind IN ('upload', 'transfer') AND upload_id = '' AND size >= ?"
_NOTE = f"""
INSERT INTO doubt (key, path, kind, upload, since, until)
SELECT operation.key, path, kind, {_MAY_BEGIN_UPLOAD}, job.store_date,
    CASE WHEN job.command IN {_KIN} AND {{under_way}} THEN {_END} ELSE 0 END
FROM operation JOIN job ON job.number = operation.job
WHERE operation.id > ? AND operation.id <= ? AND +operation.job IN ({{jobs}}) AND operation.state = 'leased'
    AND (job.command IN {_KIN} OR kind = 'upload') AND ({{under_way}} OR {_MAY_BEGIN_UPLOAD})
ON CONFLICT (key) DO UPDATE SET path = excluded.path, kind = excluded.kind, upload = max(upload, excluded.upload),
    since = min(since, excluded.since), until = max(until, excluded.until)
"""  # noqa: S608 - constants
_NOTE_UPLOAD = f"""
INSERT INTO doubt (key, path, kind, upload, since, until)
SELECT CAST(? AS TEXT), CAST(? AS TEXT), 'upload', 1, store_date, CASE WHEN command IN {_KIN} THEN {_END} ELSE 0 END
FROM job WHERE number = ?
ON CONFLICT (key) DO UPDATE SET upload = 1, until = max(until, excluded.until)
"""  # noqa: S608 - constants
_NOTE_LOST = f"""
INSERT INTO doubt (key, path, kind, upload, since, until)
SELECT operation.key, path, kind, 0, job.store_date, {_END}
FROM operation JOIN job ON job.number = ? WHERE operation.id = ? AND job.command IN {_KIN}
ON CONFLICT (key) DO UPDATE SET path = excluded.path, kind = excluded.kind, since = min(since, excluded.since),
    until = max(until, excluded.until)
"""  # noqa: S608 - constants
_NOTE_UNHEARD = f"""
INSERT INTO doubt (key, path, kind, upload, since, until)
SELECT CAST(? AS TEXT), '', 'upload', 0, job.store_date, {_END} FROM job WHERE number = ? AND command IN {_KIN}
ON CONFLICT (key) DO UPDATE SET since = min(since, excluded.since), until = max(until, excluded.until)
"""  # noqa: S608 - constants
_ANSWERED = "DELETE FROM doubt WHERE upload = 0 AND until = 0"


class Doubt(NamedTuple):
    """A key that a dead run or a dead worker was working on, or to which a write was sent that no answer came to."""

    key: str
    path: str
    """The path of its file; empty where the operation had none."""
    kind: Kind
    upload: bool
    """True if a multipart upload may have been begun without a recorded id."""
    since: float
    """When the store first answered that run, by the store's clock; 0 if it never did."""
    until: float
    """From when on no request of that run is under way, by the store's clock; 0: looked at since."""


def note_leased(store: Database, first: int, last: int, jobs: str, under_way: Collection[int] | None = None) -> None:
    """Note the keys of leased rows from ``first`` to ``last`` before their leases are void.

    ``under_way``: the rows whose requests may still land; all of them by default. Of the others only an upload may be left.
    """
    chosen = "1" if under_way is None else f"operation.id IN ({', '.join(map(str, under_way))})"
    store.execute(_NOTE.format(jobs=jobs, under_way=chosen), (PART_MINIMUM, _MARGIN, first, last, PART_MINIMUM))


class Doubts:
    """The table ``doubt``. Every method that writes commits, unless a batch is open."""

    def __init__(self, store: Database, transaction: Transaction, current: CurrentJob) -> None:
        self._store = store
        self._transaction = transaction
        self._current = current
        self.owns: Callable[[str], bool] = lambda _: True
        """Tells of a key in a row of an earlier run whether it is the job's."""

    def list_all(self) -> list[Doubt]:
        """Return the keys in doubt, in their order, until both questions about them are answered."""
        rows = self._store.rows("SELECT key, path, kind, upload, since, until FROM doubt ORDER BY key")
        found = [Doubt(key, path, Kind(kind), bool(upload), *times) for key, path, kind, upload, *times in rows]
        for doubt in found:
            if not self.owns(doubt.key):
                self._store.refuse(f"it has a doubtful request for {doubt.key!r}, which is not below its target")
        return found

    def note_upload(self, operation: Operation) -> None:
        """Note that S3 may have begun an upload for this operation without a recorded id: it is to be aborted."""
        with self._transaction.batch():
            self._current.sign()
            self._leave_to_next([operation.key])
            values = (make_bindable(operation.key), make_bindable(operation.path), _MARGIN, self._current.number)
            self._store.execute(_NOTE_UPLOAD, values)

    def note_lost(self, lost: Sequence[tuple[int, str]]) -> None:
        """Note that requests for these rows and keys may still land: their worker died."""
        with self._transaction.batch():
            self._current.sign()
            self._leave_to_next([key for _, key in lost])
            self._store.execute_many(_NOTE_LOST, [(_MARGIN, self._current.number, row) for row, _ in lost])

    def note_unheard(self, keys: Iterable[str]) -> None:
        """Note that writes to these keys were sent and not answered: they may still land."""
        own = [key for key in dict.fromkeys(keys) if self.owns(key)]
        with self._transaction.batch():
            self._current.sign()
            self._leave_to_next(own)
            # this process is alive and has just signed: they were sent before now
            values = [(make_bindable(key), 0.0, self._current.number) for key in own]
            self._store.execute_many(_NOTE_UNHEARD, values)

    def _leave_to_next(self, keys: Iterable[str]) -> None:
        """Leave keys to the next job, unless a request of an earlier run, or one with older content, may land there too."""
        for key in keys:
            earlier = self._store.value(
                "SELECT count(*) FROM doubt WHERE key = CAST(? AS TEXT) AND until", (make_bindable(key),)
            )
            if not earlier:
                self._current.unheard.add(key)

    def is_left_to_next(self, doubt: Doubt) -> bool:
        """Return true if what may land is what this job sends: it matters to the next job only.

        So it is where a worker of this job died, or a write of it got no answer, and the file has not changed since.
        """
        return doubt.key in self._current.unheard

    def mark_checked(self, keys: Iterable[str]) -> None:
        """Record that these keys are as they should be, and that nothing is under way to them any more."""
        self._answer("until", keys)

    def mark_aborted(self, keys: Iterable[str]) -> None:
        """Record that no upload of these keys is left that a dead run began."""
        self._answer("upload", keys)

    def _answer(self, question: str, keys: Iterable[str]) -> None:
        rows = [(make_bindable(key),) for key in keys]
        with self._transaction.batch():
            self._store.execute_many(f"UPDATE doubt SET {question} = 0 WHERE key = CAST(? AS TEXT)", rows)  # noqa: S608
            self._store.execute(_ANSWERED)
