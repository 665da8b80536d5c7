"""The journal's file and its one connection: made, opened, checked.

WAL with synchronous=NORMAL: a commit costs no fsync, and a killed process loses nothing. After a power
cut the last commits may be missing, which makes work be repeated, never lost.
"""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from itertools import chain
from operator import length_hint
from typing import Any, NoReturn
from urllib.parse import quote

from s3batch.base.errors import JournalError, JournalTooNewError
from s3batch.files import private
from s3batch.journal import migrations, row_types
from s3batch.journal.limits import DEFAULT_LIMITS, JournalLimits
from s3batch.journal.row_types import Damage
from s3batch.journal.sqlite_errors import (
    ANOTHER_JOURNAL,
    describe_unusable,
    find_free_name,
    is_damage,
    move_damaged_aside,
    name_path_in_error,
)

CACHE_KIB = 8 * 1024
"""SQLite's page cache. Listing, walk and operations go through the tables in order, so that twice as much is not quicker."""

CHECKPOINT_PAGES = 4000
"""Pages of 4 KiB the WAL collects before they are written back: a page changed by many batches is written once."""

BUSY_SECONDS = 10.0
"""Seconds to wait for another program (Datasette, a backup) to release the file."""

_INSERTED_AT_ONCE = 100
"""Rows of one statement. With up to nine values each they stay below the 999 that older versions of SQLite take."""

_BREATH = 20_000
"""Instructions of SQLite's machine, some milliseconds, after which Python has its turn."""

Row = tuple[Any, ...]


class Database:
    """One connection, one thread. Writes collect in an open transaction until :meth:`commit`."""

    def __init__(self, path: str, connection: sqlite3.Connection, refuse_if_held: Callable[[], None] | None) -> None:
        self.path = path
        self.read_only = refuse_if_held is None
        self.writes = 0
        """The number of writes and rollbacks: while it stays the same, rows that were read are current."""
        self.original = ""
        """The journal whose tables are there too, as ``original.TABLE``: see :meth:`attach`."""
        self._connection = connection
        self._refuse_if_held = refuse_if_held
        self._closed = False
        self._damage: JournalError | None = None
        self._stopped: Callable[[], BaseException] | None = None

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> int:
        """Carry out one writing statement in the open transaction; return how many rows it touched."""
        self._begin()
        self.writes += 1
        try:
            return self._run(sql, parameters).rowcount
        except sqlite3.Error as error:
            self.fail(error)

    def execute_many(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        """Carry out one writing statement for each row."""
        if not rows:
            return
        self._begin()
        self.writes += 1
        left = iter(rows)
        try:
            try:
                self._connection.executemany(sql, left)
            except UnicodeEncodeError:  # raised by the row that was read last, before it was carried out
                for row in rows[len(rows) - length_hint(left) - 1 :]:
                    self._run(sql, row)
        except sqlite3.Error as error:
            self.fail(error)

    def insert_many(self, head: str, values: str, rows: Sequence[Sequence[Any]], tail: str = "") -> None:
        """Carry out ``INSERT ... VALUES ...`` for many short rows at once: two thirds of the time of one by one.

        ``values`` is what the statement has for each row, in brackets.
        """
        whole = len(rows) - len(rows) % _INSERTED_AT_ONCE
        sql = f"{head} VALUES {', '.join([values] * _INSERTED_AT_ONCE)} {tail}"
        for at in range(0, whole, _INSERTED_AT_ONCE):
            self.execute(sql, list(chain.from_iterable(rows[at : at + _INSERTED_AT_ONCE])))
        self.execute_many(f"{head} VALUES {values} {tail}", rows[whole:])

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """Return all rows of a query. Text that is not UTF-8 comes back with surrogate escapes."""
        try:
            return self._run(sql, parameters).fetchall()
        except sqlite3.Error as error:
            if not _is_decoding(error):
                self.fail(error)
        self._connection.text_factory = _decode_escaped
        try:
            return self._run(sql, parameters).fetchall()
        except sqlite3.Error as error:
            self.fail(error)
        finally:
            self._connection.text_factory = str

    def value(self, sql: str, parameters: Sequence[Any] = ()) -> Any:
        """Return the first column of the first row, or ``None``."""
        rows = self.rows(sql, parameters)
        return rows[0][0] if rows else None

    @property
    def earlier(self) -> str:
        """The prefix of table names for tables with rows of earlier jobs."""
        return "original." if self.original else ""

    @property
    def is_copy(self) -> bool:
        """True if this is a migrated copy of an older journal, without a name."""
        return not self.rows("PRAGMA database_list")[0][2]

    def attach(self, path: str, mode: str) -> None:
        """Have the tables of the journal at ``path`` read as well; nothing here writes to them."""
        expected = private.identify_file(path)
        try:
            self._connection.execute("ATTACH ? AS original", (_format_database_uri(path, mode),))
            self._connection.execute("SELECT 1 FROM original.schema_version").fetchone()
        except sqlite3.Error as error:
            raise name_path_in_error(path, error) from error
        if expected is not None:
            private.require_opened(path, expected)
        self.original = path

    def heed(self, stopped: Callable[[], BaseException], check: Callable[[], None]) -> None:
        """Let a signal's handler and ``check`` run while SQLite works; ``stopped`` returns the exception they raised.

        Python runs handlers between its own instructions, and one statement over a million rows takes seconds.
        """
        self._stopped = stopped
        self._connection.set_progress_handler(check, _BREATH)

    @property
    def is_writing(self) -> bool:
        """True if there is something to commit."""
        return not self._closed and self._connection.in_transaction

    def commit(self) -> None:
        """Make everything written so far lasting. Free when nothing was written."""
        self._end("COMMIT")

    def rollback(self) -> None:
        """Undo everything since the last commit."""
        self.writes += 1
        self._end("ROLLBACK")

    def shrink(self) -> None:
        """Free the page cache and return the memory to the system, so that forks do not copy it."""
        self.commit()
        try:
            self._connection.execute("PRAGMA shrink_memory")
        except sqlite3.Error as error:
            self.fail(error)
        import ctypes  # noqa: PLC0415 - needed here only, and it takes 5 ms

        with suppress(OSError, AttributeError):  # glibc alone has it
            ctypes.CDLL(None).malloc_trim(0)

    def vacuum(self) -> None:
        """Give back the space of forgotten rows; needs as much again while it runs."""
        self.commit()
        try:
            self._connection.execute("VACUUM")
        except sqlite3.Error as error:
            self.fail(error)

    def copy_to(self, path: str) -> None:
        """Write a compact copy of everything committed to a new file."""
        self.commit()
        try:
            self._connection.execute("VACUUM INTO ?", (path,))
        except sqlite3.Error as error:
            self.fail(error)

    def close(self) -> None:
        """Close the connection; uncommitted writes are undone."""
        if not self._closed:
            self._closed = True
            self._connection.close()

    def refuse(self, why: str) -> NoReturn:
        """Raise the JournalError for content that s3batch never writes, setting the file aside."""
        if self.read_only or self.original:
            raise describe_unusable(self.original or self.path, why)
        self.fail(Damage(why))

    def fail(self, error: sqlite3.Error) -> NoReturn:
        """Raise the JournalError that ``error`` means, setting a damaged file aside. Damage is said again at every use."""
        if self._stopped is not None and getattr(error, "sqlite_errorname", "") == "SQLITE_INTERRUPT":
            raise self._stopped() from None
        if self.original and is_damage(error):
            raise describe_unusable(self.original, str(error)) from error
        if self._damage is None and self._refuse_if_held is not None and is_damage(error):
            self.close()
            self._refuse_if_held()
            self._damage = move_damaged_aside(self.path, str(error))
        if self._damage is not None:
            raise self._damage from error
        raise name_path_in_error(self.path, error) from error

    def _run(self, sql: str, parameters: Sequence[Any]) -> sqlite3.Cursor:
        """Carry out a statement. Any parameter may be text that is not UTF-8."""
        try:
            return self._connection.execute(sql, parameters)
        except UnicodeEncodeError:
            return self._connection.execute(*_cast_texts(sql, parameters))

    def _begin(self) -> None:
        if self._damage is not None:  # the connection is closed
            raise self._damage
        if not self._connection.in_transaction:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
            except sqlite3.Error as error:
                self.fail(error)

    def _end(self, how: str) -> None:
        if not self._closed and self._connection.in_transaction:
            try:
                self._connection.execute(how)
            except sqlite3.Error as error:
                self.fail(error)


def open_database(
    path: str,
    *,
    create: bool,
    refuse_if_held: Callable[[], None],
    foreign: bool = False,
    limits: JournalLimits = DEFAULT_LIMITS,
) -> Database:
    """Open the journal at ``path``, created first if it is missing and ``create`` is true.

    ``foreign``: another program may have written it, so its rows are checked, as long as that takes no second.
    ``refuse_if_held`` raises if a live coordinator holds the file, which is then not set aside.
    """
    if create:
        _make_if_absent(path)
    _require_journal_file(path)
    limit = limits.checked_unclean if private.file_has_content(path + "-wal") else limits.checked_always
    checked = os.path.getsize(path) <= limit
    connection = _connect_database(path, "rw")
    try:
        _prepare_connection(connection)
        _check_database(connection, path, whole=checked)
        row_types.check_jobs(connection)
        if foreign:
            row_types.check_row_types(connection, whole=checked)
    except sqlite3.Error as error:
        connection.close()
        if not is_damage(error):
            raise name_path_in_error(path, error) from error
        refuse_if_held()
        raise move_damaged_aside(path, str(error)) from error
    except BaseException:
        connection.close()
        raise
    return Database(path, connection, refuse_if_held)


def open_read_only(path: str, *, foreign: bool = False) -> Database:
    """Open an existing journal to look at, also while a coordinator writes to it; ``foreign``: see :func:`open_database`.

    One of an older version stays as it is: a migrated copy in a temporary file of SQLite's is read.
    """
    _require_journal_file(path)
    connection = _connect_database(path, "ro")
    try:
        found = _read_version(connection, path)
        if found < migrations.SUPPORTED:
            connection = _migrate_copy(connection, found)
        row_types.check_jobs(connection)
        if foreign:
            row_types.check_row_types(connection, whole=os.path.getsize(path) <= DEFAULT_LIMITS.checked_always)
    except sqlite3.Error as error:
        connection.close()
        if is_damage(error):
            raise describe_unusable(path, str(error)) from error
        raise name_path_in_error(path, error) from error
    except BaseException:
        connection.close()
        raise
    return Database(path, connection, None)


def make_bindable(text: str) -> str | bytes:
    """Return ``text`` in a form that SQLite accepts: as bytes if it is not UTF-8, to be cast to TEXT."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogateescape")
    return text


def make_all_bindable(texts: Sequence[str]) -> bool:
    """Return whether SQLite accepts every text as it is: one test for a whole batch."""
    try:
        "".join(texts).encode()
    except UnicodeEncodeError:
        return False
    return True


def _cast_texts(sql: str, parameters: Sequence[Any]) -> tuple[str, list[Any]]:
    """Return the statement with each text that is not UTF-8 given as bytes and cast to TEXT. No literal holds a ``?``."""
    values = [make_bindable(value) if isinstance(value, str) else value for value in parameters]
    place = 0

    def cast(mark: re.Match[str]) -> str:
        nonlocal place
        place = int(mark[1]) if mark[1] else place + 1
        is_cast = values[place - 1] is not parameters[place - 1]
        return f"CAST({mark[0]} AS TEXT)" if is_cast else mark[0]

    return re.sub(r"\?(\d*)", cast, sql), values


def _decode_escaped(content: bytes) -> str:
    return content.decode("utf-8", "surrogateescape")


def _require_journal_file(path: str) -> None:
    """Raise JournalError unless the journal exists and has content, and it and all files beside it are this user's."""
    try:
        found = private.check_journal(path)
        is_empty = not private.file_has_content(path)
    except OSError as error:
        raise JournalError(f"cannot open the journal {path}: {error.strerror}", hint=ANOTHER_JOURNAL) from error
    if found is None:
        raise JournalError(f"there is no journal {path}", hint="name the one you mean with --journal")
    if is_empty:  # a power cut may leave the name of a new file without its content
        raise JournalError(
            f"the journal {path} is empty: it holds no job",
            hint="run the command of the job again, which begins a new journal, or name another --journal",
        )


def _make_if_absent(path: str) -> None:
    """Make an empty journal under another name, then rename it, so that no process sees half of one."""
    try:
        if private.file_has_content(path):
            return
        temporary = find_free_name(f"{path}.new-{os.getpid()}")
        os.close(private.open_private_file(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    except OSError as error:
        raise JournalError(f"cannot make the journal {path}: {error.strerror}", hint=ANOTHER_JOURNAL) from error
    try:
        _create_database_file(temporary)
        with private.locked_directory(path):
            if not private.file_has_content(path):  # another process was quicker; its journal is used
                private.rename_file(temporary, path)
    except sqlite3.Error as error:
        raise name_path_in_error(path, error) from error
    except OSError as error:
        raise JournalError(f"cannot make the journal {path}: {error.strerror}", hint=ANOTHER_JOURNAL) from error
    finally:
        _remove_database(temporary)


def _create_database_file(path: str) -> None:
    with closing(_connect_database(path, "rw")) as connection:
        connection.execute("PRAGMA journal_mode = MEMORY")  # no other process sees it yet, and a kill leaves no journal
        migrations.create_journal_tables(connection)
        connection.execute("PRAGMA journal_mode = WAL")


def _connect_database(path: str, mode: str) -> sqlite3.Connection:
    """Connect to a private file. SQLite opens it by its name, so the opened file is checked afterwards."""
    expected = private.identify_file(path)
    try:
        connection = sqlite3.connect(
            _format_database_uri(path, mode), uri=True, isolation_level=None, timeout=BUSY_SECONDS
        )
    except sqlite3.Error as error:
        raise name_path_in_error(path, error) from error
    try:
        if expected is not None:
            private.require_opened(path, expected)
    except BaseException:
        connection.close()
        raise
    return connection


def _format_database_uri(path: str, mode: str) -> str:
    return f"file:{quote(os.fsencode(os.path.abspath(path)))}?mode={mode}"


def _prepare_connection(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
    connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
    connection.execute("PRAGMA journal_size_limit = 67108864")


def _check_database(connection: sqlite3.Connection, path: str, *, whole: bool) -> None:
    """Refuse a file that is not a journal, and migrate an older one. A damaged one raises sqlite3.DatabaseError."""
    found = _read_version(connection, path)
    if whole:
        verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if verdict != "ok":
            raise Damage(str(verdict))
    if found < migrations.SUPPORTED:
        migrations.migrate_journal(connection, found)


def _migrate_copy(connection: sqlite3.Connection, found: int) -> sqlite3.Connection:
    copy = sqlite3.connect("", isolation_level=None)
    with closing(connection):
        connection.backup(copy)
    migrations.migrate_journal(copy, found)
    return copy


def _read_version(connection: sqlite3.Connection, path: str) -> int:
    if connection.execute("PRAGMA application_id").fetchone()[0] != migrations.APPLICATION_ID:
        raise JournalError(
            f"{path} is a database of another program, not a journal; it was left as it is",
            hint=ANOTHER_JOURNAL,
        )
    names = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    found = migrations.read_schema_version(connection) if "schema_version" in names else 0
    if found > migrations.SUPPORTED:
        raise JournalTooNewError(path, found=found, supported=migrations.SUPPORTED)
    missing = sorted(migrations.TABLES - names)
    if missing or not found:
        raise Damage(f"no table {missing[0]}" if missing else "no schema version")
    return found


def do_nothing() -> None:
    """Do nothing: a call of Python is enough for the handler of a signal that waits."""


def _is_decoding(error: sqlite3.Error) -> bool:
    return isinstance(error, sqlite3.OperationalError) and "decode" in str(error)


def _remove_database(path: str) -> None:
    for suffix in ("", "-wal", "-shm"):
        with suppress(FileNotFoundError):
            private.remove_file(path + suffix)
