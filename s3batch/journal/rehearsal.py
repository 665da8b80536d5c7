"""The journal of a dry run: a temporary one with the plan of this run, beside the job's own, which is only read.

    original (read only)   facts of the listed objects, work of earlier jobs
    main (temporary)       jobs and small state, copied; the listing; the dry run's operations

A dry run takes no operation over: its walk plans all that is left, which comes to the same.
"""

from __future__ import annotations

import os

from s3batch.files import private
from s3batch.journal.database import Database, open_database, open_read_only
from s3batch.journal.file_lists import LIST_NAME

_SMALL = ("job", "remembered")
"""Tables that are copied as they are."""
_CACHE_KIB = 4 * 1024
_WITHOUT_LISTS = f"DELETE FROM main.remembered WHERE name LIKE '{LIST_NAME}%'"  # noqa: S608 - constants
"""Paths of ``files_from`` are not copied: a dry run has its list from the user, and stores it like any other."""
_HIGHEST = """
INSERT OR REPLACE INTO remembered
    SELECT 'highest operation', max(coalesce((SELECT max(id) FROM original.operation), 0),
        coalesce((SELECT max(after_operation) FROM original.job), 0),
        coalesce((SELECT CAST(value AS INTEGER) FROM original.remembered WHERE name = 'highest operation'), 0))
"""
"""Rows of this run are numbered above those of the original, as a real run's would be."""


def open_rehearsal(path: str, folder: str, *, foreign: bool = False) -> Database:
    """Make a journal in ``folder`` with the facts of the one at ``path``, which may be missing.

    Nothing is changed at ``path``, and no file is left beside it. ``foreign``: see :func:`open_database`.
    """
    store = open_database(os.path.join(folder, "journal.db"), create=True, refuse_if_held=lambda: None)
    try:
        store.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")  # negative: KiB, not pages (sqlite.org/pragma.html)
        store.commit()
        if private.file_has_content(path):
            _copy_known_facts(store, path, os.path.join(folder, "migrated.db"), foreign=foreign)
    except BaseException:
        store.close()
        raise
    return store


def _copy_known_facts(store: Database, path: str, copy: str, *, foreign: bool) -> None:
    # SQLite removes its side files if the last connection to close may write; those of a killed run must stay
    mode = "ro" if private.file_has_content(path + "-wal") else "rw"
    original = open_read_only(path, foreign=foreign)  # looks whether it can be used
    try:
        if original.is_copy:
            private.create_file(copy).close()  # SQLite fills an empty file, but would not make it private
            original.copy_to(copy)
        store.attach(copy if original.is_copy else path, mode)
    finally:
        original.close()
    for table in _SMALL:
        columns = ", ".join(row[1] for row in store.rows(f"PRAGMA main.table_info({table})"))
        store.execute(f"INSERT INTO {table} ({columns}) SELECT {columns} FROM original.{table}")  # noqa: S608 - constants
    store.execute(_WITHOUT_LISTS)
    store.execute(_HIGHEST)
    store.commit()
