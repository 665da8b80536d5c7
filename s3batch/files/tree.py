"""Writes below one directory, the target of a download, and nowhere else.

    create ─> TARGET/.s3batch/tmp/NAME ─write─> prove ─> move_in: rename to its place ─> sync of the file system

The target itself is trusted: the user named it, and it may be a link. Below it each directory is opened one component
at a time with ``O_NOFOLLOW``, so no link leads a write out of it, also not one that is made meanwhile. Directories stay
open for half a second at most. A link in a file's place is replaced and never followed.

Every method raises ``OSError`` whose ``filename`` is the path relative to the target.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import time
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING

from s3batch.files.beneath import (
    KeptDirectories,
    create_file_anew,
    create_new_file,
    name_path,
    open_step,
    open_top,
)
from s3batch.files.private import OWN_DIRECTORY, make_directory
from s3batch.model import SIGNED_LIMIT, fold_number

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

TEMPORARY = f"{OWN_DIRECTORY}/tmp"  # noqa: S108 - a directory of the target
"""The directory of unfinished files, relative to the target."""
_LISTED = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_OLD = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_KEPT = 128
"""Descriptors of directories that stay open."""
_TRUSTED_FOR = 0.5
"""Seconds: a directory that was moved away meanwhile is opened anew after that."""


class TargetTree:
    """The directory ``root`` and what lies below it. Not thread-safe: each thread needs its own."""

    def __init__(self, root: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._root = root
        self._clock = clock
        self._open = KeptDirectories(_KEPT)
        self._missing: set[str] = set()
        """Directories that were not there, for as long as open ones are trusted."""
        self._opened = clock()
        self._temporary = -1

    def make_root(self) -> None:
        """Make the directory itself, and that of unfinished files. Raises OSError, or PrivateFileError for a planted one."""
        os.makedirs(self._root, exist_ok=True)
        make_directory(os.path.join(self._root, TEMPORARY))

    # --- directories --------------------------------------------------------------------------

    def open_directory(self, path: str, *, make: bool = False) -> int:
        """Return a descriptor of a directory, valid until the next call; with ``make`` missing ones are made.

        Raises OSError: ENOENT if it is missing, ENOTDIR if a link or a file is in the place of one.
        """
        now = self._clock()
        if now - self._opened > _TRUSTED_FOR:
            self._close_directories()
            self._opened = now
        known = self._open.get(path)
        return self._walk_to(path, make=make) if known is None else known

    def _walk_to(self, path: str, *, make: bool) -> int:
        missing: list[str] = []
        while path and path not in self._open:
            path, name = _split(path)
            missing.append(name)
        descriptor = self._open.get(path)
        if descriptor is None:
            descriptor = self._open.keep("", open_top(self._root))
        for name in reversed(missing):
            path = f"{path}/{name}" if path else name
            descriptor = self._open.keep(path, open_step(descriptor, name, path, make=make))
            self._missing.discard(path)
        return descriptor

    def _close_directories(self) -> None:
        self._open.close()
        self._missing.clear()

    def close(self) -> None:
        """Close every descriptor; the object can be used again."""
        self._close_directories()
        if self._temporary >= 0:
            os.close(self._temporary)
            self._temporary = -1

    def __del__(self) -> None:
        self.close()

    def make_directory(self, path: str) -> bool:
        """Make a directory and those above it; return False if it was there."""
        parent, name = _split(path)
        above = self.open_directory(parent, make=True)
        try:
            os.mkdir(name, dir_fd=above)
        except FileExistsError:
            self.open_directory(path)
            return False
        return True

    def list_directory(self, path: str) -> Iterator[os.DirEntry[str]]:
        """Yield the entries of a directory. Raises OSError."""
        descriptor = self.open_directory(path)
        opened = os.open(".", _LISTED, dir_fd=descriptor)
        try:
            with os.scandir(opened) as entries:
                yield from entries
        finally:
            os.close(opened)

    # --- entries ------------------------------------------------------------------------------

    def find(self, path: str) -> os.stat_result | None:
        """Return what is at ``path``, a link not followed; ``None`` for nothing.

        Raises OSError, with ENOTDIR if a link or a file is in the place of a directory above it.
        """
        parent, name = _split(path)
        if parent in self._missing and self._clock() - self._opened <= _TRUSTED_FOR:
            return None
        try:
            directory = self.open_directory(parent)
        except FileNotFoundError:
            self._missing.add(parent)
            return None
        try:
            return os.stat(name, dir_fd=directory, follow_symlinks=False)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise name_path(error, path) from None

    def read_files(self, paths: Sequence[str]) -> list[tuple[int, int, int, int] | None]:
        """Return size, mtime, ctime and inode of the regular file at each path, as rows of the journal have them.

        ``None`` for one that is none, or that cannot be looked at. Paths that share a directory should be neighbours.
        """
        found: list[tuple[int, int, int, int] | None] = []
        above: str | None = None
        directory = -1
        for path in paths:
            parent, _, name = path.rpartition("/")
            try:
                if parent != above:
                    directory, above = self.open_directory(parent), parent
                info = os.lstat(name, dir_fd=directory)
            except OSError:
                above = None  # its descriptor may be closed by now
                found.append(None)
                continue
            is_file, inode = stat.S_ISREG(info.st_mode), info.st_ino
            if inode >= SIGNED_LIMIT:  # as in a stamp; odd times are left to the decision for one file
                inode = fold_number(inode)
            found.append((info.st_size, info.st_mtime_ns, info.st_ctime_ns, inode) if is_file else None)
        return found

    def open_file(self, path: str) -> int:
        """Return a descriptor to read a regular file; EINVAL for anything else."""
        parent, name = _split(path)
        descriptor = os.open(name, _READ, dir_fd=self.open_directory(parent))
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise OSError(errno.EINVAL, "it is not a regular file", path)
        return descriptor

    def remove(self, path: str) -> None:
        """Remove a file, or a link itself."""
        parent, name = _split(path)
        try:
            os.unlink(name, dir_fd=self.open_directory(parent))
        except OSError as error:
            raise name_path(error, path) from None

    def remove_empty(self, path: str, levels: int) -> None:
        """Remove the directory ``path`` if it is empty, and so many more above it as long as they are."""
        for _ in range(levels):
            parent, name = _split(path)
            try:
                os.rmdir(name, dir_fd=self.open_directory(parent))
            except OSError:
                return
            self._open.forget(path)
            path = parent

    # --- unfinished files ---------------------------------------------------------------------

    @property
    def temporary(self) -> int:
        """A descriptor of the directory of unfinished files, which is made if it is missing."""
        if self._temporary < 0:
            own = open_step(self.open_directory(""), OWN_DIRECTORY, OWN_DIRECTORY, make=True, mode=0o700)
            try:
                passage = open_step(own, "tmp", TEMPORARY, make=True, mode=0o700)
            finally:
                os.close(own)
            try:
                self._temporary = os.open(".", _LISTED, dir_fd=passage)
            finally:
                os.close(passage)
        return self._temporary

    def is_case_blind(self) -> bool:
        """Return whether names that differ only in case are one name here."""
        name = f"Case-{os.getpid()}"
        os.close(self.create(name))
        try:
            os.stat(name.lower(), dir_fd=self.temporary, follow_symlinks=False)
        except FileNotFoundError:
            return False
        finally:
            self.discard(name)
        return True

    def create(self, name: str) -> int:
        """Return a descriptor of a new unfinished file, whose mode is that of a new file of the user."""
        return create_new_file(_plain_name(name), 0o666, self.temporary, os.O_RDWR)

    def create_anew(self, name: str) -> int:
        """Return a descriptor of a new unfinished file; one of that name, which a worker left, is removed."""
        return create_file_anew(_plain_name(name), 0o666, self.temporary, os.O_RDWR)

    def open_unfinished(self, name: str) -> int:
        """Return a descriptor of an unfinished file, to read and write. Raises OSError."""
        descriptor = os.open(_plain_name(name), _OLD, dir_fd=self.temporary)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise OSError(errno.EINVAL, "it is not a regular file", f"{TEMPORARY}/{name}")
        return descriptor

    def discard(self, name: str) -> None:
        """Remove an unfinished file; one that is not there is fine."""
        with suppress(FileNotFoundError):
            os.unlink(_plain_name(name), dir_fd=self.temporary)

    def discard_others(self, kept: Iterable[str]) -> None:
        """Remove every unfinished file but those named."""
        names = set(kept)
        for name in os.listdir(self.temporary):
            if name not in names:
                with suppress(OSError):
                    os.unlink(name, dir_fd=self.temporary)

    def remove_temporary(self) -> None:
        """Remove the directory of unfinished files if it is empty, and the one above it too."""
        if self._temporary >= 0:
            os.close(self._temporary)
            self._temporary = -1
        self.remove_empty(TEMPORARY, 2)

    def move_in(self, name: str, path: str) -> os.stat_result:
        """Give an unfinished file its place, and return what is there then.

        A file or link there is replaced, and so is an empty directory. Raises OSError: ENOTEMPTY for a full one.
        """
        parent, last = _split(path)
        directory = self.open_directory(parent, make=True)
        try:
            try:
                os.rename(_plain_name(name), last, src_dir_fd=self.temporary, dst_dir_fd=directory)
            except IsADirectoryError:
                os.rmdir(last, dir_fd=directory)
                os.rename(name, last, src_dir_fd=self.temporary, dst_dir_fd=directory)
            return os.stat(last, dir_fd=directory, follow_symlinks=False)
        except OSError as error:
            raise name_path(error, path) from None


def mode_of_replaced(info: os.stat_result | None) -> int | None:
    """Return the permissions that the replaced file hands on; ``None`` if there is none."""
    return info.st_mode & 0o777 if info is not None and stat.S_ISREG(info.st_mode) else None


def set_times(descriptor: int, mtime_ns: int) -> None:
    """Set the times of an open file. Raises OSError or OverflowError for a time that the file system cannot hold."""
    os.utime(descriptor, ns=(mtime_ns, mtime_ns))


def sync_file_system(descriptor: int) -> None:
    """Have the file system of an open file write out everything. Raises OSError."""
    if (call := _find_syncfs()) is None:
        os.sync()
    elif call(descriptor):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


@cache
def _find_syncfs() -> Callable[[int], int] | None:
    """Return Linux's syncfs(2), which Python does not have."""
    return getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)


def _plain_name(name: str) -> str:
    """Return the name of an unfinished file. Raises OSError for one that leads elsewhere: a journal may be planted."""
    if "/" in name or name in ("", ".", ".."):
        raise OSError(errno.EINVAL, "it is no name of an unfinished file", name)
    return name


def _split(path: str) -> tuple[str, str]:
    """Return the directory and the name in it. Raises OSError for a name that leads elsewhere."""
    parent, _, name = path.rpartition("/")
    if name in ("", ".", ".."):
        raise OSError(errno.EINVAL, "it has a component that is no name", path)
    return parent, name
