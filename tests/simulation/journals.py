"""Journals for schedules: one database in memory, which outlives the coordinators that use it.

A process that is killed leaves what it has committed, so a kill is a rollback. Opening a file, its checks and its WAL
are SQLite's and :mod:`s3batch.journal.database`'s, and the crash tests kill those; a file takes longer than most schedules.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from functools import cache

from s3batch.journal import Journal, migrations
from s3batch.journal.database import Database
from s3batch.journal.lock import JournalLock

_STATEMENTS = 1000
"""Statements that stay compiled."""


def begin_afresh() -> None:
    """Forget what earlier schedules have written."""
    connection = _database()
    if connection.in_transaction:
        connection.execute("ROLLBACK")
    for table in sorted(_tables(connection)):
        connection.execute(f"DELETE FROM {table}")


@cache
def _database() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None, cached_statements=_STATEMENTS)
    migrations.create_journal_tables(connection)
    return connection


def _tables(connection: sqlite3.Connection) -> Iterator[str]:
    names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    return (name for (name,) in names if name != "schema_version" and not name.startswith("sqlite_"))


def open_journal(path: str) -> Journal:
    """Open the journal as the next process does. The lock is a real file."""
    lock = JournalLock(path)
    return Journal(Database(path, _database(), lock.refuse_if_held), lock)


def leave(journal: Journal) -> None:
    """Have the journal's process be gone: what it has not committed is undone."""
    connection = journal._store._connection
    if connection.in_transaction:
        connection.execute("ROLLBACK")
    if connection is not _database():
        connection.close()
    journal._lock.release()
