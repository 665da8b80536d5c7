"""The cache on servers that differ: without conditional writes, with other names for metadata, with other ETags."""

from __future__ import annotations

import json
import os
import time

import pytest

from tests.archive.cycle import fill, noise, snapshot
from tests.plugins.caching import DRONE
from tests.rig import buckets, program
from tests.rig.waiting import wait_until

SERVERS = ["ministack", "moto", "rclone", "seaweedfs"]


@pytest.fixture(params=SERVERS)
def cache(request, server_named, clean_env, tmp_path):
    """``cache("rebuild", ...)`` on each server: the real program in a workspace; its document."""
    server = server_named(request.param)
    bucket = buckets.make_bucket(server)
    workspace = tmp_path / "src"
    workspace.mkdir()
    environment = clean_env | server.environment() | DRONE | {"S3BATCH_EXECUTOR": "inline"}

    def run(word: str, *more: str, code: int = 0, paths: bool = True) -> dict:
        flags = ["--cache", "v"] if paths else []
        done = program.run(["cache", word, bucket.url().rstrip("/"), *flags, *more, "--json"], environment, workspace)
        assert done.code == code, done.stderr
        return json.loads(done.stdout)

    run.bucket, run.workspace, run.environment = bucket, workspace, environment
    yield run
    buckets.remove_bucket(bucket)


def test_a_cache_comes_back_and_the_next_rebuild_sends_nothing(cache):
    fill(cache.workspace, {"v/a": noise(9 << 20), "v/b/c": b"C"})
    before = snapshot(cache.workspace)

    made = cache("rebuild")
    for path in ("v/a", "v/b/c"):
        os.unlink(cache.workspace / path)
    restored = cache("restore", "--fail-on-error")
    os.unlink(next((cache.workspace / ".s3batch").glob("*.state")))
    again = cache("rebuild", "--ttl", "0")

    assert {path: facts[3] for path, facts in snapshot(cache.workspace).items()} == {
        path: facts[3] for path, facts in before.items()
    }
    assert (made["cache"]["published"], made["warnings"]) == (True, [])
    assert (restored["cache"]["hit"], restored["cache"]["made"], restored["warnings"]) == (True, 2, [])
    assert again["cache"]["chunks"] == 0


def test_override_false_keeps_what_is_there(cache):
    fill(cache.workspace, {"v/a": b"A"})

    first = cache("rebuild", "--no-override")
    fill(cache.workspace, {"v/b": b"B"})
    second = cache("rebuild", "--no-override")

    assert (first["cache"]["published"], second["cache"]["published"]) == (True, False)
    assert [entry["path"] for entry in cache("inspect", paths=False)["cache"]["entries"]] == ["v", "v/a"]


def test_names_that_must_be_encoded_are_found_again_also_by_their_beginning(cache):
    cache.environment |= {"DRONE_COMMIT_BRANCH": "feat/ö x+y", "DRONE_BRANCH": "feat/ö x+y", "DRONE_SOURCE_BRANCH": ""}
    fill(cache.workspace, {"v/a": b"A"})
    cache("rebuild", "--cache-key", "a key/with + and %2F-1")
    os.unlink(cache.workspace / "v" / "a")

    restored = cache("restore", "--cache-key", "a key/with + and %2F-2", "--restore-keys", "a key/with + and %2F-")
    listed = cache("list", paths=False)

    assert (restored["cache"]["hit"], restored["cache"]["made"]) == (True, 1)
    assert listed["cache"]["caches"][0]["name"] == "octo/site/feat/ö x+y a key/with + and %2F-1"


def test_a_signature_survives_the_store(cache):
    cache.environment["S3BATCH_CACHE_SECRET"] = "known to trusted builds only"
    fill(cache.workspace, {"v/a": b"A"})
    cache("rebuild")
    os.unlink(cache.workspace / "v" / "a")

    restored = cache("restore")

    assert (restored["cache"]["hit"], restored["warnings"]) == (True, [])
    cache.environment["S3BATCH_CACHE_SECRET"] = "another one"
    missed = cache("restore")
    assert missed["cache"]["hit"] is False
    assert "is not signed with this cache_secret" in missed["warnings"][0]


def test_a_cache_marked_as_used_stays_what_it_is(cache):
    fill(cache.workspace, {"v/a": b"A"})
    cache("rebuild")
    (key,) = cache.bucket.keys("v1/k/")
    before = cache.bucket.get(key), cache.bucket.head(key)["Metadata"]
    made = cache.bucket.head(key)["LastModified"].timestamp()
    wait_until(lambda: time.time() > made + 2)  # a Date has whole seconds, and it may be the one before

    touched = cache("restore", "--ttl", "1ms")

    assert (cache.bucket.get(key), cache.bucket.head(key)["Metadata"]) == before
    assert touched["requests"]["CopyObject"] == 1
    assert cache("restore")["cache"]["hit"] is True


def test_list_prune_and_clear_work(cache):
    fill(cache.workspace, {"v/a": b"A"})
    cache("rebuild")

    listed = cache("list", paths=False)
    pruned = cache("prune", "--keep-last", "1", paths=False)
    cleared = cache("clear", paths=False)

    assert [row["name"] for row in listed["cache"]["caches"]] == ["octo/site/main"]
    assert pruned["cache"]["evicted"] == []
    assert len(cleared["cache"]["removed"]) == 1
    assert cache.bucket.keys("v1/k/") == cache.bucket.keys("v1/gc/lock") == set()


def test_a_miss_is_a_miss(cache):
    missed = cache("restore", "--fail-on-error")

    assert (missed["cache"]["hit"], missed["warnings"], missed["state"]) == (False, [], "done")
