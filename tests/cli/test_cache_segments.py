"""Caches whose manifest lies in segments: what is sent and fetched, and what a lost one comes to."""

from __future__ import annotations

import os
import shutil
import time

import pytest

from s3batch.archive import manifest_codec
from s3batch.archive.local_state import EncodedState
from tests.archive.cycle import OLD, settle, snapshot
from tests.cli.caches import DRONE, bucket, cached, fake, in_days, shell, small_segments

__all__ = ["bucket", "cached", "fake", "in_days", "shell", "small_segments"]
MAIN = DRONE | {"DRONE_COMMIT_BRANCH": "main"}
FILES = {f"v/{number % 9}/{number:03}": b"%d" % number for number in range(120)}


@pytest.fixture
def step(shell, workspace, fake):
    """``step("restore")``: a step of the build; what is there and its requests are looked at afterwards."""

    def run(word: str, *more: str, env: dict[str, str] = MAIN):
        fake.requests.clear()
        return shell(word, "--cache", "v", *more, env=env)

    return run


def named(bucket) -> list[str]:
    """The objects of the segments that the one manifest names."""
    (key,) = bucket.keys("v1/k/")
    opened = manifest_codec.EncodedManifest(bucket.fake.objects["caches"][key].body)
    return [f"v1/c/{each.id.hex()[:2]}/{each.id.hex()}" for each in opened.segments]


def sent(fake) -> list[str]:
    return [seen.key for seen in fake.requests if seen.name == "PutObject" and "/gc/" not in seen.key]


def fetched(fake) -> list[str]:
    return [seen.key for seen in fake.requests if seen.name == "GetObject"]


def change(workspace, path: str = "v/3/012") -> None:
    (workspace / path).write_bytes(b"other content")
    os.utime(workspace / path, ns=(OLD + 9, OLD + 9))


def forget(workspace) -> None:
    for name in ("v", ".s3batch"):
        shutil.rmtree(workspace / name, ignore_errors=True)


def test_one_file_of_a_large_tree_sends_few_bytes(cached, step, bucket, workspace, fake):
    cached("main", {f"v/{number % 90}/{number:04}": b"%d" % number for number in range(4500)})
    assert len(named(bucket)) > 2
    settle()
    change(workspace, "v/12/0012")

    done = step("rebuild", "--json")

    assert done.json["cache"]["published"]
    puts = [seen for seen in fake.requests if seen.name == "PutObject"]
    assert sum(len(seen.body) for seen in puts) < 100_000
    assert len(sent(fake)) <= 1 + 2 + 1  # the chunk, segments, the key object


def test_what_is_cached_in_segments_comes_back(small_segments, cached, step, bucket, workspace, fake):
    cached("main", FILES)
    before = snapshot(workspace / "v")
    forget(workspace)

    done = step("restore", "--json")

    assert done.json["cache"]["files"] == 120
    assert snapshot(workspace / "v") == before
    assert set(named(bucket)) <= set(fetched(fake))
    assert len(named(bucket)) > 5


def test_unchanged_segments_are_sent_neither_after_a_rebuild_nor_after_a_restore(
    small_segments, cached, step, bucket, workspace, fake
):
    cached("main", FILES)
    for forgotten in (False, True):
        if forgotten:
            forget(workspace)
            assert step("restore").code == 0
        settle()
        old = set(named(bucket))
        change(workspace, f"v/3/0{12 + 9 * forgotten}")

        step("rebuild")

        new = [key for key in sent(fake) if key in named(bucket)]
        assert 1 <= len(new) <= 3
        assert not old & set(new)


def test_a_step_with_nothing_to_do_looks_at_the_cache_and_fetches_no_segment(small_segments, cached, step, fake):
    cached("main", FILES)
    settle()

    for word, requests in (("rebuild", ["HeadObject", "ListObjectsV2"]), ("restore", ["HeadObject"])):
        assert step(word).code == 0
        assert [seen.name for seen in fake.requests] == requests


def test_a_rebuild_after_a_restore_takes_no_state_apart(cached, step, workspace, fake, monkeypatch):
    cached("main", FILES)
    forget(workspace)
    now = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: now() + 10**9)  # the last file has been at rest for a second
    assert step("restore").code == 0
    monkeypatch.setattr(EncodedState, "state", None)

    assert step("rebuild").code == 0
    assert [seen.name for seen in fake.requests] == ["HeadObject", "ListObjectsV2"]


def test_segments_that_are_stored_are_not_sent_again(small_segments, cached, step, bucket, workspace, fake):
    cached("main", FILES)
    (key,) = bucket.keys("v1/k/")
    segments_of_it = set(named(bucket))
    del fake.objects["caches"][key]  # as if the build had been killed just before it
    shutil.rmtree(workspace / ".s3batch")

    assert step("rebuild").code == 0

    assert set(named(bucket)) == segments_of_it
    assert [each for each in sent(fake) if each.startswith("v1/c/")] == []


def test_a_branch_takes_the_segments_of_the_branch_it_comes_from(small_segments, cached, step, bucket, workspace, fake):
    cached("main", FILES)
    settle()

    done = step("rebuild", env=DRONE | {"DRONE_COMMIT_BRANCH": "feature"})

    assert done.code == 0
    assert [key for key in sent(fake) if key.startswith("v1/c/")] == []


@pytest.mark.parametrize("damage", ["gone", "other bytes", "rubbish", "too large"])
def test_a_lost_segment_is_a_miss_that_the_next_rebuild_mends(
    small_segments, cached, step, bucket, workspace, fake, damage
):
    cached("main", FILES)
    before = snapshot(workspace / "v")
    first, second, *_ = named(bucket)
    objects = fake.objects["caches"]
    if damage == "gone":
        del objects[first]
    else:
        bucket.put(first, {"other bytes": objects[second].body, "rubbish": b"?", "too large": bytes(200_000)}[damage])
    forget(workspace)

    missed = step("restore")

    assert missed.code == 0
    assert "segment" in missed.err or "zstd frame" in missed.err
    assert "Traceback" not in missed.err
    assert not (workspace / "v").exists()

    for path, content in FILES.items():
        (workspace / path).parent.mkdir(parents=True, exist_ok=True)
        (workspace / path).write_bytes(content)
        os.utime(workspace / path, ns=(OLD, OLD))
    assert step("rebuild").code == 0
    forget(workspace)
    assert step("restore", "--json").json["cache"]["files"] == 120
    assert {path: facts[3] for path, facts in snapshot(workspace / "v").items()} == {
        path: facts[3] for path, facts in before.items()
    }


def test_a_list_reads_no_segment(small_segments, cached, shell, fake, bucket):
    cached("main", FILES)
    fake.requests.clear()

    (row,) = shell("list", "--json").json["cache"]["caches"]

    assert (row["files"], row["size"]) == (120, sum(map(len, FILES.values())))
    assert not set(named(bucket)) & set(fetched(fake))


def test_inspect_reads_them(small_segments, cached, shell):
    cached("main", FILES)

    done = shell("inspect", "octo/site/main", "--json")

    assert len([row for row in done.json["cache"]["entries"] if row["kind"] == "file"]) == 120


def test_a_prune_keeps_the_segments_that_are_named_and_deletes_the_others(
    small_segments, cached, step, shell, bucket, workspace, in_days
):
    cached("main", FILES)
    old = set(named(bucket))
    settle()
    change(workspace)
    step("rebuild")
    kept = set(named(bucket))
    gone = old - kept
    assert gone

    for day in (2, 4):
        in_days(day)
        assert shell("prune").code == 0

    assert bucket.keys("v1/c/") >= kept
    assert not bucket.keys("v1/c/") & gone
    forget(workspace)
    assert step("restore", "--json").json["cache"]["files"] == 120


def test_a_pin_names_the_segments_before_the_key_object_does(small_segments, cached, fake, bucket):
    cached("main", FILES)

    order = [seen for seen in fake.requests if seen.name == "PutObject"]
    pin = next(number for number, seen in enumerate(order) if "/gc/b-" in seen.key)
    held = order[pin].body.decode()
    assert all(key.rpartition("/")[2] in held for key in named(bucket))
    assert all(number < pin for number, seen in enumerate(order) if seen.key in named(bucket))
    assert next(number for number, seen in enumerate(order) if "v1/k/" in seen.key) > pin


def test_a_signature_covers_the_segments_and_a_look_needs_none_of_them(
    small_segments, cached, step, fake, bucket, workspace
):
    secret = {"S3BATCH_CACHE_SECRET": "a secret"}
    cached("main", FILES, env=secret)
    fake.requests.clear()

    looked = step("restore", "--lookup-only", "--json", env=MAIN | secret)

    assert (looked.json["cache"]["files"], len(fake.requests)) == (120, 1)
    forget(workspace)
    assert step("restore", "--json", env=MAIN | secret).json["cache"]["hit"]
