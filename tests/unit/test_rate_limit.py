"""A bandwidth limit on a clock of the test's own."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3batch.s3.rate_limit import RateLimiter


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_nothing_is_there_to_begin_with():
    assert RateLimiter(1000.0, Clock()).grant(10) == 0


def test_a_second_gives_the_rate_and_no_more_than_a_tenth_is_saved():
    clock = Clock()
    pace = RateLimiter(1_000_000.0, clock)

    clock.now += 60

    assert pace.grant(10_000_000) == 100_000
    assert pace.grant(10_000_000) == 0


def test_less_than_is_worth_a_send_is_waited_for():
    clock = Clock()
    pace = RateLimiter(1_000_000.0, clock)
    clock.now += 0.001

    assert pace.empty
    assert pace.grant(100_000) == 0
    assert pace.grant(500) == 500
    assert pace.delay() == pytest.approx(0.015884)


@given(
    rate=st.floats(1000, 1e9),
    wishes=st.lists(st.tuples(st.integers(1, 1 << 20), st.floats(0, 0.2)), min_size=20, max_size=60),
)
def test_over_any_time_no_more_goes_than_the_rate_allows(rate, wishes):
    clock = Clock()
    pace, began, given_away = RateLimiter(rate, clock), clock.now, 0
    for wanted, later in wishes:
        clock.now += later
        granted = pace.grant(wanted)
        assert 0 <= granted <= wanted
        given_away += granted

        assert given_away <= (clock.now - began) * rate + 1


@given(rate=st.floats(1000, 1e9))
def test_after_the_delay_there_is_something(rate):
    clock = Clock()
    pace = RateLimiter(rate, clock)

    clock.now += pace.delay() * 1.000001

    assert not pace.empty
    assert pace.grant(1 << 20) > 0
