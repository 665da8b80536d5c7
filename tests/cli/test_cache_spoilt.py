"""Content of a cache that is spoilt on its way: it is fetched again. What lies damaged in the bucket is fetched once."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.archive.cycle import snapshot
from tests.cli.caches import DRONE, bucket, cached, fake, shell, small_segments
from tests.rig.fake_s3 import Reply, Seen

__all__ = ["bucket", "cached", "fake", "shell", "small_segments"]
MAIN = DRONE | {"DRONE_COMMIT_BRANCH": "main"}
FILES = {f"v/{number % 9}/{number:03}": b"%d" % number for number in range(120)}
SPOILT: dict[str, Callable[[bytes], bytes]] = {
    "a page": lambda _: b"<html>Please sign in</html>",
    "half of it": lambda body: body[: len(body) // 2],
    "a flipped bit": lambda body: body[:-9] + bytes([body[-9] ^ 1]) + body[-8:],
}


@pytest.fixture
def restore(shell, workspace, fake):
    """``restore()``: a restore on a new machine, whose requests are looked at afterwards."""

    def run(word: str = "restore", *more: str):
        for name in ("v", ".s3batch"):
            shutil.rmtree(workspace / name, ignore_errors=True)
        fake.requests.clear()
        words = ("--cache", "v") if word == "restore" else ()
        return shell(word, *words, "--json", *more, env=MAIN | {"S3BATCH_TEST_LONGEST_WAIT": "0"})

    return run


def spoil(fake, change: Callable[[bytes], bytes], times: int, only: str = "v1/") -> Counter[str]:
    """Spoil the first answers to the GETs of each object; return the number of GETs by key."""
    gets: Counter[str] = Counter()

    def meddle(request: Seen) -> Reply | None:
        if request.name != "GetObject" or not request.key.startswith(only):
            return None
        gets[request.key] += 1
        reply = fake._answer(request)
        spoils = reply.status == 200 and gets[request.key] <= times
        return replace(reply, body=change(reply.body)) if spoils else None

    fake.meddle = meddle
    return gets


@pytest.mark.parametrize("secret", [(), ("--cache-secret", "0123456789abcdef0123456789abcdef")], ids=["", "signed"])
@pytest.mark.parametrize("change", SPOILT.values(), ids=SPOILT)
def test_what_was_spoilt_on_its_way_is_fetched_again(small_segments, cached, restore, fake, workspace, change, secret):
    cached("main", FILES, *secret)
    before = snapshot(workspace / "v")
    gets = spoil(fake, change, times=1)

    done = restore("restore", *secret)

    assert done.code == 0
    assert done.json["cache"]["files"] == 120, done.err
    assert snapshot(workspace / "v") == before
    assert len(gets) > 7
    assert set(gets.values()) == {2}


def test_a_page_larger_than_the_chunk_is_not_the_chunk(cached, restore, fake, workspace):
    cached("main", FILES)
    before = snapshot(workspace / "v")
    gets = spoil(fake, lambda body: b"<html>".ljust(len(body) + 9000), times=1, only="v1/c/")

    done = restore()

    assert (done.code, set(gets.values())) == (0, {2})
    assert snapshot(workspace / "v") == before


@pytest.mark.parametrize("only", ["v1/k/", "v1/c/"], ids=["manifest", "chunks"])
def test_what_is_always_spoilt_is_a_miss_after_the_tries(cached, restore, fake, workspace, only):
    cached("main", FILES)
    gets = spoil(fake, SPOILT["a flipped bit"], times=1000, only=only)

    done = restore("restore", "--retries", "3")

    assert (done.code, "the cache was not restored" in done.err) == (0, True)
    assert set(gets.values()) == {3}
    assert not (workspace / "v").exists()


@pytest.mark.parametrize("only", ["v1/k/", "v1/c/"], ids=["manifest", "chunks"])
def test_what_lies_damaged_in_the_bucket_is_fetched_once(cached, restore, fake, bucket, workspace, only):
    cached("main", FILES)
    for key in bucket.keys(only):
        bucket.put(key, SPOILT["a flipped bit"](fake.objects["caches"][key].body))
    gets = spoil(fake, bytes, times=0, only=only)

    done = restore()

    assert (done.code, "the cache was not restored" in done.err) == (0, True)
    assert set(gets.values()) == {1}


def test_the_same_bytes_twice_are_what_lies_there_if_no_etag_tells(cached, restore, fake, bucket):
    cached("main", FILES)
    for key in bucket.keys("v1/k/"):
        held = fake.objects["caches"][key]
        fake.objects["caches"][key] = replace(held, body=SPOILT["half of it"](held.body), etag='"no-digest"')
    gets = spoil(fake, bytes, times=0, only="v1/k/")

    assert restore().code == 0
    assert set(gets.values()) == {2}


@pytest.mark.parametrize("word", ["list", "inspect"])
def test_other_readers_of_a_manifest_fetch_it_again_too(cached, restore, fake, word):
    cached("main", FILES)
    spoil(fake, SPOILT["a page"], times=1, only="v1/k/")

    done = restore(word)

    assert done.code == 0, done.err
    assert "zstd" not in done.err
    assert done.json["warnings"] == []
