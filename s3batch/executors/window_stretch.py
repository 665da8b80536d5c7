"""Whether a worker has more requests in flight than its limit: while the store answers them as quickly as fewer.

    a round of answers ─> none refused, no slower than the quickest round, the worker waits for them ──> twice the limit

A small object costs its worker 50 us: at 20 ms a request, a worker with 128 in flight waits most of the time. A store
that queues requests answers more of them more slowly, so it gets no more. Content in memory has a limit of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from s3batch.s3.congestion_window import CongestionWindow

_SLOWER = 1.5
"""The factor by which a slower mean exceeds that of the quickest round: part of it is the time that the worker itself takes."""
_BUSY = 0.8
"""The part of the time for which a worker that waits for the store may be at work."""


class WindowStretch:
    """Judges the answers of one worker, a round at a time."""

    def __init__(
        self, window: CongestionWindow, most: int, clock: Callable[[], float], cpu_clock: Callable[[], float]
    ) -> None:
        """``most`` is the limit up to which the window may be stretched. Both clocks tell seconds."""
        self._window = window
        self._most = most
        self._clock = clock
        self._cpu_clock = cpu_clock
        self._quickest = 0.0
        """The mean seconds of the requests of the quickest round; 0 before there was one."""
        self._begin_round()

    def _begin_round(self) -> None:
        self._count, self._seconds = 0, 0.0
        self._began, self._began_cpu = self._clock(), self._cpu_clock()

    def note(self, seconds: float) -> None:
        """Take the seconds of a request that worked."""
        self._count += 1
        self._seconds += seconds
        if self._count >= self._window.size:
            self._judge_round()

    def _judge_round(self) -> None:
        window, mean = self._window, self._seconds / self._count
        lasted, worked = self._clock() - self._began, self._cpu_clock() - self._began_cpu
        quickest = self._quickest = min(mean, self._quickest or mean)
        if window.is_full and mean <= _SLOWER * quickest and worked < _BUSY * lasted:
            window.limit = min(self._most, 2 * window.limit)
        self._begin_round()
