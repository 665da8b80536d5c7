"""The store's own times: LastModified that runs ahead of Date, and clocks that differ from ours (one fake S3)."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.contract.scene import MIB, Scene


def several(scene: Scene, count: int = 20) -> None:
    scene.write({f"f{number}": b"%d" % number for number in range(count)})


@pytest.mark.parametrize("ahead", [5, 60, 600])
def test_a_last_modified_that_runs_ahead_of_date_is_found_once_and_costs_no_look_later(scene, ahead):
    several(scene)
    scene.manners(late=ahead)

    first, second = scene.sync(), scene.sync()

    assert (first.code, second.code) == (0, 0), first.err + second.err
    assert first.requests["HeadObject"] == 1
    assert second.requests == {"ListObjectsV2": 1}


def test_it_is_found_by_a_large_file_too(scene):
    scene.write({"large": b"x" * 11 * MIB})
    scene.manners(late=30)

    first, second = (scene.sync("--multipart-threshold", "6MiB", "--part-size", "5MiB") for _ in range(2))

    assert (first.code, first.requests["HeadObject"]) == (0, 1)
    assert second.requests == {"ListObjectsV2": 1}


def test_a_later_write_of_another_is_still_seen(scene):
    several(scene, 3)
    scene.manners(late=30)
    scene.sync()
    scene.sync()
    scene.objects["site/f1"].modified = time.time() + 100

    ran = scene.sync()

    assert ran.requests["HeadObject"] == 1


def test_where_the_times_agree_one_look_is_enough_for_all_later_jobs(scene):
    several(scene)
    looks = []
    for number in range(3):
        scene.write({f"new{number}": b"x"})
        looks.append(scene.sync().requests["HeadObject"])

    assert looks == [1, 0, 0]


def test_a_look_that_is_refused_fails_nothing(scene):
    several(scene)
    scene.manners(late=30, refuses={"HeadObject": (403, "AccessDenied")})

    assert scene.sync().code == 0


def test_a_dry_run_and_a_run_that_writes_nothing_do_not_look(scene):
    several(scene)
    assert scene.sync("--dry-run").requests["HeadObject"] == 0
    scene.sync()
    assert scene.sync(fresh=True).requests["HeadObject"] == 20, "compared, and nothing else"


# --- whose clock --------------------------------------------------------------------------


@pytest.mark.parametrize("clock", [-600, 600])
def test_what_is_ours_is_told_by_the_stores_clock(scene, clock):
    several(scene, 3)
    scene.manners(clock=clock)
    first, second = scene.sync(), scene.sync()
    scene.objects["site/f1"].modified += 60

    third = scene.sync()

    assert (first.code, second.code) == (0, 0), first.err + second.err
    assert (second.requests, third.requests["HeadObject"]) == ({"ListObjectsV2": 1}, 1)


@pytest.mark.parametrize(
    ("clock", "age", "touched"), [(-800, 0, False), (800, 0, False), (800, 700, True), (-800, 700, True)]
)
def test_a_cache_that_is_restored_is_touched_by_its_age_at_the_store(scene, clock, age, touched):
    scene.manners(clock=clock)
    Path("kept").mkdir()
    Path("kept/f").write_bytes(b"x")
    words = ["--bucket", "bucket", "--cache", "kept", "--cache-key", "k", "--ttl", "40m", "--executor", "inline"]
    built = scene.run("cache", "rebuild", *words)
    for each in scene.objects.values():
        each.modified -= age

    restored = scene.run("cache", "restore", *words)

    assert (built.code, restored.code) == (0, 0), built.err + restored.err
    assert bool(restored.requests["CopyObject"]) is touched, restored.requests
