"""The way of fetched content to its place: unfinished file, disk, rename, disk.

    write ─> wait until it is on disk ─> rename ─> wait until that is on disk ─> the result

One call has the file system write out what many files hold: a call for each would cost a hundred times as much. The call
that writes out new files also writes out the renames before it. While files wait for it, their worker begins others. Where
it has no other under way, they wait for none.
"""

from __future__ import annotations

import errno
import os
import secrets
from functools import partial
from typing import TYPE_CHECKING

from s3batch.base.failpoints import reach_failpoint
from s3batch.files.tree import TargetTree, mode_of_replaced, set_times, sync_file_system
from s3batch.model import MISSING, Result, stamp_of
from s3batch.objects.preserved import decode_preserved
from s3batch.s3.clock import seconds_of
from s3batch.s3.event_loop import wait_for
from s3batch.worker.results import DISK_FULL, RefusedChangeError, part_number

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from s3batch.model import Operation, Stamp, Work
    from s3batch.s3.event_loop import Done, EventLoop
    from s3batch.s3.write_gate import WriteGate
    from s3batch.worker.context import Tools

_GATHER = 0.02
"""Seconds that files are gathered before the file system is asked to write them out."""
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})
_PASSING = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ESTALE, errno.ENOENT})
"""The system's trouble of this moment; the directory of unfinished files may have been removed."""
_BLOCKED = frozenset({errno.ENOTDIR, errno.ELOOP, errno.EMLINK})
_DIRECTORY = frozenset({errno.ENOTEMPTY, errno.EEXIST, errno.EISDIR})
_BLOCK = 1024 * 1024
_TIMES = ("x-amz-meta-mtime", "x-amz-meta-s3cmd-attrs")


class Landing:
    """The target's tree in one worker. Its methods belong to the loop's thread."""

    def __init__(
        self,
        root: str,
        preserve: frozenset[str] = frozenset(),
        gather: float = _GATHER,
        writes: WriteGate | None = None,
    ) -> None:
        """Open nothing yet. ``writes`` is closed while the coordinator is silent: then nothing gets its place."""
        self.tree = TargetTree(root)
        self.token = secrets.token_hex(6)
        """Part of the names of this worker's unfinished files: workers of other machines have its process id too."""
        self._preserve = preserve
        self._gather = gather
        self._writes = writes
        self._written: list[tuple[str, str, Done]] = []
        """Unfinished files that are to be on disk before they get their place."""
        self._moved: list[tuple[Stamp | None, Done]] = []
        """Files that have got their place, and are done when that is on disk; a stamp or nothing is their result."""
        self._is_due = self._gathers = False
        self._number = 0
        """The number of the latest call that is due: one that gathers files gives way to one at once."""
        self.planned: dict[str, Stamp] = {}
        """The files that may be replaced by a saved plan, by path: with another stamp they stay."""

    async def reach_disk(self) -> None:
        """Wait until all that was written and renamed so far is on disk. Raises OSError."""
        await wait_for(self._begin_wait)

    async def move_in(self, name: str, path: str) -> Stamp:
        """Give an unfinished file its place once it is on disk; return its stamp once that is. Raises OSError."""
        stamp: Stamp = await wait_for(partial(self.begin_move, name, path))
        return stamp

    def begin_move(self, name: str, path: str, loop: EventLoop, done: Done) -> None:
        """Do the same, and call ``done`` with the stamp or the error."""
        self._written.append((name, path, done))
        self._schedule(loop)

    def _begin_wait(self, loop: EventLoop, done: Done) -> None:
        self._moved.append((None, done))
        self._schedule(loop)

    def _schedule(self, loop: EventLoop) -> None:
        is_last = loop.active == loop.parked
        if not self._is_due or (self._gathers and is_last):
            self._is_due, self._gathers = True, not is_last
            self._number += 1
            loop.call_later(0.0 if is_last else self._gather, partial(self._end_gathering, loop, self._number))

    def _end_gathering(self, loop: EventLoop, number: int) -> None:
        if number == self._number:
            self._gathers = False
            self._start(loop)

    def _start(self, loop: EventLoop) -> None:
        if self._writes is not None and not self._writes.is_open:
            self._writes.hold(partial(self._start, loop))
            return
        written, self._written = self._written, []
        moved, self._moved = self._moved, []
        loop.submit(self._sync, partial(self._on_synced, loop, written, moved))

    def _sync(self) -> None:
        sync_file_system(self.tree.temporary)

    def _on_synced(
        self, loop: EventLoop, written: list[tuple[str, str, Done]], moved: list[tuple[Stamp | None, Done]],
        _: object, error: BaseException | None,
    ) -> None:  # fmt: skip
        if error is None and self._writes is not None and not self._writes.is_open:
            self._written, self._moved = written + self._written, moved + self._moved
            self._start(loop)
            return
        for name, path, done in written:
            try:
                if error is not None:
                    raise error
                if self.planned:
                    require_planned_file(self.tree, path, self.planned.pop(path, None))
                stamp = stamp_of(self.tree.move_in(name, path))
            except (OSError, RefusedChangeError) as trouble:
                self.tree.discard(name)
                self._moved.append((None, partial(_fail, done, trouble)))
            else:
                reach_failpoint("landed")
                self._moved.append((stamp, done))
        self._is_due = False
        if self._moved or self._written:
            self._schedule(loop)
        for known, done in moved:
            done(known, error)

    def finish(self, descriptor: int, operation: Operation, headers: Mapping[str, str]) -> None:
        """Give an unfinished file the mode of the one it replaces, and the time that the object tells. Raises OSError."""
        if self._preserve or operation.reason is not MISSING:
            self._set_owner_and_mode(descriptor, os.fstat(descriptor), headers, operation.path)
        set_time(descriptor, headers)

    def renew(self, descriptor: int, headers: Mapping[str, str]) -> None:
        """Give an unchanged file the time of its object, and the preserved owner and mode. Raises OSError."""
        before = os.fstat(descriptor)
        if self._preserve:
            self._set_owner_and_mode(descriptor, before, headers)
        if wanted_time(headers) != before.st_mtime_ns:
            set_time(descriptor, headers)

    def has_preserved(self, found: os.stat_result, headers: Mapping[str, str]) -> bool:
        """Return whether a file, which is as ``found``, has each preserved attribute that its object tells."""
        if not self._preserve:
            return True
        known = decode_preserved(_read_metadata(headers))
        pairs = {
            "mtime": [(known.mtime_ns, found.st_mtime_ns)],
            "mode": [(known.mode, found.st_mode & 0o777)],
            "owner": [(known.uid, found.st_uid), (known.gid, found.st_gid)],
        }
        return all(told in {None, has} for name in self._preserve for told, has in pairs[name])

    def _set_owner_and_mode(
        self, descriptor: int, before: os.stat_result, headers: Mapping[str, str], replaced: str = ""
    ) -> None:
        """Give a file, which is as ``before``, the preserved owner and mode; without such a mode that of the ``replaced`` one."""
        preserved = decode_preserved(_read_metadata(headers))
        if "owner" in self._preserve:
            uid = -1 if preserved.uid is None else preserved.uid
            gid = -1 if preserved.gid is None else preserved.gid
            if uid not in (-1, before.st_uid) or gid not in (-1, before.st_gid):
                os.fchown(descriptor, uid, gid)
        mode = preserved.mode if "mode" in self._preserve else None
        if mode is None and replaced:
            mode = mode_of_replaced(self.tree.find(replaced))
        if mode is not None and mode != before.st_mode & 0o777:
            os.fchmod(descriptor, mode)


def require_planned_file(tree: TargetTree, path: str, planned: Stamp | None) -> None:
    """Raise RefusedChangeError if the file at ``path`` is not as it was planned; ``None``: it is not in a plan.

    A stamp without a ctime means that there was nothing.
    """
    if planned is None:
        return
    found = tree.find(path)
    if found is None and planned.ctime_ns:
        raise RefusedChangeError(f"drifted: the file {path!r} is gone")
    if found is not None and not planned.ctime_ns:
        raise RefusedChangeError(f"drifted: there is a file {path!r} now")
    facts = (planned.mtime_ns, planned.ctime_ns, planned.inode)  # the journal keeps no kind and no size of a local file
    if found is None:
        return
    _, _, mtime_ns, ctime_ns, _, inode = stamp_of(found)
    if (mtime_ns, ctime_ns, inode) != facts:
        raise RefusedChangeError(f"drifted: the file {path!r} has changed")


def _fail(done: Done, error: BaseException, _: object, __: BaseException | None) -> None:
    done(None, error)


def landing_of(tools: Tools) -> Landing:
    """Return the worker's landing."""
    found: Landing | None = tools.memory.get("landing")
    if found is None:
        target = tools.brief.target
        if target is None:
            raise TypeError("the job has no local target")
        found = tools.memory["landing"] = Landing(target.root, target.preserve, writes=tools.writes)
    return found


def wanted_time(headers: Mapping[str, str]) -> int:
    """Return the nanoseconds that a file of this object is given: of its metadata, else its LastModified."""
    if any(name in headers for name in _TIMES):
        known = decode_preserved(_read_metadata(headers)).mtime_ns
        if known is not None:
            return known
    return int(seconds_of(headers.get("last-modified", ""))) * 10**9


def set_time(descriptor: int, headers: Mapping[str, str]) -> None:
    """Set the time of an open file to that of its object; one that the file system cannot hold is left out."""
    try:
        set_times(descriptor, wanted_time(headers))
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
        code, said = (
            "Blocked",
            f"{error.filename or path!r}: a link or a file is in the place of a directory, and is not followed",
        )
    elif number in _DIRECTORY:
        code, said = "Blocked", f"{path!r}: a directory that is not empty is in its place"
    elif number == errno.EXDEV:
        said = f"{path!r}: its directory is on another file system than the target, so no file can be renamed into it"
    elif number == errno.ENAMETOOLONG:
        code, said = "BadName", f"{path!r}: the name is too long for this file system"
    else:
        said, retryable = f"{path!r} cannot be written: {words}", number in _PASSING
    return Result(work.operation.id, work.step, part_number(work), error=said, code=code, retryable=retryable)
