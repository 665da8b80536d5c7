"""The rows of operations and of their results: each field is written and read here, by its name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count
from typing import Any, TypeVar

from s3batch.journal.database import Database, Row, make_all_bindable, make_bindable
from s3batch.journal.specs import decode_spec, encode_spec
from s3batch.model import FILE, NO_STAMP, Kind, Operation, PlannedDeletes, Reason, Result, Stage, Stamp, State, Step

KIND_TEXT = {kind: kind.value for kind in Kind}
REASON_TEXT = {reason: reason.value for reason in Reason}
STATE_TEXT = {state: state.value for state in State}
"""States as plain text for SQLite: binding an enum member costs 1 us more a value."""
KIND_OF = {text: kind for kind, text in KIND_TEXT.items()}
REASON_OF = {text: reason for reason, text in REASON_TEXT.items()}
"""Reasons by their text: looking a member up is 0.3 us quicker than making it."""

_Made = TypeVar("_Made")

COLUMNS = (
    "kind, key, reason, path, size, mtime_ns, ctime_ns, device, inode, stage, listed_etag, detail, id, attempts, "
    "recheck, upload_id"
)
"""The fields of Operation in their order, with those of its stamp in the stamp's place, and its spec as ``detail``."""
WIDTH = COLUMNS.count(",") + 1

_INSERT = """
INSERT INTO operation
    (job, state, id, kind, key, reason, path, size, mtime_ns, ctime_ns, device, inode, stage, listed_etag, detail)
VALUES ({job}, '{state}', ?, ?, {text}, ?, {text}, ?, ?, ?, ?, ?, ?, ?, {text})
"""
"""Values that are equal for all rows of a job are part of the statement: each bound value costs 0.1 us a row."""
_INSERT_ORPHAN = "INSERT INTO operation (job, state, kind, reason, stage, id, key, mtime_ns, listed_etag)"
_ORPHAN = "({job}, '{state}', 'delete', 'orphan', {stage}, ?, {text}, ?, ?)"
_ID = Operation._fields.index("id")
_UNTRIED = tuple(Operation._field_defaults[name] for name in Operation._fields[_ID + 1 :])
"""The fields after ``id``: they are of an operation that was leased before."""
_FILE_STATE = Stamp._fields.index("mtime_ns")

LONGEST = 10**12
"""Seconds: more than any operation takes."""
_STILL_UNHEARD = frozenset({State.PENDING, State.SKIPPED})
"""A pending operation may not have come to looking. One that was found right may be what an unheard request has done."""

SETTLE = """
UPDATE operation SET state = ?, attempts = attempts + ?, recheck = recheck * ?, error = CAST(? AS TEXT), code = ?, status = ?,
    request_id = ?, seconds = ?, bytes = bytes + ?, etag = ?, checksum = ?, written = ?,
    fingerprint = coalesce(nullif(?, ''), fingerprint)
WHERE id = ?
"""
SETTLE_DONE = """
UPDATE operation SET state = 'done', attempts = attempts + 1, recheck = 0, error = '', code = '', status = 0,
    request_id = ?, seconds = ?, bytes = bytes + ?, etag = ?, checksum = ?, written = ?,
    fingerprint = coalesce(nullif(?, ''), fingerprint)
WHERE id = ?
"""
"""The outcome of nearly every row, for a :data:`~s3batch.model.ShortRow`: each value that is not bound saves 0.1 us."""
SETTLE_FETCHED = SETTLE_DONE.replace(" SET ", " SET mtime_ns = ?, ctime_ns = ?, device = ?, inode = ?,\n    ", 1)
"""The same of a download."""


def insert_operations(store: Database, job: int, operations: Sequence[Operation], first: int, state: State) -> None:
    """Insert operations, numbered from ``first`` on."""
    specs = ["" if each.spec is None else encode_spec(each.spec) for each in operations]
    plain = make_all_bindable([*specs, *(text for each in operations for text in (each.key, each.path))])
    rows: list[Row] = [
        (number, KIND_TEXT[kind], key, REASON_TEXT[why], path, size, mtime, ctime, device, inode, stage, etag, detail)
        for number, (kind, key, why, path, size, stamp, stage, etag, _spec, _id, _attempts, _recheck, _upload_id), detail
        in zip(
            count(first),
            operations if plain else map(_with_bytes, operations),
            specs if plain else map(make_bindable, specs),
        )
        for _, _, mtime, ctime, device, inode in (stamp,)
    ]  # fmt: skip
    text = "?" if plain else "CAST(? AS TEXT)"
    store.execute_many(_INSERT.format(job=job, state=STATE_TEXT[state], text=text), rows)


def insert_orphans(store: Database, job: int, deletes: PlannedDeletes, rows: Sequence[int], state: State) -> None:
    """Insert deletes of orphans, which have a key and what was listed of it, in half the time of other operations."""
    plain = make_all_bindable(deletes.keys)
    keys = deletes.keys if plain else map(make_bindable, deletes.keys)
    values = _ORPHAN.format(
        job=job, state=STATE_TEXT[state], stage=Stage.DELETE, text="?" if plain else "CAST(? AS TEXT)"
    )
    store.insert_many(_INSERT_ORPHAN, values, list(zip(rows, keys, deletes.times, deletes.etags, strict=True)))


def _with_bytes(operation: Operation) -> Operation:
    """Return the operation with texts that SQLite accepts."""
    texts: dict[str, Any] = {name: make_bindable(getattr(operation, name)) for name in ("key", "path")}
    return operation._replace(**texts)


def number_operations(operations: Sequence[Operation], first: int) -> list[Operation]:
    """Return the operations with the numbers of new rows, from ``first`` on."""
    new = tuple.__new__
    return [new(Operation, (*each[:_ID], row, *_UNTRIED)) for row, each in enumerate(operations, first)]


def decode_operations(rows: Sequence[Row]) -> list[Operation]:
    """Return the operations of rows with :data:`COLUMNS`."""
    kind_of, reason_of, new = KIND_OF, REASON_OF, tuple.__new__
    return [
        new(
            Operation,
            (
                kind_of[kind], key, reason_of[reason], path, size,
                new(Stamp, (FILE, size or 0, mtime, ctime, device, inode)) if inode or mtime else NO_STAMP,
                stage, etag, decode_spec(kind_of[kind], detail) if detail else None, row, attempts, recheck == 1, upload_id,
            ),
        )
        for kind, key, reason, path, size, mtime, ctime, device, inode,
            stage, etag, detail, row, attempts, recheck, upload_id in rows
    ]  # fmt: skip


def convert_rows(store: Database, make: Callable[[Any], _Made], rows: Any) -> _Made:
    """Convert rows with ``make``; values that s3batch does not write mean a damaged journal."""
    try:
        return make(rows)
    except (KeyError, ValueError, TypeError) as error:
        store.refuse(f"its operations have a row that s3batch does not write ({error!r})")


def require_possible_seconds(seconds: object) -> None:
    """Raise ValueError for a duration that s3batch never writes: no JSON, and no sum of a report, can hold it."""
    if not (isinstance(seconds, int | float) and -LONGEST <= seconds <= LONGEST):
        raise ValueError(f"{seconds!r} seconds")


def make_stamp_values(stamp: Stamp) -> tuple[int, ...]:
    """Return mtime, ctime, device and inode: a row holds the size by itself."""
    return stamp[_FILE_STATE:]


def decode_row_stamp(row: Sequence[int | None]) -> Stamp:
    """Return the stamp whose size, mtime, ctime, device and inode a row holds."""
    size, mtime, ctime, device, inode = row
    return tuple.__new__(Stamp, (FILE, size or 0, mtime, ctime, device, inode))


def make_result_values(state: State, result: Result, *, is_attempt: bool) -> tuple[Any, ...]:
    """Return the values of :data:`SETTLE`. A part's ETag and checksum are in the row of the part."""
    of_part = result.step is Step.PART
    return (
        STATE_TEXT[state],
        is_attempt or state is State.FAILED,
        state in _STILL_UNHEARD,
        make_bindable(result.error) if result.error else "",
        result.code,
        result.status,
        result.request_id,
        result.seconds,
        result.sent,
        "" if of_part else result.etag,
        "" if of_part else result.checksum,
        result.date,
        result.fingerprint,
        result.id,
    )
