"""How many requests at once, under a clock of the test's own."""

from __future__ import annotations

import pytest

from s3batch.s3.congestion_window import FIRST_WINDOW, CongestionWindow

GROW, FAR, NEAR = "grow", "far", "near"


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def size_after(*events, limit: int = 64) -> float:
    """Return the size after events: responses, seconds that pass, or the arguments of a throttle."""
    clock = Clock()
    window = CongestionWindow(limit, clock)
    for event in events:
        if event == GROW:
            window.grow(0.002)
        elif event == FAR:
            window.grow(0.02)
        elif event == NEAR:
            window.grow(0.0002)
        elif isinstance(event, tuple):
            window.throttle(*event)
        else:
            clock.now += event
    return window.size


@pytest.mark.parametrize(
    ("events", "size"),
    [
        pytest.param([], 8, id="the first window"),
        pytest.param([GROW] * 12, 20, id="slow start: one more for each response"),
        pytest.param([FAR] * 8, 32, id="a round of responses from afar: four times as many"),
        pytest.param([*[FAR] * 8, (32,), FAR], 16.0625, id="after a halving it grows by one a round from afar, too"),
        pytest.param([GROW] * 200, 64, id="never above the limit"),
        pytest.param([FAR] * 200, 64, id="never above the limit from afar"),
        pytest.param([NEAR] * 200, 32, id="a store on the same machine: no more than a worker begins meanwhile"),
        pytest.param(
            [NEAR, *[GROW] * 60], 32, id="what one of the last responses has shown counts, whatever others take"
        ),
        pytest.param([*[NEAR] * 40, *[FAR] * 512], 64, id="a store that no longer responds so quickly gets more"),
        pytest.param([*[GROW] * 12, (20,)], 10, id="halved"),
        pytest.param([*[GROW] * 12, (6,)], 3, id="half of the requests in flight, if those are fewer"),
        pytest.param([(0,)], 1, id="never below one"),
        pytest.param([*[GROW] * 12, *[(20,)] * 20], 10, id="one burst halves once"),
        pytest.param([*[GROW] * 12, (20,), 0.4, (10,)], 10, id="within half a second: still one burst"),
        pytest.param([*[GROW] * 12, (20,), 0.6, (10,)], 5, id="after half a second: halved again"),
        pytest.param([(8, 3.0), 2.9, *[GROW] * 20], 4, id="closed while the store asks for patience"),
        pytest.param([(8, 3.0), 0.1, (8, 1.0), 2.0, GROW], 4, id="the longer patience counts"),
        pytest.param([(8, 3.0), 3.1, GROW], 4.25, id="then it grows by one a round"),
    ],
)
def test_the_window_follows_what_the_store_says(events, size):
    assert size_after(*events) == size


def test_after_a_halving_a_round_of_responses_adds_about_one():
    halved = size_after(*[GROW] * 32, (40,))

    grown = size_after(*[GROW] * 32, (40,), *[GROW] * 20)

    assert halved == 20
    assert 20.9 < grown < 21


def test_a_small_limit_is_kept_from_the_start():
    assert size_after(limit=4) == 4 < FIRST_WINDOW
