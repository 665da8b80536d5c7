"""The cache when the store throttles, cuts, lies or is gone: a clean miss, a build that goes on, the tree as before."""

from __future__ import annotations

import os
import random
from collections.abc import Callable

import pytest

from tests.archive.cycle import OLD, fill, snapshot
from tests.crash.cache_scene import PATIENCE, ROOTS, SECRET, CacheScene, differences, empty, leftovers, make_cache_scene
from tests.rig.faults import Call, DuringReply, DuringRequest, Refuse, Reset
from tests.rig.proxy import FaultProxy

CHUNK, MANIFEST = r"/c/[0-9a-f]{2}/", r"v1/k/"
FLIPS = int(os.environ.get("S3BATCH_TEST_FLIPS", "40"))


@pytest.fixture
def scene(tmp_path, bucket, proxy, env) -> CacheScene:
    return make_cache_scene(tmp_path, bucket, proxy, env)


@pytest.fixture
def cached(scene: CacheScene) -> CacheScene:
    """The scene with its cache made, and something of the user's own where it is restored to."""
    scene.rebuild()
    fill(scene.there, {"deps/p0/f000": b"not what the cache says", "deps/mine": b"my own"}, mtime_ns=OLD + 3)
    (scene.there / "deps/p0").chmod(0o750)
    os.utime(scene.there / "deps/p0", ns=(5, 5))
    os.utime(scene.there / "deps", ns=(6, 6))
    scene.proxy.forget()
    return scene


def slow_down(proxy: FaultProxy) -> None:
    proxy.on("", Refuse(503, "SlowDown"), probability=0.3, seed=4)


def resets(proxy: FaultProxy) -> None:
    proxy.on("", Reset(), probability=0.25, seed=5)


def truncated_bodies(proxy: FaultProxy) -> None:
    proxy.on("GetObject", DuringReply(cut=1000), times=3)


def politely_truncated_bodies(proxy: FaultProxy) -> None:
    proxy.on("GetObject", DuringReply(cut=1000, reset=False), times=3)


def flipped_bodies(proxy: FaultProxy) -> None:
    proxy.on("GetObject", DuringReply(flip=700), times=3)


def lost_answers(proxy: FaultProxy) -> None:
    proxy.on("PutObject", Reset(after=True), times=3)


def refused_answers(proxy: FaultProxy) -> None:
    proxy.on("PutObject", Refuse(500, "InternalError", after=True), times=3)


def cut_sends(proxy: FaultProxy) -> None:
    proxy.on("PutObject", DuringRequest(cut=2000), times=2)


PASSING = (
    slow_down,
    resets,
    truncated_bodies,
    politely_truncated_bodies,
    flipped_bodies,
    lost_answers,
    refused_answers,
    cut_sends,
)


@pytest.mark.parametrize("trouble", PASSING, ids=lambda trouble: trouble.__name__)
def test_trouble_that_passes_leaves_no_trace(scene: CacheScene, trouble: Callable[[FaultProxy], None]):
    trouble(scene.proxy)

    rebuilt, restored = scene.run("rebuild"), scene.run("restore")

    assert (rebuilt.code, restored.code) == (0, 0), rebuilt.stderr + restored.stderr
    assert any(each.action for each in scene.proxy.requests)
    assert len(scene.manifests()) == 1
    assert scene.missing_chunks() == set()
    scene.assert_restored()


@pytest.mark.parametrize("key", [CHUNK, MANIFEST], ids=["chunk", "manifest"])
def test_a_byte_flipped_on_the_way_is_no_wrong_file(cached: CacheScene, key: str):
    before = snapshot(cached.there)
    cached.proxy.on("GetObject", DuringReply(flip=700), key=key)

    done = cached.run("restore", *PATIENCE)

    assert done.code == 0
    assert "warning" in done.stderr
    assert differences(snapshot(cached.there), before) == []
    assert leftovers(cached.there) in ([], [each for each in leftovers(cached.there) if each.endswith(".distrust")])


FATAL: dict[str, Callable[[FaultProxy], None]] = {
    "a chunk is always cut": lambda proxy: proxy.on("GetObject", DuringReply(cut=100), key=CHUNK),
    "a chunk is refused": lambda proxy: proxy.on("GetObject", Refuse(403, "AccessDenied"), key=CHUNK, skip=1),
    "a chunk is gone": lambda proxy: proxy.on("GetObject", Refuse(404, "NoSuchKey"), key=CHUNK, skip=1),
    "chunks are throttled for ever": lambda proxy: proxy.on("GetObject", Refuse(503, "SlowDown"), key=CHUNK, skip=1),
    "the store goes away half-way": lambda proxy: proxy.on("GetObject", Reset(), key=CHUNK, skip=1),
}  # fmt: skip


@pytest.mark.parametrize("trouble", FATAL.values(), ids=FATAL)
@pytest.mark.parametrize("strict", [False, True], ids=["lenient", "fail_on_error"])
def test_a_restore_that_cannot_be_had_leaves_the_tree_as_it_was(cached: CacheScene, trouble, *, strict: bool):
    before = snapshot(cached.there)
    trouble(cached.proxy)

    done = cached.run("restore", *PATIENCE, *(["--fail-on-error"] if strict else []))

    assert done.code == int(strict), done.stderr
    assert "the cache was not restored" in done.stderr
    assert differences(snapshot(cached.there), before) == []


def test_a_store_that_vanishes_in_the_middle_is_a_miss(cached: CacheScene):
    before = snapshot(cached.there)
    cached.proxy.on("GetObject", Call(lambda _: cached.proxy.down()), key=CHUNK, skip=2, times=1)

    done = cached.run("restore", *PATIENCE)

    assert done.code == 0
    assert differences(snapshot(cached.there), before) == []


@pytest.mark.parametrize("word", ["restore", "rebuild"])
@pytest.mark.parametrize(("strict", "code"), [(False, 0), (True, 4)], ids=["lenient", "fail_on_error"])
def test_a_store_that_is_not_there_breaks_a_build_only_if_asked(
    cached: CacheScene, word: str, *, strict: bool, code: int
):
    before = snapshot(cached.there)
    cached.proxy.down()

    done = cached.run(word, *PATIENCE, *(["--fail-on-error"] if strict else []))

    assert done.code == code, done.stderr
    assert differences(snapshot(cached.there), before) == []


def test_workers_that_find_no_store_end_a_strict_rebuild_as_the_coordinator_does(cached: CacheScene):
    cached.run("rebuild", *PATIENCE)
    (state,) = (cached.here / ".s3batch").glob("cache-*.state")
    state.with_suffix(".distrust").touch()  # every chunk is stored again: the first requests are those of the workers
    cached.proxy.down()

    done = cached.run("rebuild", *PATIENCE, "--fail-on-error")

    assert done.code == 4, done.stderr
    assert "check endpoint_url and the network" in done.stderr


@pytest.mark.parametrize("key", [CHUNK, MANIFEST], ids=["chunk", "manifest"])
def test_a_rebuild_that_cannot_send_leaves_the_old_cache(cached: CacheScene, key: str):
    before = {each: cached.bucket.get(each) for each in cached.manifests()}
    fill(cached.here, {"deps/new": b"x" * 5000})
    cached.proxy.on("PutObject", Refuse(403, "AccessDenied"), key=key)

    done = cached.run("rebuild", *PATIENCE)
    strict = cached.run("rebuild", *PATIENCE, "--fail-on-error")

    assert (done.code, strict.code) == (0, 1)
    assert {each: cached.bucket.get(each) for each in cached.manifests()} == before
    assert cached.missing_chunks() == set()


def test_a_lost_chunk_is_a_miss_and_the_next_rebuild_stores_it_again(cached: CacheScene):
    lost = sorted(cached.chunks())[0]
    cached.bucket.client.delete_object(Bucket=cached.bucket.name, Key=lost)

    assert cached.run("restore", at=cached.here).code == 0
    assert "the cache was not restored" in cached.run("restore").stderr
    empty(cached.there)
    _copy_as_built(cached)
    assert cached.run("restore", at=cached.there).code == 0
    empty(cached.there)
    assert "the cache was not restored" in cached.run("restore").stderr
    _copy_as_built(cached)
    assert cached.run("rebuild", at=cached.there).code == 0

    assert cached.missing_chunks() == set()
    empty(cached.there)
    assert cached.run("restore").code == 0
    cached.assert_restored()


def test_a_damaged_chunk_is_a_miss_and_the_next_rebuild_stores_it_again(cached: CacheScene):
    empty(cached.there)
    for key in cached.chunks():
        _flip(cached, key, 200)

    assert "the cache was not restored" in cached.run("restore").stderr
    _copy_as_built(cached)
    assert cached.run("rebuild", at=cached.there).code == 0

    empty(cached.there)
    assert cached.run("restore").code == 0
    cached.assert_restored()


def _copy_as_built(scene: CacheScene) -> None:
    """What the build makes where nothing was restored: the same tree, with ``.s3batch`` left alone."""
    for root in ROOTS:
        source, target = scene.here / root, scene.there / root
        target.parent.mkdir(parents=True, exist_ok=True)
        assert os.spawnlp(os.P_WAIT, "cp", "cp", "-a", str(source), str(target)) == 0


def _flip(scene: CacheScene, key: str, offset: int) -> None:
    body = bytearray(scene.bucket.get(key))
    body[offset % len(body)] ^= 1 << offset % 8
    scene.bucket.put(key, bytes(body), Metadata=scene.bucket.head(key)["Metadata"])


def test_a_bit_flipped_anywhere_in_the_bucket_is_never_a_wrong_file(scene: CacheScene, monkeypatch):
    for path in (scene.here / "deps").glob("p*/f1*"):
        path.unlink()
    scene.rebuild()
    good = scene.bucket.contents()
    wanted, chance = snapshot(scene.here), random.Random(7)
    right = missed = 0

    for turn in range(FLIPS):
        key = chance.choice(sorted(good)) if turn % 2 else next(key for key in good if "v1/k/" in key)
        _flip(scene, key, chance.randrange(len(good[key]) * 8))
        done = scene.run("restore", *PATIENCE, "--executor", "inline")

        assert done.code == 0, done.stderr
        found = snapshot(scene.there)
        assert found == {} or differences(found, wanted) == [], (key, turn)
        right, missed = right + bool(found), missed + (not found)
        empty(scene.there)
        scene.bucket.put(key, good[key])

    assert missed > FLIPS / 2


def test_a_manifest_moved_to_another_key_is_a_miss_where_there_is_a_secret(scene: CacheScene):
    scene.environment |= SECRET
    scene.rebuild()
    (key,) = scene.manifests()
    elsewhere = key.replace("/main/", "/other/")
    source = {"Bucket": scene.bucket.name, "Key": key}
    scene.bucket.client.copy_object(Bucket=scene.bucket.name, Key=elsewhere, CopySource=source)
    scene.bucket.client.delete_object(Bucket=scene.bucket.name, Key=key)
    scene.environment |= {"DRONE_COMMIT_BRANCH": "other"}

    done = scene.run("restore", "--fail-on-miss")

    assert done.code == 1
    assert "not signed" in done.stderr
    assert snapshot(scene.there) == {}


@pytest.mark.parametrize("secret", ["", "another secret"], ids=["unsigned", "signed by another"])
def test_what_is_not_signed_with_our_secret_is_a_miss(scene: CacheScene, secret: str):
    scene.environment |= {"S3BATCH_CACHE_SECRET": secret} if secret else {}
    scene.rebuild()
    scene.environment |= SECRET

    done = scene.run("restore")

    assert done.code == 0
    assert "not signed" in done.stderr
    assert snapshot(scene.there) == {}
