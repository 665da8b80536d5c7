"""The content of a file, read once and exactly as planned, and digests of it.

A file is read only while it has the planned stamp, before and after. Therefore what is sent has one length and one
digest. A file that changes is planned again and never sent torn.

A file system's clock ticks every 1 to 10 ms. Two writes within one tick leave the same stamp, so a file that has just
changed is read after the next tick. Some clocks tick by seconds: the journal trusts no young file's stamp in the next
run.
"""

from __future__ import annotations

import errno
import os
import threading
import time
import zlib
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from s3batch.files.opener import Opener
from s3batch.model import has_stamp

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from s3batch.model import Stamp

Read = TypeVar("Read")
Content = TypeVar("Content", bytes, memoryview)
BLOCK = 1024 * 1024
"""Bytes read at a time."""
_GZIP_LEVEL = 6  # zlib's own default
_TICK_NS = 20_000_000
"""Nanoseconds: twice the slowest tick of Linux (100 Hz)."""
_PASSING = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ESTALE})
"""The system's or the file server's trouble of this moment."""


_ANOTHER_THING = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EMLINK, errno.ENXIO, errno.ENODEV})
"""The path is now a link, a socket or a device, or does not exist: it must be planned again."""


class ContentError(Exception):
    """The file cannot be sent as planned.

    ``code`` is one of s3batch: ``Changed`` (it has to be planned again), ``Unreadable``, ``Busy``.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class SourceReader:
    """The tree files are read from. Paths are relative to its root; a file as root has one path, its name."""

    def __init__(self, root: str, symlinks: str = "follow") -> None:
        self._opener = Opener(root, symlinks)
        self._waits: dict[int, tuple[str, float]] = {}
        """The file that a thread waits for a block of, and since when (monotonic seconds), by thread."""

    def open(self, path: str, stamp: Stamp) -> int:
        """Return a descriptor of ``path``, which must have this stamp. Raises :class:`ContentError`."""
        try:
            return self._open(path, stamp)
        except ContentError:
            if not self._opener.start_afresh():
                raise
        return self._open(path, stamp)

    def _open(self, path: str, stamp: Stamp) -> int:
        try:
            fd = self._opener.open(path)
        except OSError as error:
            raise _describe_open_error(path, error) from error
        try:
            if not has_stamp(os.fstat(fd), stamp):
                raise _describe_changed_file(path, "after it was planned")
            young = _TICK_NS - abs(time.time_ns() - stamp.ctime_ns)
            if young > 0:
                time.sleep(young / 1e9)
                if not has_stamp(os.fstat(fd), stamp):
                    raise _describe_changed_file(path, "a moment ago")
        except ContentError:
            os.close(fd)
            raise
        return fd

    def find_stuck(self, seconds: float) -> str:
        """Return a file for one block of which a thread has waited ``seconds``; empty if there is none."""
        since = time.monotonic() - seconds
        return next((path for path, begun in list(self._waits.values()) if begun < since), "")

    def reads_within(self, seconds: float, path: str, stamp: Stamp) -> bool:
        """Return whether a small file is read so soon, or refused: a file server may not answer at all."""
        thread = threading.Thread(target=self._try_read, args=(path, stamp), daemon=True)
        try:
            thread.start()
        except RuntimeError:  # no more threads may be started
            return False
        thread.join(seconds)
        return not thread.is_alive()

    def _try_read(self, path: str, stamp: Stamp) -> None:
        with suppress(ContentError, OSError):
            self.read(path, stamp)

    def _read_block(self, path: str, read: Callable[[], Read]) -> Read:
        """Return what ``read`` does, for a block of ``path``."""
        thread = threading.get_ident()
        self._waits[thread] = (path, time.monotonic())
        try:
            return read()
        finally:
            del self._waits[thread]

    def check(self, path: str, stamp: Stamp) -> None:
        """Raise :class:`ContentError` unless ``path`` has this stamp."""
        self.look(path, stamp)

    def look(self, path: str, stamp: Stamp) -> os.stat_result:
        """Return the attributes of ``path``, which must have this stamp. Raises :class:`ContentError`."""
        fd = self.open(path, stamp)
        try:
            return os.fstat(fd)
        finally:
            os.close(fd)

    def read(self, path: str, stamp: Stamp, offset: int = 0, length: int = -1) -> bytes | bytearray:
        """Return ``length`` bytes (all for -1) from ``offset`` of a file that has this stamp before and after."""
        wanted = stamp.size - offset if length < 0 else length
        if wanted > BLOCK:
            body = bytearray(wanted)
            self.read_into(memoryview(body), path, stamp, offset)
            return body
        with self._open_while_same(path, stamp) as fd:
            read = os.pread(fd, wanted, offset) if wanted else b""
        if len(read) != wanted:
            raise _describe_changed_file(path, "while it was read")
        return read

    def read_into(
        self, memory: memoryview, path: str, stamp: Stamp, offset: int = 0, note: Callable[[memoryview], object] = len
    ) -> None:
        """Fill ``memory`` from ``offset`` of a file that has this stamp before and after.

        ``note`` is called with each block, which is in the processor's cache then.
        """
        filled = 0
        with self._open_while_same(path, stamp) as fd:
            while filled < len(memory):
                block = memory[filled : filled + BLOCK]
                count = self._read_block(path, partial(os.preadv, fd, [block], offset + filled))
                if not count:
                    raise _describe_changed_file(path, "while it was read")
                note(block[:count])
                filled += count

    @contextmanager
    def _open_while_same(self, path: str, stamp: Stamp) -> Iterator[int]:
        """Open a file, which must have this stamp before and after. Errors of the operating system are put into words."""
        fd = self.open(path, stamp)
        try:
            yield fd
            if not has_stamp(os.fstat(fd), stamp):
                raise _describe_changed_file(path, "while it was read")
        except OSError as error:
            raise _describe_unreadable(path, error) from error
        finally:
            os.close(fd)

    def read_plainly(self, path: str, stamp: Stamp) -> bytes | None:
        """Return the content of a file of a block at most that has this stamp; ``None`` if :meth:`read` has to look closer."""
        return self._read_once(path, stamp, lambda fd: os.pread(fd, stamp.size, 0))

    def read_plainly_into(self, memory: memoryview, path: str, stamp: Stamp) -> memoryview | None:
        """Return the same in ``memory``, which may be larger."""
        memory = memory[: stamp.size]
        return self._read_once(path, stamp, lambda fd: memory[: os.preadv(fd, [memory], 0)])

    def _read_once(self, path: str, stamp: Stamp, read: Callable[[int], Content]) -> Content | None:
        """Return what ``read`` does with a descriptor, if that is the content of a file that has this stamp.

        One look after the read is enough, because no ctime comes back: a file that has the stamp now had it before.
        """
        if abs(time.time_ns() - stamp.ctime_ns) < _TICK_NS:
            return None
        try:
            fd = self._opener.open(path)
            try:
                body = read(fd)
                is_same = has_stamp(os.fstat(fd), stamp)
            finally:
                os.close(fd)
        except OSError:
            return None
        return body if is_same and len(body) == stamp.size else None

    def blocks(self, path: str, stamp: Stamp) -> Iterator[bytes]:
        """Yield the whole content in blocks of 1 MiB, of a file that has this stamp before and after."""
        left = stamp.size
        with self._open_while_same(path, stamp) as fd:
            # no more than planned: it may grow
            while left and (block := self._read_block(path, partial(os.read, fd, min(left, BLOCK)))):
                left -= len(block)
                yield block


def _describe_changed_file(path: str, when: str) -> ContentError:
    return ContentError("Changed", f"{path!r} changed {when}")


def _describe_open_error(path: str, error: OSError) -> ContentError:
    if error.errno in _ANOTHER_THING:
        return ContentError("Changed", f"{path!r} is no longer what was planned: {error.strerror}")
    return _describe_unreadable(path, error)


def _describe_unreadable(path: str, error: OSError) -> ContentError:
    code = "Busy" if error.errno in _PASSING else "Unreadable"
    return ContentError(code, f"cannot read {path!r}: {error.strerror}")


def compress_body(body: bytes | bytearray) -> bytes:
    """Return ``body`` as gzip, the same bytes each time: without name and time in the header."""
    # 31 = 16 + 15: a gzip header, the largest window (deflateInit2 in zlib.h)
    packer = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, 31)
    return packer.compress(body) + packer.flush()
