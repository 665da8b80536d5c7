"""Journals as older versions of s3batch made them."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing

from s3batch.journal import migrations


def make_old(path: str, version: int) -> None:
    """Make an empty journal of that schema version at ``path``."""
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        migrations.migrate_journal(connection, 0, version)
