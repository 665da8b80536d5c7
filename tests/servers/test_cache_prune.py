"""Clean-ups beside builds that write, and builds beside each other."""

from __future__ import annotations

import random
import time

import pytest

from tests.archive.cycle import snapshot
from tests.crash.cache_scene import CacheScene, differences, make_cache_scene
from tests.crash.eviction import prune, run_rounds, start, write_tree
from tests.rig import program
from tests.rig.faults import Call, Reset


@pytest.fixture
def scene(tmp_path, bucket, proxy, env) -> CacheScene:
    return make_cache_scene(tmp_path, bucket, proxy, env, segmented=True)


def test_no_clean_up_takes_a_chunk_from_a_build(scene: CacheScene):
    run_rounds(scene, 3, seed=1)

    assert len(scene.named()) > 1
    assert scene.missing_chunks() == set()


def test_in_the_end_nothing_is_left_that_nobody_names(scene: CacheScene):
    run_rounds(scene, 2, seed=2)

    for _ in range(5):
        time.sleep(1.1)  # until everything is older than the grace
        assert prune(scene).code == 0

    assert scene.chunks() == scene.named()
    assert scene.bucket.keys("v1/x/") == set()


def test_chunks_deleted_just_before_publishing_are_stored_again(scene: CacheScene):
    """The worst moment: a clean-up takes all chunks of a build that is slow to publish."""

    def clean_up(_) -> None:
        for _ in range(3):
            time.sleep(1.1)  # the chunks are to be older than the grace
            assert prune(scene).code == 0
        assert scene.chunks() == set()

    scene.proxy.on("PutObject", Call(clean_up), key="v1/k/", times=1)
    scene.rebuild()

    assert scene.missing_chunks() == set()
    assert scene.run("restore").code == 0
    scene.assert_restored()


def test_what_is_published_while_its_forerunner_is_evicted_stays(scene: CacheScene):
    scene.rebuild()
    (scene.here / "deps/p5/f005").write_bytes(b"another build made this")
    time.sleep(2.1)  # until the cache is older than the ttl
    scene.proxy.on("CopyObject", Call(lambda _: scene.rebuild(), after=True), times=1)

    done = prune(scene, "--ttl", "1s")

    assert done.code == 0, done.stderr
    assert len(scene.manifests()) == 1
    assert scene.missing_chunks() == set()
    assert scene.run("restore", "--fail-on-miss").code == 0
    scene.assert_restored()


def test_a_clean_up_knows_its_own_lock_when_the_answer_to_it_was_lost(scene: CacheScene):
    scene.rebuild()
    scene.proxy.on("PutObject", Reset(after=True), key="v1/gc/lock", times=1)

    done = prune(scene)

    assert done.code == 0, done.stderr
    assert scene.bucket.keys("v1/gc/lock") == set()


def test_of_two_builds_of_one_key_one_wins_whole(scene: CacheScene):
    chance = random.Random(3)
    places = [scene.directory / name for name in ("one", "two")]
    for place in places:
        place.mkdir()
        write_tree(place, chance)

    builds = [start(scene, "rebuild", "main", place) for place in places]
    codes = [program.finish(build).code for build in builds]

    assert codes == [0, 0]
    assert len(scene.manifests()) == 1
    assert scene.missing_chunks() == set()
    assert scene.run("restore").code == 0
    assert [] in [differences(snapshot(scene.there), snapshot(place)) for place in places]
