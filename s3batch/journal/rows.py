"""The rows of operations: written and read in one place, field by field."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from s3batch.journal.database import Database, Row, all_bindable, bindable, row_stamp
from s3batch.journal.settling import KIND_TEXT, REASON_TEXT, STATE_TEXT
from s3batch.model import NO_STAMP, Kind, Operation, Reason, State

KIND_OF = {kind.value: kind for kind in Kind}
REASON_OF = {reason.value: reason for reason in Reason}
"""Reasons by their text: looking a member up is 0.3 us quicker than making it."""

_Made = TypeVar("_Made")

COLUMNS = (
    "kind, key, reason, path, size, mtime_ns, ctime_ns, device, inode, stage, listed_etag, detail, id, attempts, "
    "recheck, upload_id"
)
"""In the order of the fields of Operation, with those of its stamp in the stamp's place."""
WIDTH = COLUMNS.count(",") + 1

_INSERT = """
INSERT INTO operation
    (job, state, id, kind, key, reason, path, size, mtime_ns, ctime_ns, device, inode, stage, listed_etag, detail)
VALUES ({job}, '{state}', ?, ?, {text}, ?, {text}, ?, ?, ?, ?, ?, ?, ?, {text})
"""
"""Values that are equal for all rows of a job are part of the statement: each bound value costs 0.1 us a row."""


def insert(store: Database, job: int, operations: Sequence[Operation], first: int, state: State) -> None:
    """Insert operations, numbered from ``first`` on."""
    rows: list[Row] = [
        (number, KIND_TEXT[kind], key, REASON_TEXT[why], path, size, mtime, ctime, device, inode, stage, etag, detail)
        for number, (kind, key, why, path, size, stamp, stage, etag, detail, *_) in enumerate(operations, first)
        for _, _, mtime, ctime, device, inode in (stamp,)
    ]
    plain = all_bindable([text for row in rows for text in (row[2], row[4], row[12])])
    if not plain:
        rows = [(*row[:2], bindable(row[2]), row[3], bindable(row[4]), *row[5:12], bindable(row[12])) for row in rows]
    text = "?" if plain else "CAST(? AS TEXT)"
    store.execute_many(_INSERT.format(job=job, state=STATE_TEXT[state], text=text), rows)


def number(operations: Sequence[Operation], first: int) -> list[Operation]:
    """Return the operations with the numbers of new rows, from ``first`` on."""
    new = tuple.__new__
    return [new(Operation, (*each[:9], row, 0, False, "")) for row, each in enumerate(operations, first)]


def operations(rows: Sequence[Row]) -> list[Operation]:
    """Return the operations of rows with :data:`COLUMNS`."""
    kind, reason, new = KIND_OF, REASON_OF, tuple.__new__
    stamps = [row_stamp(row[4:9]) if row[8] or row[5] else NO_STAMP for row in rows]
    return [
        new(
            Operation,
            (kind[row[0]], row[1], reason[row[2]], row[3], row[4], stamp, *row[9:14], row[14] == 1, row[15]),
        )
        for row, stamp in zip(rows, stamps, strict=True)
    ]


def decode(store: Database, make: Callable[[Any], _Made], rows: Any) -> _Made:
    """Convert rows with ``make``; values that s3batch does not write mean a damaged journal."""
    try:
        return make(rows)
    except (KeyError, ValueError, TypeError) as error:
        store.refuse(f"its operations have a row that s3batch does not write ({error!r})")
