"""Decision 1 of the cache: every setting has its old names, and does what it says. Ids begin with the decision."""

from __future__ import annotations

import io
import os
import tarfile
import time

import pytest

from tests.plugins.caching import BUILDS, Pipeline, names, put_store_ahead, s3cache
from tests.rig.faults import Call, Delay, Refuse, Reset

FILES = {"vendor/a": "A" * 100, "vendor/b/c": "C"}


@pytest.fixture
def pipeline(step) -> Pipeline:
    """A build in Drone of the default branch, with a vendor directory to cache."""
    return Pipeline(step)


@pytest.mark.parametrize("system", [pytest.param(name, id=f"1 {name}") for name in BUILDS])
def test_what_a_build_caches_the_next_one_has(pipeline, system):
    pipeline.step.system, build = BUILDS[system]
    pipeline = Pipeline(pipeline.step, dict(build))
    pipeline.write(FILES)

    rebuilt, before = pipeline.rebuild(), pipeline.tree()
    pipeline.next_build()
    restored = pipeline.restore()

    assert (rebuilt.code, restored.code) == (0, 0)
    assert pipeline.tree() == before
    assert pipeline.manifests() == ["octo/site/main/default"]
    assert "cached octo/site/main: 2 files, 101 B: 1 chunk (" in rebuilt.err
    assert "found octo/site/main: 2 files, 101 B, made " in restored.err
    assert "restored octo/site/main: 2 files, 101 B: 1 chunk (" in restored.err
    assert rebuilt.out + restored.out == ""


SIGNED_IN = [
    pytest.param({"aws_access_key_id": "K", "aws_secret_access_key": "S"}, {}, id="1 names of drone-s3cache"),
    pytest.param({"access_key": "K", "secret_key": "S"}, {}, id="1 names of drone-cache"),
    pytest.param({}, {"AWS_ACCESS_KEY_ID": "K", "AWS_SECRET_ACCESS_KEY": "S"}, id="1 secrets of Drone 0.8"),
    pytest.param({}, {"CACHE_S3_ACCESS_KEY": "K", "CACHE_S3_SECRET_KEY": "S"}, id="1 variables of drone-s3-cache"),
]


@pytest.mark.parametrize(("settings", "variables"), SIGNED_IN)
def test_keys_arrive_under_every_name_they_had(pipeline, settings, variables):
    server = pipeline.step.bucket.server
    real = {"K": server.access_key, "S": server.secret_key}
    settings = {"access_key": None, "secret_key": None} | {name: real[value] for name, value in settings.items()}
    pipeline.write(FILES)

    done = pipeline.on({name: real[value] for name, value in variables.items()}).rebuild(**settings)

    assert (done.code, pipeline.manifests()) == (0, ["octo/site/main/default"])
    assert f"Credential={server.access_key}/" in done.requests[0].headers["authorization"]


WRONG = [
    pytest.param({"restore": True, "rebuild": True}, "restore and rebuild are both true", id="1 both"),
    pytest.param({"restore": True, "cache": None}, "cache is missing", id="1 nothing to cache"),
    pytest.param({"restore": True, "bucket": None}, "Must set 'bucket'", id="1 no bucket"),
    pytest.param({"restore": "maybe"}, "restore cannot be 'maybe'", id="1 a boolean that is none"),
    pytest.param({"rebuild": True, "ttl": "soon"}, "ttl cannot be 'soon'", id="10 a ttl that is none"),
    pytest.param({"rebuild": True, "ttl": "-1"}, "ttl cannot be '-1'", id="10 a negative ttl"),
    pytest.param({"rebuild": True, "compat": "tar"}, "compat cannot be 'tar'", id="1 an unknown compat"),
    pytest.param({"restore": True, "symlinks": "some"}, "keep, inside or skip", id="1 unknown symlinks"),
    pytest.param({"rebuild": True, "compression_level": 40}, "at most 22", id="1 a level zstd has not"),
    pytest.param({"restore": True, "cache": ["../up"]}, "leaves the workspace", id="5 a path that goes up"),
    pytest.param({"restore": True, "cache": ["/"]}, "the whole file system", id="5 everything"),
    pytest.param({"restore": True, "cache": [".s3batch/x"]}, "its own files", id="5 our own files"),
    pytest.param({"restore": True, "cach": ["x"]}, "did you mean cache?", id="1 a typo"),
    pytest.param({"restore": True, "executor": "dask", "scheduler": "tcp://x:1"}, "on this machine", id="1 dask"),
    pytest.param({"rebuild": True, "cache_key": "{{ .Repo.Nme }}"}, "did you mean .Repo.Name?", id="3 no such field"),
    pytest.param({"rebuild": True, "cache_key": "{{ nosuch }}"}, "no function nosuch", id="3 no such function"),
    pytest.param({"restore": True, "restore_keys": ["{{"]}, "has no }}", id="3 a restore key that is none"),
    pytest.param({"rebuild": True, "cache_key": "x" * 600}, "the limit is 512", id="3 too long a key"),
    pytest.param({"restore": True, "max_size": "big", "fail_on_error": False}, "max_size cannot be", id="7 always 2"),
]


@pytest.mark.parametrize(("settings", "said"), WRONG)
def test_settings_that_are_wrong_are_exit_code_2_before_any_request(pipeline, settings, said):
    done = pipeline.run(**settings)

    assert (done.code, done.requests) == (2, [])
    assert said in done.err
    assert not (pipeline.workspace / ".s3batch").exists()


def test_1_restore_false_does_not_restore(pipeline):
    pipeline.cached()

    done = pipeline.run(restore=False, rebuild=False)

    assert (done.code, done.requests, pipeline.tree()) == (0, [], {})
    assert "neither restore nor rebuild is true" in done.err


def test_1_prefix_key_and_encryption_are_in_what_is_stored(pipeline, kms_key):
    pipeline.write(FILES)

    done = pipeline.rebuild(prefix="/caches//ci/", cache_key="v2", encryption="aws:kms", kms_key_id=kms_key)

    (chunk,), (manifest,) = pipeline.objects("caches/ci/v1/c/"), pipeline.objects("caches/ci/v1/k/")
    assert pipeline.objects() == ["caches/ci/.s3batch/cache", chunk, manifest]
    assert manifest.endswith("/v2")
    for request in done.of("PutObject"):
        assert request.headers["x-amz-server-side-encryption"] == "aws:kms"
        assert request.headers["x-amz-server-side-encryption-aws-kms-key-id"] == kms_key
    pipeline.next_build()
    assert pipeline.restore(prefix="caches/ci", cache_key="v2").code == 0
    assert sorted(pipeline.contents()) == ["vendor/a", "vendor/b/c"]


@pytest.mark.parametrize("name", [pytest.param(name, id=f"1 {name}") for name in ("crc32c", "sha256", "md5", "none")])
def test_every_chunk_is_stored_with_the_checksum_that_was_asked_for(pipeline, name):
    pipeline.write(FILES)

    (chunk,) = [each for each in pipeline.rebuild(checksum=name).of("PutObject") if "/c/" in each.key]

    header = {"md5": "content-md5", "none": ""}.get(name, f"x-amz-checksum-{name}")
    sent = [each for each in chunk.headers if each.startswith("x-amz-checksum-") or each == "content-md5"]
    assert sent == ([header] if header else [])


def test_1_a_higher_compression_level_sends_less(pipeline):
    pipeline.write({"vendor/log": "".join(f"{n * n} lines of a log\n" for n in range(60_000))})

    low, high = (
        sum(each.sent for each in pipeline.rebuild(compression_level=level, prefix=f"l{level}").of("PutObject"))
        for level in (-5, 15)
    )

    assert high < 0.8 * low


def test_1_override_false_keeps_what_is_there_and_looks_only_once(pipeline):
    pipeline.cached()
    pipeline.write({"vendor/new": "n"})

    done = pipeline.rebuild(override=False)

    assert (done.code, [(each.operation, each.status) for each in done.requests]) == (0, [("HeadObject", 200)])
    assert "is there already, and override is false: it stays" in done.err


def unreadable(pipeline, key):
    pipeline.put(key, b"rubbish")


def unsigned(pipeline, key):
    pipeline.step.bucket.client.copy_object(
        Bucket=pipeline.step.bucket.name, Key=key, CopySource=f"{pipeline.step.bucket.name}/{key}",
        MetadataDirective="REPLACE", Metadata={},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("spoil", "secret", "restores"),
    [
        pytest.param(unreadable, "", True, id="1 one that no restore can read"),
        pytest.param(unreadable, "hush", False, id="1 one that cannot be read"),
        pytest.param(unsigned, "hush", True, id="1 an unsigned one"),
        pytest.param(unsigned, "hush", False, id="1 an unsigned one, without a restore before"),
    ],
)
def test_override_false_keeps_no_cache_that_is_none(pipeline, spoil, secret, restores):
    pipeline = pipeline.on(override=False, **({"cache_secret": secret} if secret else {}))
    pipeline.cached()
    spoil(pipeline, pipeline.objects("v1/k/")[0])
    if restores:
        pipeline.on(override=None).restore()
    pipeline.write({"vendor/new": "n"})

    done, again = pipeline.rebuild(), pipeline.rebuild()

    assert (done.code, "override is false" in done.err, done.err.count("warning:") <= 1) == (0, False, True), done.err
    assert (again.changed, "it stays" in again.err) == ([], True)
    pipeline.next_build()
    assert pipeline.on(override=None).restore(fail_on_miss=True).code == 0
    assert list(pipeline.contents()) == ["vendor/new"]


def test_1_override_false_keeps_a_signed_cache(pipeline):
    pipeline = pipeline.on(override=False, cache_secret="hush").cached()
    pipeline.write({"vendor/new": "n"})

    done = pipeline.rebuild()

    assert (done.code, done.changed, "it stays" in done.err) == (0, [], True)


def test_1_override_false_keeps_what_another_build_mended_after_our_restore(pipeline):
    pipeline.cached()
    (key,) = pipeline.objects("v1/k/")
    good = pipeline.step.bucket.get(key)
    unreadable(pipeline, key)
    pipeline.restore()
    pipeline.put(key, good)
    pipeline.write({"vendor/new": "n"})

    done = pipeline.rebuild(override=False)

    assert (done.changed, "it stays" in done.err) == ([], True)


def test_1_override_false_loses_against_a_build_that_publishes_meanwhile(pipeline):
    pipeline.cached()
    (key,) = pipeline.objects("v1/k/")
    stored = pipeline.step.bucket.get(key)
    pipeline.step.bucket.client.delete_object(Bucket=pipeline.step.bucket.name, Key=key)
    pipeline.write({"vendor/new": "n"})
    just_before = Call(lambda _: pipeline.put(key, stored))
    pipeline.step.proxy.on("PutObject", just_before, key="/k/", times=1)

    done = pipeline.rebuild(override=False)

    assert done.code == 0
    assert "it stays" in done.err
    assert pipeline.step.bucket.get(key) == stored


def test_1_override_false_knows_its_own_cache_when_the_answer_to_it_was_lost(pipeline):
    pipeline.write(FILES)
    pipeline.step.proxy.on("PutObject", Reset(after=True), key="/k/", times=1)

    done, again = pipeline.rebuild(override=False), pipeline.rebuild()

    assert (done.code, "it stays" in done.err, "1 chunk" in done.err) == (0, False, True)
    assert (again.changed, dict(again.counts)) == ([], {"HeadObject": 1, "ListObjectsV2": 1})


def test_1_read_only_writes_nothing(pipeline):
    pipeline.write(FILES)

    done = pipeline.rebuild(read_only=True)

    assert (done.code, done.requests) == (0, [])
    assert "read_only is set" in done.err


def test_1_read_only_restores(pipeline):
    pipeline.cached()

    done = pipeline.restore(read_only=True, ttl="1s")

    assert (done.code, done.changes, len(pipeline.contents())) == (0, [], 2)


@pytest.mark.parametrize(
    ("ttl", "age", "touched"),
    [
        pytest.param("80s", 30, True, id="1 older than a quarter of ttl"),
        pytest.param("8d", 30, False, id="1 younger"),
        pytest.param("0", 30, False, id="1 no ttl"),
    ],
)
def test_a_restore_marks_an_ageing_cache_as_used(pipeline, monkeypatch, ttl, age, touched):
    pipeline.cached()
    (key,) = pipeline.objects("v1/k/")
    before = pipeline.step.bucket.head(key)
    put_store_ahead(monkeypatch, age)

    done = pipeline.restore(ttl=ttl)

    assert done.code == 0
    assert done.changed == ([("CopyObject", key)] if touched else [])
    after = pipeline.step.bucket.head(key)
    assert (after["ETag"], after["Metadata"]) == (before["ETag"], before["Metadata"])
    assert pipeline.rebuild().changed == []


def test_1_a_cache_marked_as_used_stays_encrypted(pipeline, monkeypatch, kms_key):
    pipeline.write(FILES)
    pipeline.rebuild(encryption="aws:kms", kms_key_id=kms_key)
    put_store_ahead(monkeypatch, 30)

    done = pipeline.restore(ttl="80s")

    (copy,) = done.of("CopyObject")
    assert copy.headers["x-amz-server-side-encryption"] == "aws:kms"
    assert copy.headers["x-amz-server-side-encryption-aws-kms-key-id"] == kms_key


def test_1_touching_spares_what_another_build_published_meanwhile(pipeline, monkeypatch):
    pipeline.cached()
    (key,) = pipeline.objects("v1/k/")
    bucket = pipeline.step.bucket
    put_store_ahead(monkeypatch, 30)
    pipeline.step.proxy.on("CopyObject", Call(lambda _: bucket.put(key, b"newer", Metadata={"s3b-tree": "newer"})))

    done = pipeline.restore(ttl="80s")

    assert (done.code, bucket.get(key), bucket.head(key)["Metadata"]) == (0, b"newer", {"s3b-tree": "newer"})


def test_1_a_cache_that_may_not_be_touched_is_restored_without_a_word(pipeline, monkeypatch):
    pipeline.cached()
    put_store_ahead(monkeypatch, 30)
    pipeline.step.proxy.on("CopyObject", Refuse(403, "AccessDenied"))

    done = pipeline.restore(ttl="80s", fail_on_error=True)

    assert done.of("CopyObject")
    assert (done.code, len(pipeline.contents()), "warning" in done.err) == (0, 2, False)


def test_1_max_size_refuses_a_larger_cache(pipeline):
    pipeline.cached({"vendor/large": b"x" * 5000})

    done = pipeline.restore(max_size="4kB")

    assert (done.code, pipeline.contents()) == (0, {})
    assert "over the limit of 4,000; raise max_size" in done.err


@pytest.mark.parametrize("is_settled", [False, True])
def test_1_max_size_refuses_a_larger_cache_also_where_an_earlier_step_took_it(pipeline, is_settled):
    pipeline.cached(FILES)
    pipeline.restore()
    if is_settled:  # the files count as unchanged without a look at the manifest
        time.sleep(2.1)
        pipeline.restore()

    done = pipeline.restore(max_size="50", fail_on_miss=True)

    assert done.code == 1
    assert "over the limit of 50; raise max_size" in done.err


def test_1_max_size_lets_no_cache_be_made_that_no_restore_would_take(pipeline):
    pipeline.write({"vendor/large": b"x" * 5000})

    done = pipeline.rebuild(max_size="4kB")

    assert (done.code, pipeline.objects()) == (0, [])
    assert "warning: the cache was not stored: the paths to cache have 4.9 KiB" in done.err


LINKS = {"up": "../../elsewhere", "in": "a", "abs": "/etc/hosts", "over": "../vendor/a"}


@pytest.mark.parametrize("when", ["rebuild", "restore"])
@pytest.mark.parametrize(
    ("policy", "left"),
    [
        pytest.param("keep", {"up", "in", "abs", "over"}, id="1 keep"),
        pytest.param("inside", {"in", "over"}, id="1 inside"),
        pytest.param("skip", set(), id="1 skip"),
    ],
)
def test_symlinks_are_kept_or_not_when_caching_and_when_restoring(pipeline, policy, left, when):
    pipeline.write({"vendor/a": "A"})
    for name, target in LINKS.items():
        (pipeline.workspace / "vendor" / name).symlink_to(target)

    pipeline.rebuild(**({"symlinks": policy} if when == "rebuild" else {}))
    pipeline.next_build()
    pipeline.restore(**({"symlinks": policy} if when == "restore" else {}))

    found = {name for name in LINKS if (pipeline.workspace / "vendor" / name).is_symlink()}
    assert found == left
    assert all(os.readlink(pipeline.workspace / "vendor" / name) == LINKS[name] for name in found)


@pytest.mark.parametrize("verify", [True, False])
@pytest.mark.parametrize("fresh", [True, False])
def test_1_what_size_and_time_do_not_tell_is_put_right(pipeline, verify, fresh):
    pipeline.cached({"vendor/a": "good"})
    pipeline.restore()
    if fresh:
        pipeline.step.fresh_runner()
    pipeline.write({"vendor/a": "evil"})  # the same size, and the time of the cached one

    mended = pipeline.restore(verify=verify)
    again = pipeline.restore(verify=verify)

    assert (mended.code, again.code, pipeline.contents()) == (0, 0, {"vendor/a": b"good"})
    assert "1 chunk (" in mended.err
    assert "all files were up to date" in again.err


@pytest.mark.parametrize("state", [True, False])
def test_1_another_release_with_pinned_times_is_put_right(pipeline, state):
    releases = [
        {"vendor/lodash.js": f"4.17.{patch}", "vendor/core.js": f"core {patch}", "vendor/same": "same"}
        for patch in (20, 21)
    ]
    pipeline.write(releases[0])
    assert pipeline.rebuild(cache_key="old").code == 0
    pipeline.write(releases[1])
    assert pipeline.rebuild(cache_key="new").code == 0
    pipeline.write(releases[0])
    assert pipeline.rebuild(cache_key="old").code == 0
    if not state:
        pipeline.step.fresh_runner()
        pipeline.write(releases[0])

    done = pipeline.restore(cache_key="new")

    assert done.code == 0
    assert pipeline.contents() == {path: text.encode() for path, text in releases[1].items()}


def test_1_what_trust_mtime_took_for_right_is_not_remembered_as_right(pipeline):
    pipeline.cached({"vendor/a": "good"})
    pipeline.write({"vendor/a": "evil"})
    pipeline.rebuild(trust_mtime=True)

    restored = pipeline.restore()

    assert (restored.code, pipeline.contents()) == (0, {"vendor/a": b"good"})


def test_1_trust_mtime_reads_no_file_whose_size_and_time_are_the_same(pipeline):
    pipeline.cached({"vendor/a": "good"})
    pipeline.write({"vendor/a": "evil"})

    trusting = pipeline.rebuild(trust_mtime=True)
    pipeline.step.fresh_runner()
    careful = pipeline.rebuild()

    assert "only the list of files sent" in trusting.err
    assert "1 chunk (" in careful.err


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        pytest.param({}, 0, id="7 a miss is no error"),
        pytest.param({"fail_on_error": True}, 0, id="7 not even with fail_on_error"),
        pytest.param({"exit_code": True}, 0, id="7 by drone-cache's name"),
        pytest.param({"fail_on_miss": True}, 1, id="7 unless fail_on_miss"),
        pytest.param({"fail_on": "warnings"}, 0, id="7 nor a warning"),
        pytest.param({"fail_on": "nothing"}, 1, id="1 fail_on nothing"),
    ],
)
def test_a_plain_miss(pipeline, settings, code):
    done = pipeline.restore(**settings)

    assert (done.code, pipeline.tree()) == (code, {})
    assert "no cache for octo/site/main" in done.err
    assert "warning" not in done.err


def test_1_timeout_is_the_longest_silence(pipeline):
    pipeline.cached()
    pipeline.step.proxy.on("GetObject", Delay(6), times=1)

    done = pipeline.restore(timeout="2s", retries=1)

    assert done.code == 0
    assert "warning: the cache was not restored: GetObject" in done.err


def test_1_compat_writes_what_drone_s3cache_reads(pipeline):
    pipeline = pipeline.on(cache=["vendor", "one.txt"])
    pipeline.write({**FILES, "one.txt": "1"})

    first, again = pipeline.rebuild(compat="s3cache"), pipeline.rebuild(compat="s3cache")

    assert (first.code, pipeline.objects()) == (0, ["site/site.tar.gz"]), first.err
    assert (again.code, again.changed) == (0, [])
    with tarfile.open(fileobj=io.BytesIO(pipeline.step.bucket.get("site/site.tar.gz"))) as archive:
        assert sorted(archive.getnames()) == ["one.txt", "vendor", "vendor/a", "vendor/b", "vendor/b/c"]
    assert [path.name for path in pipeline.workspace.iterdir() if "tar" in path.name] == []


def test_1_compat_sends_a_large_archive_in_parts(pipeline):
    pipeline.write({"vendor/large": os.urandom(34 << 20)})

    done = pipeline.rebuild(compat="s3cache")

    assert (done.code, done.counts["UploadPart"], pipeline.objects()) == (0, 3, ["site/site.tar.gz"])
    assert pipeline.step.bucket.uploads() == []
    assert pipeline.rebuild(compat="s3cache").changed == []


def test_1_with_compat_a_restore_takes_what_the_last_rebuild_wrote_and_no_older_cache_of_ours(pipeline):
    pipeline.cached({"vendor/from": "before"})
    pipeline.write({"vendor/from": "compat"})
    pipeline.rebuild(compat="s3cache")
    pipeline.next_build()

    done = pipeline.restore(compat="s3cache")

    assert (done.code, pipeline.contents()) == (0, {"vendor/from": b"compat"})


def test_1_with_compat_a_cache_of_ours_is_restored_until_there_is_an_archive(pipeline):
    pipeline.cached({"vendor/from": "before"})

    done = pipeline.restore(compat="s3cache")

    assert (done.code, pipeline.contents()) == (0, {"vendor/from": b"before"})


def test_1_fail_on_changes_tells_a_rebuild_that_published(pipeline):
    pipeline.write(FILES)

    first, again = pipeline.rebuild(fail_on="changes"), pipeline.rebuild(fail_on="changes")

    assert (first.code, again.code) == (1, 0)
    assert "something changed, and fail_on says changes" in first.err


def test_1_an_old_reader_and_ours_take_the_same_archive(pipeline):
    pipeline.write(FILES)
    pipeline.put("site/site.tar.gz", s3cache(pipeline.workspace, "vendor"))
    pipeline.next_build()

    done = pipeline.restore()

    assert (done.code, sorted(pipeline.contents())) == (0, ["vendor/a", "vendor/b/c"])
    assert names(done, "PutObject") == []
