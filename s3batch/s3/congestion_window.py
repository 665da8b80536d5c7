"""The number of requests that the store accepts in flight, learned from its responses.

    8 requests ──response──> one more each, three more from afar   (slow start)
        └── SlowDown ──> half ──response──> one more a round       (as TCP does after congestion)

A store whose quickest response takes less than 0.4 ms gets 32 at most: a worker cannot begin more of them meanwhile.

It decides and keeps no requests itself. Times come from the given clock, in seconds.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

FIRST_WINDOW = 8
_FAR = 0.01
"""Seconds: a store whose response takes longer is far, and each doubling of the window would take so long."""
_FAR_STEP = 3.0
"""The number of requests more after each response from afar: the window is four times as large after a round."""
_NEAR = 32
"""Requests in flight that a store may always have, however quickly it responds."""
_A_SECOND = 80_000
"""Requests that no worker begins in a second: four times its best, since most responses take longer than the quickest."""
_LOOK_BACK = 256
"""Responses among which the quickest is looked for, at least."""
_BURST = 0.5
"""Seconds; refusals of one burst tell one thing, so the window is halved at most once in that time."""


class CongestionWindow:
    """The size of the window, between 1 and ``limit`` requests."""

    def __init__(self, limit: int, clock: Callable[[], float]) -> None:
        self.limit = limit
        self.size: float = min(FIRST_WINDOW, limit)
        self._clock = clock
        self._slow_start = True
        self._halved_at = 0.0
        self._closed_until = 0.0
        """The store asked for patience: until then the window does not grow; 0 where it did not."""
        self._quickest = self._quickest_before = math.inf
        """The seconds of the quickest response among the last ones, and among as many before."""
        self._heard = 0

    @property
    def is_full(self) -> bool:
        """True if it has grown up to its limit, and nothing was refused so far."""
        return self._slow_start and self.size >= self.limit

    def grow(self, seconds: float = 0.0) -> None:
        """Take note of a successful response, which came within so many seconds; 0 if that is not known."""
        if self.size < self.limit and not (self._closed_until and self._is_closed()):
            step = self._choose_step(seconds) if self._slow_start else 1.0 / self.size
            self.size = min(self.limit, self.size + step)

    def _choose_step(self, seconds: float) -> float:
        """Return by how much to grow in slow start."""
        if 0 < seconds < self._quickest:
            self._quickest = seconds
        self._heard += 1
        if self._heard == _LOOK_BACK:
            self._quickest_before, self._quickest, self._heard = self._quickest, math.inf, 0
        if self.size >= _NEAR and self.size >= _A_SECOND * min(self._quickest, self._quickest_before):
            return 0.0
        return _FAR_STEP if seconds > _FAR else 1.0

    def _is_closed(self) -> bool:
        """Return whether the store's Retry-After has not passed yet."""
        if self._clock() < self._closed_until:
            return True
        self._closed_until = 0.0
        return False

    def throttle(self, in_flight: int, retry_after: float = 0.0) -> None:
        """Halve the window, or the requests ``in_flight`` if those are fewer, at most once in half a second.

        It does not grow again within ``retry_after`` seconds, which the store asked for.
        """
        now = self._clock()
        self._closed_until = max(self._closed_until, now + retry_after) if retry_after else self._closed_until
        if now - self._halved_at > _BURST:
            self._halved_at = now
            self._slow_start = False
            self.size = max(1.0, min(self.size, in_flight) / 2)
