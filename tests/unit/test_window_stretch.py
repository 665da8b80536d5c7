"""More requests in flight than the limit, while the store answers them as quickly."""

from __future__ import annotations

import pytest

from s3batch.executors.window_stretch import WindowStretch
from s3batch.s3.congestion_window import CongestionWindow

GROWN = "grown"
REFUSED = "refused"


class Times:
    def __init__(self) -> None:
        self.now = self.cpu = 100.0


def limit_after(*rounds: object, most: int = 64) -> int:
    """Return the limit after rounds: mean seconds of a request, perhaps with the part of it that the worker was busy."""
    times = Times()
    window = CongestionWindow(16, lambda: times.now)
    stretch = WindowStretch(window, most, lambda: times.now, lambda: times.cpu)
    for each in rounds:
        if each == GROWN:
            while window.size < window.limit:
                window.grow()
        elif each == REFUSED:
            window.throttle(16)
        else:
            seconds, busy = each if isinstance(each, tuple) else (each, 0.3)
            times.now += seconds
            times.cpu += seconds * busy
            for _ in range(int(window.size)):
                stretch.note(seconds)
    return window.limit


@pytest.mark.parametrize(
    ("rounds", "limit"),
    [
        pytest.param([0.02], 16, id="the window is not full yet"),
        pytest.param([GROWN, 0.02], 32, id="full, and as quick as ever"),
        pytest.param([0.02, GROWN, 0.029], 32, id="a little slower"),
        pytest.param([0.02, GROWN, 0.031], 16, id="the store queues them"),
        pytest.param([GROWN, (0.02, 0.9)], 16, id="the worker has enough to do"),
        pytest.param([GROWN, 0.02, 0.02], 32, id="not stretched again before it has grown"),
        pytest.param([GROWN, 0.02, GROWN, 0.02], 64, id="twice"),
        pytest.param([GROWN, 0.02, GROWN, 0.02, GROWN, 0.02], 64, id="no further than the most"),
        pytest.param([GROWN, 0.02, GROWN, 0.05, 0.02], 64, id="quick again"),
        pytest.param([GROWN, REFUSED, GROWN, 0.02], 16, id="the store has refused some"),
    ],
)
def test_the_limit_follows_the_pace_of_the_store(rounds: list[object], limit: int) -> None:
    assert limit_after(*rounds) == limit


def test_the_limit_is_not_stretched_beyond_the_most() -> None:
    assert limit_after(GROWN, 0.02, most=20) == 20
