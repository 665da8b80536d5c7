"""Requests that wait for bandwidth, under a clock of the test's own."""

from __future__ import annotations

import heapq

import pytest

from s3batch.s3.bandwidth_queue import BandwidthQueue


class FakeLoop:
    """Has a clock that its timers move."""

    def __init__(self) -> None:
        self.now, self.timers, self.set = 100.0, [], 0

    def clock(self) -> float:
        return self.now

    def call_later(self, seconds: float, function) -> None:
        self.set += 1
        heapq.heappush(self.timers, (self.now + seconds, self.set, function))

    def run(self) -> None:
        while self.timers:
            self.now, _, function = heapq.heappop(self.timers)
            function()


@pytest.fixture
def loop():
    return FakeLoop()


@pytest.fixture
def queue(loop):
    return BandwidthQueue(1000.0, loop)


def test_a_request_waits_for_bytes_and_for_those_before_it(loop, queue):
    seen = [queue.must_wait]
    loop.now += 1
    seen.append(queue.must_wait)
    queue.hold(lambda: None)
    seen.append(queue.must_wait)

    assert seen == [True, False, True]


def test_requests_go_in_their_order_at_the_rate_and_one_in_the_midst_of_its_body_first(loop, queue):
    went = []

    def send(name: str) -> None:
        queue.limiter.spend(200)
        went.append((name, round(loop.now - 100.05, 2)))

    for name in ("first", "second", "third"):
        queue.hold(lambda name=name: send(name))
    queue.hold(lambda: send("midst"), first=True)
    loop.run()

    assert went == [("midst", 0.0), ("first", 0.2), ("second", 0.4), ("third", 0.6)]


def test_a_request_that_must_wait_again_keeps_its_place(loop, queue):
    went = []

    def starve() -> None:
        queue.limiter.spend(500)
        queue.hold(lambda: went.append("body"), first=True)

    queue.hold(starve)
    queue.hold(lambda: went.append("next"))
    loop.run()

    assert went == ["body", "next"]
    assert loop.timers == []


def test_what_is_under_way_takes_turns_before_requests(loop, queue):
    went, left = [], {"a": 2, "b": 2}

    def read(name: str) -> None:
        queue.limiter.spend(100)
        went.append(name)
        left[name] -= 1
        if left[name]:
            queue.hold(lambda: read(name), first=True)

    queue.hold(lambda: went.append("request"))
    for name in left:
        queue.hold(lambda name=name: read(name), first=True)
    loop.run()

    assert went == ["a", "b", "a", "b", "request"]
    assert loop.timers == []


def test_a_signal_in_the_midst_leaves_the_others_their_turn(loop, queue):
    went = []

    def stop() -> None:
        raise KeyboardInterrupt

    queue.hold(stop)
    queue.hold(lambda: went.append("next"))
    with pytest.raises(KeyboardInterrupt):
        loop.run()
    loop.run()

    assert (went, queue.must_wait) == (["next"], False)
