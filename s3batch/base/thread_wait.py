"""A call of what may be blocked in a library, on a thread: a signal ends the wait for it soon, whenever it comes.

Python runs the handler of a signal between two steps of the main thread. A signal that comes just before that thread
blocks does not wake it, nor does one that the system gives to another thread. So no wait here is long.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

Value = TypeVar("Value")
_LOOK = 0.1
"""Seconds of one wait. A signal is to act within 0.3 s."""


def call_on_thread(
    work: Callable[[], Value], seconds: float, *, check: Callable[[], None] | None = None,
    give_up: Callable[[int], None] | None = None,
) -> list[Value]:  # fmt: skip
    """Return what ``work`` returns, or raise what it raises; an empty list if it takes longer than ``seconds``.

    ``check`` raises if the run is to stop. ``give_up`` gets the thread's id when ``work`` is not waited for any longer. If
    no more threads may be started, ``work`` is done here.
    """
    values: list[Value] = []
    errors: list[Exception] = []

    def run() -> None:
        try:
            values.append(work())
        except Exception as error:  # noqa: BLE001 - raised again where it is waited for
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    try:
        thread.start()
    except RuntimeError:
        return [work()]
    try:
        _wait_for_end(thread, seconds, check)
    finally:
        if give_up is not None and thread.is_alive():
            give_up(thread.native_id or 0)
    if errors:
        raise errors[0]
    return values


def _wait_for_end(thread: threading.Thread, seconds: float, check: Callable[[], None] | None) -> None:
    until = time.monotonic() + seconds
    while thread.is_alive() and (left := until - time.monotonic()) > 0:
        thread.join(min(left, _LOOK))
        if check is not None:
            check()
