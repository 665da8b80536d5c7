"""The store's clock: bounds from ``Date``, whatever this machine's clock says."""

from __future__ import annotations

from email.utils import formatdate

import pytest

from s3batch.s3.store_clock import StoreClock


class Local:
    """A clock that a test moves."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def local() -> Local:
    return Local()


def test_a_response_tells_two_bounds(local):
    clock = StoreClock(local)
    sent = clock.read_local()
    local.now += 0.25

    clock.observe({"date": formatdate(1_800_000_000, usegmt=True)}, sent)

    assert clock.now() == (1_800_000_000, 1_800_000_001.25)


def test_bounds_move_with_the_local_clock(local):
    clock = StoreClock(local)
    clock.observe({"date": formatdate(1_800_000_000, usegmt=True)}, sent=100.0)
    local.now += 60

    assert clock.now() == (1_800_000_060, 1_800_000_061)
    assert clock.earliest(100.0) == 1_800_000_000


@pytest.mark.parametrize("date", ["", "yesterday", "Sun, 99 Nov 2026 99:00:00 GMT"])
def test_what_is_no_date_teaches_nothing(local, date):
    clock = StoreClock(local)
    clock.observe({"date": formatdate(1_800_000_000, usegmt=True)}, sent=100.0)

    clock.observe({"date": date} if date else {}, sent=100.0)

    assert clock.now().low == 1_800_000_000


def test_a_store_that_never_tells_its_time_bounds_nothing(local):
    assert StoreClock(local).earliest(100.0) == float("-inf")
