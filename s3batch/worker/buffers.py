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
_STEP = 1024 * 1024
"""Bytes: sizes are multiples of it, so that one buffer serves parts of nearly the same size."""


class Buffers:
    """The memory of one worker. Its loop's thread lends; threads may use what is lent."""

    def __init__(self, kept: int = _KEPT) -> None:
        """Keep at most ``kept`` bytes that are not lent."""
        self._kept = kept
        self._free: list[mmap.mmap] = []

    @contextmanager
    def lend(self, size: int) -> Iterator[memoryview]:
        """Lend ``size`` bytes with any content. Nothing may use them after that."""
        memory = self._take(size)
        try:
            yield memoryview(memory)[:size]
        finally:
            self._free.append(memory)
            while sum(map(len, self._free)) > self._kept:
                del self._free[0]

    def _take(self, size: int) -> mmap.mmap:
        fitting = [index for index, each in enumerate(self._free) if size <= len(each) <= 2 * size + _STEP]
        return self._free.pop(fitting[-1]) if fitting else _map_memory(max(1, -(-size // _STEP)) * _STEP)


def _map_memory(size: int) -> mmap.mmap:
    """Return new memory, in large pages where the system has them: they save 511 of 512 page faults."""
    memory = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with suppress(AttributeError, OSError):  # no Linux, or a kernel without them
        memory.madvise(mmap.MADV_HUGEPAGE)
    return memory
