"""The wait for a thread that may be blocked in a library: a signal ends it soon, whenever it comes.

Python runs the handler of a signal between two steps of the main thread. A signal that comes just before that thread
blocks does not wake it, nor does one that the system gives to another thread. So no wait here is long.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

_LOOK = 0.1
"""Seconds of one wait. A signal is to act within 0.3 s."""


def join_thread(thread: threading.Thread, seconds: float, check: Callable[[], None] | None = None) -> None:
    """Wait up to ``seconds`` for the end of ``thread``. ``check`` raises if the run is to stop."""
    until = time.monotonic() + seconds
    while thread.is_alive() and (left := until - time.monotonic()) > 0:
        thread.join(min(left, _LOOK))
        if check is not None:
            check()
