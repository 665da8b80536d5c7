"""Kill the cache's commands at every point they pass, do the same again, and look at every file, chunk and request."""

from __future__ import annotations

import json
import os
import random
import signal
import time

import pytest

from s3batch.base.failpoints import NAMES
from tests.archive.cycle import snapshot
from tests.crash.cache_scene import (
    CacheScene,
    change_workspace,
    differences,
    empty,
    inodes,
    leftovers,
    make_cache_scene,
)
from tests.crash.scene import KILLS
from tests.rig import program

REBUILD = (
    "added", "dispatched", "settled:1", "settled:3", "manifest-publishing", "manifest-published",
)  # fmt: skip
RESTORE = ("added", "dispatched", "settled:1", "settled:2", "restored")
REBUILD_WORKER = ("worker-started", "sending:2", "chunk-stored:1", "chunk-stored:2", "stored:2")
RESTORE_WORKER = ("worker-started", "sending:1", "unpacked:1", "unpacked:2", "stored:1")
AGAIN = ("the same again", "resume")
STORM_SEED = int(os.environ.get("S3BATCH_TEST_SEED", "20261121"))
STORM_ROUNDS = int(os.environ.get("S3BATCH_TEST_ROUNDS", "3"))


@pytest.fixture
def scene(tmp_path, bucket, proxy, env) -> CacheScene:
    return make_cache_scene(tmp_path, bucket, proxy, env, segmented=True)


@pytest.fixture
def cached(scene: CacheScene) -> CacheScene:
    """The scene with its cache made, and part of the tree there already: right, wrong, and in the way."""
    scene.rebuild()
    clutter(scene)
    scene.proxy.requests.clear()
    return scene


def clutter(scene: CacheScene) -> None:
    """What an earlier build left where the cache is restored to."""
    deps = scene.there / "deps"
    (deps / "big.bin").mkdir(parents=True)
    (deps / "big.bin" / "in the way").write_bytes(b"a directory where a file belongs")
    (deps / "p0").mkdir()
    (deps / "p0/f000").write_bytes(b"not what the cache says")
    os.utime(deps / "p0", ns=(7, 7))


def again(scene: CacheScene, word: str, how: str) -> program.Finished:
    place = scene.here if word == "rebuild" else scene.there
    return scene.run(word) if how == AGAIN[0] else scene.resume(place)


def test_every_point_of_the_cache_is_in_these_tables():
    tables = {point.partition(":")[0] for point in (*REBUILD, *RESTORE, *REBUILD_WORKER, *RESTORE_WORKER)}

    assert tables <= set(NAMES)
    assert tables >= {"chunk-stored", "manifest-publishing", "manifest-published", "unpacked", "restored"}


@pytest.mark.parametrize(("point", "how"), [(point, AGAIN[at % 2]) for at, point in enumerate(REBUILD)])
def test_a_killed_rebuild_is_finished_without_sending_a_chunk_again(scene: CacheScene, point: str, how: str):
    killed = scene.run("rebuild", crash_at=point)
    dangling = scene.missing_chunks()

    done = again(scene, "rebuild", how)

    assert killed.code == -signal.SIGKILL
    assert dangling == set()
    assert done.code == 0, done.stderr
    assert leftovers(scene.here) == []
    scene.assert_sent_once()
    assert scene.missing_chunks() == set()
    assert scene.run("restore").code == 0
    scene.assert_restored()


@pytest.mark.parametrize("point", ["settled:1", "manifest-publishing", "manifest-published"])
def test_a_killed_rebuild_of_a_changed_tree_leaves_the_old_cache_whole(scene: CacheScene, point: str):
    scene.rebuild()
    change_workspace(scene.here, 2)
    before = scene.manifests().keys()

    killed = scene.run("rebuild", crash_at=point)

    assert killed.code == -signal.SIGKILL
    assert scene.manifests().keys() == before
    assert scene.missing_chunks() == set()
    assert scene.run("rebuild").code == 0
    scene.assert_sent_once()
    assert scene.run("restore").code == 0
    scene.assert_restored()


@pytest.mark.parametrize("point", REBUILD_WORKER)
def test_a_rebuild_outlives_a_worker_that_dies(scene: CacheScene, tmp_path, point: str):
    name, _, count = point.partition(":")

    done = scene.run("rebuild", crash_at=f"{name}:{count or 1}:{tmp_path / 'died'}")

    assert (tmp_path / "died").exists()
    assert (done.code, len(scene.manifests())) == (0, 1), done.stderr
    scene.assert_sent_once()
    assert scene.run("restore").code == 0
    scene.assert_restored()


@pytest.mark.parametrize(("point", "how"), [(point, AGAIN[at % 2]) for at, point in enumerate(RESTORE)])
def test_a_killed_restore_goes_on_and_writes_no_right_file_again(cached: CacheScene, point: str, how: str):
    killed = cached.run("restore", crash_at=point)
    right = _right(cached)

    done = again(cached, "restore", how)

    assert killed.code == -signal.SIGKILL
    assert done.code == 0, done.stderr
    cached.assert_restored()
    after = inodes(cached.there)
    assert {path: after[path] for path in right} == right


def _right(scene: CacheScene) -> dict[str, tuple[int, int]]:
    """Files that are already what they should be. What has several names is left out: a new name changes its ctime."""
    found, wanted = snapshot(scene.there), snapshot(scene.here)
    links = {b"deps/p2/f002", b"deps/p2/again"}
    return {
        path: facts
        for path, facts in inodes(scene.there).items()
        if (name := os.fsencode(path)) not in links and found[name] == wanted.get(name)
    }


@pytest.mark.parametrize("point", RESTORE_WORKER)
def test_a_restore_outlives_a_worker_that_dies(cached: CacheScene, tmp_path, point: str):
    name, _, count = point.partition(":")

    done = cached.run("restore", crash_at=f"{name}:{count or 1}:{tmp_path / 'died'}")

    assert (tmp_path / "died").exists()
    assert "restored" in done.stderr + done.stdout, done.stderr
    cached.assert_restored()


@pytest.mark.parametrize(("word", "point"), [("rebuild", "sending"), ("restore", "unpacked")])
def test_what_kills_every_worker_breaks_no_build_and_leaves_things_as_they_were(
    cached: CacheScene, word: str, point: str
):
    change_workspace(cached.here, 3)
    manifests, tree = cached.manifests(), snapshot(cached.there)

    killed = cached.run(word, crash_at=point)

    assert killed.code == 0
    assert "died" in killed.stderr
    assert cached.manifests().keys() == manifests.keys()
    assert differences(snapshot(cached.there), tree) == []
    cached.rebuild()
    assert cached.run("restore").code == 0
    cached.assert_restored()


def test_what_a_killed_restore_left_is_undone_when_the_store_is_gone_the_next_time(cached: CacheScene):
    before = snapshot(cached.there)
    killed = cached.run("restore", crash_at="settled:2")
    cached.proxy.down()

    done = cached.run("restore", "--retries", "1")

    assert killed.code == -signal.SIGKILL
    assert done.code == 0, done.stderr
    assert differences(snapshot(cached.there), before) == []
    assert leftovers(cached.there) == []


def test_what_a_killed_restore_left_is_undone_before_another_cache_is_restored(cached: CacheScene):
    killed = cached.run("restore", crash_at="settled:2")
    change_workspace(cached.here, 5)
    (cached.here / "deps/p4/f004").unlink()
    cached.rebuild()

    done = cached.run("restore")

    assert killed.code == -signal.SIGKILL
    assert done.code == 0, done.stderr
    cached.assert_restored()


@pytest.mark.parametrize("more", [(), ("--fail-on-error",)], ids=["usual", "fail-on-error"])
def test_no_rebuild_publishes_what_a_killed_restore_left(cached: CacheScene, more: tuple[str, ...]):
    before, manifests = snapshot(cached.there), published(cached)
    assert cached.run("restore", crash_at="settled:2").code == -signal.SIGKILL

    done = cached.run("rebuild", *more, at=cached.there)

    assert done.code == len(more)
    assert "a restore of these paths was cut off" in done.stderr
    assert published(cached) == manifests
    cached.proxy.down()  # a restore that can do nothing else brings back what the killed one had moved aside
    assert cached.run("restore", "--retries", "1").code == 0
    assert differences(snapshot(cached.there), before) == []


def published(scene: CacheScene) -> dict[str, bytes]:
    return {key: scene.bucket.get(key) for key in scene.bucket.keys("v1/k/")}


def test_a_rebuild_stores_what_was_built_once_a_restore_has_settled_what_a_killed_one_left(cached: CacheScene):
    assert cached.run("restore", crash_at="settled:2").code == -signal.SIGKILL
    assert cached.run("restore").code == 0
    (cached.there / "tools/one.bin").write_bytes(b"what the build made of it")
    built = snapshot(cached.there)

    assert cached.run("rebuild", at=cached.there).code == 0

    assert leftovers(cached.there) == []
    empty(cached.here)
    assert cached.run("restore", at=cached.here).code == 0
    assert differences(snapshot(cached.here), built) == []


@pytest.mark.parametrize("round_", range(STORM_ROUNDS))
def test_kills_at_random_are_survived_one_after_another(scene: CacheScene, round_: int):
    chance = random.Random(f"{STORM_SEED} {round_}")
    for word in ("rebuild", "restore"):
        for attempt in range(6):
            process = scene.start(word)
            time.sleep(chance.uniform(0.15, 1.2))  # the kill is to come at any moment whatever
            name = chance.choice(sorted(KILLS))
            KILLS[name](process)
            program.finish(process)
            assert scene.missing_chunks() == set(), (word, attempt, name)
        assert again(scene, word, AGAIN[0]).code == 0
        if word == "rebuild":
            change_workspace(scene.here, round_)
            clutter(scene)
            scene.rebuild()
    scene.assert_restored()
    assert leftovers(scene.here) == []
    scene.assert_sent_once()


def test_the_journal_of_a_killed_restore_tells_of_it(cached: CacheScene):
    cached.run("restore", crash_at="settled:1")

    listed = program.run(
        ["jobs", "list", "--json", "--journal", cached.directory / "there.journal.db"],
        cached.environment, cached.there,
    )  # fmt: skip

    assert json.loads(listed.stdout)["jobs"][0]["state"] == "dead"
