"""Schema versions: the versions that this s3batch reads, and the migration of an older journal.

Each step is one transaction together with its row in ``schema_version``, so a process killed in
between leaves the version before or the version after.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from s3batch import __version__
from s3batch.journal import tables

if TYPE_CHECKING:
    from sqlite_utils import Database

SUPPORTED = tables.VERSION
"""The newest schema version this s3batch reads and writes."""

APPLICATION_ID = 0x53334261
"""``PRAGMA application_id`` of every journal: "S3Ba". Tells a journal from another program's database."""

TABLES = frozenset({"job", "object", "operation", "part", "remembered", "schema_version", "warning"})
"""The tables that a journal of any version has."""


def read_schema_version(connection: sqlite3.Connection) -> int:
    """Return the schema version of a journal; 0 where no step has been taken."""
    found: int | None = connection.execute("SELECT max(version) FROM schema_version").fetchone()[0]
    return found or 0


def create_journal_tables(connection: sqlite3.Connection) -> None:
    """Make the tables of version :data:`SUPPORTED` in an empty database. The connection is in autocommit mode."""
    with _run_transaction(connection):
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        for statement in filter(str.strip, tables.TABLES.split(";\n")):
            connection.execute(statement)
        _record_version(connection, SUPPORTED)


def migrate_journal(connection: sqlite3.Connection, since: int, until: int = SUPPORTED) -> None:
    """Take every step from version ``since`` to ``until``. The connection is in autocommit mode."""
    from sqlite_utils import Database  # noqa: PLC0415 - 60 ms, wanted only when there is a step to take

    for version in range(since + 1, until + 1):
        with _run_transaction(connection):
            _run_migration_step(Database(connection), version)


@contextmanager
def _run_transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _run_migration_step(db: Database, version: int) -> None:
    from s3batch.journal import schema  # noqa: PLC0415 - as above

    steps = {
        1: schema.create_tables,
        2: schema.add_stamp_columns,
        3: schema.begin_history,
        4: schema.add_store_clock,
        5: schema.add_reports,
    }
    if version == 1:
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.table("schema_version").create({"version": int, "applied": float, "program": str}, pk="version")
    steps[version](db)
    _record_version(db, version)


def _record_version(db: sqlite3.Connection | Database, version: int) -> None:
    db.execute("INSERT INTO schema_version VALUES (?, ?, ?)", (version, time.time(), f"s3batch {__version__}"))
