"""Cache steps side by side in one workspace: of two restores to one path one says so and changes nothing."""

from __future__ import annotations

import json
import time

import pytest

from s3batch.base.errors import JournalLockedError
from s3batch.cache.path_lock import PathLock
from tests.plugins.caching import Pipeline
from tests.rig import program
from tests.rig.faults import Delay

FILES = {"vendor/a": "A" * 100, "vendor/b/c": "C"}


@pytest.fixture
def pipeline(step) -> Pipeline:
    return Pipeline(step)


def test_a_restore_of_another_key_to_the_same_path_does_not_begin(pipeline):
    pipeline.on(cache_key="one").cached({"vendor/a": "of one"})
    pipeline.on(cache_key="two").cached({"vendor/a": "of two"})
    pipeline.step.fresh_runner()
    pipeline.step.proxy.on("GetObject", Delay(3600), key="v1/c/")
    step = pipeline.step
    environment = program.clean_environment(step.home) | step.environment(
        pipeline.settings | {"restore": True, "cache_key": "one"}, **pipeline.build
    )
    step.proxy.requests.clear()
    first = program.start(["plugin"], environment, step.workspace)
    while not any(each.key.startswith("v1/c/") for each in step.proxy.requests):
        assert first.poll() is None
        time.sleep(0.05)

    second = pipeline.restore(cache_key="two")
    third = pipeline.rebuild(cache_key="three")
    program.kill(first)
    step.proxy.forget()
    program.finish(first)
    fourth = pipeline.restore(cache_key="two")

    assert (second.code, second.changed) == (3, [])
    assert "the cached path vendor is in use by pid" in second.err
    assert (third.code, third.changed) == (3, [])
    assert (fourth.code, pipeline.contents()) == (0, {"vendor/a": b"of two"})


def test_a_cache_that_holds_none_of_the_listed_paths_is_a_miss(pipeline):
    pipeline.on(cache=["other"], cache_key="key").cached({"other/theirs": "theirs"})
    (key,) = pipeline.objects("v1/k/")
    pipeline.on(cache_key="key").cached(FILES)
    (vendor,) = set(pipeline.objects("v1/k/")) - {key}
    pipeline.put(key, pipeline.step.bucket.get(vendor))
    pipeline.write({"other/mine": "my own"})

    done = pipeline.restore(cache_key="key", cache=["other"])

    assert done.code == 0
    assert "holds none of the listed paths: it holds vendor" in done.err
    assert "restored" not in done.said
    assert pipeline.contents() == {"other/mine": b"my own"}
    assert pipeline.restore(cache_key="key", cache=["other"], fail_on_miss=True).code == 1


@pytest.mark.parametrize(
    ("held", "wanted", "shared"),
    [
        (["a"], ["a"], "path a"),
        (["a"], ["a/b"], "path a/b"),
        (["a/b"], ["a"], "path a"),
        (["."], ["a"], "path a"),
        (["a"], ["."], "path ."),
        (["a", "b"], ["c", "b", "a/x"], "paths b, a/x"),
        (["/opt/a"], ["/opt"], "path /opt"),
        (["a"], ["ab", "b"], ""),
        (["."], ["/opt"], ""),
        (["a"], [], ""),
    ],
)
def test_what_lies_in_one_another_is_shared(tmp_path, held, wanted, shared):
    first, second = PathLock(str(tmp_path), "1", held), PathLock(str(tmp_path), "2", wanted)

    with first.held():
        if shared:
            for use in (second.take, second.refuse_if_held):
                with pytest.raises(JournalLockedError, match=f"the cached {shared} is in use by pid|{shared} "):
                    use()
        else:
            second.take()
            second.release()

    with second.held():
        pass


def test_the_same_paths_under_the_same_name_are_shared(tmp_path):
    first, second = PathLock(str(tmp_path), "1", ["a"]), PathLock(str(tmp_path), "1", ["a"])

    with first.held():
        for use in (second.take, second.refuse_if_held):
            with pytest.raises(JournalLockedError):
                use()
    second.refuse_if_held()


def test_a_lock_that_holds_no_list_of_paths_is_passed_over(tmp_path):
    for number, text in enumerate(["", "{}", "[]", "x", '{"roots": 1}', "[" * 100_000]):
        (tmp_path / f"paths-{number}a.lock").write_text(text)
        (tmp_path / f"paths-{number}a.lock").chmod(0o600)

    with PathLock(str(tmp_path), "1", ["a"]).held():
        held = json.loads((tmp_path / "paths-1.lock").read_text())

    assert held["roots"] == ["a"]
