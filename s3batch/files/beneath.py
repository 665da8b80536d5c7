"""Opening and writing below an open directory: no link is followed, and nothing that exists is written into by mistake.

    directory ─open_step─> directory ─create_new_file─> new file ─write_all─> its content

Downloads (:mod:`s3batch.files.tree`) and the cache (:mod:`s3batch.archive.dirfd`) write with these, and with nothing else.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Any

PASSAGE = getattr(os, "O_PATH", os.O_RDONLY)
"""For directories that are only passed through; listing one needs ``os.O_RDONLY``."""
_DIRECTORY = os.O_DIRECTORY | os.O_CLOEXEC
_NEW = os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_INTO = os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC


class KeptDirectories(dict[str, int]):
    """Descriptors of open directories, by path. The oldest is closed where there are too many."""

    def __init__(self, most: int) -> None:
        self._most = most

    def keep(self, path: str, descriptor: int) -> int:
        """Keep a descriptor, and return it."""
        if len(self) >= self._most:
            os.close(self.pop(next(iter(self))))
        self[path] = descriptor
        return descriptor

    def forget(self, path: str) -> None:
        """Close what is at or below ``path``: it is being moved or removed."""
        for known in [known for known in self if known == path or known.startswith(path + "/")]:
            os.close(self.pop(known))

    def close(self) -> None:
        """Close all; the object can be used again."""
        while self:
            os.close(self.popitem()[1])


def open_top(path: str, access: int = PASSAGE) -> int:
    """Return a descriptor of a directory that the user has named, which may be a link."""
    return os.open(path, access | _DIRECTORY)


def open_step(above: int, name: str, path: str, *, make: bool, mode: int = 0o777, access: int = PASSAGE) -> int:
    """Return a descriptor of a directory in an open one; with ``make`` a missing one is made. ``path`` is for the error.

    Raises OSError: ENOENT if it is missing, ENOTDIR or ELOOP if a link or a file is in its place.
    """
    for _ in range(2):
        try:
            return os.open(name, access | _DIRECTORY | os.O_NOFOLLOW, dir_fd=above)
        except FileNotFoundError as error:
            if not make:
                raise name_path(error, path) from None
        except OSError as error:
            raise name_path(error, path) from None
        try:
            os.mkdir(name, mode, dir_fd=above)
        except FileExistsError:
            pass  # another worker made it, or something else is there, which the next turn says
        except OSError as error:
            raise name_path(error, path) from None
    raise FileNotFoundError(2, os.strerror(2), path)


def create_new_file(name: str | bytes, mode: int, above: int, access: int = os.O_WRONLY) -> int:
    """Return a descriptor of a new file. Raises FileExistsError."""
    return os.open(name, access | _NEW, mode, dir_fd=above)


def create_file_anew(name: str | bytes, mode: int, above: int, access: int = os.O_WRONLY) -> int:
    """Return a descriptor of a new file; one of that name, which a dead worker has left, is removed."""
    try:
        return os.open(name, access | _NEW, mode, dir_fd=above)
    except FileExistsError:
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=above)
        return os.open(name, access | _NEW, mode, dir_fd=above)


def open_into(name: str | bytes, above: int) -> int:
    """Return a descriptor to write into a file that exists, and is no link."""
    return os.open(name, _INTO, dir_fd=above)


def write_all(descriptor: int, content: Any, offset: int = 0) -> None:
    """Write all of ``content`` at ``offset``. Raises OSError."""
    view = memoryview(content)
    while view:
        written = os.pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written


def name_path(error: OSError, path: str) -> OSError:
    """Return the same error with another path."""
    return OSError(error.errno, error.strerror, path)
