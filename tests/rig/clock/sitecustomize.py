"""Has a program's clock be set, as somebody sets a machine's: its directory goes first in ``PYTHONPATH``.

``S3BATCH_TEST_CLOCK="-600 3:480"``: ten minutes back, and three seconds after the start eight minutes ahead.
"""

import os
import time

_really, _running, _begun = time.time, time.monotonic, time.monotonic()
_first, *_steps = os.environ.get("S3BATCH_TEST_CLOCK", "0").split()
_OFFSETS = [(0.0, float(_first)), *(tuple(map(float, step.split(":"))) for step in _steps)]


def _time() -> float:
    running = _running() - _begun
    return _really() + next(offset for since, offset in reversed(_OFFSETS) if running >= since)


time.time = _time
