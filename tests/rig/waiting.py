"""Waiting for what a test is about: for conditions, never for seconds."""

from __future__ import annotations

import time
from collections.abc import Callable

_LOOK_AGAIN = 0.01


def wait_until(condition: Callable[[], object], timeout: float = 60) -> bool:
    """Return whether ``condition`` came true; false when that takes longer than any busy machine would."""
    until = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(_LOOK_AGAIN)
    return True
