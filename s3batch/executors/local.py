"""Worker processes on this machine, forked where that is safe and started afresh where not, fed over socket pairs.

A worker that dies is replaced; what it had is reported as lost, to be looked up before it is sent again.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import socket
import subprocess
import sys
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from s3batch import forks
from s3batch.executors import News, Tag, tags_of
from s3batch.executors.process import Framed, main, pack, results_of, unpack
from s3batch.forks import Fork
from s3batch.worker import prepare

if TYPE_CHECKING:
    from s3batch.model import Result, Work
    from s3batch.quirks import Quirks
    from s3batch.s3.sigv4 import Credentials
    from s3batch.worker import Brief

_BEGIN = (
    "import json,sys; sys.path[:] = json.loads(sys.argv[2]); "
    "from s3batch.executors.process import main; main(int(sys.argv[1]))"
)
_ONE_CAN = 16 * 1024 * 1024
"""Bytes per second that one worker sends without trouble, even in objects of a few KiB."""
_QUEUED = 192
"""Pieces of work waiting in a worker beside those in flight, so that it never runs dry."""
_SOCKET_BUFFER = 1024 * 1024
_PARTING = 5.0
"""Seconds to wait for a worker that was killed."""


class _Process:
    """One worker process and what it has been given."""

    def __init__(self, brief: Brief) -> None:
        mine, theirs = socket.socketpair()
        for end in (mine, theirs):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SOCKET_BUFFER)
        self._process = _forked(theirs) if forks.possible() else _afresh(theirs)
        theirs.close()
        self.frames = Framed(mine)
        self.given: dict[Tag, Work] = {}
        self.frames.queue("start", brief)
        self.frames.flush()

    def tell(self, word: str, payload: object = None) -> None:
        """Send a frame; a dead worker shows when it is next read from."""
        self.frames.queue(word, payload)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.frames.flush()

    def end(self) -> None:
        """Close its socket, which ends it, and make sure."""
        self.frames.sock.close()
        self._process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):  # stuck in a file system that does not answer
            self._process.wait(_PARTING)


def _forked(sock: socket.socket) -> Fork:
    return Fork(partial(main, sock.fileno()), sock.fileno())


def _afresh(sock: socket.socket) -> subprocess.Popen[bytes]:
    arguments = [sys.executable, "-P", "-c", _BEGIN, str(sock.fileno()), json.dumps(sys.path)]
    nothing = subprocess.DEVNULL  # no stderr: what a dying Python says there is not escaped
    return subprocess.Popen(arguments, stdin=nothing, stdout=nothing, stderr=nothing, pass_fds=(sock.fileno(),))


class LocalExecutor:
    """A pool of worker processes; they start with the first work, so a run with nothing to do has none."""

    def __init__(self, brief: Brief, count: int, queued: int = _QUEUED) -> None:
        """``brief.limit`` and ``brief.bandwidth`` are per worker; so is ``queued``, which may be small for long work."""
        self._brief = brief
        self._count = count
        self._depth = brief.limit + queued
        self._processes: list[_Process] = []
        self._selector = selectors.DefaultSelector()
        self._draining = False

    def start(self) -> None:
        """Start the processes that are missing; the first work does it too, and waits for them."""
        if not self._processes and forks.possible():
            prepare(self._brief)
        while len(self._processes) < self._count:
            process = _Process(self._brief)
            self._processes.append(process)
            self._selector.register(process.frames.sock, selectors.EVENT_READ, process)

    def room(self) -> int:
        """Enough that no worker runs dry."""
        return self._depth * self._count - self.outstanding()

    def submit(self, works: list[Work]) -> None:
        """Hand ``works`` out, to each worker about as much as it has less than the others."""
        self.start()
        share = -(-len(works) // self._count)
        at = 0
        for process in sorted(self._processes, key=lambda each: len(each.given)):
            batch = works[at : at + share]
            at += share
            if batch:
                for work in batch:
                    process.given.update(dict.fromkeys(tags_of(work), work))
                process.tell("work", pack(batch))

    def poll(self, timeout: float) -> News:
        """What the workers reported."""
        news = News()
        for key, _ in self._selector.select(timeout):
            process: _Process = key.data
            try:
                for word, payload in process.frames.receive():
                    self._hear(process, word, payload, news)
            except EOFError:
                self._replace(process, news)
        return news

    def _hear(self, process: _Process, word: str, payload: Any, news: News) -> None:
        if word == "results":
            rows, requests, doubts = payload
            results: list[Result] = results_of(rows)
            for result in results:
                process.given.pop((result.id, result.step, result.part), None)
            news.results += results
            news.count(requests, doubts)
        elif word == "dropped":
            works = unpack(payload)
            for work in works:
                for tag in tags_of(work):
                    process.given.pop(tag, None)
            news.dropped += works

    def _replace(self, process: _Process, news: News) -> None:
        self._selector.unregister(process.frames.sock)
        self._processes.remove(process)
        process.end()
        news.lost += {id(work): work for work in process.given.values()}.values()
        if not self._draining:
            self.start()

    def outstanding(self) -> int:
        """Results still to come."""
        return sum(len(process.given) for process in self._processes)

    def sign_in_again(self, credentials: Credentials) -> None:
        """Tell every worker, and those still to be started."""
        self._brief = replace(self._brief, endpoint=replace(self._brief.endpoint, credentials=credentials))
        self._tell_all("credentials", credentials)

    def learn(self, quirks: Quirks) -> None:
        """Tell every worker, and those still to be started."""
        self._brief = replace(self._brief, quirks=quirks)
        self._tell_all("quirks", quirks)

    def narrow(self) -> None:
        """Halve every worker's window."""
        self._tell_all("narrow")

    def drain(self) -> None:
        """Have the workers hand back what they did not begin."""
        self._draining = True
        self._tell_all("drain")

    def _tell_all(self, word: str, payload: object = None) -> None:
        for process in self._processes:
            process.tell(word, payload)

    def close(self) -> None:
        """End every process."""
        for process in self._processes:
            process.end()
        self._processes.clear()
        self._selector.close()


def sharing(bandwidth: float, count: int) -> int:
    """How many of ``count`` workers to have under a limit of so many bytes per second.

    Each gets an equal part of it, also while another has nothing to send; where one alone can use it up, it is exact.
    """
    return 1 if 0 < bandwidth <= _ONE_CAN else count


def usable_cpus() -> int:
    """CPUs this process may use: the default number of workers."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
