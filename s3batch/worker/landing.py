"""The way of fetched content to its place: unfinished file, disk, rename, disk.

    write ─> wait until it is on disk ─> rename ─> wait until that is on disk ─> the result

One call has the file system write out what many files hold: a call for each would cost a hundred times as much. While
files wait for it, their worker begins others.
"""

from __future__ import annotations

import errno
import os
from functools import partial
from typing import TYPE_CHECKING

from s3batch.files.tree import TargetTree, mode_of_replaced, set_times, sync_file_system
from s3batch.model import Result, stamp_of
from s3batch.objects.preserved import decode_preserved
from s3batch.s3.clock import seconds_of
from s3batch.s3.event_loop import wait_for
from s3batch.worker.results import DISK_FULL, part_number

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from s3batch.model import Stamp, Work
    from s3batch.s3.event_loop import Done, EventLoop
    from s3batch.worker.context import Tools

_GATHER = 0.02
"""Seconds that files are gathered before the file system is asked to write them out."""
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})
_PASSING = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ESTALE, errno.ENOENT})
"""The system's trouble of this moment; the directory of unfinished files may have been removed."""
_BLOCKED = frozenset({errno.ENOTDIR, errno.ELOOP, errno.EMLINK})
_DIRECTORY = frozenset({errno.ENOTEMPTY, errno.EEXIST, errno.EISDIR})
_BLOCK = 1024 * 1024


class SyncBatch:
    """Has the file system write out what several coroutines wait for, with one call on a thread."""

    def __init__(self, sync: Callable[[], None], gather: float = _GATHER) -> None:
        self._sync = sync
        self._gather = gather
        self._waiting: list[Done] = []
        self._is_due = False

    def begin(self, loop: EventLoop, done: Done) -> None:
        """Call ``done`` after a sync that begins after this."""
        self._waiting.append(done)
        if not self._is_due:
            self._is_due = True
            loop.call_later(self._gather, partial(self._start, loop))

    def _start(self, loop: EventLoop) -> None:
        batch, self._waiting = self._waiting, []
        loop.submit(self._sync, partial(self._ended, loop, batch))

    def _ended(self, loop: EventLoop, batch: list[Done], _: object, error: BaseException | None) -> None:
        self._is_due = bool(self._waiting)
        if self._waiting:
            loop.call_later(self._gather, partial(self._start, loop))
        for done in batch:
            done(None, error)


class Landing:
    """The target's tree in one worker. Its methods belong to the loop's thread."""

    def __init__(self, root: str, preserve: frozenset[str]) -> None:
        self.tree = TargetTree(root)
        self._preserve = preserve
        self._batch = SyncBatch(self._sync)

    def _sync(self) -> None:
        sync_file_system(self.tree.temporary)

    async def reach_disk(self) -> None:
        """Wait until all that was written and renamed so far is on disk. Raises OSError."""
        await wait_for(self._batch.begin)

    def finish(self, descriptor: int, path: str, headers: Mapping[str, str]) -> None:
        """Give an unfinished file the mode of the one it replaces, and the time that the object tells. Raises OSError."""
        preserved = decode_preserved(_read_metadata(headers))
        mode = preserved.mode if "mode" in self._preserve else None
        if mode is None:
            mode = mode_of_replaced(self.tree.find(path))
        if mode is not None:
            os.fchmod(descriptor, mode & 0o777)
        if "owner" in self._preserve and (preserved.uid is not None or preserved.gid is not None):
            uid, gid = (-1 if each is None else each for each in (preserved.uid, preserved.gid))
            os.fchown(descriptor, uid, gid)
        set_time(descriptor, headers)

    def move_in(self, name: str, path: str) -> Stamp:
        """Give an unfinished file its place; return the stamp of what is there then. Raises OSError."""
        return stamp_of(self.tree.move_in(name, path))


def landing_of(tools: Tools) -> Landing:
    """Return the worker's landing."""
    found: Landing | None = tools.memory.get("landing")
    if found is None:
        target = tools.brief.target
        if target is None:
            raise TypeError("the job has no local target")
        found = tools.memory["landing"] = Landing(target.root, target.preserve)
    return found


def wanted_time(headers: Mapping[str, str]) -> int:
    """Return the nanoseconds that a file of this object is given: of its metadata, else its LastModified."""
    known = decode_preserved(_read_metadata(headers)).mtime_ns
    return int(seconds_of(headers.get("last-modified", ""))) * 10**9 if known is None else known


def set_time(descriptor: int, headers: Mapping[str, str]) -> None:
    """Set the time of an open file to that of its object; one that the file system cannot hold is left out."""
    when = wanted_time(headers)
    try:
        set_times(descriptor, when)
    except (OverflowError, OSError):
        set_times(descriptor, int(seconds_of(headers.get("last-modified", ""))) * 10**9)


def _read_metadata(headers: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    return ((name[11:], value) for name, value in headers.items() if name.startswith("x-amz-meta-"))


def read_blocks(descriptor: int) -> Iterator[bytes]:
    """Yield the content of an open file from its beginning."""
    offset = 0
    while block := os.pread(descriptor, _BLOCK, offset):
        yield block
        offset += len(block)


def failed_write(work: Work, error: OSError) -> Result:
    """Return the result of work whose file the local disk did not take."""
    path, number = work.operation.path, error.errno
    words = error.strerror or str(error)
    code, retryable = "Unwritable", False
    if number in _FULL:
        code, said = DISK_FULL, f"the target takes no more: {words}"
    elif number in _BLOCKED:
        said = f"{error.filename or path!r}: a link or a file is in the place of a directory, and is not followed"
    elif number in _DIRECTORY:
        said = f"{path!r}: a directory that is not empty is in its place"
    elif number == errno.ENAMETOOLONG:
        code, said = "BadName", f"{path!r}: the name is too long for this file system"
    else:
        said, retryable = f"{path!r} cannot be written: {words}", number in _PASSING
    return Result(work.operation.id, work.step, part_number(work), error=said, code=code, retryable=retryable)
