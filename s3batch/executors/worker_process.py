"""A worker process: frames of work in from the coordinator's socket, frames of results out.

    frame = 4 bytes of length, big-endian, then a pickle of (word, payload)
    in    start Brief | work [...] | drain | beat | messages to all workers: see executors/messages.py
    out   report ([...], short rows, tally, Status), once a second at least | dropped [...]

A worker in the coordinator's process gets the frames themselves, and gives them: no pickle is made.

It lives exactly as long as its coordinator: when the socket ends it ends at once. It ignores
SIGINT, SIGTERM and SIGHUP, because the coordinator decides what is still finished.
"""

from __future__ import annotations

import gc
import mmap
import os
import signal
import socket
import struct
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from s3batch.base.failpoints import reach_failpoint
from s3batch.executors.messages import obey_message
from s3batch.model import (
    WHOLE_OPERATION,
    FileToCompare,
    Operation,
    Result,
    SourceObject,
    Stamp,
    StoredResult,
    Work,
    make_short_row,
    make_whole_work,
)

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Iterator, MutableSequence

    from s3batch.executors.worker_loop import WorkerLoop
    from s3batch.model import ShortRow

_LENGTH = struct.Struct("!I")
_FLUSH_EVERY = 0.02
"""Seconds: results are gathered so long, or until there are enough for a frame."""
_FLUSH_AT = 200
_HUNGRY_FLUSH = 0.005
"""Seconds that results are gathered where the worker could begin more than it has: they carry its request."""
_ASK_AT = 64
"""Pieces of work that are worth a report without results: files that wait for the disk have none yet."""
PAGE_BYTES = mmap.PAGESIZE
SAY_EVERY = 1.0
"""Seconds after which a worker reports its state, even without results."""


class FrameStream:
    """Frames over a stream socket, for both ends. Pickle is safe here, because both ends are s3batch."""

    def __init__(
        self, sock: socket.socket, outgoing: deque[Any] | None = None, incoming: deque[Any] | None = None
    ) -> None:
        """Where both ends are in one process, two queues carry the frames themselves, and the socket empty ones."""
        self.sock = sock
        self._in = bytearray()
        self._out = bytearray()
        self._outgoing, self._incoming = outgoing, incoming

    def queue(self, word: str, payload: Any = None) -> None:
        """Queue a frame for sending."""
        if self._outgoing is None:
            import pickle  # noqa: PLC0415 - a job of one small file has one process

            data = pickle.dumps((word, payload), protocol=pickle.HIGHEST_PROTOCOL)
        else:
            self._outgoing.append((word, payload))
            data = b""
        self._out += _LENGTH.pack(len(data))
        self._out += data

    def flush(self) -> bool:
        """Send as much as the socket takes; return True when nothing is left."""
        while self._out:
            try:
                sent = self.sock.send(self._out)
            except BlockingIOError:
                return False
            del self._out[:sent]
        return True

    def receive(self) -> Iterator[tuple[str, Any]]:
        """Yield the frames that have arrived completely. Raises ``EOFError`` if the other end is gone."""
        try:
            data = self.sock.recv(1024 * 1024)
        except BlockingIOError:
            return
        except ConnectionResetError as error:
            raise EOFError from error
        if not data:
            raise EOFError
        self._in += data
        while len(self._in) >= _LENGTH.size:
            end = _LENGTH.size + _LENGTH.unpack_from(self._in)[0]
            if len(self._in) < end:
                return
            frame = bytes(self._in[_LENGTH.size : end])
            del self._in[:end]
            yield _load_frame(frame) if self._incoming is None else self._incoming.popleft()

    def require_other_end(self) -> None:
        """Raise ``EOFError`` if the other end is gone, and nothing more of it is to be read."""
        try:
            if not self.sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT):
                raise EOFError
        except BlockingIOError:
            return
        except ConnectionResetError as error:
            raise EOFError from error


def _load_frame(frame: bytes) -> Any:
    import pickle  # noqa: PLC0415 - as above

    return pickle.loads(frame)  # noqa: S301 - see FrameStream


def pack_works(works: list[Work]) -> list[tuple[Any, ...]]:
    """Return works as bare tuples, which take a third of the time to pickle; a whole operation is only itself."""
    return [
        _flatten_operation(work.operation) if work[1:] == WHOLE_OPERATION else _flatten_work(work) for work in works
    ]


def unpack_works(rows: list[tuple[Any, ...]]) -> list[Work]:
    """Return the works that :func:`pack_works` packed."""
    return [_restore_work(row) if type(row[0]) is tuple else make_whole_work(_restore_operation(row)) for row in rows]


def _flatten_work(work: Work) -> tuple[Any, ...]:
    files = [(*each[:2], *each.stamp, *each[3:]) for each in work.files]
    return (_flatten_operation(work.operation), *work[1:-1], files)


def _restore_work(row: tuple[Any, ...]) -> Work:
    return _new(Work, (_restore_operation(row[0]), *row[1:-1], _restore_files(row[-1])))


def _restore_files(rows: list[tuple[Any, ...]]) -> tuple[FileToCompare, ...]:
    return tuple([_new(FileToCompare, (*row[:2], _new(Stamp, row[2:-2]), *row[-2:])) for row in rows])


def _flatten_operation(operation: Operation) -> tuple[Any, ...]:
    spec: Any = operation.spec
    if type(spec) is SourceObject:
        spec = tuple(spec)
    return (*operation[:_AT], *operation.stamp, *operation[_AT + 1 : _SPEC], spec, *operation[_SPEC + 1 :])


def _restore_operation(row: tuple[Any, ...]) -> Operation:
    spec = row[_SPEC_IN_ROW]
    if type(spec) is tuple:
        spec = _new(SourceObject, spec)
    stamp = _new(Stamp, row[_AT:_BEHIND])
    return _new(Operation, (*row[:_AT], stamp, *row[_BEHIND:_SPEC_IN_ROW], spec, *row[_SPEC_IN_ROW + 1 :]))


_new = tuple.__new__
"""A third of the time of calling a type of named tuples."""


_AT = Operation._fields.index("stamp")
_SPEC = Operation._fields.index("spec")
_BEHIND = _AT + len(Stamp._fields)
_SPEC_IN_ROW = _SPEC + len(Stamp._fields) - 1


class Worker:
    """The process's loop."""

    def __init__(
        self, sock: socket.socket, page: MutableSequence[int], *queues: deque[Any], is_alone: bool = False
    ) -> None:
        """``queues``: of frames out and in, where the coordinator is in this process. ``is_alone``: it does nothing else."""
        sock.setblocking(False)
        self._frames = FrameStream(sock, *queues)
        self._page = page
        self._runner: WorkerLoop | None = None
        self._is_alone = is_alone
        self._flushed = 0.0
        self._asked = 0
        """Pieces of work that it has asked for in all."""
        self._is_served = False
        """It has told that the store does its work: then it gets more."""

    def run(self) -> None:
        """Work until the coordinator is gone."""
        while True:
            self.turn(SAY_EVERY)

    def turn(self, most: float) -> None:
        """Work for up to ``most`` seconds, or until something is done."""
        runner = self._runner
        if runner is None:
            self._wait_for_start()
            return
        runner.turn(min(most, self._patience(runner)))
        self._report(runner)

    def close(self) -> None:
        """Close the connections; for a worker that shares its coordinator's process."""
        if self._runner is not None:
            self._runner.transport.close()
        self._frames.sock.close()

    def _patience(self, runner: WorkerLoop) -> float:
        """Return the seconds to wait for an event."""
        if runner.results or not self._frames.flush():
            return _HUNGRY_FLUSH if runner.hungry else _FLUSH_EVERY
        return max(0.0, self._flushed + SAY_EVERY - time.monotonic())

    def _wait_for_start(self) -> None:
        self._frames.sock.setblocking(True)
        for word, payload in self._frames.receive():
            self._obey(word, payload)
        self._frames.sock.setblocking(False)

    def _listen(self) -> None:
        frames = list(self._frames.receive())
        self._frames.require_other_end()  # it may have died while this process was suspended: its last frames do not count
        for word, payload in frames:
            self._obey(word, payload)

    def _obey(self, word: str, payload: Any) -> None:
        if word == "start":
            from s3batch.executors.worker_loop import WorkerLoop  # noqa: PLC0415 - only a process that works needs it

            self._runner = WorkerLoop(payload, self._page)
            if self._is_alone and not payload.extensions and payload.source is None:
                _interrupt_no_process()
            self._runner.transport.loop.watch(self._frames.sock, lambda _: self._listen())
            reach_failpoint("worker-started")
            return
        if self._runner is None:
            raise EOFError(f"{word} before start")
        self._runner.note_contact()
        if word == "work":
            self._runner.note_wait(time.monotonic() - self._flushed)
            self._runner.take(unpack_works(payload))
        elif word == "drain":
            self._frames.queue("dropped", pack_works(self._runner.drop()))
        else:
            obey_message(self._runner, word, payload)

    def _report(self, runner: WorkerLoop) -> None:
        elapsed = time.monotonic() - self._flushed
        count = len(runner.results)
        every = _HUNGRY_FLUSH if runner.hungry else _FLUSH_EVERY
        is_due = elapsed >= SAY_EVERY or (count and (count >= _FLUSH_AT or elapsed >= every or not runner.busy))
        if is_due or (elapsed >= _HUNGRY_FLUSH and self._asks_for_more(runner)):
            rows, stored = pack_results(runner.results)
            tally = tuple(runner.transport.take_tally())
            status = runner.status()
            self._frames.queue("report", (rows, stored, tally, status))
            runner.results.clear()
            self._flushed += elapsed
            self._asked, self._is_served = status.credit.works, status.is_served
        self._frames.flush()

    def _asks_for_more(self, runner: WorkerLoop) -> bool:
        """Return whether it could take much more than it has asked for, while results wait for the disk or a probe."""
        if not runner.transport.loop.parked:
            return False
        status = runner.status()
        return status.credit.works >= self._asked + _ASK_AT or (status.is_served and not self._is_served)


def pack_results(results: list[Result]) -> tuple[list[tuple[Any, ...]], list[ShortRow]]:
    """Return results as bare tuples, and the short rows of those of which no more is to be said."""
    stored = [make_short_row(result) for result in results if type(result) is StoredResult]
    return [tuple(result) for result in results if type(result) is not StoredResult], stored


def unpack_results(rows: list[tuple[Any, ...]]) -> list[Result]:
    """Return the results that a worker reported as bare tuples."""
    return [_new(Result, row) for row in rows]


def run_worker(fd: int, page: MutableSequence[int]) -> None:
    """Run a worker; ``fd`` is its end of the coordinator's socket pair, ``page`` is shared with the coordinator."""
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, signal.SIG_IGN)
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)  # as in s3batch/__main__.py: hardly anything here makes cycles
    try:
        Worker(socket.socket(fileno=fd), page, is_alone=True).run()
    except (EOFError, BrokenPipeError, ConnectionResetError):
        os._exit(0)  # the coordinator is gone; threads must not keep this process alive


def _interrupt_no_process() -> None:
    """Have a response wait for the process that computes: the coordinator, another worker, a store on this machine.

    The worker takes more responses at a time, with fewer switches between processes. Its share of a core is the same
    (sched(7), SCHED_BATCH). A policy that the user has chosen stays. A worker that receives content keeps its own:
    while it waits, its sockets fill up, and objects of 1 GiB cost 1.3 times the CPU.
    """
    if sys.platform == "linux":
        with suppress(OSError):  # a sandbox may forbid it
            if os.sched_getscheduler(0) == os.SCHED_OTHER:
                os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def run_worker_afresh(fd: int, page_fd: int) -> None:
    """Run a worker in a fresh Python."""
    run_worker(fd, make_shared_page(mmap.mmap(page_fd, PAGE_BYTES)))


def make_shared_page(memory: mmap.mmap) -> MutableSequence[int]:
    """Return shared memory as the numbers of a :class:`WorkerLoop`'s page."""
    return memoryview(memory).cast("q")  # type: ignore[return-value]  # it has the methods of a list that are needed
