"""Checks of rows that another program may have written: SQLite keeps any value in any column.

The few rows of jobs are checked in every journal, since each command computes with them. The other rows are checked where
s3batch may not have written them: :mod:`s3batch.journal` reads what it writes.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping

from s3batch.model import JobState, Kind, Reason, Stage, State

_CONTINUES_LATER = """
SELECT 1 FROM job JOIN job AS earlier ON earlier.id = job.continues WHERE earlier.number >= job.number LIMIT 1
"""
"""Numbers rise, so a chain of jobs whose numbers fall has an end."""
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
_TIME = (0, 9_000_000_000)
"""Seconds since 1970, by this machine's clock. Later ones than of 2255 are no nanoseconds of 64 bits."""
_STORE_TIME = (-100_000_000_000, 1_000_000_000_000)
"""The same by the store's clock: any date that a response can have, from the year 1 to 9999."""
_SECONDS = (-1_000_000_000_000, 1_000_000_000_000)
ROW_LIMIT = 1 << 60
"""No row has a higher number: SQLite's own limit, with room to count on."""
_ROW = (0, ROW_LIMIT)
_COUNT = (0, 1 << 60)
_TOTAL = (-(1 << 60), 1 << 60)
_SIZE = (0, (1 << 63) - 1)
"""Bytes of a file. A sparse one may be as large, and is planned to be refused."""
_SUM = (-(10**25), 10**25)
"""Bytes of files together: SQLite makes a fraction of a sum beyond 64 bits."""
_FLAG = (0, 1)
_STAGE = (Stage.MAIN, Stage.DELETE)
_RANGES: Mapping[str, Mapping[str, tuple[int, int]]] = {
    "job": {
        "number": _ROW, "after_operation": _ROW, "stage": _STAGE, "planned": _FLAG, "learned": _FLAG, "exit_code": (0, 255),
        "started": _TIME, "ended": _TIME, "seen": _TIME, "seen_there": _STORE_TIME, "store_date": _STORE_TIME,
        "timeout": (0, 10**308), "bytes": _SUM,
        **dict.fromkeys(("left_open", "resumed", "files", "unchanged", "found_unchanged", "retries"), _TOTAL),
    },
    "operation": {
        "id": _ROW, "job": _ROW, "size": _SIZE, "bytes": _SIZE, "stage": _STAGE, "attempts": _COUNT, "status": _COUNT,
        "seconds": _SECONDS, "written": _STORE_TIME,
    },
    "part": {"number": _ROW, "offset": _SIZE, "size": _SIZE, "attempts": _COUNT},
    "object": {"size": _SIZE, "known_size": _SIZE, "local_size": _SIZE, "modified": _STORE_TIME, "written": _STORE_TIME},
    "doubt": {"since": _STORE_TIME, "until": (-(10**308), 10**308)},
    "sample": {"at": _TIME, "bytes": _SUM, **dict.fromkeys(("operations", "requests", "failed"), _TOTAL)},
}  # fmt: skip
"""The lowest and the highest value that s3batch writes into a column. More than that cannot be computed with."""


class Damage(sqlite3.DatabaseError):
    """The damage in a file that SQLite itself would open."""


def check_jobs(connection: sqlite3.Connection) -> None:
    """Raise Damage for a job with an impossible number or time, or that continues itself or a later job."""
    odd = " ".join(f"WHEN {_format_range_condition('job', name)} THEN '{name}'" for name in _RANGES["job"])
    found = connection.execute(f"SELECT CASE {odd} END AS odd FROM job WHERE odd IS NOT NULL LIMIT 1").fetchone()  # noqa: S608
    if found:
        raise Damage(f"a job has an impossible value: {found[0]}")
    if connection.execute(_CONTINUES_LATER).fetchone():
        raise Damage("a job continues itself, or a later one")


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
        wrong += [_format_range_condition(table, name) for name in _RANGES.get(table, {})]
        for name, values in _NAMES.get(table, {}).items():
            wrong.append(f"{name} NOT IN ({', '.join(repr(value.value) for value in values)})")
        found = connection.execute(f"SELECT 1 FROM {table} WHERE {' OR '.join(wrong)} LIMIT 1").fetchone()  # noqa: S608
        if found:
            raise Damage(f"its table {table} has a row that s3batch does not write")
    if whole and connection.execute("SELECT 1 FROM operation WHERE length(key) > 4096 LIMIT 1").fetchone():
        raise Damage("an operation has an impossible key")


def _format_range_condition(table: str, name: str) -> str:
    """Return SQL that is true of a row whose column holds a number that s3batch never writes."""
    lowest, highest = _RANGES[table][name]
    return f"{name} NOT BETWEEN {lowest} AND {highest}"


def _format_type_condition(table: str, name: str, declared: str, is_needed: int) -> str:
    """Return SQL that is true of a row whose column holds an impossible value."""
    is_text = name in _TEXTS and (name != "id" or table == "job")
    kinds = "'text'" if is_text else _KINDS.get(declared.upper(), "")
    if not kinds or not name.isidentifier():
        raise Damage(f"its table {table} has a column {name!r} of another kind")
    empty = "" if is_needed else ", 'null'"
    return f"typeof({name}) NOT IN ({kinds}{empty})"
