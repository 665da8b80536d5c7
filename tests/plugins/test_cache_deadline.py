"""Whatever the store does, a cache step ends by its deadline, and the build goes on."""

from __future__ import annotations

import time

import pytest

from tests.archive.cycle import noise
from tests.plugins.caching import Pipeline
from tests.rig.faults import Delay, DuringReply, DuringRequest, Refuse, Stall

FILES = {"vendor/a": "A" * 100, "vendor/large": noise(300_000)}
MINE = {"vendor/a": "not what the cache says", "vendor/mine": "my own"}
LATE = 25.0
"""Seconds for starting, undoing and ending on a machine that is busy; what is held up takes a minute or more."""
TROUBLES = [
    pytest.param("", Stall(), id="silent from the first request on"),
    pytest.param("v1/c/", Stall(), id="silent at the chunks"),
    pytest.param("v1/c/", Delay(60), id="slow at the chunks"),
    pytest.param("", Refuse(503, "SlowDown"), id="throttled for good"),
    pytest.param("v1/c/", Refuse(500, "InternalError"), id="failing at the chunks for good"),
]


@pytest.fixture
def pipeline(step) -> Pipeline:
    step.settings = {"retries": 1000}
    return Pipeline(step)


@pytest.mark.parametrize("lane", ["auto", "reference"])
@pytest.mark.parametrize(("key", "trouble"), [*TROUBLES, pytest.param("v1/c/", DuringReply(rate=100), id="a trickle")])
def test_a_restore_ends_by_its_deadline_with_the_tree_as_it_was(pipeline, key, trouble, lane):
    pipeline.cached(FILES).write(MINE)
    before = pipeline.tree()
    pipeline.step.proxy.on("", trouble, key=key)
    begun = time.monotonic()

    done = pipeline.restore(deadline="3s", lane=lane)

    assert time.monotonic() - begun < 3 + LATE
    assert (done.code, pipeline.tree()) == (0, before)
    assert "the cache was not restored: the deadline of 3.0 s is over; the build goes on without it" in done.err


@pytest.mark.parametrize(
    ("key", "trouble"), [*TROUBLES, pytest.param("v1/c/", DuringRequest(rate=100), id="a trickle")]
)
def test_a_rebuild_ends_by_its_deadline_and_what_was_sent_is_kept(pipeline, key, trouble):
    pipeline.cached(FILES).write({**FILES, "vendor/new": noise(400_000, seed=2)})
    held = pipeline.step.bucket.keys()
    pipeline.step.proxy.on("", trouble, key=key)
    begun = time.monotonic()

    done = pipeline.rebuild(deadline="3s")

    assert time.monotonic() - begun < 3 + LATE
    assert (done.code, held <= pipeline.step.bucket.keys()) == (0, True)
    assert "the cache was not stored: the deadline of 3.0 s is over; the build goes on without it" in done.err


def test_with_fail_on_error_a_deadline_fails_the_step(pipeline):
    pipeline.cached(FILES)
    pipeline.step.proxy.on("", Stall())

    assert pipeline.restore(deadline="2s", fail_on_error=True).code == 1


def test_a_step_that_ends_in_time_knows_no_deadline(pipeline):
    pipeline.cached(FILES)

    done = pipeline.restore(deadline="60s")

    assert (done.code, "deadline" in done.err) == (0, False)
    assert pipeline.restore(deadline=0).code == 0
