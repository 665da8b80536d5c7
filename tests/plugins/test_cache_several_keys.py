"""``cache_key`` as a list: one cache under several keys, each of which is an exact hit."""

from __future__ import annotations

import json

import pytest

from tests.plugins.caching import Pipeline, branch, pull_request
from tests.rig import buckets

FILES = {"vendor/a": "A" * 100, "vendor/b/c": "C"}
KEYS = ["deps-1", "latest"]


@pytest.fixture
def pipeline(step) -> Pipeline:
    return Pipeline(step, settings={"cache": ["vendor"], "cache_key": KEYS})


def keys_of(pipeline) -> list[str]:
    return [key.rpartition("/")[2] for key in pipeline.manifests()]


def told(run) -> dict:
    return json.loads(run.out)["cache"]


def test_a_rebuild_publishes_one_set_of_chunks_under_each_key(pipeline):
    pipeline.write(FILES)

    done = pipeline.rebuild(json=True)

    assert keys_of(pipeline) == KEYS
    assert len(pipeline.objects("v1/c/")) == 1
    assert [key.rpartition("/")[2] for key in told(done)["keys"]] == KEYS
    bodies = {pipeline.step.bucket.get(key) for key in pipeline.objects("v1/k/")}
    assert len(bodies) == 1


@pytest.mark.parametrize("key", KEYS)
def test_each_of_them_is_an_exact_hit(pipeline, key):
    pipeline.cached(FILES)

    done = pipeline.restore(cache_key=key, json=True)

    assert told(done)["exact"] is True
    assert pipeline.contents() == {path: text.encode() for path, text in FILES.items()}


@pytest.mark.parametrize("lookup_only", [False, True])
def test_a_restore_tries_them_in_order_and_each_is_an_exact_hit(pipeline, lookup_only):
    pipeline.on(cache_key="latest").cached({"vendor/a": "of latest"})
    pipeline.on(cache_key="deps-1").cached({"vendor/a": "of deps-1"})

    first, second = (
        told(pipeline.restore(cache_key=listed, lookup_only=lookup_only, json=True))
        for listed in (["none", "latest", "deps-1"], ["deps-1", "latest"])
    )

    assert [(each["exact"], each["key"].rpartition("/")[2]) for each in (first, second)] == [
        (True, "latest"), (True, "deps-1"),
    ]  # fmt: skip


def test_nothing_is_sent_again_while_every_key_has_it(pipeline):
    pipeline.write(FILES)
    pipeline.rebuild()

    with_state = pipeline.rebuild()
    pipeline.step.fresh_runner()
    without = pipeline.rebuild()

    assert (with_state.changed, without.changed) == ([], [])


@pytest.mark.parametrize("gone", KEYS)
@pytest.mark.parametrize("fresh", [False, True], ids=["with its state", "on a fresh runner"])
def test_a_key_that_lost_its_cache_gets_it_back_and_no_chunk_goes(pipeline, gone, fresh):
    pipeline.write(FILES)
    pipeline.rebuild()
    (key,) = (key for key in pipeline.objects("v1/k/") if key.endswith(gone))
    buckets.client(pipeline.step.bucket.server).delete_object(Bucket=pipeline.step.bucket.name, Key=key)
    if fresh:
        pipeline.step.fresh_runner()

    done = pipeline.rebuild()

    assert done.code == 0, done.err
    assert keys_of(pipeline) == KEYS
    assert not [name for name in done.changed if name[0] == "PutObject" and "v1/c/" in name[1]]
    assert pipeline.rebuild().changed == []


def test_another_cache_under_the_second_key_is_replaced(pipeline):
    pipeline.on(cache_key="latest").cached({"vendor/a": "other"})
    pipeline.write(FILES)
    pipeline.on(cache_key="deps-1").rebuild()

    done = pipeline.rebuild()

    assert len({pipeline.step.bucket.get(key) for key in pipeline.objects("v1/k/")}) == 1
    assert "PutObject" in done.counts


def test_with_override_false_what_is_there_stays_and_what_is_missing_is_made(pipeline):
    pipeline.on(cache_key="latest").cached({"vendor/a": "other"})
    (latest,) = pipeline.objects("v1/k/")
    before = pipeline.step.bucket.get(latest)
    pipeline.write(FILES)

    done = pipeline.rebuild(override=False)
    again = pipeline.rebuild(override=False)

    assert keys_of(pipeline) == KEYS
    assert pipeline.step.bucket.get(latest) == before
    assert (done.code, again.code, again.changed) == (0, 0, [])


def test_a_damaged_cache_under_one_key_is_mended_with_override_false_and_the_other_stays(pipeline):
    pipeline.on(cache_key="latest").cached({"vendor/a": "other"})
    (latest,) = pipeline.objects("v1/k/")
    before = pipeline.step.bucket.get(latest)
    damaged = latest.replace("latest", "deps-1")
    pipeline.put(damaged, b"no manifest")
    pipeline.restore()
    pipeline.write(FILES)

    done = pipeline.rebuild(override=False)

    assert done.code == 0, done.err
    assert pipeline.step.bucket.get(latest) == before
    assert pipeline.step.bucket.get(damaged) != b"no manifest"


def test_signatures_are_each_keys_own(pipeline):
    pipeline = pipeline.on({"S3BATCH_CACHE_SECRET": "quite a secret"})
    pipeline.cached(FILES)

    found = [told(pipeline.restore(cache_key=key, json=True))["hit"] for key in KEYS]

    assert found == [True, True]
    assert pipeline.rebuild().changed == []


def test_a_pull_request_writes_each_key_to_its_own_scope_only(pipeline):
    pipeline.write(FILES)

    pipeline.on(pull_request(12)).rebuild()

    assert pipeline.manifests() == [f"octo/site/~pr-12/{key}" for key in KEYS]


def test_read_only_writes_under_no_key(pipeline):
    pipeline.write(FILES)

    assert pipeline.rebuild(read_only=True).requests == []


def test_keep_last_evicts_for_each_template_by_itself(pipeline):
    for number in range(3):
        pipeline.write({"vendor/a": f"number {number}", "lock": str(number)})
        done = pipeline.rebuild(cache_key=['lock-{{ checksum "lock" }}', "latest"], keep_last=2)
        assert done.code == 0, done.err

    left = keys_of(pipeline)

    assert (sum(key.startswith("lock-") for key in left), left.count("latest"), len(left)) == (2, 1, 3)


def test_a_branch_takes_the_first_key_of_its_target_before_its_own_second(pipeline):
    pipeline.on(branch("feature"), cache_key="latest").cached({"vendor/a": "feature, latest"})
    pipeline.on(cache_key="deps-1").cached({"vendor/a": "main, deps-1"})

    done = pipeline.on(branch("feature")).restore()

    assert pipeline.contents() == {"vendor/a": b"main, deps-1"}
    assert "(a fallback)" in done.err


def test_a_comma_in_a_key_is_written_with_a_backslash(pipeline):
    pipeline.write(FILES)

    pipeline.rebuild(cache_key=r"a\,b, c")

    assert keys_of(pipeline) == ["a%2Cb", "c"]


def test_keys_that_come_out_the_same_are_one(pipeline):
    pipeline.write(FILES)

    done = pipeline.rebuild(cache_key=["{{ .Repo.Name }}", "site", "latest"])

    assert keys_of(pipeline) == ["latest", "site"]
    assert done.code == 0
