"""Patterns in the listed paths: expanded by a rebuild, remembered by the cache, restored without the local tree."""

from __future__ import annotations

import os

import pytest

from s3batch.archive.manifest_codec import decode_manifest
from tests.plugins.caching import Pipeline
from tests.plugins.test_cache_failures import as_nobody, foreign

__all__ = ["foreign"]

FILES = {
    "packages/a/dist/x": "ax", "packages/a/src/y": "ay", "packages/b/dist/x": "bx", "packages/.c/dist/x": "cx",
    "node_modules/m/node_modules/n": "nested", "packages/a/node_modules/m": "am", "top/dist/z": "z",
}  # fmt: skip


@pytest.fixture
def pipeline(step) -> Pipeline:
    return Pipeline(step, settings={"cache": ["packages/*/dist"]})


def restored(pipeline, *listed: str, files=FILES, **settings) -> set[str]:
    """What a restore of these paths makes on a fresh clone."""
    pipeline = pipeline.on(cache=list(listed))
    pipeline.write(files)
    done = pipeline.rebuild(**settings)
    assert (done.code, "warning" in done.err) == (0, False), done.err
    pipeline.next_build()
    done = pipeline.restore()
    assert (done.code, "warning" in done.err) == (0, False), done.err
    return set(pipeline.contents())


DIST = {"packages/a/dist/x", "packages/b/dist/x", "packages/.c/dist/x"}
MODULES = {"node_modules/m/node_modules/n", "packages/a/node_modules/m"}
ROWS = [
    pytest.param(["packages/*/dist"], DIST, id="one component"),
    pytest.param(["packages/[ab]/dist"], DIST - {"packages/.c/dist/x"}, id="a set"),
    pytest.param(["packages/?/dist/"], DIST - {"packages/.c/dist/x"}, id="one character, slash at the end"),
    pytest.param(["**/node_modules"], MODULES, id="any depth, not inside what matches"),
    pytest.param(["**/dist", "top"], DIST | {"top/dist/z"}, id="a pattern and a name above one of its matches"),
    pytest.param(
        ["packages/*", "packages/*/dist"], {p for p in FILES if p.startswith("packages/")}, id="one in another"
    ),
    pytest.param(["packages/**"], {p for p in FILES if p.startswith("packages/")}, id="all below"),
    pytest.param(["*"], set(FILES), id="all of the workspace"),
]


@pytest.mark.parametrize(("listed", "paths"), ROWS)
def test_what_a_pattern_matches_is_restored_without_the_local_tree(pipeline, listed, paths):
    assert restored(pipeline, *listed) == paths


def test_the_key_is_of_the_pattern_and_the_manifest_has_what_it_matched(pipeline):
    pipeline.write(FILES)
    pipeline.rebuild()
    (key,) = pipeline.objects("v1/k/")
    pipeline.write({"packages/new/dist/x": "new"})
    pipeline.rebuild(exclude=["packages/b"])

    assert pipeline.objects("v1/k/") == [key]
    roots = decode_manifest(pipeline.step.bucket.get(key)).roots
    assert roots == ("packages/.c/dist", "packages/a/dist", "packages/new/dist")


def test_a_second_rebuild_sends_nothing_and_a_restore_finds_everything_right(pipeline):
    pipeline.write(FILES)
    pipeline.rebuild()

    again, there = pipeline.rebuild(), pipeline.restore()
    pipeline.step.fresh_runner()
    fresh = pipeline.rebuild()

    assert (again.changed, fresh.changed) == ([], [])
    assert "all files were up to date" in there.err


def test_a_pattern_that_matches_nothing_is_a_warning_and_the_old_cache_stays(pipeline):
    pipeline.cached(FILES)

    done = pipeline.rebuild()

    assert (done.code, done.changed) == (0, [])
    assert "packages/*/dist matches nothing: it is not cached" in done.err
    assert "none of the paths to cache exists; the cache stays as it was" in done.err


def test_beside_a_path_that_is_there_it_is_a_warning_at_both_ends(pipeline):
    pipeline = pipeline.on(cache=["packages/*/dist", "no/*/such"])
    pipeline.write(FILES)

    rebuilt, there = pipeline.rebuild(), pipeline.restore()
    pipeline.next_build()
    restored = pipeline.restore()

    assert "no/*/such matches nothing: it is not cached" in rebuilt.err
    assert "does not hold no/*/such" in restored.err
    assert set(pipeline.contents()) == DIST
    assert there.code == 0


def test_a_path_that_exists_as_it_is_written_is_that_path(pipeline):
    files = {"odd[1]*/x": "literal", "odd1y/x": "matched", "odd1y*/x": "matched"}

    assert restored(pipeline, "odd[1]*", files=files) == {"odd[1]*/x"}


def test_names_with_brackets_are_matched_and_restored(pipeline):
    files = {"packages/[id]/dist/x": "x", "packages/a\nb/dist/x": "x", "packages/-/dist/y": "y"}

    assert restored(pipeline, "packages/*/dist", files=files) == set(files)


def test_a_name_that_is_no_text_is_matched_and_restored(pipeline):
    pipeline.write({"packages/a/dist/x": "x"})
    odd = os.fsencode(pipeline.workspace) + b"/packages/\xff/dist"
    os.makedirs(odd)
    with open(odd + b"/y", "wb") as file:
        file.write(b"y")
    pipeline.rebuild()
    pipeline.next_build()

    pipeline.restore()

    assert os.path.exists(odd + b"/y")
    assert "packages/a/dist/x" in pipeline.contents()


def test_no_link_is_followed_on_the_way_and_one_that_matches_is_a_link(pipeline, tmp_path):
    outside = tmp_path / "outside"
    (outside / "dist").mkdir(parents=True)
    (outside / "dist/secret").write_text("secret")
    pipeline.write({"packages/a/dist/x": "x"})
    os.symlink(outside, pipeline.workspace / "packages/linked")
    (pipeline.workspace / "packages/b").mkdir()
    os.symlink("../a/dist", pipeline.workspace / "packages/b/dist")
    pipeline.rebuild()
    pipeline.next_build()

    pipeline.restore()

    assert set(pipeline.contents()) == {"packages/a/dist/x"}
    assert os.readlink(pipeline.workspace / "packages/b/dist") == "../a/dist"


def test_a_circle_of_links_and_our_own_files_are_not_entered(pipeline):
    pipeline = pipeline.on(cache=["**/journal*", "**/x"])
    pipeline.write({"a/x": "x"})
    os.symlink(".", pipeline.workspace / "a/loop")
    (pipeline.workspace / ".s3batch").mkdir()
    (pipeline.workspace / ".s3batch/x").write_text("ours")

    pipeline.rebuild()
    pipeline.next_build()
    pipeline.restore()

    assert set(pipeline.contents()) == {"a/x"}


def test_what_is_excluded_is_not_looked_through(pipeline):
    assert restored(pipeline, "**/dist", exclude=["packages/b/", "top"]) == DIST - {"packages/b/dist/x"}


def test_absolute_patterns_and_home(pipeline, tmp_path):
    home, outside = pipeline.step.home, tmp_path / "outside"
    for place in (home / ".cache/one/x", home / ".cache/two/x", outside / "v1/lib/x", outside / "v2/other/x"):
        place.parent.mkdir(parents=True)
        place.write_text("x")
    pipeline = pipeline.on(cache=["~/.cache/*", f"{outside}/*/lib"])
    pipeline.rebuild()
    for place in (home / ".cache/one/x", home / ".cache/two/x", outside / "v1/lib/x", outside / "v2/other/x"):
        place.unlink()

    done = pipeline.restore()

    assert done.code == 0, done.err
    assert sorted(path.name for path in (home / ".cache").rglob("x")) == ["x", "x"]
    assert (outside / "v1/lib/x").exists()
    assert not (outside / "v2/other/x").exists()


@pytest.mark.parametrize("listed", ["/*/dist", "/**", "packages/[z-a]"])
def test_a_pattern_that_cannot_be_meant_is_said_before_any_request(pipeline, listed):
    pipeline.write(FILES)

    done = pipeline.rebuild(cache=[listed])

    assert (done.code, done.requests) == (2, [])
    assert f"cache: {listed}" in done.err


def test_a_manifest_with_roots_that_no_pattern_means_writes_nothing(pipeline):
    pipeline.on(cache=["packages"]).cached(FILES)
    (other,) = pipeline.objects("v1/k/")
    pipeline.write({"packages/z/dist/x": "z"})
    pipeline.rebuild()
    (key,) = set(pipeline.objects("v1/k/")) - {other}
    pipeline.put(key, pipeline.step.bucket.get(other))
    pipeline.next_build()

    done = pipeline.restore()

    assert pipeline.contents() == {}
    assert "holds none of the listed paths: it holds packages" in done.err


def test_exact_removes_below_what_the_cache_has_and_nothing_else_that_matches(pipeline):
    pipeline.cached(FILES)
    pipeline.write({"packages/a/dist/stale": "s", "packages/new/dist/x": "mine", "packages/a/src/y": "src"})

    pipeline.restore(exact=True)

    assert set(pipeline.contents()) == DIST | {"packages/new/dist/x", "packages/a/src/y"}


def test_a_failed_restore_is_undone(pipeline):
    pipeline.cached(FILES)
    pipeline.write({"packages/a/dist/x": "mine"})
    for key in pipeline.objects("v1/c/"):
        pipeline.put(key, b"damaged")

    done = pipeline.restore()

    assert "the cache was not restored" in done.err
    assert pipeline.contents() == {"packages/a/dist/x": b"mine"}


def test_a_thousand_roots_cost_no_more_than_their_entries(pipeline):
    files = {f"packages/p{number}/dist/x": str(number) for number in range(1000)}

    assert restored(pipeline, "packages/*/dist", files=files) == set(files)


def test_a_directory_that_cannot_be_looked_into_is_a_warning_or_an_error(foreign):
    foreign = foreign.on(cache=["packages/*/*"])
    foreign.write(FILES)
    (foreign.workspace / "packages/b").chmod(0o700)

    done = as_nobody(foreign, rebuild=True)
    strict = as_nobody(foreign, rebuild=True, fail_on_error=True)
    foreign.next_build()
    foreign.restore()

    assert (done.code, strict.code) == (0, 1)
    assert "packages/b is not cached: Permission denied" in done.stderr
    assert "packages/b: Permission denied; the cache stays as it was" in strict.stderr
    assert "packages/a/dist/x" in foreign.contents()
    assert "packages/b/dist/x" not in foreign.contents()
