"""``exclude``: gitignore's language, relative to the workspace, for rebuild and restore."""

from __future__ import annotations

import json
import os

import pytest

from tests.plugins.caching import Pipeline, s3cache

FILES = {
    "vendor/a": "A", "vendor/b/c": "C", "vendor/b/x.log": "L", "vendor/tmp/t": "T", "vendor/deep/tmp/u": "U",
    "vendor/keep.log": "K",
}  # fmt: skip


@pytest.fixture
def pipeline(step) -> Pipeline:
    return Pipeline(step)


def cached(pipeline, *patterns: str, **settings) -> set[str]:
    """What a cache of the files holds with these patterns."""
    pipeline.write(FILES)
    done = pipeline.rebuild(exclude=list(patterns), **settings)
    assert done.code == 0, done.err
    pipeline.next_build()
    done = pipeline.restore(**settings)
    assert done.code == 0, done.err
    return set(pipeline.contents())


ROWS = [
    pytest.param(["*.log"], {"vendor/b/x.log", "vendor/keep.log"}, id="a name at any depth"),
    pytest.param(["tmp/"], {"vendor/tmp/t", "vendor/deep/tmp/u"}, id="a directory, by its slash"),
    pytest.param(["a/"], set(), id="a slash at the end names no file"),
    pytest.param(["/vendor/tmp"], {"vendor/tmp/t"}, id="from the workspace on"),
    pytest.param(["vendor/tmp"], {"vendor/tmp/t"}, id="a slash inside is from the workspace on"),
    pytest.param(["vendor/**/tmp"], {"vendor/tmp/t", "vendor/deep/tmp/u"}, id="two stars"),
    pytest.param(["*.log", "!keep.log"], {"vendor/b/x.log"}, id="taken back"),
    pytest.param(
        ["vendor/b/", "!vendor/b/c"], {"vendor/b/c", "vendor/b/x.log"}, id="never from inside an excluded one"
    ),
    pytest.param(["vendor/b/*", "!vendor/b/c"], {"vendor/b/x.log"}, id="but from one whose entries are"),
    pytest.param([r"vendor/\a", "[", "vendor/[k]eep.log"], {"vendor/a", "vendor/keep.log"}, id="odd patterns"),
]


@pytest.mark.parametrize(("patterns", "gone"), ROWS)
def test_what_is_excluded_is_not_in_the_cache(pipeline, patterns, gone):
    assert cached(pipeline, *patterns) == set(FILES) - gone


def test_exclude_is_no_part_of_the_key(pipeline):
    pipeline.write(FILES)
    pipeline.rebuild()
    before = pipeline.objects("v1/k/")

    pipeline.rebuild(exclude=["*.log"])

    assert pipeline.objects("v1/k/") == before


def test_a_second_rebuild_sends_nothing_and_a_restore_finds_everything_right(pipeline):
    pipeline = pipeline.on(exclude=["*.log"])
    pipeline.write(FILES)
    pipeline.rebuild()

    again, restored = pipeline.rebuild(), pipeline.restore()
    pipeline.step.fresh_runner()
    fresh = pipeline.rebuild()

    assert (again.changed, fresh.changed) == ([], [])
    assert "all files were up to date" in restored.err


def test_a_restore_leaves_alone_what_is_excluded_there(pipeline):
    pipeline.cached(FILES)
    pipeline.write({"vendor/b/x.log": "mine", "vendor/b/c": "wrong"})

    done = pipeline.restore(exclude=["*.log"], json=True)

    assert done.code == 0, done.err
    kept = {path: text.encode() for path, text in FILES.items() if not path.endswith(".log")}
    assert pipeline.contents() == kept | {"vendor/b/x.log": b"mine"}
    assert json.loads(done.out)["cache"]["files"] == len(kept)


def test_the_other_name_of_an_excluded_file_is_cached_with_its_content(pipeline):
    pipeline.write({"vendor/a.log": "content", "vendor/b": "B"})
    os.link(pipeline.workspace / "vendor/a.log", pipeline.workspace / "vendor/z")
    pipeline.rebuild(exclude=["*.log"])
    pipeline.next_build()

    pipeline.restore()

    assert pipeline.contents() == {"vendor/b": b"B", "vendor/z": b"content"}


def test_of_a_hard_link_whose_file_is_excluded_at_the_restore_the_content_comes(pipeline):
    pipeline.write({"vendor/a.log": "content", "vendor/b": "B"})
    os.link(pipeline.workspace / "vendor/a.log", pipeline.workspace / "vendor/z")
    pipeline.rebuild()
    pipeline.next_build()

    pipeline.restore(exclude=["*.log"])

    assert pipeline.contents() == {"vendor/b": b"B", "vendor/z": b"content"}


def test_a_listed_path_that_is_excluded_is_left_out_with_a_warning(pipeline):
    pipeline = pipeline.on(cache=["vendor", "other/deep"])
    pipeline.write(FILES | {"other/deep/x": "X"})

    done = pipeline.rebuild(exclude=["other/"])

    assert done.code == 0
    assert "other/deep is not cached: exclude matches it" in done.err
    pipeline.next_build()
    assert "does not hold other/deep" in pipeline.restore().err


@pytest.mark.parametrize("pattern", ["vendor", "/vendor/", "*", "ven*"])
def test_where_all_is_excluded_the_old_cache_stays(pipeline, pattern):
    pipeline.write(FILES)
    pipeline.rebuild()

    done = pipeline.rebuild(exclude=[pattern])

    assert (done.code, done.changed) == (0, [])
    assert "exclude matches all paths to cache; the cache stays as it was" in done.err


def test_below_an_absolute_path_names_count_and_absolute_patterns_do(pipeline, tmp_path):
    outside = tmp_path / "outside"
    for path in ("a", "b.log", "tmp/t", "deep/tmp/u", "deep/d"):
        (outside / path).parent.mkdir(parents=True, exist_ok=True)
        (outside / path).write_text(path)
    patterns = ["*.log", f"{outside}/tmp", "/deep"]
    pipeline = pipeline.on(cache=[str(outside)], exclude=patterns)
    pipeline.rebuild()
    for path in ("a", "b.log", "tmp/t", "deep/tmp/u", "deep/d"):
        (outside / path).unlink()

    pipeline.restore()

    left = {str(path.relative_to(outside)) for path in outside.rglob("*") if path.is_file()}
    assert left == {"a", "deep/tmp/u", "deep/d"}


def test_a_pattern_may_begin_at_home(pipeline):
    home = pipeline.step.home
    (home / ".npm/_logs").mkdir(parents=True)
    (home / ".npm/_logs/today").write_text("log")
    (home / ".npm/content").write_text("content")
    pipeline = pipeline.on(cache=["~/.npm"], exclude=["~/.npm/_logs"])
    pipeline.rebuild()
    (home / ".npm/content").unlink()
    (home / ".npm/_logs/today").unlink()

    pipeline.restore()

    assert sorted(path.name for path in (home / ".npm").rglob("*")) == ["_logs", "content"]


def test_names_that_are_no_text_are_matched_too(pipeline):
    pipeline.write({"vendor/a": "A"})
    odd = os.fsencode(pipeline.workspace) + b"/vendor/odd\xff.log"
    with open(odd, "wb") as file:
        file.write(b"odd")
    pipeline.rebuild(exclude=["*.log"])
    pipeline.next_build()

    pipeline.restore()

    assert set(pipeline.contents()) == {"vendor/a"}


def test_what_is_excluded_of_an_old_plugins_cache_stays_away(pipeline):
    pipeline.write(FILES)
    pipeline.put("site/site.tar.gz", s3cache(pipeline.workspace, "vendor"))
    pipeline.next_build()

    pipeline.restore(exclude=["*.log", "tmp/"])

    assert set(pipeline.contents()) == {"vendor/a", "vendor/b/c"}


def test_the_old_format_leaves_it_out_too(pipeline):
    pipeline.write(FILES)
    pipeline.rebuild(compat="s3cache", exclude=["*.log", "tmp/"])
    pipeline.next_build()

    pipeline.restore(compat="s3cache")

    assert set(pipeline.contents()) == {"vendor/a", "vendor/b/c"}


def test_a_pattern_that_cannot_be_read_is_said_before_any_request(pipeline):
    pipeline.write(FILES)

    done = pipeline.rebuild(exclude=["[z-a]"])

    assert (done.code, done.requests) == (2, [])
    assert "exclude cannot be '[z-a]'" in done.err


@pytest.mark.parametrize(
    ("patterns", "there"),
    [
        pytest.param(["x/"], "vendor/x/mine", id="a directory where the cache has a file"),
        pytest.param(["d", "!d/"], "vendor/d", id="a file where the cache has a directory"),
    ],
)
def test_what_is_excluded_is_not_replaced_by_what_is_not(pipeline, patterns, there):
    pipeline.cached({"vendor/a": "A", "vendor/x": "a file", "vendor/d/e": "E"})
    pipeline.write({there: "mine"})

    done = pipeline.restore(exclude=patterns, exact=True)

    assert (done.code, "is not restored: exclude matches what is there" in done.err) == (0, True), done.err
    left = {path: text for path, text in {"vendor/x": b"a file", "vendor/d/e": b"E"}.items() if path[:8] != there[:8]}
    assert pipeline.contents() == {"vendor/a": b"A", there: b"mine", **left}
