"""Holds back the requests that change the bucket while the coordinator is silent.

A worker that hears nothing from its coordinator may have been replaced: a late write would undo newer work.
"""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class WriteGate:
    """Open until a given time of its clock. It starts open."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._open_until = self._open_until_at_most = math.inf
        self._held: deque[Callable[[], None]] = deque()

    @property
    def is_open(self) -> bool:
        """True if requests that change the bucket may be sent now."""
        return self._clock() < self._open_until

    def hold(self, send: Callable[[], None]) -> None:
        """Request ``send`` once the gate is open again."""
        self._held.append(send)

    def open(self, until: float) -> None:
        """Keep it open until then, and send what is held."""
        self._open_until = min(until, self._open_until_at_most)
        while self._held and self.is_open:
            self._held.popleft()()

    def close(self) -> None:
        """Close it; it never opens again. Any thread may call this."""
        self._open_until_at_most = self._open_until = -math.inf
