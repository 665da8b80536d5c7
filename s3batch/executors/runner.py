"""Runs work on a lane: as many pieces at once as the store and the memory take. The inside of every worker."""

from __future__ import annotations

import resource
from collections import deque
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from s3batch.crash_points import reach
from s3batch.model import Kind, Step
from s3batch.s3.carry import carrier
from s3batch.s3.lane import Lane
from s3batch.worker import carry_out, tools_for

if TYPE_CHECKING:
    from s3batch.model import Result, Work
    from s3batch.quirks import Quirks
    from s3batch.s3.sigv4 import Credentials
    from s3batch.worker import Brief

_BYTES_IN_FLIGHT = 64 * 1024 * 1024
"""Of content in memory at once, in one worker; a single larger piece still goes."""


_OTHER_DESCRIPTORS = 20
"""The source, a file being read, the coordinator's socket, standard streams, and what Python opens now and then."""


class Runner:
    """Takes work, turns its loop, gives results. One thread."""

    def __init__(self, brief: Brief) -> None:
        limit = min(brief.limit, _connections())
        self.lane = Lane(brief.endpoint, carrier, limit=limit, bandwidth=brief.bandwidth)
        self.results: list[Result] = []
        """Whoever forwards them clears the list."""
        self._tools = tools_for(brief)
        self._backlog: deque[Work] = deque()
        self._weight = 0
        self._halted = False
        """The store refuses us altogether: begin nothing more until the coordinator has something to say to that."""

    @property
    def busy(self) -> bool:
        """Whether anything is under way or waits."""
        return bool(self._backlog) or self.lane.active > 0

    def take(self, works: list[Work]) -> None:
        """Queue ``works`` and begin what there is room for."""
        self._backlog.extend(works)
        self._begin()

    def sign_in_again(self, credentials: Credentials) -> None:
        """Sign with these from now on."""
        self.lane.sign_in_again(credentials)
        self._tools.brief = replace(self._tools.brief, endpoint=self.lane.endpoint)
        self._halted = False
        self._begin()

    def learn(self, quirks: Quirks) -> None:
        """Ask in the way that these quirks of the store want, beside those found here."""
        self._tools.learn(quirks)

    def drop(self) -> list[Work]:
        """What was not begun; it will not be."""
        dropped = list(self._backlog)
        self._backlog.clear()
        return dropped

    def turn(self, timeout: float) -> None:
        """Let the loop deal with what happens within ``timeout`` seconds, then begin what there is room for."""
        self.lane.turn(timeout)
        self._begin()

    def _begin(self) -> None:
        backlog, lane = self._backlog, self.lane
        while backlog and lane.has_room and not self._halted:
            weight = weight_of(backlog[0])
            if self._weight and self._weight + weight > _BYTES_IN_FLIGHT:
                return
            work = backlog.popleft()
            self._weight += weight
            reach("part-sending" if work.step is Step.PART else "sending")
            lane.start(carry_out(work, self._tools), partial(self._ended, weight))

    def _ended(self, weight: int, results: list[Result]) -> None:
        self._weight -= weight
        self._halted = self._halted or any(result.fatal for result in results)
        self.results += results
        reach(_POINTS.get(results[0].step, "stored"))


def _connections() -> int:
    """How many this process may have open, beside what else it has open."""
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return max(1, soft - _OTHER_DESCRIPTORS)


_POINTS = {Step.PART: "part-stored", Step.BEGIN: "upload-begun", Step.FINISH: "completed"}


def weight_of(work: Work) -> int:
    """Bytes of content that carrying it out holds in memory."""
    if work.step is Step.PART:
        return work.parts[0].size
    return work.operation.size if work.step is Step.WHOLE and work.operation.kind is not Kind.RECONCILE else 0
