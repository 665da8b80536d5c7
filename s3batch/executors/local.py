"""Worker processes on this machine, forked where that is safe and started afresh where not, fed over socket pairs.

If fewer processes can be started, they do all the work, or this process does. It also sends a small file that is the only
work at first: a fork would cost a tenth of such a job.

A worker that dies, or does not respond for too long, is replaced. Operations that it had begun are reported as lost, to be
checked before a retry; the others are handed back. A page of memory shared with each worker tells which is which.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import selectors
import socket
import sys
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from s3batch.base.errors import JobFailedError
from s3batch.executors import (
    BEAT,
    SILENCE,
    Credit,
    PollResult,
    RunningTime,
    WorkerState,
    compute_work_weight,
    fork,
    format_hang_warning,
)
from s3batch.executors.fork import Fork
from s3batch.executors.messages import MessagingExecutor
from s3batch.executors.worker_process import (
    PAGE_BYTES,
    FrameStream,
    Worker,
    make_shared_page,
    pack_works,
    run_worker,
    unpack_results,
    unpack_works,
)
from s3batch.executors.worker_state import BEGUN, CURRENT
from s3batch.s3.tally import Tally
from s3batch.source.reader import SourceReader
from s3batch.worker.context import prepare_worker

if TYPE_CHECKING:
    from collections.abc import MutableSequence, Sequence

    from s3batch.model import Work
    from s3batch.worker.context import Brief

_BEGIN = (
    "import json,sys; sys.path[:] = json.loads(sys.argv[3]); "
    "from s3batch.executors.worker_process import run_worker_afresh; run_worker_afresh(int(sys.argv[1]), int(sys.argv[2]))"
)
_ONE_CAN = 16 * 1024 * 1024
"""Bytes per second that one worker sends without trouble, even in objects of a few KiB."""
_SOCKET_BUFFER = 1024 * 1024
_SMALL = 64 * 1024
"""Bytes of a file that this process may send itself, where that is all there is to do."""
_SOON = 0.1
"""Seconds in which such a file has to be read: a read that hangs would stop the coordinator."""
_NO_MORE = Credit(0, 0, 0)
_PARTING = 0.2
"""Seconds to wait for a worker that was killed. One that waits for a file server ends when that answers."""


class _WorkerProcess:
    """One worker process."""

    def __init__(self, brief: Brief, state: WorkerState, now: float, launch: _Launch) -> None:
        """Launch it. Raises ``OSError`` where that cannot be done."""
        self.state = state
        mine, theirs = socket.socketpair()
        with theirs:
            try:
                for end in (mine, theirs):
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SOCKET_BUFFER)
                self.page, self._process = launch(theirs)
            except BaseException:
                mine.close()
                raise
        self.inside = self._process if isinstance(self._process, _InlineWorker) else None
        self.frames = FrameStream(mine, *(self.inside.queues if self.inside is not None else ()))
        self.heard = now
        """When it said something last, in the coordinator's running time."""
        self.told = 0.0
        self.stuck = ""
        """A file that it says it waits for too long."""
        self.frames.queue("start", brief)
        self.frames.flush()

    def tell(self, word: str, payload: object = None) -> None:
        """Send a frame; a dead worker shows when it is next read from."""
        self.frames.queue(word, payload)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.frames.flush()

    def kill(self) -> None:
        """Close its socket, which ends it."""
        self.frames.sock.close()
        self._process.kill()

    def await_end(self) -> None:
        """Wait for its end."""
        self._process.wait(_PARTING)


class _FreshPython:
    """A worker in a Python of its own."""

    def __init__(self, arguments: list[str], descriptors: tuple[int, ...]) -> None:
        import subprocess  # noqa: PLC0415 - a worker that can be forked does not pay for it

        nothing = subprocess.DEVNULL  # no stderr: the messages of a dying Python are not escaped
        self._process = subprocess.Popen(arguments, stdin=nothing, stdout=nothing, stderr=nothing, pass_fds=descriptors)
        self.pid = self._process.pid
        self._late = subprocess.TimeoutExpired

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()

    def wait(self, timeout: float) -> bool:
        """Return whether it ended within ``timeout`` seconds."""
        with contextlib.suppress(self._late):
            self._process.wait(timeout)
        return self._process.returncode is not None


class _InlineWorker:
    """A worker on the coordinator's own thread, where no process can be started: it works while it is polled."""

    def __init__(self, sock: socket.socket, page: MutableSequence[int]) -> None:
        there: deque[Any] = deque()
        back: deque[Any] = deque()
        self.queues = there, back
        """Of frames to it, and from it."""
        self._worker = Worker(sock.dup(), page, back, there)

    def turn(self, most: float) -> None:
        """Work for up to ``most`` seconds."""
        self._worker.turn(most)

    def kill(self) -> None:
        """Close its sockets and files."""
        self._worker.close()

    def wait(self, timeout: float) -> bool:
        """Return at once: there is nothing to wait for."""
        return timeout >= 0


_Launch = Callable[[socket.socket], "tuple[Sequence[int], Fork | _FreshPython | _InlineWorker]"]


def _start_inline(sock: socket.socket) -> tuple[Sequence[int], _InlineWorker]:
    page = make_shared_page(mmap.mmap(-1, PAGE_BYTES))
    return page, _InlineWorker(sock, page)


def _start_forked(sock: socket.socket) -> tuple[Sequence[int], Fork]:
    import pickle  # noqa: F401, PLC0415 - once, for all forks; a job without work has none

    import s3batch.executors.worker_loop  # noqa: F401, PLC0415 - as above

    page = make_shared_page(mmap.mmap(-1, PAGE_BYTES))
    return page, Fork(partial(run_worker, sock.fileno(), page), sock.fileno())


def _start_afresh(sock: socket.socket) -> tuple[Sequence[int], _FreshPython]:
    import tempfile  # noqa: PLC0415 - as above

    with tempfile.TemporaryFile() as file:
        file.truncate(PAGE_BYTES)
        page = make_shared_page(mmap.mmap(file.fileno(), PAGE_BYTES))
        fds = (sock.fileno(), file.fileno())
        return page, _FreshPython([sys.executable, "-P", "-c", _BEGIN, *map(str, fds), json.dumps(sys.path)], fds)


class LocalExecutor(MessagingExecutor):
    """A pool of worker processes; they start with the first work, so a run with nothing to do has none."""

    def __init__(
        self, brief: Brief, count: int, clock: Callable[[], float] = time.monotonic, *, silence: float = SILENCE
    ) -> None:
        """``brief.limit`` and ``brief.bandwidth`` are per worker; ``silence``: seconds after which one is replaced."""
        super().__init__(brief)
        self._clock = clock
        self._silence = silence
        self._running = RunningTime(clock)
        self._states = [WorkerState(str(number)) for number in range(count)]
        self._processes: dict[WorkerState, _WorkerProcess] = {}
        self._selector = selectors.DefaultSelector()
        self._draining = False
        self._errand: WorkerState | None = None
        """The worker that sent the first work in this process, where that was one small file."""
        self._aside = PollResult()
        """Outcomes for the next poll: work of processes that could not be started, and the reason."""

    def start(
        self, count: int = sys.maxsize, content: int = sys.maxsize, states: Sequence[WorkerState] = ()
    ) -> None:  # fmt: skip
        """Start the processes that are missing, of ``states`` or of all; work does it too, and waits for them.

        ``count`` and ``content``: the works that they get first, and the bytes of those, as far as that is known.
        """
        if not self._processes and fork.is_fork_possible():
            prepare_worker(self._brief, count, content)
        try:
            for state in states or self._states:
                if state not in self._processes:
                    self._launch_worker(state, self._brief, _start_forked if fork.is_fork_possible() else _start_afresh)
        except OSError as error:  # no more processes, memory or descriptors may be had
            self._make_do(error.strerror or str(error))

    def _launch_worker(self, state: WorkerState, brief: Brief, launch: _Launch) -> None:
        process = self._processes[state] = _WorkerProcess(brief, state, self._running(), launch)
        self._selector.register(process.frames.sock, selectors.EVENT_READ, process)

    def _make_do(self, why: str) -> None:
        """Go on with the processes there are; with none, in this one."""
        missing = [state for state in self._states if state not in self._processes]
        self._states = [state for state in self._states if state in self._processes]
        asked, there = len(missing) + len(self._states), len(self._states)
        if there:
            warning = f"only {there} of {asked} worker processes could be started ({why}); the job goes on with these"
        else:
            brief = self._brief._replace(limit=self._brief.limit * asked, bandwidth=self._brief.bandwidth * asked)
            self._states = [missing.pop(0)]
            try:
                self._launch_worker(self._states[0], brief, _start_inline)
            except OSError as error:
                raise JobFailedError(f"no worker can be started: {error}", hint="raise the limits (ulimit)") from error
            warning = f"no worker process could be started ({why}); the work is done in the main process"
        self._aside.warnings.append(warning)

    def workers(self) -> Sequence[WorkerState]:
        """Return the workers, also while their processes have not been started."""
        return self._states

    def dispatch(self, worker: WorkerState, works: list[Work]) -> None:
        """Hand ``works`` to one of them."""
        if worker not in self._processes:
            alone = not self._processes and len(works) == 1  # a job of one file needs one process, if any
            if not (alone and self._errand is None and self._begin_errand(worker, works[0])):
                self.start(len(works), sum(map(compute_work_weight, works)), [worker] if alone else ())
        process = self._processes.get(worker)
        if process is None:  # it could not be started
            self._aside.dropped += works
            return
        process.told = self._clock()
        process.tell("work", pack_works(works))

    def _begin_errand(self, state: WorkerState, work: Work) -> bool:
        """Have one small file sent by this process, if nothing of it can take long: a fork costs more than that."""
        from s3batch.worker.plain_upload import is_plain_upload  # noqa: PLC0415 - a job without work has none

        operation = work.operation
        if self._brief.extensions or not is_plain_upload(work) or operation.size > _SMALL:
            return False
        if not SourceReader(self._brief.root, self._brief.symlinks).reads_within(
            _SOON, operation.path, operation.stamp
        ):
            return False
        try:
            self._launch_worker(state, self._brief, _start_inline)
        except OSError:
            return False
        state.credit, self._errand = _NO_MORE, state
        return True

    def _end_errand(self) -> None:
        """Close the worker in this process when it has sent its file: what comes then is for processes."""
        state = self._errand
        if state is not None and not state.given and state in self._processes:
            process = self._processes.pop(state)
            self._selector.unregister(process.frames.sock)
            process.kill()
            self._states[self._states.index(state)] = WorkerState(state.name)

    def poll(self, timeout: float) -> PollResult:
        """Return the reports of the workers."""
        news, self._aside = self._aside, PollResult()
        self._send_beats()
        for process in self._processes.values():
            if process.inside is not None:
                process.inside.turn(timeout)
                timeout = 0.0
        for key, _ in self._selector.select(0.0 if news.dropped or news.warnings else timeout):
            process = key.data
            process.heard = self._running()
            try:
                for word, payload in process.frames.receive():
                    self._hear(process, word, payload, news)
            except EOFError:
                self._replace(process, news)
        self._replace_silent(news)
        self._end_errand()
        return news

    def _send_beats(self) -> None:
        """Send each worker a sign that the coordinator runs."""
        now = self._clock()
        for process in self._processes.values():
            if now - process.told >= BEAT:
                process.told = now
                process.tell("beat")

    def _hear(self, process: _WorkerProcess, word: str, payload: Any, news: PollResult) -> None:
        if word == "report":
            rows, stored, tally, status = payload
            results = unpack_results(rows)
            news.sent += process.state.on_results(results, status, stored)
            news.is_served = news.is_served or status.is_served
            if process.state is self._errand:
                process.state.credit = _NO_MORE
            news.results += results
            news.stored += stored
            news.add_tally(Tally(*tally))
            if status.stuck:
                process.stuck = status.stuck
        elif word == "dropped":
            works = unpack_works(payload)
            process.state.take_back(works)
            news.dropped += works

    def _replace_silent(self, news: PollResult) -> None:
        """Replace workers that have said nothing for too long; a worker that waits for a file cannot say so."""
        now = self._running()
        for process in [each for each in self._processes.values() if each.stuck or now - each.heard > self._silence]:
            path = process.stuck or process.state.find_path(process.page[CURRENT])
            news.warnings.append(format_hang_warning("a worker", self._silence, path))
            self._replace(process, news)

    def _replace(self, process: _WorkerProcess, news: PollResult) -> None:
        state = process.state
        state.begun = process.page[BEGUN]
        news.lose(state)
        self._selector.unregister(process.frames.sock)
        del self._processes[state]
        self._states.remove(state)
        process.kill()
        process.await_end()
        if not self._draining:
            self._states.append(WorkerState(state.name))
            self.start()

    def drain(self) -> None:
        """Have the workers hand back work that they did not begin, and note the work begun so far."""
        self._draining = True
        for state, process in self._processes.items():
            state.begun = process.page[BEGUN]
        self.tell_all("drain")

    def tell_all(self, word: str, payload: object = None) -> None:
        """Send a message to every worker there is."""
        for process in self._processes.values():
            process.tell(word, payload)

    def close(self) -> None:
        """End every process. All are killed before one is waited for."""
        for process in self._processes.values():
            process.kill()
        for process in self._processes.values():
            process.await_end()
        self._processes.clear()
        self._selector.close()


def limit_worker_count(bandwidth: float, count: int) -> int:
    """Return how many of ``count`` workers to have under a limit of ``bandwidth`` bytes per second.

    Each gets an equal part of it, even while another has nothing to send. One worker alone uses it exactly.
    """
    return 1 if 0 < bandwidth <= _ONE_CAN else count


def start_beside(work: Callable[[], None], keep: int) -> Fork | None:
    """Start a fork for a core of its own, with the open directories; ``None`` where that is not possible."""
    if count_usable_cpus() < 2 or not fork.is_fork_possible():
        return None
    try:
        return Fork(work, keep, keeps_directories=True)
    except OSError:  # no more processes may be started
        return None


def count_usable_cpus() -> int:
    """Return the CPUs this process may use: the default number of workers."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
