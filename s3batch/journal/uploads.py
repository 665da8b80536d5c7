"""Multipart uploads that were begun: their parts, and the clean-up of abandoned ones.

An operation holds its upload id from before the first part is sent until S3 has completed or aborted the upload, so no
upload is lost. Those that a run began in the moment it died are in :mod:`s3batch.journal.doubts`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any

from s3batch.base.named_tuple import NamedTuple
from s3batch.journal.current_job import CurrentJob
from s3batch.journal.database import Database, make_bindable
from s3batch.journal.rows import STATE_TEXT, decode_row_stamp, make_stamp_values
from s3batch.journal.transaction import Transaction
from s3batch.model import Operation, Part, Stamp, State, is_same_file

_DEAD = "job.state IN ('done', 'superseded')"
_STATE = {state.value: state for state in State}


class UploadLeft(NamedTuple):
    """A multipart upload that is neither completed nor aborted."""

    job_id: str
    operation: int
    """The operation's row, for :meth:`Uploads.forget`."""
    key: str
    upload_id: str


class Uploads:
    """The uploads of operations, with their parts. Every method that writes commits, unless a batch is open."""

    def __init__(self, store: Database, transaction: Transaction, current: CurrentJob) -> None:
        self._store = store
        self._transaction = transaction
        self._current = current
        self.owns: Callable[[str], bool] = lambda _: True
        """Tells of a key in a row of an earlier run whether it is the job's."""

    def begin(self, operation_id: int, upload_id: str, parts: Sequence[Part], fingerprint: str = "") -> None:
        """Record an upload before its first part is sent. ``fingerprint`` is of the attributes it was begun with."""
        with self._transaction.batch():
            self._store.execute(
                "UPDATE operation SET upload_id = ?, fingerprint = ? WHERE id = ?",
                (upload_id, fingerprint, operation_id),
            )
            self._store.execute("DELETE FROM part WHERE operation = ?", (operation_id,))
            self._store.execute_many(
                "INSERT INTO part VALUES (?, ?, ?, ?, ?, ?, ?, ?)", _make_part_rows(operation_id, parts)
            )
        self._transaction.commit()

    def find_parts(self, operation_id: int) -> list[Part]:
        """Return the parts of an operation's upload by their number. They are all of its file, and no more."""
        found = self._parts_of(operation_id)
        ends = list(accumulate((part.size for part in found), initial=0))
        whole = [(number, end) for number, end in enumerate(ends[:-1], 1)] == [
            (part.number, part.offset) for part in found
        ]
        size = int(self._store.value("SELECT size FROM operation WHERE id = ?", (operation_id,)) or 0)
        if found and not (whole and ends[-1] == size):
            self._store.refuse(f"the parts of operation {operation_id} do not make one file")
        return found

    def forget(self, operation_id: int) -> None:
        """Forget an upload that was completed or aborted, or that S3 does not know any more."""
        with self._transaction.batch():
            self._store.execute("UPDATE operation SET upload_id = '' WHERE id = ?", (operation_id,))
            self._store.execute("DELETE FROM part WHERE operation = ?", (operation_id,))

    def restamp(self, operation: Operation) -> None:
        """Have a row be about another state of its file, of the same size: no part of its upload counts as sent."""
        with self._transaction.batch():
            self._current.unheard.discard(operation.key)
            self._store.execute(
                "UPDATE operation SET mtime_ns = ?, ctime_ns = ?, device = ?, inode = ?, listed_etag = ? WHERE id = ?",
                (*make_stamp_values(operation.stamp), operation.etag, operation.id),
            )
            self._store.execute("UPDATE part SET state = 'pending' WHERE operation = ?", (operation.id,))

    def find_adoptable(self, key: str, size: int, fingerprint: str = "") -> tuple[str, list[Part]] | None:
        """Return id and parts of an upload that a dead job left of a file of this size with the same attributes.

        The attributes of an upload are fixed when it is begun, so one with another ``fingerprint`` will not do.
        """
        target, endpoint = self._current.target
        rows = self._store.rows(
            f"""SELECT operation.id, operation.upload_id FROM operation JOIN job ON job.number = operation.job
            WHERE operation.key = CAST(? AS TEXT) AND operation.upload_id <> '' AND {_DEAD}
                AND job.target = CAST(? AS TEXT) AND job.endpoint = ?
                AND operation.size = ? AND operation.fingerprint = ?
            ORDER BY operation.id DESC LIMIT 1""",  # noqa: S608 - constants
            (make_bindable(key), make_bindable(target), endpoint, size, fingerprint),
        )
        return (rows[0][1], self._parts_of(rows[0][0])) if rows else None

    def adopt(self, operation_id: int, key: str, upload_id: str) -> list[Part]:
        """Make a dead job's upload this operation's; return its parts, now of this operation.

        Parts that were sent of another state of the file are pending: they count once they have been compared.
        """
        with self._transaction.batch():
            row = self._store.rows(
                f"""SELECT operation.id, operation.fingerprint FROM operation JOIN job ON job.number = operation.job
                WHERE operation.key = CAST(? AS TEXT) AND operation.upload_id = ? AND {_DEAD}""",  # noqa: S608 - constants
                (make_bindable(key), upload_id),
            )[0]
            self._store.execute("DELETE FROM part WHERE operation = ?", (operation_id,))
            believed = "done" if is_same_file(self._stamp_of(row[0]), self._stamp_of(operation_id)) else ""
            self._store.execute(
                """UPDATE part SET operation = ?, state = CASE state WHEN ? THEN 'done' ELSE 'pending' END
                WHERE operation = ?""",
                (operation_id, believed, row[0]),
            )
            self._store.execute("UPDATE operation SET upload_id = '' WHERE id = ?", (row[0],))
            self._store.execute(
                "UPDATE operation SET upload_id = ?, fingerprint = ? WHERE id = ?", (upload_id, row[1], operation_id)
            )
        self._transaction.commit()
        return self.find_parts(operation_id)

    def list_left(self, *, of_dead_jobs_only: bool) -> list[UploadLeft]:
        """Return uploads neither completed nor aborted: to the job's own target and endpoint, without a job to any.

        Those of a dead job; if not ``of_dead_jobs_only`` all others too.
        """
        of = self._current.target if self._current.is_set else None
        found = find_uploads_left(self._store, of, of_dead_jobs_only=of_dead_jobs_only)
        for left in found:
            if not self.owns(left.key):
                self._store.refuse(f"it has a multipart upload of {left.key!r}, which is not below its target")
        return found

    def _parts_of(self, operation_id: int) -> list[Part]:
        """Return the parts of any operation's upload by their number."""
        rows = self._store.rows(
            """SELECT operation, number, offset, size, etag, checksum, state, attempts FROM part
            WHERE operation = ? ORDER BY number""",
            (operation_id,),
        )
        return [
            Part(operation, number, offset, size, etag, checksum, _STATE[state], attempts)
            for operation, number, offset, size, etag, checksum, state, attempts in rows
        ]

    def _stamp_of(self, operation_id: int) -> Stamp:
        """Return the stamp of the file an operation was planned for."""
        columns = "size, mtime_ns, ctime_ns, device, inode"
        return decode_row_stamp(self._store.rows(f"SELECT {columns} FROM operation WHERE id = ?", (operation_id,))[0])  # noqa: S608


def find_uploads_left(store: Database, of: tuple[str, str] | None, *, of_dead_jobs_only: bool) -> list[UploadLeft]:
    """Return uploads neither completed nor aborted, of one target and endpoint or of all."""
    # no run needs a skipped operation, so its upload is abandoned too
    dead = f"({_DEAD} OR operation.state = 'skipped')" if of_dead_jobs_only else "1"
    where = "1" if of is None else "job.target = CAST(? AS TEXT) AND job.endpoint = ?"
    rows = store.rows(
        f"""SELECT job.id, operation.id, operation.key, operation.upload_id
        FROM operation JOIN job ON job.number = operation.job
        WHERE operation.upload_id <> '' AND {dead} AND {where}""",  # noqa: S608 - constants
        () if of is None else (make_bindable(of[0]), of[1]),
    )
    return [UploadLeft._make(row) for row in rows]


def _make_part_rows(operation: int, parts: Sequence[Part]) -> list[tuple[Any, ...]]:
    """Return the rows of the table ``part``."""
    return [
        (operation, part.number, part.offset, part.size, part.etag, part.checksum, STATE_TEXT[part.state], 0)
        for part in parts
    ]
