"""Runs the worker in this process: for jobs too small to be worth a second one, and for tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from s3batch.executors import News
from s3batch.executors.runner import Runner

if TYPE_CHECKING:
    from s3batch.model import Work
    from s3batch.quirks import Quirks
    from s3batch.s3.sigv4 import Credentials
    from s3batch.worker import Brief


class InlineExecutor:
    """One worker, on the caller's own thread: it works while it is polled."""

    def __init__(self, brief: Brief) -> None:
        self._runner = Runner(brief)
        self._limit = brief.limit
        self._outstanding = 0
        self._dropped: list[Work] = []

    def room(self) -> int:
        """As many as can be under way."""
        return max(0, self._limit - self._outstanding)

    def submit(self, works: list[Work]) -> None:
        """Begin ``works``."""
        self._outstanding += sum(len(work.keys) or 1 for work in works)
        self._runner.take(works)

    def poll(self, timeout: float) -> News:
        """Work for up to ``timeout`` seconds, or until something is done."""
        if not self._runner.results:
            self._runner.turn(timeout)
        news = News(results=self._runner.results, dropped=self._dropped)
        self._runner.results, self._dropped = [], []
        self._outstanding -= len(news.results)
        lane = self._runner.lane
        news.count(lane.requests, lane.doubts)
        lane.requests.clear()
        lane.doubts.clear()
        return news

    def outstanding(self) -> int:
        """Results still to come."""
        return self._outstanding

    def sign_in_again(self, credentials: Credentials) -> None:
        """Sign with these from now on."""
        self._runner.sign_in_again(credentials)

    def learn(self, quirks: Quirks) -> None:
        """Ask in the way that these quirks of the store want."""
        self._runner.learn(quirks)

    def narrow(self) -> None:
        """Its own lane has done so already."""

    def drain(self) -> None:
        """Hand back what was not begun."""
        self._dropped += self._runner.drop()
        self._outstanding -= sum(len(work.keys) or 1 for work in self._dropped)

    def close(self) -> None:
        """Close the connections."""
        self._runner.lane.close()
