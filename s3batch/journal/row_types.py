"""A check of every row of a journal that another program may have written: SQLite keeps any value in any column.

A journal written by s3batch needs no check, because :mod:`s3batch.journal` reads what it writes.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping

from s3batch.model import JobState, Kind, Reason, State

_VIEWS = frozenset({"progress", "runs", "failures", "slowest"})
_TABLES = ("job", "operation", "part", "object", "remembered", "warning", "doubt", "sample")
_KINDS = {"TEXT": "'text'", "INTEGER": "'integer'", "REAL": "'real', 'integer'", "FLOAT": "'real', 'integer'"}
"""The types that a column may hold, by its declared type."""
_TEXTS = frozenset(
    {"id", "key", "path", "kind", "state", "source", "target", "endpoint", "settings", "detail", "value"}
)
"""Columns that are text whatever their table declares; ``id`` only of a job."""
_NAMES: Mapping[str, Mapping[str, type[JobState | Kind | Reason | State]]] = {
    "job": {"state": JobState},
    "operation": {"kind": Kind, "reason": Reason, "state": State},
    "part": {"state": State},
}


class Damage(sqlite3.DatabaseError):
    """The damage in a file that SQLite itself would open."""


def check_row_types(connection: sqlite3.Connection, *, whole: bool) -> None:
    """Raise Damage if tables do more than hold rows or, with ``whole``, hold a row that s3batch never writes."""
    odd = connection.execute("SELECT type, name FROM sqlite_master WHERE type NOT IN ('table', 'index')").fetchall()
    for kind, name in odd:
        if kind != "view" or name not in _VIEWS:
            raise Damage(f"it has a {kind} {name!r}")
    for table in _TABLES if whole else ():
        wrong = [_format_type_condition(table, *row[1:4]) for row in connection.execute(f"PRAGMA table_info({table})")]
        if not wrong:
            continue
        for name, values in _NAMES.get(table, {}).items():
            wrong.append(f"{name} NOT IN ({', '.join(repr(value.value) for value in values)})")
        found = connection.execute(f"SELECT 1 FROM {table} WHERE {' OR '.join(wrong)} LIMIT 1").fetchone()  # noqa: S608
        if found:
            raise Damage(f"its table {table} has a row that s3batch does not write")
    found = (
        whole and connection.execute("SELECT 1 FROM operation WHERE size < 0 OR length(key) > 4096 LIMIT 1").fetchone()
    )
    if found:
        raise Damage("an operation has an impossible size or key")


def _format_type_condition(table: str, name: str, declared: str, is_needed: int) -> str:
    """Return SQL that is true of a row whose column holds an impossible value."""
    is_text = name in _TEXTS and (name != "id" or table == "job")
    kinds = "'text'" if is_text else _KINDS.get(declared.upper(), "")
    if not kinds or not name.isidentifier():
        raise Damage(f"its table {table} has a column {name!r} of another kind")
    empty = "" if is_needed else ", 'null'"
    return f"typeof({name}) NOT IN ({kinds}{empty})"
