"""The requests that wait for bandwidth, in their order. Those in the midst of their body, or of its answer's, go first."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from s3batch.s3.rate_limit import RateLimiter

if TYPE_CHECKING:
    from collections.abc import Callable

    from s3batch.s3.event_loop import EventLoop
    from s3batch.settings.bandwidth import Bandwidth


class BandwidthQueue:
    """Lets requests go as the rate limiter has bytes for them."""

    def __init__(self, rate: Bandwidth, loop: EventLoop) -> None:
        """``rate`` is in bytes per second, or a timetable."""
        self.limiter = RateLimiter(rate, loop.clock)
        self._loop = loop
        self._held: deque[Callable[[], None]] = deque()
        """Requests that have not begun."""
        self._under_way: deque[Callable[[], None]] = deque()
        """Bodies and answers that have begun. They take turns: a store does not wait long for one that is silent."""
        self._is_set = False
        """True while a timer is set, or while requests are released: then no other one overtakes."""

    @property
    def must_wait(self) -> bool:
        """True if a new request has to wait."""
        return self._is_set or self.limiter.empty

    def hold(self, send: Callable[[], None], *, first: bool = False) -> None:
        """Call ``send`` when there is bandwidth for it; ``first``: it goes on with a body, before all that have not begun."""
        (self._under_way if first else self._held).append(send)
        self._set_timer()

    def _set_timer(self) -> None:
        if not self._is_set:
            self._is_set = True
            self._loop.call_later(self.limiter.delay(), self._release)

    def _release(self) -> None:
        try:
            while (waiting := self._under_way or self._held) and not self.limiter.empty:
                waiting.popleft()()
        finally:  # a signal may raise here, and what is under way may still finish
            self._is_set = False
            if self._under_way or self._held:
                self._set_timer()
