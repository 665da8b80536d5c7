"""Coroutines side by side within one of a lane."""

from __future__ import annotations

import pytest

from s3batch.s3.endpoint import Endpoint
from s3batch.s3.event_loop import sleep
from s3batch.s3.gather import SIDE_BY_SIDE, capture_outcome, gather_results
from s3batch.s3.lazy_boto import make_boto_sender
from s3batch.s3.transport import Transport


@pytest.fixture
def run():
    """A lane that sends nothing."""
    endpoint = Endpoint(
        bucket="b", region="r", host="127.0.0.1", port=1, tls=False, path_style=True, credentials=None
    )  # fmt: skip
    lane = Transport(endpoint, make_boto_sender)
    yield lambda coroutine: lane.run(capture_outcome(coroutine))
    lane.close()


async def late(value: int, seconds: float = 0.0) -> int:
    await sleep(seconds)
    return value


async def failing() -> int:
    await sleep(0)
    raise KeyError("one")


def test_results_come_in_order(run):
    assert run(gather_results(late(number, 0.02 - number / 1000) for number in range(20))) == (list(range(20)), None)


def test_none_is_no_wait(run):
    assert run(gather_results([])) == ([], None)


def test_no_more_run_at_a_time_than_memory_is_meant_for(run):
    running, most = [0], [0]

    async def counted() -> None:
        running[0] += 1
        most[0] = max(most[0], running[0])
        await sleep(0)
        running[0] -= 1

    run(gather_results(counted() for _ in range(500)))

    assert most[0] == SIDE_BY_SIDE


def test_coroutines_that_never_wait_do_not_nest(run):
    async def at_once(value: int) -> int:
        return value

    results, error = run(gather_results(at_once(number) for number in range(20_000)))

    assert (len(results), error) == (20_000, None)


def test_an_error_waits_for_those_that_run_and_begins_no_more(run):
    ended: list[int] = []

    async def slow(number: int) -> None:
        await sleep(0.05)
        ended.append(number)

    coroutines = iter([failing(), *(slow(number) for number in range(SIDE_BY_SIDE - 1))])
    results, error = run(gather_results(coroutines))

    assert (results, type(error)) == (None, KeyError)
    assert len(ended) == SIDE_BY_SIDE - 1
