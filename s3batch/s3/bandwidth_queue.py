"""The requests that wait for bandwidth, in their order. A request in the midst of its body goes first."""

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

    @property
    def must_wait(self) -> bool:
        """True if a new request has to wait."""
        return bool(self._held) or self.limiter.empty

    def hold(self, send: Callable[[], None], *, first: bool = False) -> None:
        """Request ``send`` when there is bandwidth for it."""
        if not self._held:
            self._loop.call_later(self.limiter.delay(), self._release)
        if first:
            self._held.appendleft(send)
        else:
            self._held.append(send)

    def _release(self) -> None:
        held = self._held
        while held and not self.limiter.empty:
            send = held.popleft()
            held.appendleft(_nothing)  # so that no other request overtakes, and no second timer is set
            send()
            held.remove(_nothing)
        if held:
            self._loop.call_later(self.limiter.delay(), self._release)


def _nothing() -> None:
    """Hold a place in the queue."""
