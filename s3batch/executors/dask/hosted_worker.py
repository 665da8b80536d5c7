"""A worker on a thread of another program's process, such as a Dask worker's.

    look      does this process have the same s3batch, and see the same directory?
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
import socket
import threading
import time
from typing import TYPE_CHECKING

from s3batch import __version__
from s3batch.executors.dask.exchange import (
    CoordinatorView,
    ExchangeBox,
    ExchangeRequest,
    ExchangeResponse,
    SealedValue,
    make_empty_response,
)
from s3batch.executors.dask.source_check import describe_source_difference
from s3batch.executors.dask.target_check import ViewAnswer, answer_probe
from s3batch.executors.messages import obey_message
from s3batch.executors.worker_loop import WorkerLoop
from s3batch.executors.worker_process import pack_works, unpack_works

if TYPE_CHECKING:
    from s3batch.worker.context import Brief

WAIT = 0.25
"""Seconds an exchange waits at most: so long new work may have to wait for its turn."""
LEAD = 0.5
"""Seconds that asking for work takes at least: the way through the scheduler, and the wait of an exchange."""
_LEAD_MOST = 4.0
"""The same at most. A coordinator that says nothing for longer may be gone."""
PATIENCE = 60.0
"""Seconds without an exchange after which there is no coordinator."""
_END_WITHIN = 2.0
"""Seconds that dismissed workers are waited for."""
_FLUSH_EVERY = 0.2
"""Seconds: results are gathered so long, or until there are enough to be worth an answer."""
_HUNGRY_FLUSH = 0.05
"""The same where the worker could begin more than it has: its answer carries what it asks for."""
_FLUSH_AT = 500


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
        self._box = ExchangeBox(self._page)
        self._runner: WorkerLoop | None = None
        self._dismissed = False
        self._flushed = self._asked = time.monotonic()
        self._interval = 0.0
        """Seconds between exchanges, lately."""
        self._one_at_a_time = threading.Lock()
        self._last: tuple[int, ExchangeResponse] = (0, make_empty_response())
        self._thread = threading.Thread(target=self._live, args=(brief,), name=f"s3batch-{token[:8]}", daemon=True)
        self._thread.start()

    # --- on the asking threads --------------------------------------------------------------

    def exchange(self, number: int, request: ExchangeRequest, wait: float = WAIT) -> ExchangeResponse:
        """Pass ``request`` on and return the results that arrived, after ``wait`` seconds at most."""
        with self._one_at_a_time:
            if number != self._last[0]:
                self._last = (number, self._box.swap(request, wait))
            return self._last[1]

    def dismiss(self) -> None:
        """End at once and drop running operations. A worker that hangs in a read changes nothing when it wakes."""
        self._dismissed = True
        if self._runner is not None:
            self._runner.transport.writes.close()
        self._box.knock()

    def has_ended(self, timeout: float | None) -> bool:
        """Return whether its thread ends within ``timeout`` seconds; ``None`` waits for that."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    # --- on its own thread ------------------------------------------------------------------

    def _live(self, brief: Brief) -> None:
        words = "it was dismissed, or the coordinator did not ask for too long"
        try:
            self._runner = WorkerLoop(brief, self._page, lead=LEAD)
            self._work(self._runner)
        except Exception as error:  # noqa: BLE001 - the next exchange reports it; a thread has no other way
            words = f"{type(error).__name__}: {error}"
        _workers.pop(self._token, None)
        self._box.close(words)

    def _work(self, runner: WorkerLoop) -> None:
        runner.transport.loop.watch(self._box.ears, lambda _: self._listen(runner))
        try:
            while not self._dismissed and (runner.busy or runner.results or not self._is_forsaken()):
                runner.turn(_choose_flush(runner) if runner.results else 1.0)
                self._box.turned = time.monotonic()
                if self._is_forsaken():
                    self._drop(runner)
                self._report(runner)
        finally:
            runner.transport.close()

    def _is_forsaken(self) -> bool:
        return time.monotonic() - self._box.heard > self._patience

    def _listen(self, runner: WorkerLoop) -> None:
        requests = self._box.take_requests()
        runner.note_contact()
        self._measure_interval(runner)
        for request in requests:
            self._obey(runner, request)

    def _measure_interval(self, runner: WorkerLoop) -> None:
        """Let the worker ask for as much as lasts until it is answered."""
        now = time.monotonic()
        interval, self._asked = now - self._asked, now
        self._interval = interval if interval > self._interval else (self._interval + interval) / 2
        runner.lead = choose_lead(self._interval)

    def _obey(self, runner: WorkerLoop, request: ExchangeRequest) -> None:
        for word, payload in request.words.items():
            if word == "drain":
                self._drop(runner)
            else:
                obey_message(runner, word, payload)
        runner.take(unpack_works(request.works))

    def _drop(self, runner: WorkerLoop) -> None:
        self._box.put_dropped(pack_works(runner.drop()))

    def _report(self, runner: WorkerLoop) -> None:
        now = time.monotonic()
        count = len(runner.results)
        if not count or (count < _FLUSH_AT and now - self._flushed < _choose_flush(runner) and runner.busy):
            self._box.put_status(runner.status())
            return
        self._box.put_report(runner)
        self._flushed = now


def choose_lead(interval: float) -> float:
    """Return the seconds of work to ask for, where there are so many between two exchanges.

    What it asks for with one answer comes with the next exchange, and has to last until the one after that.
    """
    return min(_LEAD_MOST, max(LEAD, 2 * interval))


def _choose_flush(runner: WorkerLoop) -> float:
    """Return the seconds that results are gathered."""
    return _HUNGRY_FLUSH if runner.hungry else _FLUSH_EVERY


_workers: dict[str, HostedWorker] = {}
"""The workers of this process, by token: one for each job and each time it was opened here."""


def report_version() -> str:
    """Return the version of s3batch in this process."""
    return __version__


async def check_coordinator_view(place: CoordinatorView) -> ViewAnswer:
    """Return why work for ``place`` cannot be done in this process, if it cannot."""
    if place.version != __version__:
        return ViewAnswer(f"{socket.gethostname()} has s3batch {__version__}, and this is {place.version}")
    if place.probe is not None:
        return await asyncio.to_thread(answer_probe, place.probe)
    return ViewAnswer(await asyncio.to_thread(describe_source_difference, place.root, place.samples, place.symlinks))


async def begin_worker(
    token: str, owner: str, place: CoordinatorView, brief: SealedValue, patience: float = PATIENCE
) -> ViewAnswer:
    """Begin a worker, unless this process sees another directory than ``place``: then return the difference."""
    answer = await check_coordinator_view(place)
    if not answer.trouble and token not in _workers:
        _workers[token] = HostedWorker(token, owner, brief.open(), patience)
    return answer


async def exchange_work(token: str, number: int, request: SealedValue, wait: float = WAIT) -> SealedValue:
    """Carry out one exchange with the worker of ``token``."""
    worker = _workers.get(token)
    if worker is None:
        return SealedValue(make_empty_response("this process has no such worker"))
    return SealedValue(await asyncio.to_thread(worker.exchange, number, request.open(), wait))


def wait_for_worker(token: str) -> None:
    """Wait until the worker of ``token`` has ended."""
    if worker := _workers.get(token):
        worker.has_ended(None)


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
