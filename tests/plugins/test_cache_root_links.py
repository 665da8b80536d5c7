"""Listed paths that are symbolic links: ``root_symlinks: inside``, ``follow``, ``keep``."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from s3batch.archive.manifest_codec import decode_manifest, encode_manifest
from tests.plugins.caching import Pipeline, pull_request, s3cache

FILES = {"a": "A", "b/c": "C"}


@pytest.fixture
def pipeline(step) -> Pipeline:
    return Pipeline(step)


@pytest.fixture
def volume(tmp_path) -> Path:
    """A directory outside the workspace."""
    (tmp_path / "volume").mkdir()
    return tmp_path / "volume"


def fill(place: Path, files=FILES) -> None:
    for path, text in files.items():
        (place / path).parent.mkdir(parents=True, exist_ok=True)
        (place / path).write_text(text)


def texts(place: Path) -> dict[str, str]:
    return {str(path.relative_to(place)): path.read_text() for path in place.rglob("*") if path.is_file()}


def empty(place: Path) -> None:
    for path in sorted(place.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()


def link(pipeline, target: object, name: str = "vendor") -> Path:
    place = pipeline.workspace / name
    os.symlink(target, place)
    return place


@pytest.mark.parametrize("policy", ["inside", "follow"])
def test_inside_the_workspace_it_is_followed_both_ways(pipeline, policy):
    store = pipeline.workspace / "store"
    fill(store)
    place = link(pipeline, "store")
    pipeline = pipeline.on(root_symlinks=policy)

    rebuilt = pipeline.rebuild()
    empty(store)
    restored = pipeline.restore()
    again = pipeline.rebuild()

    assert (rebuilt.code, restored.code, again.changed) == (0, 0, []), restored.err
    assert rebuilt.err.count(f"vendor is a symbolic link to {os.path.realpath(place)}, whose content is cached") == 1
    assert restored.err.count(f"vendor is a symbolic link to {os.path.realpath(place)}, which is restored") == 1
    assert texts(store) == FILES
    assert os.readlink(place) == "store"


def test_outside_it_is_followed_where_that_is_asked_for(pipeline, volume):
    fill(volume)
    place = link(pipeline, volume)
    pipeline = pipeline.on(root_symlinks="follow")
    pipeline.rebuild()
    empty(volume)
    (volume / "mine").write_text("mine")

    restored, again = pipeline.restore(), pipeline.restore()

    assert texts(volume) == FILES | {"mine": "mine"}
    assert place.is_symlink()
    assert "1 chunk" in restored.err
    assert "all files were up to date" in again.err


def test_what_was_followed_is_a_directory_where_no_link_is(pipeline, volume):
    fill(volume)
    place = link(pipeline, volume)
    pipeline.rebuild(root_symlinks="follow")
    place.unlink()
    empty(volume)

    pipeline.restore()

    assert (texts(place), place.is_symlink(), texts(volume)) == (FILES, False, {})


def test_outside_and_not_asked_for_the_old_cache_stays_and_nothing_is_written(pipeline, volume):
    pipeline.cached({"vendor/a": "of the cache"})
    fill(volume)
    place = link(pipeline, volume)

    rebuilt, restored = pipeline.rebuild(), pipeline.restore()

    assert (rebuilt.code, rebuilt.changed, restored.code) == (0, [], 0)
    assert "vendor is a symbolic link that is not followed: it leads out of the workspace" in rebuilt.err
    assert "vendor is a symbolic link that is not followed, and is left alone: it leads out" in restored.err
    assert texts(volume) == FILES
    assert place.is_symlink()


@pytest.mark.parametrize("policy", ["inside", "follow"])
@pytest.mark.parametrize("target", ["nowhere", "vendor", "/nowhere/at/all"])
def test_one_that_leads_nowhere_is_a_warning_and_the_old_cache_stays(pipeline, policy, target):
    pipeline.on(cache=["vendor", "other"]).cached({"vendor/a": "A", "other/x": "X"})
    place = link(pipeline, target)
    pipeline = pipeline.on(cache=["vendor", "other"], root_symlinks=policy)

    restored = pipeline.restore()
    rebuilt = pipeline.rebuild()

    assert (rebuilt.code, rebuilt.changed, restored.code) == (0, [], 0)
    assert "its target does not exist" in rebuilt.err
    assert "its target does not exist" in restored.err
    assert os.readlink(place) == target
    assert (pipeline.workspace / "other/x").read_text() == "X"
    assert pipeline.rebuild(fail_on_error=True).code == 1


@pytest.mark.parametrize("fork", [False, True])
def test_an_untrusted_build_is_never_led_out(pipeline, volume, fork):
    pipeline.on(root_symlinks="follow").cached({"vendor/a": "of the cache"})
    fill(volume)
    link(pipeline, volume)
    told = pull_request(12, source="stranger:x" if fork else "feat/x")
    pipeline = pipeline.on(told, root_symlinks="follow")

    restored, rebuilt = pipeline.restore(), pipeline.rebuild()

    assert texts(volume) == FILES
    assert "it leads out of the workspace" in restored.err
    assert "a pull request never follows links out of the workspace" in restored.err
    assert "root_symlinks: follow" not in restored.err + rebuilt.err
    assert not [key for _, key in rebuilt.changed if "/k/" in key]


def test_kept_it_is_a_link_and_a_restore_puts_no_directory_in_its_place(pipeline, volume):
    pipeline = pipeline.on(root_symlinks="keep")
    pipeline.cached({"vendor/a": "of the cache"})
    fill(volume)
    place = link(pipeline, volume)
    restored = pipeline.restore()
    pipeline.rebuild()
    place.unlink()
    pipeline.restore()

    assert "root_symlinks is keep" in restored.err
    assert os.readlink(place) == str(volume)
    assert texts(volume) == FILES


def test_a_link_to_a_file_is_followed_and_the_file_is_replaced_where_it_is(pipeline, volume):
    (volume / "lock").write_text("cached")
    place = link(pipeline, volume / "lock", "one.lock")
    pipeline = pipeline.on(cache=["one.lock"], root_symlinks="follow")
    pipeline.rebuild()
    before = (volume / "lock").stat().st_ino
    os.link(volume / "lock", volume / "other name")
    (volume / "lock").unlink()
    (volume / "lock").write_text("wrong!")

    restored, again = pipeline.restore(), pipeline.rebuild()

    assert (restored.code, again.changed) == (0, []), restored.err
    assert (volume / "lock").read_text() == "cached"
    assert (place.is_symlink(), (volume / "lock").stat().st_ino == before) == (True, False)


@pytest.mark.parametrize("wrong", ["a file for a directory", "a directory for a file"])
def test_what_is_not_of_the_caches_kind_is_left_alone(pipeline, volume, wrong):
    pipeline = pipeline.on(root_symlinks="follow")
    if wrong.startswith("a file"):
        pipeline.cached({"vendor/a": "A"})
        (volume / "x").write_text("mine")
    else:
        pipeline.cached({"vendor": "a file"})
        (volume / "x").mkdir()
    link(pipeline, volume / "x")

    done = pipeline.restore()

    assert (done.code, "is of another type than the entry in the cache" in done.err) == (0, True)
    assert (pipeline.workspace / "vendor").is_symlink()
    assert [path.name for path in volume.iterdir()] == ["x"]


def test_links_that_lead_to_the_workspace_or_to_our_own_files_are_not_followed(pipeline):
    pipeline.cached({"vendor/a": "A"})
    pipeline = pipeline.on(root_symlinks="follow")
    for target, words in (
        (".", "holds the workspace"),
        ("../..", "holds the workspace"),
        (".s3batch", "its own files"),
    ):
        (pipeline.workspace / ".s3batch").mkdir(exist_ok=True)
        place = link(pipeline, target)

        rebuilt, restored = pipeline.rebuild(), pipeline.restore()

        assert (rebuilt.changed, words in rebuilt.err, words in restored.err) == ([], True, True), rebuilt.err
        place.unlink()


def test_one_that_leads_into_another_listed_path_is_an_entry(pipeline):
    pipeline = pipeline.on(cache=["releases", "current"])
    fill(pipeline.workspace / "releases/1")
    link(pipeline, "releases/1", "current")
    pipeline.rebuild()
    pipeline.next_build()

    done = pipeline.restore()

    assert (done.code, "warning" in done.err) == (0, False)
    assert os.readlink(pipeline.workspace / "current") == "releases/1"
    assert texts(pipeline.workspace / "releases/1") == FILES


def test_one_that_leads_to_what_a_pattern_matches_is_an_entry_too(pipeline):
    pipeline = pipeline.on(cache=["store/*", "vendor"])
    fill(pipeline.workspace / "store/nm")
    link(pipeline, "store/nm")
    pipeline.rebuild()
    pipeline.next_build()

    done, again = pipeline.restore(), pipeline.rebuild()

    assert (done.code, "warning" in done.err, again.changed) == (0, False, [])
    assert os.readlink(pipeline.workspace / "vendor") == "store/nm"
    assert texts(pipeline.workspace / "store/nm") == FILES


def test_of_two_that_lead_to_one_place_one_is_followed_and_the_other_is_an_entry(pipeline, volume):
    pipeline = pipeline.on(cache=["vendor", "vendor2"], root_symlinks="follow")
    fill(volume)
    link(pipeline, volume)
    link(pipeline, volume, "vendor2")
    pipeline.rebuild()
    empty(volume)

    done, again = pipeline.restore(), pipeline.rebuild()

    assert (done.code, "warning" in done.err, again.changed) == (0, False, []), done.err
    assert texts(volume) == FILES


def test_exact_and_exclude_work_behind_a_followed_link(pipeline, volume):
    fill(volume)
    place = link(pipeline, volume)
    pipeline = pipeline.on(root_symlinks="follow", exclude=["vendor/keep"])
    pipeline.rebuild()
    fill(volume, {"a": "wrong", "stale/x": "s", "keep/x": "k"})

    done = pipeline.restore(exact=True)

    assert done.code == 0, done.err
    assert texts(volume) == FILES | {"keep/x": "k"}
    assert place.is_symlink()


def test_a_failed_restore_behind_a_followed_link_is_undone(pipeline, volume):
    fill(volume)
    link(pipeline, volume)
    pipeline = pipeline.on(root_symlinks="follow")
    pipeline.rebuild()
    fill(volume, {"a": "mine", "stale/x": "s"})
    (volume / "b/c").unlink()
    for key in pipeline.objects("v1/c/"):
        pipeline.put(key, b"damaged")

    done = pipeline.restore(exact=True)

    assert "the cache was not restored" in done.err
    assert texts(volume) == {"a": "mine", "stale/x": "s"}


def test_an_older_plugins_cache_goes_through_a_followed_link_and_no_other(pipeline, volume):
    fill(pipeline.workspace / "vendor")
    pipeline.put("site/site.tar.gz", s3cache(pipeline.workspace, "vendor"))
    pipeline.next_build()
    place = link(pipeline, volume)

    left = pipeline.restore()
    before = texts(volume)
    pipeline.restore(root_symlinks="follow")

    assert (before, texts(volume), place.is_symlink()) == ({}, FILES, True)
    assert "is left alone" in left.err


def test_the_old_format_holds_what_is_behind_the_link(pipeline, volume):
    fill(volume)
    place = link(pipeline, volume)
    pipeline.rebuild(compat="s3cache", root_symlinks="follow")
    place.unlink()

    pipeline.restore(compat="s3cache")

    assert texts(place) == FILES


def test_no_cache_decides_where_a_link_leads_that_would_be_followed(pipeline, volume):
    fill(volume)
    pipeline = pipeline.on(root_symlinks="keep")
    place = link(pipeline, volume)
    pipeline.rebuild()
    place.unlink()

    done = pipeline.restore(root_symlinks="follow")

    assert "in the cache it is a link that leads out of the workspace" in done.err
    assert not place.is_symlink()


def test_a_manifest_cannot_reach_beside_what_a_link_leads_to(pipeline, volume):
    fill(volume / "inner")
    link(pipeline, volume / "inner")
    pipeline = pipeline.on(root_symlinks="follow")
    pipeline.rebuild()
    (key,) = pipeline.objects("v1/k/")
    manifest = decode_manifest(pipeline.step.bucket.get(key))
    for name in ("..", "../out", str(volume / "out")):
        hostile = decode_manifest(encode_manifest(manifest))
        hostile.tree.dirs[hostile.tree.dirs.index("vendor/b")] = f"vendor/{name}"
        pipeline.put(key, encode_manifest(hostile))
        pipeline.step.fresh_runner()

        done = pipeline.restore()

        assert "the cache was not restored" in done.err or "cannot be used" in done.err
        assert sorted(path.name for path in volume.iterdir()) == ["inner"]


def test_a_link_below_a_followed_one_is_not_followed(pipeline, volume, tmp_path):
    (tmp_path / "out").mkdir()
    fill(volume)
    link(pipeline, volume)
    pipeline = pipeline.on(root_symlinks="follow")
    pipeline.rebuild()
    (volume / "b/c").unlink()
    (volume / "b").rmdir()
    os.symlink(tmp_path / "out", volume / "b")

    done = pipeline.restore()

    assert done.code == 0, done.err
    assert texts(volume) == FILES
    assert list((tmp_path / "out").iterdir()) == []
