"""Run many coroutines of an event loop side by side, from within another coroutine of it."""

from __future__ import annotations

import types
from functools import partial
from typing import TYPE_CHECKING, Any

from s3batch.base.named_tuple import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator, Iterable, Iterator

    from s3batch.s3.event_loop import EventLoop

SIDE_BY_SIDE = 64
"""Coroutines of one gathering that run at a time, so that memory does not grow with their number."""


class Gather(NamedTuple):
    """The wish to run coroutines side by side."""

    coroutines: Iterator[Coroutine[Any, Any, Any]]


@types.coroutine
def gather_results(coroutines: Iterable[Coroutine[Any, Any, Any]]) -> Generator[Gather, list[Any], list[Any]]:
    """Run ``coroutines``, made as there is room for them; return their results in order.

    All of them end before this does. Raises the first error of one of them then, and begins no more after it.
    """
    return (yield Gather(iter(coroutines)))


async def capture_outcome(coroutine: Any) -> tuple[Any, Exception | None]:
    """Return the result of ``coroutine``, or its error, as a value: the loop treats an exception as a bug."""
    try:
        return await coroutine, None
    except Exception as error:  # noqa: BLE001 - raised again where the coroutine was awaited
        return None, error


class Gathering:
    """One :func:`gather_results` under way."""

    def __init__(self, loop: EventLoop, wish: Gather, done: Callable[[list[Any], Exception | None], None]) -> None:
        self._loop = loop
        self._left = wish.coroutines
        self._done = done
        self._results: list[Any] = []
        self._running = 0
        self._error: Exception | None = None
        self._starting = False

    def go_on(self) -> None:
        """Start as many as there is room for; end when nothing runs."""
        if self._starting:
            return  # a coroutine ended at once, within the loop below
        self._starting = True
        while self._error is None and self._running < SIDE_BY_SIDE:
            coroutine = next(self._left, None)
            if coroutine is None:
                break
            self._running += 1
            self._results.append(None)
            self._loop.start(capture_outcome(coroutine), partial(self._ended, len(self._results) - 1))
        self._starting = False
        if not self._running:
            self._done(self._results, self._error)

    def _ended(self, at: int, outcome: tuple[Any, Exception | None]) -> None:
        self._results[at], error = outcome
        self._error = self._error or error
        self._running -= 1
        self.go_on()
