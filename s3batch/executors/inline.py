"""Runs the worker in this process: for jobs too small to be worth a second one, and for tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from s3batch.executors import PollResult, WorkerState
from s3batch.executors.worker_loop import WorkerLoop

if TYPE_CHECKING:
    from collections.abc import Sequence

    from s3batch.model import Work
    from s3batch.quirks import Quirks
    from s3batch.s3.sigv4 import Credentials
    from s3batch.worker.context import Brief


class InlineExecutor:
    """One worker, on the caller's own thread: it works while it is polled."""

    def __init__(self, brief: Brief) -> None:
        self._runner = WorkerLoop(brief)
        self._state = WorkerState("inline")
        self._dropped: list[Work] = []

    def workers(self) -> Sequence[WorkerState]:
        """Return the one there is."""
        return [self._state]

    def dispatch(self, worker: WorkerState, works: list[Work]) -> None:
        """Begin ``works``."""
        self._runner.note_contact()
        self._runner.take(works)

    def poll(self, timeout: float) -> PollResult:
        """Work for up to ``timeout`` seconds, or until something is done."""
        runner = self._runner
        runner.note_contact()
        if not runner.results:
            runner.turn(timeout)
        news = PollResult(results=runner.results, dropped=self._dropped)
        runner.results, self._dropped = [], []
        status = runner.status()
        news.sent, news.is_served = self._state.on_results(news.results, status), status.is_served
        news.add_tally(runner.transport.take_tally())
        return news

    def update_credentials(self, credentials: Credentials) -> None:
        """Sign with these from now on."""
        self._runner.update_credentials(credentials)

    def update_source_credentials(self, credentials: Credentials) -> None:
        """Sign requests to a transfer's source with these from now on."""
        self._runner.update_source_credentials(credentials)

    def learn(self, quirks: Quirks) -> None:
        """Ask in the way that these quirks of the store want."""
        self._runner.learn(quirks)

    def throttle(self) -> None:
        """Do nothing: its own transport has halved its window already."""

    def drain(self) -> None:
        """Hand back work that was not begun."""
        dropped = self._runner.drop()
        self._state.take_back(dropped)
        self._dropped += dropped

    def close(self) -> None:
        """Close the connections."""
        self._runner.transport.close()
