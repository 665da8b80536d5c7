"""A walk that goes on in a process of its own once it has shown to be long, while this one decides about its files.

    walk ─ the first files ──────────────────────────────────────────> batches
         └ fork: the other files ─ columns, problems, kept paths ─pipe─> batches
                                 └ at its end: the record of the walk

The fork has the walk as it was, with its open directories. It knows no journal and no store. It keeps what the pipe does
not take yet, up to some megabytes: so it walks on while the other process lists. The record of this process grows with each batch as if it walked itself, and is complete only if the fork
has said so: one that was killed makes the job fail.
"""

from __future__ import annotations

import marshal
import os
import select
import signal
import struct
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from s3batch.base.errors import JobFailedError
from s3batch.base.failpoints import reach_failpoint
from s3batch.source.file_batch import FileBatch
from s3batch.source.walk_record import CountedPaths, WalkProblem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from s3batch.model import LocalFile
    from s3batch.source.walk import Walk

ALONE = 2000
"""Files after which a fork pays off: it costs as much as walking a thousand."""
_PIPE_SIZE = 1 << 20
"""Bytes: about 15,000 files. It is Linux's limit for users without privileges (pipe(7))."""
_MOST_KEPT = 8 << 20
"""Bytes that the fork keeps for the pipe: about 120,000 files."""
_LENGTH = struct.Struct("<I")
_PARTING = 0.2
"""Seconds to wait for a fork that was killed."""
_LOST = "the process that walks the source was killed, or failed"


class WalkFork(Protocol):
    """A process that walks."""

    def kill(self) -> None:
        """End it at once."""

    def wait(self, timeout: float) -> bool:
        """Return whether it ended within ``timeout`` seconds."""


class StartFork(Protocol):
    """Starts a process that does one thing. Of all descriptors it has ``keep``, and those of open directories."""

    def __call__(self, work: Callable[[], None], keep: int, /) -> WalkFork | None:
        """Start it; ``None`` where that is not possible, or one core does it all."""


class WalkAhead:
    """The batches of one walk."""

    def __init__(
        self,
        walk: Walk,
        size: int,
        describe: Callable[[str], str],
        start_fork: StartFork | None = None,
        *,
        alone: int = ALONE,
    ) -> None:
        """``size``: files of a batch. ``describe``: see :class:`FileBatch`. Without ``start_fork`` it never forks."""
        self.is_over = False
        self._walk = walk
        self._batches: Iterator[list[LocalFile]] = walk.batches(size)
        self._describe = describe
        self._start_fork = start_fork
        self._fork: WalkFork | None = None
        self._pipe = -1
        self._poll = select.poll()  # select() refuses descriptors from 1,024 on
        self._alone = alone
        self._walked = 0

    def next_batch(self, patience: float = 0.0) -> FileBatch | None:
        """Return the next batch; ``None`` if the walk is over, or its fork has none within ``patience`` seconds."""
        if self._fork is not None:
            return self._receive(patience)
        batch = next(self._batches, None)
        if batch is None:
            self.is_over = True
            return None
        self._walked += len(batch)
        return FileBatch.from_files(batch, self._describe)

    def go_ahead(self) -> None:
        """Have the rest walked by a fork, if the walk is long and a fork is possible."""
        if self._start_fork is None or self._fork is not None or self._walked < self._alone or self.is_over:
            return
        start_fork, self._start_fork = self._start_fork, None
        try:
            mine, theirs = os.pipe()
        except OSError:  # no more descriptors are given
            return
        try:
            with suppress(AttributeError, OSError):  # no Linux, or a lower limit
                import fcntl  # noqa: PLC0415 - a short walk does not need it

                fcntl.fcntl(mine, fcntl.F_SETPIPE_SZ, _PIPE_SIZE)
            self._fork = start_fork(partial(_walk_on, self._walk, self._batches, self._describe, theirs), theirs)
        finally:
            os.close(theirs)
            if self._fork is None:
                os.close(mine)
        if self._fork is not None:
            self._pipe = mine
            self._poll.register(mine, select.POLLIN)
            self._batches = iter(())  # closes the directories, whose reading goes on in the fork

    def close(self) -> None:
        """End the fork, wherever it is."""
        if self._fork is None:
            return
        if self._pipe >= 0:
            os.close(self._pipe)
            self._pipe = -1
        self._fork.kill()
        self._fork.wait(_PARTING)

    def _receive(self, patience: float) -> FileBatch | None:
        if self.is_over or not self._poll.poll(patience * 1000):
            return None
        (length,) = _LENGTH.unpack(self._read(_LENGTH.size))
        columns, problems, kept, end = marshal.loads(self._read(length))  # noqa: S302 - written by the fork of this process
        walk = self._walk
        for problem in problems:
            walk.note_problem(WalkProblem(*problem))
        walk.kept.paths.update(kept)
        if end is None:
            return FileBatch(columns)
        self.is_over = True
        _take_record(walk, end)
        return None

    def _read(self, length: int) -> bytes:
        data = bytearray()
        while len(data) < length:
            piece = os.read(self._pipe, length - len(data))
            if not piece:
                raise JobFailedError(_LOST, remedy="find out what killed it (out of memory?)")
            data += piece
        return bytes(data)


def _walk_on(walk: Walk, batches: Iterator[list[LocalFile]], describe: Callable[[str], str], pipe: int) -> None:
    """Walk in the fork. It ends with its pipe, and so with the process that reads it."""
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, signal.SIG_IGN)
    walk.take_problems()  # those so far are told by the process that forked
    walk.take_kept()
    reach_failpoint("walking-on")
    with suppress(BrokenPipeError):
        sender = PipeSender(pipe)
        for batch in batches:
            sender.send(_pack_frame(FileBatch.from_files(batch, describe).columns, walk))
        sender.send(_pack_frame((), walk, _give_record(walk)))
        sender.flush()
    os.close(pipe)


def _pack_frame(columns: Any, walk: Walk, end: Any = None) -> bytes:
    problems = [tuple(problem) for problem in walk.take_problems()]
    body = marshal.dumps((columns, problems, list(walk.take_kept()), end))
    return _LENGTH.pack(len(body)) + body


class PipeSender:
    """Writes to a pipe as much as it takes at once, and keeps the rest, up to a limit."""

    def __init__(self, pipe: int, most: int = _MOST_KEPT) -> None:
        os.set_blocking(pipe, False)
        self._pipe = pipe
        self._most = most
        self._kept = bytearray()
        self._poll = select.poll()
        self._poll.register(pipe, select.POLLOUT)

    def send(self, data: bytes) -> None:
        """Send data, or keep it. Raises BrokenPipeError where no process reads the pipe any more."""
        self._kept += data
        self._write(self._most)

    def flush(self) -> None:
        """Wait until all is sent."""
        self._write(0)

    def _write(self, most: int) -> None:
        while self._kept:
            try:
                sent = os.write(self._pipe, self._kept)
            except BlockingIOError:
                if len(self._kept) <= most:
                    return
                self._poll.poll()
                continue
            del self._kept[:sent]


def _give_record(walk: Walk) -> tuple[Any, ...]:
    skipped = {what: (names.count, names.first) for what, names in walk.skipped.items()}
    return skipped, (walk.led_out.count, walk.led_out.first), walk.hidden, walk.read_all, walk.complete


def _take_record(walk: Walk, record: tuple[Any, ...]) -> None:
    skipped, led_out, walk.hidden, walk.read_all, walk.complete = record
    walk.skipped = {what: CountedPaths(*names) for what, names in skipped.items()}
    walk.led_out = CountedPaths(*led_out)
