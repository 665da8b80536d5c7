"""The store's clock: the current time there, between two bounds.

The clock that stamped an object decides if the object is old, a lock is dead or a deadline is over. The clock of this
machine never does. Each response carries that clock in ``Date``, cut to whole seconds (RFC 9110, 5.6.7). So one
response tells two bounds: the store's clock was at least ``Date`` when the response had come, and less than ``Date`` +
1 s when the request was sent.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from s3batch.base.named_tuple import NamedTuple
from s3batch.s3.clock import seconds_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_DATE_STEP = 1.0
"""Seconds; the resolution of ``Date``."""


class TimeBounds(NamedTuple):
    """The earliest and the latest time it may be at the store, in seconds since the epoch."""

    low: float
    high: float


def elapsed_seconds() -> float:
    """Return seconds that grow also while the machine is suspended, where the system counts them."""
    return time.clock_gettime(_CLOCK) if _CLOCK is not None else time.monotonic()


_CLOCK: int | None = getattr(time, "CLOCK_BOOTTIME", None)


class StoreClock:
    """Learns from each response. Before the first one with a ``Date`` it falls back on this machine's clock."""

    def __init__(self, clock: Callable[[], float] = elapsed_seconds) -> None:
        self._clock = clock
        self._low: float | None = None
        self._high = 0.0

    def read_local(self) -> float:
        """Return local seconds, to be given to :meth:`observe` later."""
        return self._clock()

    def observe(self, headers: Mapping[str, str], sent: float) -> None:
        """Learn from a response that has just come to a request that went out at ``sent`` (local seconds)."""
        if not (date := seconds_of(headers.get("date", ""))):
            return
        self._low, self._high = date - self._clock(), date + _DATE_STEP - sent

    def earliest(self, local: float) -> float:
        """Return the earliest time it was at the store when :meth:`read_local` gave ``local``; minus infinity if unknown."""
        return local + self._low if self._low is not None else float("-inf")

    def now(self) -> TimeBounds:
        """Return the bounds of the store's time."""
        if self._low is None:
            return TimeBounds(time.time(), time.time())
        local = self._clock()
        return TimeBounds(local + self._low, local + self._high)
