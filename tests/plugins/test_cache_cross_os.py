"""``cross_os: true``: one key for all systems; what cannot be made here is refused as a whole."""

from __future__ import annotations

import errno
import os

import pytest

from s3batch.archive.manifest_codec import decode_manifest, encode_manifest
from s3batch.cache import naming
from tests.plugins.caching import Pipeline

FILES = {"vendor/a": "A", "vendor/b/c": "C", "vendor/odd: *?\u00fc": "odd", "vendor/B": "other case"}


@pytest.fixture
def pipeline(step) -> Pipeline:
    return Pipeline(step)


@pytest.fixture
def elsewhere(monkeypatch):
    """From now on this is another system."""

    def move() -> None:
        monkeypatch.setattr(naming, "system_name", lambda: "darwin/arm64")

    return move


@pytest.mark.parametrize("cross_os", [False, True])
def test_only_with_it_another_system_finds_the_cache(pipeline, elsewhere, cross_os):
    pipeline = pipeline.on(cross_os=cross_os)
    pipeline.cached(FILES)
    elsewhere()

    done = pipeline.restore()

    assert done.code == 0
    assert set(pipeline.contents()) == (set(FILES) if cross_os else set())


def test_a_cache_for_all_is_another_one_than_that_of_this_system(pipeline):
    pipeline.on(cross_os=True).cached(FILES)

    pipeline.restore()

    assert pipeline.contents() == {}


def test_nothing_of_the_trial_is_left(pipeline):
    pipeline = pipeline.on(cross_os=True)
    pipeline.cached(FILES)
    pipeline.restore()

    assert not [path for path in (pipeline.workspace / ".s3batch").rglob("*") if "probe" in path.name]


def test_a_name_that_cannot_be_made_here_is_refused_before_anything_is_written(pipeline):
    pipeline = pipeline.on(cross_os=True)
    pipeline.cached(FILES)
    (key,) = pipeline.objects("v1/k/")
    manifest = decode_manifest(pipeline.step.bucket.get(key))
    manifest.tree.names[manifest.tree.names.index("c")] = "c" * 300
    pipeline.put(key, encode_manifest(manifest))

    done = pipeline.restore()

    assert done.code == 0
    assert "the cache was not restored: 'vendor/b/cccc" in done.err
    assert " has a name that this system cannot create; nothing is restored" in done.err
    assert pipeline.tree() == {}
    assert pipeline.restore(fail_on_error=True).code == 1


@pytest.mark.parametrize(("call", "word"), [("symlink", "symbolic"), ("link", "hard")])
def test_where_no_links_can_be_made_a_cache_with_links_is_refused(pipeline, monkeypatch, call, word):
    pipeline = pipeline.on(cross_os=True)
    pipeline.write(FILES)
    (pipeline.workspace / "vendor/s").symlink_to("a")
    os.link(pipeline.workspace / "vendor/a", pipeline.workspace / "vendor/z")
    pipeline.rebuild()
    pipeline.next_build()

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, "no links on this file system")

    monkeypatch.setattr(os, call, refuse)
    done = pipeline.restore()

    assert f"is a {word} link, which this system cannot create; nothing is restored" in done.err
    assert pipeline.tree() == {}


def test_where_case_does_not_count_two_names_that_differ_in_it_are_refused(pipeline, monkeypatch):
    pipeline = pipeline.on(cross_os=True)
    pipeline.cached(FILES)
    real = os.stat

    def without_case(path: object, *more: object, **how: object) -> os.stat_result:
        if path in ("b", "B") and how.get("dir_fd") is not None:
            names = {name.lower(): name for name in os.listdir(f"/proc/self/fd/{how['dir_fd']}")}
            path = names.get(str(path).lower(), path)
        return real(path, *more, **how)

    monkeypatch.setattr(os, "stat", without_case)
    done = pipeline.restore()

    assert "'vendor/B' and 'vendor/b' are the same name on this system; nothing is restored" in done.err
    assert pipeline.tree() == {}
