"""Memory for content, lent to one piece of work after the other.

The kernel clears each page of fresh memory, and takes a page fault for it: a fifth of what a large download costs.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_KEPT = 64 * 1024 * 1024
"""Bytes that are kept for later: as many as a worker holds at once."""
_STEP = 1024 * 1024
"""Bytes: sizes are multiples of it, so that one buffer serves parts of nearly the same size."""


class Buffers:
    """The memory of one worker. Its loop's thread lends; threads may use what is lent."""

    def __init__(self, kept: int = _KEPT) -> None:
        """Keep at most ``kept`` bytes that are not lent."""
        self._kept = kept
        self._free: list[bytearray] = []

    @contextmanager
    def lend(self, size: int) -> Iterator[memoryview]:
        """Lend ``size`` bytes with any content. Nothing may use them after that."""
        memory = self._take(size)
        try:
            with memoryview(memory) as whole, whole[:size] as lent:
                yield lent
        finally:
            self._free.append(memory)
            while sum(map(len, self._free)) > self._kept:
                del self._free[0]

    def _take(self, size: int) -> bytearray:
        fitting = [index for index, each in enumerate(self._free) if size <= len(each) <= 2 * size + _STEP]
        return self._free.pop(fitting[-1]) if fitting else bytearray(-(-size // _STEP) * _STEP)
