"""Operations and pieces of multipart uploads that wait for their next try, ordered by when it is due."""

from __future__ import annotations

import heapq
from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from s3batch.model import Work


class RetryQueue:
    """Two queues by due time: rows of the journal, and pieces of uploads. Times are of ``clock``, in seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._rows: list[tuple[float, int]] = []
        self._works: list[tuple[float, int, Work]] = []
        self._number = count()

    def add_row(self, row: int, seconds: float) -> None:
        """Lease a pending row again in ``seconds``."""
        heapq.heappush(self._rows, (self._clock() + seconds, row))

    def add_work(self, work: Work, seconds: float) -> None:
        """Send a piece of an upload again in ``seconds``."""
        heapq.heappush(self._works, (self._clock() + seconds, next(self._number), work))

    @property
    def row_is_due(self) -> bool:
        """True if :meth:`take_rows` has rows to return."""
        return bool(self._rows) and self._rows[0][0] <= self._clock()

    def take_rows(self, limit: int) -> list[int]:
        """Remove and return up to ``limit`` rows that are due, the earliest first."""
        now = self._clock()
        rows: list[int] = []
        while self._rows and self._rows[0][0] <= now and len(rows) < limit:
            rows.append(heapq.heappop(self._rows)[1])
        return rows

    def take_works(self) -> list[Work]:
        """Remove and return the pieces of uploads that are due, the earliest first."""
        if not self._works:
            return []
        now, works = self._clock(), []
        while self._works and self._works[0][0] <= now:
            works.append(heapq.heappop(self._works)[2])
        return works

    def delay(self) -> float | None:
        """Return the seconds until the next try is due, at least 0; ``None`` when nothing waits."""
        due = [heap[0][0] for heap in (self._rows, self._works) if heap]
        return max(0.0, min(due) - self._clock()) if due else None
