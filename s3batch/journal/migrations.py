"""Schema versions: what this s3batch reads, and how an older journal becomes one.

Each step is one transaction together with its row in ``schema_version``, so a process killed in
between leaves the version before or the version after.
"""

from __future__ import annotations

import sqlite3
import time
from typing import TYPE_CHECKING

from s3batch import __version__

if TYPE_CHECKING:
    from sqlite_utils import Database

SUPPORTED = 3
"""The newest schema version this s3batch reads and writes."""

APPLICATION_ID = 0x53334261
"""``PRAGMA application_id`` of every journal: "S3Ba". Tells a journal from another program's database."""

TABLES = frozenset({"job", "object", "operation", "part", "remembered", "schema_version", "warning"})
"""Those that a journal of any version has."""


def version_of(connection: sqlite3.Connection) -> int:
    """Return the schema version of a journal; 0 where no step has been taken."""
    found: int | None = connection.execute("SELECT max(version) FROM schema_version").fetchone()[0]
    return found or 0


def migrate(connection: sqlite3.Connection, since: int) -> None:
    """Take every step from version ``since`` to :data:`SUPPORTED`. The connection is in autocommit mode."""
    from sqlite_utils import Database  # noqa: PLC0415 - 70 ms, wanted only when there is a step to take

    for version in range(since + 1, SUPPORTED + 1):
        connection.execute("BEGIN IMMEDIATE")
        try:
            _step(Database(connection), version)
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")


def _step(db: Database, version: int) -> None:
    from s3batch.journal import schema  # noqa: PLC0415 - as above

    steps = {1: schema.create_tables, 2: schema.add_stamps, 3: schema.begin_history}
    if version == 1:
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.table("schema_version").create({"version": int, "applied": float, "program": str}, pk="version")
    steps[version](db)
    db.execute("INSERT INTO schema_version VALUES (?, ?, ?)", (version, time.time(), f"s3batch {__version__}"))
