"""One coordinator a journal: a flock on ``JOURNAL.lock``, with the holder's name written in it.

The kernel frees the lock when its holder dies, however it dies, so a dead one's is simply taken. The text
(pid, host, time) only names the holder in messages. The file stays: removing it would race with the next.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from typing import Any

from s3batch.base.errors import JournalError, JournalLockedError
from s3batch.files import private

_TRIES = 5
_LONGEST = 32 * 1024
"""Bytes of the holder's text."""
_PAUSE = 0.02
"""Seconds between tries: ``jobs list`` touches the lock for an instant to see whether it is held."""


class JournalLock:
    """The lock of one journal, or of one target, held from :meth:`take` to :meth:`release`."""

    def __init__(self, path: str, what: str = "") -> None:
        """Prepare the lock file, ``path`` with ``.lock`` appended; ``what`` names the locked thing in messages."""
        self._what = what or f"journal {path}"
        self._path = path + ".lock"
        self._file: int | None = None

    def take(self, **facts: Any) -> None:
        """Take the lock, or raise JournalLockedError naming who has it. Taking it twice is once.

        ``facts`` are kept if the file holds the same ones already, with others that :meth:`note` wrote.
        """
        if self._file is not None:
            return
        file = self._open()
        if not _try_to_lock(file):
            holder = _name_lock_holder(file)
            os.close(file)
            raise JournalLockedError(self._what, holder=holder)
        self._file = file
        kept = _read_lock_map(file)
        try:
            self.note(**(kept if facts and facts.items() <= kept.items() else facts))
        except JournalError:
            os.close(file)
            self._file = None
            raise

    def note(self, **facts: Any) -> None:
        """Write who holds the lock, and ``facts`` beside it; nothing where it is not held."""
        if self._file is None:
            return
        text = json.dumps({**facts, "pid": os.getpid(), "host": socket.gethostname(), "time": time.time()})
        try:
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, text.encode(), 0)
        except OSError as error:
            raise JournalError(f"cannot write {self._path}: {error.strerror}") from error

    def release(self, *, keep: bool = False) -> None:
        """Release the lock, if held; with ``keep`` its text stays."""
        if self._file is not None:
            if not keep:
                os.ftruncate(self._file, 0)
            os.close(self._file)
            self._file = None

    def refuse_if_held(self) -> None:
        """Raise JournalLockedError if another process holds the lock."""
        if self._file is None and (holder := self.holder()) is not None:
            raise JournalLockedError(self._what, holder=f"pid {holder[0]} on host {holder[1]}")

    def holder(self) -> tuple[int, str] | None:
        """Return pid and host of the process that holds the lock, or ``None`` if it is free."""
        try:
            file = private.open_private_file(self._path, os.O_RDONLY)
        except OSError:
            return None
        try:
            return _read_lock_holder(file) if _is_locked(file) else None
        finally:
            os.close(file)

    def _open(self) -> int:
        try:
            return private.open_private_file(self._path, os.O_RDWR | os.O_CREAT)
        except OSError as error:
            raise JournalError(f"cannot open {self._path}: {error.strerror}", hint="name another --journal") from error


def is_lock_held(path: str) -> bool:
    """Return whether a process holds a lock file. It is a tenth of the cost of reading who does, and reads nothing."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return _is_locked(file)
    finally:
        os.close(file)


def _is_locked(file: int) -> bool:
    """Return whether another process holds the lock of an open lock file."""
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    return False


def _name_lock_holder(file: int) -> str:
    pid, host = _read_lock_holder(file)
    return f"pid {pid} on host {host}"


def _read_lock_holder(file: int) -> tuple[int, str]:
    """Return the holder's pid and host; 0 and "?" where it has not come to that yet."""
    text = _read_lock_map(file)
    try:
        return int(text["pid"]), str(text["host"])
    except (ValueError, KeyError, TypeError):
        return 0, "?"


def _read_lock_map(file: int) -> dict[str, Any]:
    """Return the map in a lock file; an empty one for other content."""
    try:
        text = json.loads(os.pread(file, _LONGEST, 0))
    except (OSError, ValueError, RecursionError):
        return {}
    return text if isinstance(text, dict) else {}


def _try_to_lock(file: int) -> bool:
    for attempt in range(_TRIES):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            if attempt + 1 < _TRIES:
                time.sleep(_PAUSE)
        else:
            return True
    return False
