"""Writes wait while the coordinator is silent."""

from __future__ import annotations

import pytest

from s3batch.s3.write_gate import WriteGate


@pytest.fixture
def now():
    return [100.0]


@pytest.fixture
def gate(now):
    return WriteGate(lambda: now[0])


def test_it_is_open_until_the_given_time(gate, now):
    seen = [gate.is_open]
    gate.open(105.0)
    for now[0] in (104.9, 105.0):
        seen.append(gate.is_open)

    assert seen == [True, True, False]


def test_what_was_held_is_sent_in_order_once_it_opens_again(gate):
    sent = []
    gate.open(99.0)
    for number in range(3):
        gate.hold(lambda number=number: sent.append(number))
    gate.open(99.5)
    assert sent == []

    gate.open(105.0)

    assert sent == [0, 1, 2]


def test_once_closed_it_never_opens_and_sends_nothing(gate):
    sent = []
    gate.hold(lambda: sent.append(1))
    gate.close()

    gate.open(1000.0)

    assert not gate.is_open
    assert sent == []
