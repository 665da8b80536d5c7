"""``exact: true``: what lies below the listed paths and is not in the cache goes; all or nothing."""

from __future__ import annotations

import json
import os
import shutil
import socket
import stat
from pathlib import Path

import pytest

from tests.plugins.caching import Pipeline, s3cache
from tests.plugins.test_cache_failures import as_nobody, foreign

__all__ = ["foreign"]
FILES = {"vendor/a": "A", "vendor/b/c": "C", "one.txt": "1"}
STALE = {
    "vendor/stale": "s", "vendor/b/stale": "s", "vendor/old/deep/x": "x", "vendor/old/y": "y", "vendor/odd\n*[": "o",
}  # fmt: skip


@pytest.fixture
def pipeline(step) -> Pipeline:
    return Pipeline(step, settings={"cache": ["vendor", "one.txt"]})


@pytest.fixture
def stale(pipeline) -> Pipeline:
    """A workspace that has the cache's files, one of them wrong, and others beside them."""
    pipeline.cached(FILES)
    pipeline.write(FILES | STALE | {"vendor/b/c": "wrong", "mine/x": "X", "two.txt": "2"})
    return pipeline


def told(run) -> dict:
    return json.loads(run.out)["cache"]


def test_off_what_is_there_stays(stale):
    stale.restore()

    assert set(stale.contents()) == {*FILES, *STALE, "mine/x", "two.txt"}


def test_what_the_cache_does_not_have_goes_below_the_listed_paths_and_nowhere_else(stale):
    done = stale.restore(exact=True, json=True)

    assert done.code == 0, done.err
    assert stale.contents() == {path: text.encode() for path, text in FILES.items()} | {"mine/x": b"X", "two.txt": b"2"}
    assert not (stale.workspace / "vendor/old").exists()
    assert told(done)["removed"] == 4
    assert "4 entries not in the cache removed" in done.err


def test_a_tree_that_is_right_but_for_them_gets_its_times_back(pipeline):
    pipeline.cached(FILES)
    pipeline.restore()
    before = pipeline.tree()
    pipeline.write({"vendor/b/stale": "s"})

    done = pipeline.restore(exact=True)

    assert pipeline.tree() == before
    assert "1 entry not in the cache removed" in done.err
    assert "all files were up to date" in pipeline.restore(exact=True).err
    assert "nothing changed, nothing sent" in pipeline.rebuild().err


def test_what_exclude_names_stays_and_so_do_the_directories_above_it(stale):
    stale.write({"vendor/old/deep/keep.log": "k", "vendor/b/x.log": "l"})

    stale.restore(exact=True, exclude=["*.log"])

    left = {path for path in stale.contents() if path.startswith("vendor/")}
    assert left == {"vendor/a", "vendor/b/c", "vendor/old/deep/keep.log", "vendor/b/x.log"}


def test_a_listed_path_that_the_cache_lacks_stays(stale):
    stale = stale.on(cache=["vendor", "one.txt", "late"])
    stale.write({"late/x": "X"})
    done = stale.rebuild()
    shutil.rmtree(stale.workspace / "late")
    stale.rebuild()
    stale.write({"late/x": "X", "vendor/new": "n"})

    done = stale.restore(exact=True)

    assert "does not hold late" in done.err
    assert (stale.workspace / "late/x").exists()
    assert not (stale.workspace / "vendor/new").exists()


def test_of_the_whole_workspace_our_own_files_stay(pipeline):
    pipeline = pipeline.on(cache=["."])
    pipeline.cached(FILES)
    pipeline.write(STALE | {"mine": "M"})

    done = pipeline.restore(exact=True)

    assert done.code == 0, done.err
    assert set(pipeline.contents()) == set(FILES)
    assert (pipeline.workspace / ".s3batch").is_dir()


def test_every_kind_of_entry_goes_and_links_are_not_followed(pipeline, tmp_path):
    pipeline.cached(FILES)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "dear").write_text("dear")
    place = pipeline.workspace / "vendor"
    place.mkdir()
    os.symlink(outside, place / "link")
    os.symlink("nowhere", place / "dangling")
    os.mkfifo(place / "pipe")
    (place / "sock").mkdir()
    os.mkfifo(place / "sock/pipe")
    (place / "closed").mkdir(mode=0)

    done = pipeline.restore(exact=True)

    assert done.code == 0, done.err
    assert sorted(path.name for path in place.iterdir()) == ["a", "b"]
    assert (outside / "dear").read_text() == "dear"


def test_a_special_file_alone_is_not_taken_for_a_right_tree(pipeline):
    pipeline.write(FILES)
    pipeline.rebuild()
    os.mkfifo(pipeline.workspace / "vendor/pipe")

    done = pipeline.restore(exact=True)

    assert "1 entry not in the cache removed" in done.err
    assert not (pipeline.workspace / "vendor/pipe").exists()


def test_a_directory_where_a_file_belongs_gives_way_with_all_in_it(pipeline):
    pipeline.cached(FILES)
    pipeline.write({"vendor/a/x": "X", "vendor/a/y/z": "Z"})

    done = pipeline.restore(exact=True)

    assert done.code == 0, done.err
    assert pipeline.contents() == {path: text.encode() for path, text in FILES.items()}


def test_a_miss_removes_nothing(pipeline):
    pipeline.write(FILES | STALE)

    pipeline.restore(exact=True)

    assert set(pipeline.contents()) == {*FILES, *STALE}


def test_a_restore_that_fails_brings_everything_back(stale):
    for key in stale.objects("v1/c/"):
        stale.put(key, b"damaged")
    before = stale.tree()

    done = stale.restore(exact=True)

    assert "the cache was not restored" in done.err
    assert stale.tree() == before


def test_a_dry_run_tells_and_removes_nothing(stale):
    before = stale.tree()

    done = stale.restore(exact=True, dry_run=True)

    assert stale.tree() == before
    assert {"delete vendor/stale orphan", "delete vendor/b/stale orphan", "delete vendor/old orphan"} <= set(
        done.out.splitlines()
    )
    assert "would remove 4 entries not in the cache" in done.err


def test_of_an_older_plugins_cache_nothing_is_removed_and_that_is_said(pipeline):
    pipeline.write(FILES)
    pipeline.put("site/site.tar.gz", s3cache(pipeline.workspace, "vendor", "one.txt"))
    pipeline.write(STALE)

    done = pipeline.restore(exact=True)

    assert "exact removes nothing, because the cache is from an older plugin" in done.err
    assert set(pipeline.contents()) == {*FILES, *STALE}


def test_what_belongs_to_someone_else_stays_with_a_warning(foreign):
    foreign = foreign.on(cache=["vendor"])
    foreign.cached(FILES)
    foreign.write({"vendor/a": "wrong", "vendor/theirs/x": "X", "vendor/mine": "m"})
    vendor = foreign.workspace / "vendor"
    for path in (vendor, vendor / "a", vendor / "mine", foreign.workspace):
        os.chown(path, 65534, 65534)

    done = as_nobody(foreign, restore=True, exact=True)

    assert done.code == 0, done.stderr
    assert "1 entry not in the cache cannot be removed, such as vendor/theirs" in done.stderr
    assert set(foreign.contents()) == {"vendor/a", "vendor/b/c", "vendor/theirs/x"}


@pytest.fixture
def volume() -> Path:
    """A directory on another file system than the workspace."""
    memory = Path("/dev/shm")
    if not memory.is_dir() or memory.stat().st_dev == Path("/tmp").stat().st_dev:
        pytest.skip("there is no second file system")
    place = memory / f"s3batch-exact-{os.getpid()}"
    place.mkdir()
    yield place
    shutil.rmtree(place)


@pytest.mark.parametrize("fails", [False, True], ids=["restored", "undone"])
def test_on_another_file_system_what_goes_is_copied_first(pipeline, volume, fails):
    pipeline = pipeline.on(cache=[str(volume)])
    (volume / "a").write_text("A")
    pipeline.rebuild()
    (volume / "a").write_text("wrong")
    (volume / "old/deep").mkdir(parents=True)
    (volume / "old/deep/x").write_text("x")
    os.chmod(volume / "old/deep", 0o500)
    os.symlink("nowhere", volume / "old/link")
    if os.geteuid() == 0:
        os.chown(volume / "old/deep/x", 1000, 1000)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(volume / "socket"))
    if fails:
        for key in pipeline.objects("v1/c/"):
            pipeline.put(key, b"damaged")

    done = pipeline.restore(exact=True)

    assert done.code == 0
    if not fails:
        assert [path.name for path in volume.iterdir()] == ["a"]
        assert (volume / "a").read_text() == "A"
        return
    assert sorted(path.name for path in volume.iterdir() if path.name != "socket") == ["a", "old"]
    assert (volume / "a").read_text() == "wrong"
    assert (volume / "old/deep/x").read_text() == "x"
    assert stat.S_IMODE((volume / "old/deep").stat().st_mode) == 0o500
    assert (volume / "old/link").is_symlink()
    if os.geteuid() == 0:
        assert (volume / "old/deep/x").stat().st_uid == 1000
