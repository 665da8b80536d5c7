"""The accounting of throttled requests: which tries do not count, and how long to wait for the next one.

throttled    no try is used up while the store serves others, or has done so within a minute
Retry-After  a floor for the next try
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from s3batch.coordinator.quarantine import read_result_tag
from s3batch.s3.back_off import back_off

if TYPE_CHECKING:
    from collections.abc import Callable

    from s3batch.executors import Tag
    from s3batch.model import Result

_THROTTLES = 100
"""The number of times that one operation may be throttled at no cost."""
_LATELY = 60.0
"""Seconds: the last operations of a job have no others beside them, and three pauses of 20 s may lie between their tries."""


class Throttling:
    """Tells which throttled tries do not count."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._seen: dict[Tag, tuple[int, float]] = {}
        """Times each operation was throttled, and when last."""

    def spares(self, result: Result, last_good: float, *, worked: bool) -> bool:
        """Return whether a try does not count: it was throttled, and others were served since the one before, or lately.

        ``worked``: whether one was served at all; ``last_good`` is the job's begin otherwise.
        """
        if not result.throttled:
            return False
        tag = read_result_tag(result)
        count, before = self._seen.get(tag, (0, 0.0))
        self._seen[tag] = (count + 1, now := self._clock())
        return count < _THROTTLES and (last_good > before or (worked and now - last_good < _LATELY))

    def pause(self, result: Result, attempts: int) -> float:
        """Return the seconds until the next try, after ``attempts`` that counted."""
        count, _ = self._seen.get(read_result_tag(result), (0, 0.0))
        return max(back_off(max(attempts, count)), result.retry_after)
