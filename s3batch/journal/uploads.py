"""Multipart uploads that were begun: their parts, and the clean-up of abandoned ones.

An operation holds its upload id from before the first part is sent until S3 has completed or aborted the upload, so no
upload is lost. Those that a run began in the moment it died are in :mod:`s3batch.journal.doubts`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from s3batch.journal.database import Database, bindable, row_stamp
from s3batch.journal.settling import STATE_TEXT
from s3batch.model import Operation, Part, Stamp, State, is_same_file

_DEAD = "job.state IN ('done', 'superseded')"
_STATE = {state.value: state for state in State}


class UploadLeft(NamedTuple):
    """A multipart upload that is neither completed nor aborted."""

    job_id: str
    operation: int
    """The operation's row, for ``forget_upload``."""
    key: str
    upload_id: str


def begin(store: Database, operation: int, upload_id: str, parts: Sequence[Part], fingerprint: str) -> None:
    """Record an upload id with its parts."""
    store.execute(
        "UPDATE operation SET upload_id = ?, fingerprint = ? WHERE id = ?", (upload_id, fingerprint, operation)
    )
    store.execute("DELETE FROM part WHERE operation = ?", (operation,))
    store.execute_many("INSERT INTO part VALUES (?, ?, ?, ?, ?, ?, ?, ?)", _rows(operation, parts))


def parts_of(store: Database, operation: int) -> list[Part]:
    """Return the parts of an operation's upload by their number."""
    rows = store.rows(
        """SELECT operation, number, offset, size, etag, checksum, state, attempts FROM part
        WHERE operation = ? ORDER BY number""",
        (operation,),
    )
    return [Part._make((*row[:6], _STATE[row[6]], row[7])) for row in rows]


def size_of(store: Database, operation: int) -> int:
    """Return the bytes of an operation's file."""
    return int(store.value("SELECT size FROM operation WHERE id = ?", (operation,)) or 0)


def forget(store: Database, operation: int) -> None:
    """Forget an upload that was completed or aborted, or that S3 does not know any more."""
    store.execute("UPDATE operation SET upload_id = '' WHERE id = ?", (operation,))
    store.execute("DELETE FROM part WHERE operation = ?", (operation,))


def adoptable(store: Database, of: tuple[str, str], key: str, size: int, fingerprint: str) -> tuple[int, str] | None:
    """Return row and upload id of a dead job's unfinished upload of a file of the same size.

    ``of`` is target and endpoint. The attributes of an upload are fixed when it is begun, so one with another
    ``fingerprint`` will not do.
    """
    rows = store.rows(
        f"""SELECT operation.id, operation.upload_id FROM operation JOIN job ON job.number = operation.job
        WHERE operation.key = CAST(? AS TEXT) AND operation.upload_id <> '' AND {_DEAD}
            AND job.target = CAST(? AS TEXT) AND job.endpoint = ?
            AND operation.size = ? AND operation.fingerprint = ?
        ORDER BY operation.id DESC LIMIT 1""",  # noqa: S608 - constants
        (bindable(key), bindable(of[0]), of[1], size, fingerprint),
    )
    return (rows[0][0], rows[0][1]) if rows else None


def adopt(store: Database, operation: int, upload_id: str, key: str) -> None:
    """Move an upload with its parts from a dead job's operation to this one.

    Of another state of the file, no part is done: a worker compares each that S3 holds with the file's bytes.
    """
    row = store.rows(
        f"""SELECT operation.id, operation.fingerprint FROM operation JOIN job ON job.number = operation.job
        WHERE operation.key = CAST(? AS TEXT) AND operation.upload_id = ? AND {_DEAD}""",  # noqa: S608 - constants
        (bindable(key), upload_id),
    )[0]
    store.execute("DELETE FROM part WHERE operation = ?", (operation,))
    believed = "done" if is_same_file(_stamp(store, row[0]), _stamp(store, operation)) else ""
    store.execute(
        "UPDATE part SET operation = ?, state = CASE state WHEN ? THEN 'done' ELSE 'pending' END WHERE operation = ?",
        (operation, believed, row[0]),
    )
    store.execute("UPDATE operation SET upload_id = '' WHERE id = ?", (row[0],))
    store.execute("UPDATE operation SET upload_id = ?, fingerprint = ? WHERE id = ?", (upload_id, row[1], operation))


def restamp(store: Database, operation: Operation) -> None:
    """Record the file's current stamp; its parts were sent from another state of the file."""
    store.execute(
        "UPDATE operation SET mtime_ns = ?, ctime_ns = ?, device = ?, inode = ? WHERE id = ?",
        (*operation.stamp[2:], operation.id),
    )
    store.execute("UPDATE part SET state = 'pending' WHERE operation = ?", (operation.id,))


def left(store: Database, of: tuple[str, str] | None, *, of_dead_jobs_only: bool) -> list[UploadLeft]:
    """Return uploads neither completed nor aborted, of one target and endpoint or of all."""
    # no run needs a skipped operation, so its upload is abandoned too
    dead = f"({_DEAD} OR operation.state = 'skipped')" if of_dead_jobs_only else "1"
    where = "1" if of is None else "job.target = CAST(? AS TEXT) AND job.endpoint = ?"
    rows = store.rows(
        f"""SELECT job.id, operation.id, operation.key, operation.upload_id
        FROM operation JOIN job ON job.number = operation.job
        WHERE operation.upload_id <> '' AND {dead} AND {where}""",  # noqa: S608 - constants
        () if of is None else (bindable(of[0]), of[1]),
    )
    return [UploadLeft._make(row) for row in rows]


def _stamp(store: Database, operation: int) -> Stamp:
    """Return the stamp of the file an operation was planned for."""
    columns = "size, mtime_ns, ctime_ns, device, inode"
    return row_stamp(store.rows(f"SELECT {columns} FROM operation WHERE id = ?", (operation,))[0])  # noqa: S608


def _rows(operation: int, parts: Sequence[Part]) -> list[tuple[Any, ...]]:
    """Return the rows of the table ``part``."""
    return [
        (operation, part.number, part.offset, part.size, part.etag, part.checksum, STATE_TEXT[part.state], 0)
        for part in parts
    ]
