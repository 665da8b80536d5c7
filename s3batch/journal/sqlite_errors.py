"""The error to raise for each error of SQLite, and the place of a damaged journal.

    a SQLite error           becomes
    CORRUPT, NOTADB          JournalError, and the file is set aside as NAME.damaged-YYYYmmddHHMMSS
    FULL, IOERR, READONLY... JournalError that names the problem of the disk
    BUSY, LOCKED             JournalError: another program writes to the file

Only a damaged file changes its name.
"""

from __future__ import annotations

import os
import sqlite3
import time

from s3batch.base.errors import JournalError
from s3batch.files import private
from s3batch.journal.row_types import Damage

_WHAT_IS_WRONG = {
    "SQLITE_FULL": "the journal's disk is full",
    "SQLITE_READONLY": "the journal cannot be written",
    "SQLITE_CANTOPEN": "the journal cannot be opened",
    "SQLITE_PERM": "the journal cannot be written",
    "SQLITE_IOERR": "the journal's disk fails or is full",
    "SQLITE_BUSY": "another program holds the journal",
    "SQLITE_LOCKED": "another program holds the journal",
}

ANOTHER_JOURNAL = "name another --journal"


def is_damage(error: sqlite3.Error) -> bool:
    """Return true if the file itself is damaged."""
    name = getattr(error, "sqlite_errorname", "")
    return isinstance(error, Damage) or name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB"))


def name_path_in_error(path: str, error: sqlite3.Error) -> JournalError:
    """Return the error to raise where the journal stays as it is: its path, and what is wrong."""
    name = getattr(error, "sqlite_errorname", "")
    why = next((text for start, text in _WHAT_IS_WRONG.items() if name.startswith(start)), "the journal cannot be used")
    return JournalError(f"{why}: {path} ({error})", remedy="correct this (finished operations are kept)")


def describe_unusable(path: str, why: str) -> JournalError:
    """Return the error to raise for a damaged journal that stays in its place."""
    return JournalError(f"journal {path} is damaged ({why})", hint=ANOTHER_JOURNAL)


def move_damaged_aside(path: str, why: str) -> JournalError:
    """Move a damaged journal aside, with its WAL so that it can be recovered; return the error to raise."""
    aside = find_free_name(f"{path}.damaged-{time.strftime('%Y%m%d%H%M%S', time.gmtime())}")
    try:
        for suffix in ("-wal", "-shm", ""):
            if private.file_exists(path + suffix):
                private.rename_file(path + suffix, aside + suffix)
    except OSError as error:
        return JournalError(f"journal {path} is damaged ({why}) and cannot be moved aside: {error}")
    return JournalError(
        f"journal {path} is damaged ({why}); it is now {aside}",
        hint="run the same command again: it begins a new journal, and does not send again what the bucket holds",
    )


def find_free_name(wanted: str) -> str:
    """Return ``wanted``, with a number behind it if the name is taken."""
    name, number = wanted, 1
    while os.path.lexists(name):
        number += 1
        name = f"{wanted}-{number}"
    return name
