"""A worker on a thread of another program's process, such as a Dask worker's.

    look      does this process have the same s3batch, and see the same source?
    open      the same, and begin a worker for a token
    exchange  work and messages in, results out; waits a little for results
    dismiss   end it now

Exchanges are numbered: one that is repeated, because its answer was lost, is answered twice but done once. An exchange
comes every quarter of a second. A worker that receives none for 5 seconds begins nothing more and sends no request that
changes the bucket. After a minute it finishes its running operations and exits. The next job of the same machine to the
same target dismisses it earlier.
"""

from __future__ import annotations

import asyncio
import contextlib
import pickle
import socket
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

from s3batch import __version__
from s3batch.executors.dask.source_check import FileSample, describe_source_difference
from s3batch.executors.worker_loop import CURRENT, WorkerLoop
from s3batch.executors.worker_process import pack_works, unpack_works

if TYPE_CHECKING:
    from s3batch.executors import Status
    from s3batch.model import Result
    from s3batch.worker.context import Brief

WAIT = 0.25
"""Seconds an exchange waits at most: so long new work may have to wait for its turn."""
LEAD = 0.5
"""Seconds that asking for work takes: the way through the scheduler, and the wait of an exchange."""
PATIENCE = 60.0
"""Seconds without an exchange after which there is no coordinator."""
_END_WITHIN = 2.0
"""Seconds that dismissed workers are waited for."""
_FLUSH_EVERY = 0.05
"""Seconds: results are gathered so long, or until there are enough to be worth an answer."""
_FLUSH_AT = 500


class SealedValue:
    """A value in a message. No log shows its content, because Dask prints the arguments of a failed task."""

    __slots__ = ("_data",)

    def __init__(self, value: object) -> None:
        self._data = pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)

    def __repr__(self) -> str:
        return f"<{len(self._data)} sealed bytes>"

    def open(self) -> Any:
        """Return the value. Pickle is safe here, because both ends are s3batch."""
        return pickle.loads(self._data)  # noqa: S301 - see above


class CoordinatorView(NamedTuple):
    """The coordinator's view of source and versions, to compare with a worker's."""

    version: str
    root: str
    samples: tuple[FileSample, ...]
    symlinks: str = "follow"


class ExchangeRequest(NamedTuple):
    """The coordinator's message of one exchange."""

    works: list[tuple[Any, ...]]
    """As :func:`~s3batch.executors.worker_process.pack_works` makes them."""
    words: dict[str, Any]
    """``drain``, ``narrow``, ``credentials``, ``quirks``, each with its payload."""


class ExchangeResponse(NamedTuple):
    """The worker's message of one exchange."""

    results: list[tuple[Any, ...]]
    requests: dict[str, int]
    doubts: dict[str, int]
    dropped: list[tuple[Any, ...]]
    """Work that was not begun and will not be."""
    status: Status | None = None
    """The worker's status; ``None`` before it has begun its loop."""
    silent: float = 0.0
    """Seconds since its loop last turned."""
    busy_row: int = 0
    """The row that its loop is busy with; 0 for none."""
    gone: str = ""
    """Why there is no worker any more; empty while there is one."""


def make_empty_response(gone: str = "") -> ExchangeResponse:
    """Return an empty answer."""
    return ExchangeResponse([], {}, {}, [], gone=gone)


class HostedWorker:
    """One worker: its thread, its work and its results."""

    def __init__(self, token: str, owner: str, brief: Brief, patience: float = PATIENCE) -> None:
        """``owner`` names the target and the coordinator's machine: of their jobs only the newest counts.

        ``patience``: seconds without an exchange after which it ends.
        """
        self.owner = owner
        self._token = token
        self._patience = patience
        self._page = [0, 0]
        self._status: Status | None = None
        self._runner: WorkerLoop | None = None
        self._ears, self._knocker = socket.socketpair()
        self._ears.setblocking(False)
        self._news = threading.Condition()
        self._inbox: list[ExchangeRequest] = []
        self._results: list[Result] = []
        self._requests: Counter[str] = Counter()
        self._doubts: Counter[str] = Counter()
        self._dropped: list[tuple[Any, ...]] = []
        self._gone = ""
        self._dismissed = False
        self._heard = self._flushed = self._turned = time.monotonic()
        self._one_at_a_time = threading.Lock()
        self._last: tuple[int, ExchangeResponse] = (0, make_empty_response())
        self._thread = threading.Thread(target=self._live, args=(brief,), name=f"s3batch-{token[:8]}", daemon=True)
        self._thread.start()

    # --- on the asking threads --------------------------------------------------------------

    def exchange(self, number: int, ask: ExchangeRequest, wait: float = WAIT) -> ExchangeResponse:
        """Pass ``ask`` on and return the results that arrived, after ``wait`` seconds at most."""
        with self._one_at_a_time:
            if number != self._last[0]:
                self._last = (number, self._swap(ask, wait))
            return self._last[1]

    def _swap(self, ask: ExchangeRequest, wait: float) -> ExchangeResponse:
        with self._news:
            self._heard = time.monotonic()
            self._inbox.append(ask)
            self._report_arrival()
            self._news.wait_for(lambda: self._results or self._dropped or self._gone, wait)
            answer = ExchangeResponse(
                [tuple(result) for result in self._results], dict(self._requests), dict(self._doubts), self._dropped,
                self._status, time.monotonic() - self._turned, self._page[CURRENT], self._gone,
            )  # fmt: skip
            self._results, self._dropped = [], []
            self._requests.clear()
            self._doubts.clear()
            return answer

    def dismiss(self) -> None:
        """End at once and drop running operations. A worker that hangs in a read changes nothing when it wakes."""
        self._dismissed = True
        if self._runner is not None:
            self._runner.transport.writes.close()
        self._report_arrival()

    def has_ended(self, timeout: float) -> bool:
        """Return whether its thread ends within ``timeout`` seconds."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _report_arrival(self) -> None:
        with contextlib.suppress(OSError):  # it has gone
            self._knocker.send(b".")

    # --- on its own thread ------------------------------------------------------------------

    def _live(self, brief: Brief) -> None:
        words = "it was dismissed, or the coordinator did not ask for too long"
        try:
            self._runner = WorkerLoop(brief, self._page, lead=LEAD)
            self._work(self._runner)
        except Exception as error:  # noqa: BLE001 - the next exchange reports it; a thread has no other way
            words = f"{type(error).__name__}: {error}"
        _workers.pop(self._token, None)
        with self._news:
            self._gone = words
            self._news.notify_all()
        self._ears.close()
        self._knocker.close()

    def _work(self, runner: WorkerLoop) -> None:
        runner.transport.loop.watch(self._ears, lambda _: self._listen(runner))
        try:
            while not self._dismissed and (runner.busy or runner.results or not self._is_forsaken()):
                runner.turn(_FLUSH_EVERY if runner.results else 1.0)
                self._turned = time.monotonic()
                if self._is_forsaken():
                    self._drop(runner)
                self._report(runner)
        finally:
            runner.transport.close()

    def _is_forsaken(self) -> bool:
        return time.monotonic() - self._heard > self._patience

    def _listen(self, runner: WorkerLoop) -> None:
        self._ears.recv(4096)
        with self._news:
            asks, self._inbox = self._inbox, []
        runner.note_contact()
        for ask in asks:
            self._obey(runner, ask)

    def _obey(self, runner: WorkerLoop, ask: ExchangeRequest) -> None:
        if "credentials" in ask.words:
            runner.sign_in_again(ask.words["credentials"])
        if "source credentials" in ask.words:
            runner.sign_in_to_source(ask.words["source credentials"])
        if "quirks" in ask.words:
            runner.learn(ask.words["quirks"])
        if "narrow" in ask.words:
            runner.transport.throttle()
        if "drain" in ask.words:
            self._drop(runner)
        runner.take(unpack_works(ask.works))

    def _drop(self, runner: WorkerLoop) -> None:
        with self._news:
            self._dropped += pack_works(runner.drop())
            self._news.notify_all()

    def _report(self, runner: WorkerLoop) -> None:
        now = time.monotonic()
        count = len(runner.results)
        if not count or (count < _FLUSH_AT and now - self._flushed < _FLUSH_EVERY and runner.busy):
            with self._news:
                self._status = runner.status()
            return
        with self._news:
            self._status = runner.status()
            self._results += runner.results
            self._requests.update(runner.transport.requests)
            self._doubts.update(runner.transport.fallback.overruled)
            self._news.notify_all()
        runner.results.clear()
        runner.transport.requests.clear()
        runner.transport.fallback.overruled.clear()
        self._flushed = now


_workers: dict[str, HostedWorker] = {}
"""Those of this process, by token: one for each job and each time it was opened here."""


def report_version() -> str:
    """Return the version of s3batch in this process."""
    return __version__


async def check_coordinator_view(place: CoordinatorView) -> str:
    """Return why work for ``place`` cannot be done in this process; empty if it can."""
    if place.version != __version__:
        return f"{socket.gethostname()} has s3batch {__version__}, and this is {place.version}"
    return await asyncio.to_thread(describe_source_difference, place.root, place.samples, place.symlinks)


async def begin_worker(
    token: str, owner: str, place: CoordinatorView, brief: SealedValue, patience: float = PATIENCE
) -> str:
    """Begin a worker, unless this process sees another source than ``place``: then return the difference."""
    if words := await check_coordinator_view(place):
        return words
    if token not in _workers:
        _workers[token] = HostedWorker(token, owner, brief.open(), patience)
    return ""


def exchange_work(token: str, number: int, ask: SealedValue, wait: float = WAIT) -> SealedValue:
    """Carry out one exchange with the worker of ``token``."""
    worker = _workers.get(token)
    if worker is None:
        return SealedValue(make_empty_response("this process has no such worker"))
    return SealedValue(worker.exchange(number, ask.open(), wait))


def dismiss_workers(tokens: list[str]) -> None:
    """End these workers, as far as they are here."""
    for token in tokens:
        if worker := _workers.get(token):
            worker.dismiss()


async def dismiss_older_workers(owner: str) -> bool:
    """End the workers of earlier jobs of ``owner`` in this process; false if one did not end in time."""
    older = [worker for worker in _workers.values() if worker.owner == owner]
    for worker in older:
        worker.dismiss()
    return all([await asyncio.to_thread(worker.has_ended, _END_WITHIN) for worker in older])
