"""A bandwidth limit: bytes handed out at a steady rate. A sender that gets none waits, in the bandwidth queue."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from s3batch.settings.bandwidth import Bandwidth

_PIECE = 16 * 1024
"""Bytes: less is not worth a send, unless the rate itself is small."""
_UNLIMITED = 1e15
"""Bytes per second that no machine sends."""
_LOOK_EVERY = 1.0
"""Seconds between looks at the timetable."""
_SAVED = 0.1
"""Seconds of unused bandwidth that are saved and may then be used at once."""


class RateLimiter:
    """Hands out bytes at a rate."""

    def __init__(self, rate: Bandwidth, clock: Callable[[], float]) -> None:
        """``rate`` in bytes per second, or a timetable; ``clock`` in seconds."""
        self._timetable = None if isinstance(rate, int | float) else rate
        self._clock = clock
        self._last = self._looked = clock()
        self._have = 0.0
        self._set_rate(rate if isinstance(rate, int | float) else rate.now())

    def _set_rate(self, rate: float) -> None:
        self._rate = rate or _UNLIMITED
        self._least = min(_PIECE, self._rate * _SAVED / 2)

    def grant(self, wanted: int) -> int:
        """Return how many of ``wanted`` bytes may go now; 0 means wait."""
        have = self._filled()
        if have < self._least and have < wanted:
            return 0
        granted = min(wanted, max(1, int(have)))
        self._have -= granted
        return granted

    def spend(self, count: int) -> None:
        """Take note of ``count`` bytes that went without asking: received, or sent by others. It is saved up again."""
        self._have -= count

    @property
    def empty(self) -> bool:
        """True if too few bytes are left to be worth a send."""
        return self._filled() < self._least

    def delay(self) -> float:
        """Return the seconds until bytes can be handed out again."""
        return max(0.001, (self._least - self._filled()) / self._rate)

    def _filled(self) -> float:
        now = self._clock()
        if self._timetable is not None and now - self._looked >= _LOOK_EVERY:
            self._looked = now
            self._set_rate(self._timetable.now())
        self._have = min(self._rate * _SAVED, self._have + (now - self._last) * self._rate)
        self._last = now
        return self._have
