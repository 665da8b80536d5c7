"""Kill the real program at every point that has a name, resume it, and look at every byte and every request."""

from __future__ import annotations

import signal

import pytest

from s3batch.base.failpoints import NAMES
from tests.crash.scene import Scene

COORDINATOR = (
    "begun", "listed-page", "listed", "added", "leased", "dispatched", "settled:1", "settled:3", "upload-journalled:1",
    "upload-journalled:2", "part-settled:1", "part-settled:7", "finishing:1", "finished:1", "finished:2", "published",
    "deleting", "planned", "deleted", "learned",
)  # fmt: skip
WORKER = (
    "worker-started", "sending:1", "sending:6", "stored:1", "stored:6", "upload-begun", "part-sending:1",
    "part-sending:4", "part-stored:1", "part-stored:4", "completed",
)  # fmt: skip
CACHE = {
    "removing",
    "copied-aside",
    "chunk-stored",
    "manifest-publishing",
    "manifest-published",
    "unpacked",
    "restored",
}
DOWNLOAD = {"fetched", "landed"}
"""They are in test_download_kills.py."""
LATE = {"looking-again"}
"""A job gets there that looks at what a killed one had begun."""
LONG = {"walking-on"}
"""It is in tests/cli/test_long_walks.py: only a long walk gets there."""


def test_every_point_a_sync_has_is_in_these_tables():
    assert {point.partition(":")[0] for point in (*COORDINATOR, *WORKER)} == set(NAMES) - CACHE - DOWNLOAD - LATE - LONG


@pytest.mark.parametrize("point", COORDINATOR)
def test_resume_finishes_what_a_killed_coordinator_began(scene: Scene, point: str):
    killed = scene.sync(crash_at=point)
    left = scene.state()

    resumed = scene.resume()

    assert killed.code == -signal.SIGKILL
    assert left == "dead"
    assert resumed.code == 0, resumed.stderr
    scene.assert_all_well()


@pytest.mark.parametrize("again", ["sync", "resume"])
def test_a_job_that_is_killed_while_it_looks_at_what_a_killed_one_had_begun(scene: Scene, again: str):
    scene.environment["S3BATCH_TEST_LONGEST_WAIT"] = "0"
    first = scene.sync(crash_at="dispatched")
    second = scene.sync(crash_at="looking-again")

    third = scene.sync() if again == "sync" else scene.resume()

    assert (first.code, second.code) == (-signal.SIGKILL, -signal.SIGKILL)
    assert third.code == 0, third.stderr
    scene.assert_all_well()


@pytest.mark.parametrize("point", ["begun", "listed", "settled:2", "part-settled:4", "finished:1", "deleting"])
def test_the_same_sync_again_finishes_it_too(scene: Scene, point: str):
    killed = scene.sync(crash_at=point)

    again = scene.sync()

    assert killed.code == -signal.SIGKILL
    assert again.code == 0, again.stderr
    scene.assert_all_well()


@pytest.mark.parametrize("point", WORKER)
def test_a_job_outlives_a_worker_that_dies(scene: Scene, tmp_path, point: str):
    name, _, count = point.partition(":")

    done = scene.sync(crash_at=f"{name}:{count or 1}:{tmp_path / 'died'}")

    assert (tmp_path / "died").exists()
    assert done.code == 0, done.stderr
    scene.assert_all_well()


@pytest.mark.parametrize("point", ["worker-started", "sending", "stored", "part-stored", "completed"])
def test_what_kills_every_worker_is_named_and_resumed(small_scene: Scene, point: str):
    scene = small_scene

    killed = scene.sync(crash_at=point)

    resumed = scene.resume()

    assert killed.code in (1, 4)
    assert "died" in killed.stderr
    assert "s3batch resume" in killed.stderr
    assert resumed.code == 0, resumed.stderr
    scene.assert_all_well()
