"""Which tries do not count, and how long to wait for the next one."""

from __future__ import annotations

import random

import pytest

from s3batch.coordinator.throttling import Throttling
from s3batch.model import Result

BUSY = Result(7, error="PutObject: SlowDown", code="SlowDown", retryable=True, throttled=True)
BROKEN = Result(7, error="PutObject: InternalError", code="InternalError", retryable=True)


@pytest.fixture
def now(monkeypatch) -> list[float]:
    monkeypatch.setattr(random, "uniform", lambda least, most: most)
    return [100.0]


def test_a_throttled_try_is_free_while_others_are_served(now):
    throttling = Throttling(lambda: now[0])
    spared = []
    for _ in range(5):
        spared.append(throttling.spares(BUSY, last_good=now[0] - 0.5, worked=True))
        now[0] += 1.0

    assert spared == [True] * 5


def test_a_throttled_try_counts_where_nobody_was_served_since_the_last(now):
    throttling = Throttling(lambda: now[0])

    assert throttling.spares(BUSY, last_good=99.0, worked=False)
    assert not throttling.spares(BUSY, last_good=99.0, worked=False)
    assert throttling.spares(BUSY, last_good=100.5, worked=True)


def test_the_last_operations_of_a_job_are_spared_a_minute_after_the_others(now):
    throttling = Throttling(lambda: now[0])
    spared = []
    for _ in range(8):
        spared.append(throttling.spares(BUSY, last_good=99.0, worked=True))
        now[0] += 10.0

    assert spared == [True] * 6 + [False] * 2


def test_not_even_a_busy_store_may_refuse_one_key_for_ever(now):
    throttling = Throttling(lambda: now[0])
    spared = [throttling.spares(BUSY, last_good=1e9, worked=True) for _ in range(200)]

    assert spared == [True] * 100 + [False] * 100


def test_any_other_failure_counts(now):
    assert not Throttling(lambda: now[0]).spares(BROKEN, last_good=1e9, worked=True)


@pytest.mark.parametrize(("asked", "pause"), [(0.0, 0.2), (5.0, 5.0)])
def test_retry_after_is_a_floor(now, asked, pause):
    throttling = Throttling(lambda: now[0])
    busy = BUSY._replace(retry_after=asked)
    throttling.spares(busy, 99.0, worked=False)

    assert throttling.pause(busy, 1) == pytest.approx(pause)
