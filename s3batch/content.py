"""What a file holds, read once and exactly as planned, and digests of it.

A file is read only while it still is the one that was planned: same size, same mtime, before and after.
So what is sent has one length and one digest, and a file that changes is planned again, never sent torn.

A file system's clock ticks every 1 to 10 ms, and writes within one tick leave the same mtime. So a file that was
written only just now is not trusted yet.
"""

from __future__ import annotations

import errno
import hashlib
import os
import time
import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_BLOCK = 1024 * 1024
_GZIP_LEVEL = 6
_TICK_NS = 20_000_000
"""Nanoseconds: twice the slowest tick of Linux (100 Hz)."""
_PASSING = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ESTALE})
"""The system's or the file server's trouble of this moment."""


class ContentError(Exception):
    """The file cannot be sent as planned.

    ``code`` is ours: ``Changed``, ``Vanished``, ``BrokenLink``, ``Unreadable``, ``Busy``.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Source:
    """The tree files are read from. Paths are relative to its root; a file as root has one path, its name."""

    def __init__(self, root: str) -> None:
        self._root = root if os.path.isdir(root) else os.path.dirname(root) or "."
        self._fd = -1

    def _directory(self) -> int:
        if self._fd < 0:
            self._fd = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        return self._fd

    def open(self, path: str, size: int, mtime_ns: int) -> int:
        """A descriptor of ``path``, which must be as planned. Raises :class:`ContentError`."""
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=self._directory())
        except (FileNotFoundError, NotADirectoryError) as error:
            raise self._missing(path, error) from error
        except OSError as error:
            raise _unreadable(path, error) from error
        try:
            self._check(fd, path, size, mtime_ns)
            if abs(time.time_ns() - mtime_ns) < _TICK_NS:
                raise ContentError("Changed", f"{path!r} is being written")
        except ContentError:
            os.close(fd)
            raise
        return fd

    def _missing(self, path: str, error: OSError) -> ContentError:
        try:
            target = os.readlink(path, dir_fd=self._directory())
        except OSError:
            return ContentError("Vanished", f"{path!r} is gone: {error.strerror}")
        return ContentError("BrokenLink", f"{path!r} is a broken symbolic link to {target!r}")

    @staticmethod
    def _check(fd: int, path: str, size: int, mtime_ns: int) -> int:
        """The ctime, which nobody can set back."""
        found = os.fstat(fd)
        if found.st_size != size or found.st_mtime_ns != mtime_ns:
            raise ContentError("Changed", f"{path!r} changed after it was planned")
        return found.st_ctime_ns

    def check(self, path: str, size: int, mtime_ns: int) -> None:
        """Raise :class:`ContentError` unless ``path`` is as planned."""
        os.close(self.open(path, size, mtime_ns))

    def read(self, path: str, size: int, mtime_ns: int, offset: int = 0, length: int = -1) -> bytes | bytearray:
        """``length`` bytes (all for -1) from ``offset`` of a file that is as planned before and after."""
        wanted = size - offset if length < 0 else length
        fd = self.open(path, size, mtime_ns)
        try:
            before = self._check(fd, path, size, mtime_ns)
            body: bytes | bytearray = os.pread(fd, wanted, offset) if wanted else b""
            if len(body) < wanted:  # one read gives at most 2 GiB
                body = _rest(fd, bytearray(body), wanted, offset)
            after = self._check(fd, path, size, mtime_ns)
        except OSError as error:
            raise _unreadable(path, error) from error
        finally:
            os.close(fd)
        if len(body) != wanted or before != after:
            raise ContentError("Changed", f"{path!r} changed while it was read")
        return body

    def blocks(self, path: str, size: int, mtime_ns: int) -> Iterator[bytes]:
        """The whole content in blocks of 1 MiB, of a file that is as planned before and after."""
        fd = self.open(path, size, mtime_ns)
        try:
            before = self._check(fd, path, size, mtime_ns)
            while block := os.read(fd, _BLOCK):
                yield block
            if self._check(fd, path, size, mtime_ns) != before:
                raise ContentError("Changed", f"{path!r} changed while it was read")
        except OSError as error:
            raise _unreadable(path, error) from error
        finally:
            os.close(fd)


def _unreadable(path: str, error: OSError) -> ContentError:
    code = "Busy" if error.errno in _PASSING else "Unreadable"
    return ContentError(code, f"cannot read {path!r}: {error.strerror}")


def _rest(fd: int, body: bytearray, wanted: int, offset: int) -> bytearray:
    while len(body) < wanted:
        more = os.pread(fd, wanted - len(body), offset + len(body))
        if not more:
            break
        body += more
    return body


def compressed(body: bytes | bytearray) -> bytes:
    """``body`` as gzip, the same bytes each time: no name, no time in the header."""
    packer = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, 31)
    return packer.compress(body) + packer.flush()


def md5(blocks: Iterator[bytes]) -> str:
    """MD5 in hex."""
    running = hashlib.md5(usedforsecurity=False)
    for block in blocks:
        running.update(block)
    return running.hexdigest()


def multipart_digests(blocks: Iterator[bytes], part_size: int) -> list[bytes]:
    """MD5 of each part of ``part_size`` bytes (a whole number of MiB, or the last part is all)."""
    digests, running, filled = [], hashlib.md5(usedforsecurity=False), 0
    for block in blocks:
        view = memoryview(block)
        while view:
            piece = view[: part_size - filled]
            running.update(piece)
            filled += len(piece)
            view = view[len(piece) :]
            if filled == part_size:
                digests.append(running.digest())
                running, filled = hashlib.md5(usedforsecurity=False), 0
    return [*digests, running.digest()] if filled or not digests else digests
