"""Memory for content, lent to one piece of work after the other.

A page of fresh memory costs a page fault, and is cleared. That was a fifth of the CPU of files of 1 GiB.
"""

from __future__ import annotations

import mmap
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_KEPT = 64 * 1024 * 1024
"""Bytes that are kept for later: as many as a worker holds at once."""
_STEP = 256 * 1024
"""Bytes: sizes are multiples of it, so that one buffer serves parts of nearly the same size.

The memory of each buffer is the system's again once it is dropped: none is a part of a larger one.
"""


class Buffers:
    """The memory of one worker. Its loop's thread lends; threads may use what is lent."""

    def __init__(self, kept: int = _KEPT) -> None:
        """Keep at most ``kept`` bytes that are not lent."""
        self._kept = kept
        self._free: list[memoryview] = []
        """The buffer that was used last is the last: it is in the processor's cache most likely."""
        self._free_bytes = 0

    @contextmanager
    def lend(self, size: int) -> Iterator[memoryview]:
        """Lend ``size`` bytes, which hold what was in them before. Nothing may use them after the ``with``."""
        memory = self.take(size)
        try:
            yield memory[:size]
        finally:
            self.give_back(memory)

    def take(self, size: int) -> memoryview:
        """Return memory of ``size`` bytes or more, for :meth:`give_back`."""
        for index in range(len(self._free) - 1, -1, -1):
            if size <= len(self._free[index]) <= 2 * size + _STEP:
                memory = self._free.pop(index)
                self._free_bytes -= len(memory)
                return memory
        return _map_memory(-(-size // _STEP) * _STEP)

    def give_back(self, memory: memoryview) -> None:
        """Take back what :meth:`take` has returned; what is too much is left to the system."""
        self._free.append(memory)
        self._free_bytes += len(memory)
        while self._free_bytes > self._kept:
            self._free_bytes -= len(self._free.pop(0))


def _map_memory(size: int) -> memoryview:
    """Return new memory, in large pages where the system has them: they save 511 of 512 page faults."""
    memory = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with suppress(AttributeError, OSError):  # no Linux, or a kernel without them
        memory.madvise(mmap.MADV_HUGEPAGE)
    return memoryview(memory)
