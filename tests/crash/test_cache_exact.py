"""Kill an exact restore while it moves things out of the way: the next step finds the tree whole."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest

from tests.archive.cycle import snapshot
from tests.crash.cache_scene import CacheScene, make_cache_scene

STALE = ("deps/stale", "deps/p0/stale", "deps/old/deep/x", "deps/old/y")


@pytest.fixture
def scene(tmp_path, bucket, proxy, env) -> CacheScene:
    scene = make_cache_scene(tmp_path, bucket, proxy, env)
    scene.rebuild()
    for path in STALE:
        (scene.there / path).parent.mkdir(parents=True, exist_ok=True)
        (scene.there / path).write_text(path)
    (scene.there / "deps/p0/f000").write_bytes(b"not what the cache says")
    return scene


@pytest.mark.parametrize(("point", "how"), [("removing:1", "resume"), ("removing:3", "again"), ("restored", "again")])
def test_a_killed_one_is_finished_by_the_same_command(scene: CacheScene, point: str, how: str):
    killed = scene.run("restore", "--exact", crash_at=point)

    done = scene.run("restore", "--exact") if how == "again" else scene.resume(scene.there)

    assert (killed.code, done.code) == (-signal.SIGKILL, 0), done.stderr
    scene.assert_restored()


@pytest.mark.parametrize("point", ["removing:2", "settled:1"])
def test_a_killed_one_is_undone_by_a_restore_that_removes_nothing(scene: CacheScene, point: str):
    killed = scene.run("restore", "--exact", crash_at=point)

    done = scene.run("restore")

    assert (killed.code, done.code) == (-signal.SIGKILL, 0), done.stderr
    assert [path for path in STALE if (scene.there / path).read_text() != path] == []


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    memory = Path("/dev/shm")
    if not memory.is_dir() or memory.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no second file system")
    place = memory / f"s3batch-crash-{os.getpid()}"
    place.mkdir()
    yield place
    shutil.rmtree(place)


@pytest.mark.parametrize("point", ["copied-aside:1", "copied-aside:2"])
def test_killed_between_a_copy_and_its_removal_nothing_is_lost(scene: CacheScene, volume: Path, point: str):
    roots = ["--cache", str(volume)]
    (volume / "a").write_text("A")
    assert scene.run("rebuild", *roots, at=scene.here).code == 0
    (volume / "a").write_text("wrong")
    for path in ("x", "old/deep/x", "old/y"):
        (volume / path).parent.mkdir(parents=True, exist_ok=True)
        (volume / path).write_text(path)
    before = snapshot(volume)
    # the copies are complete; what a kill leaves of the originals is as good as nothing
    killed = scene.run("restore", "--exact", *roots, at=scene.here, crash_at=point)
    if point == "copied-aside:2":
        shutil.rmtree(volume / "old/deep", ignore_errors=True)

    for key in scene.bucket.keys("v1/k/"):
        scene.bucket.put(key, b"no manifest")
    done = scene.run("restore", *roots, at=scene.here)

    assert killed.code == -signal.SIGKILL
    assert done.code == 0, done.stderr
    assert {path: facts[3] for path, facts in snapshot(volume).items()} == {
        path: facts[3] for path, facts in before.items()
    }
