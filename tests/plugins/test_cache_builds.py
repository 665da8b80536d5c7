"""Decisions 5, 8 and 9 about the cache: what is cached, what is sent, and whom one believes. Ids begin with the decision."""

from __future__ import annotations

import time

import pytest

from s3batch.cache.cached_paths import CachedPaths
from tests.archive.cycle import noise
from tests.plugins.caching import Pipeline, branch, names, pull_request, put_store_ahead, s3cache
from tests.rig.faults import Call

FILES = {"vendor/a": "A" * 100, "vendor/b/c": "C"}


@pytest.fixture
def pipeline(step) -> Pipeline:
    return Pipeline(step)


# --- 5: what is cached -------------------------------------------------------------------------


def test_5_all_listed_paths_are_cached_and_restored_and_a_path_may_be_a_file(pipeline, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "o").write_text("O")
    pipeline = pipeline.on(cache=["vendor", " deep/er ", "one.txt", str(outside), "vendor/b", "vendor/"])
    pipeline.write({**FILES, "deep/er/d": "D", "deep/not": "n", "one.txt": "1"})

    pipeline.rebuild()
    pipeline.next_build()
    (outside / "o").unlink()
    outside.rmdir()
    done = pipeline.restore()

    assert done.code == 0
    assert sorted(pipeline.contents()) == ["deep/er/d", "one.txt", "vendor/a", "vendor/b/c"]
    assert (outside / "o").read_text() == "O"
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_5_a_missing_path_is_a_warning_and_does_not_stop_the_others(pipeline):
    pipeline.write(FILES)

    done = pipeline.rebuild(cache=["gone", "vendor"])
    pipeline.next_build()
    restored = pipeline.restore(cache=["gone", "vendor"])

    assert (done.code, restored.code) == (0, 0)
    assert "warning: gone does not exist: it is not cached" in done.err
    assert sorted(pipeline.contents()) == ["vendor/a", "vendor/b/c"]


def test_5_none_of_the_paths_leaves_the_cache_as_it_was(pipeline):
    pipeline.cached()
    before = pipeline.objects()

    done = pipeline.rebuild()

    assert (done.code, done.changed, pipeline.objects()) == (0, [], before)
    assert "none of the paths to cache exists; the cache stays as it was" in done.err


def test_5_nothing_is_left_behind_but_our_own_directory(pipeline):
    pipeline.write(FILES)
    pipeline.rebuild()
    pipeline.restore()
    pipeline.restore(json=True, verify=True)

    assert sorted(path.name for path in pipeline.workspace.iterdir()) == [".s3batch", "vendor"]
    left = sorted(path.suffix for path in (pipeline.workspace / ".s3batch").iterdir())
    assert left == [".db", ".db", ".lock", ".lock", ".lock", ".state"]


def test_5_our_own_files_are_no_part_of_the_cache(pipeline):
    pipeline = pipeline.on(cache=["."])
    pipeline.write(FILES)

    done = pipeline.rebuild(journal="vendor/our.db")
    assert (done.code, (pipeline.workspace / "vendor" / "our.db").exists()) == (0, True)
    pipeline.next_build()
    pipeline.restore()

    assert sorted(pipeline.contents()) == ["vendor/a", "vendor/b/c"]


def test_5_our_own_files_are_no_part_of_a_cache_of_what_holds_the_workspace_either(pipeline):
    drone = pipeline.workspace.parent
    pipeline = pipeline.on(cache=[str(drone), "vendor"])
    pipeline.write(FILES)
    (drone / "more").write_text("m")

    first, again = pipeline.rebuild(), pipeline.rebuild()
    pipeline.next_build()
    (drone / "more").unlink()
    done = pipeline.restore(fail_on_error=True)

    assert [(each.code, "warning" in each.err) for each in (first, again, done)] == [(0, False)] * 3
    assert again.changed == []
    assert sorted(pipeline.contents()) == ["vendor/a", "vendor/b/c"]
    assert (drone / "more").read_text() == "m"


def test_5_a_cache_that_holds_our_own_files_is_refused(pipeline, monkeypatch):
    pipeline = pipeline.on(cache=[str(pipeline.workspace.parent)])
    pipeline.write(FILES)
    with monkeypatch.context() as careless:
        careless.setattr(CachedPaths, "_own_files", lambda *_: ())
        pipeline.rebuild()
    pipeline.next_build()

    done = pipeline.restore()

    assert (done.code, pipeline.contents()) == (0, {})
    assert "holds files of s3batch itself" in done.err


# --- 8: rebuilds -------------------------------------------------------------------------------


def test_8_a_rebuild_with_nothing_changed_sends_nothing(pipeline):
    pipeline.write(FILES)
    pipeline.rebuild()

    same = pipeline.rebuild()
    pipeline.next_build()
    pipeline.restore()
    restored = pipeline.rebuild()
    pipeline.step.fresh_runner()
    forgotten = pipeline.rebuild()

    assert [run.changed for run in (same, restored, forgotten)] == [[], [], []]
    assert dict(same.counts) == dict(restored.counts) == {"HeadObject": 1, "ListObjectsV2": 1}
    assert dict(forgotten.counts) == {"GetObject": 1, "ListObjectsV2": 1}
    assert "nothing changed, nothing sent" in forgotten.err


def test_8_a_build_that_changed_little_sends_little(pipeline):
    large = bytes(range(256)) * 40_000
    pipeline.cached({"vendor/large": large, "vendor/lib/one": "1" * 10_000})
    pipeline.restore()
    pipeline.write({"vendor/lib/two": "2"})

    done = pipeline.rebuild()

    assert sum(request.sent for request in done.of("PutObject")) < 2_000
    assert "cached octo/site/main: 3 files, 9.8 MiB: 1 chunk (" in done.err
    pipeline.next_build()
    pipeline.restore()
    assert pipeline.contents()["vendor/large"] == large
    assert len(pipeline.contents()) == 3


def test_8_keeping_clear_of_clean_ups_costs_a_rebuild_three_requests(pipeline):
    """A pin, a look for records, and the pin's removal; the first one marks the root as a cache, too."""
    for name in ("lock", "noted"):
        pipeline.put(f"v1/gc/{name}", b"{}")
    pipeline.write(FILES)

    done = pipeline.rebuild()

    assert dict(done.counts) == {
        "GetObject": 1, "HeadObject": 2, "PutObject": 4, "ListObjectsV2": 1, "DeleteObject": 1,
    }  # fmt: skip


def test_8_new_times_alone_cost_no_chunk(pipeline):
    pipeline.cached()
    pipeline.restore()
    for path in (pipeline.workspace / "vendor").rglob("*"):
        path.touch()

    done = pipeline.rebuild()

    assert [key for _, key in done.changed if "/c/" in key] == []
    assert "only the list of files sent" in done.err


def test_8_a_branch_sends_only_what_the_default_branch_has_not(pipeline):
    pipeline.cached({"vendor/large": bytes(range(256)) * 4000})
    pipeline.on(branch("feat")).restore()
    pipeline.write({"vendor/new": "n"})

    done = pipeline.on(branch("feat")).rebuild()

    assert sum(request.sent for request in done.of("PutObject")) < 2_000
    assert pipeline.manifests() == ["octo/site/feat/default", "octo/site/main/default"]


def test_8_of_two_builds_at_once_one_complete_cache_wins(pipeline):
    pipeline.cached()
    pipeline.restore()
    pipeline.write({"vendor/mine": "mine"})
    (key,) = pipeline.objects("v1/k/")
    theirs = pipeline.step.bucket.get(key)
    pipeline.step.proxy.on("PutObject", Call(lambda _: pipeline.put(key, theirs)), key="/k/")

    done = pipeline.rebuild()
    pipeline.next_build()
    pipeline.restore()

    assert done.code == 0
    assert sorted(pipeline.contents()) == ["vendor/a", "vendor/b/c", "vendor/mine"]


def test_8_two_caches_of_the_same_paths_may_be_made_at_once(pipeline):
    pipeline = pipeline.on(cache=["vendor"])
    pipeline.cached({f"vendor/{n}": noise(9 << 20, n) for n in range(2)})
    pipeline.write({f"vendor/{n}": noise(9 << 20, n) for n in range(1, 4)})
    others = []
    meanwhile = Call(
        lambda _: others.append(pipeline.step.process({**pipeline.settings, "rebuild": True}, **pipeline.build))
    )
    pipeline.step.proxy.on("PutObject", meanwhile, key="two/v1/c/", times=1)

    done = pipeline.rebuild(prefix="two", max_concurrency=1)

    assert [(each.code, "warning" in each.err) for each in (done, *others)] == [(0, False)] * 2, done.err
    before = pipeline.tree()
    for prefix in ("", "two"):
        pipeline.next_build()
        assert pipeline.restore(prefix=prefix, fail_on_miss=True).code == 0
        assert pipeline.tree() == before


# --- 9: builds nobody vouches for ---------------------------------------------------------------


def test_9_a_pull_request_writes_only_to_its_own_scope_and_nobody_else_reads_that(pipeline):
    request = pipeline.on(pull_request(12))
    pipeline.cached({"vendor/from": "main"})
    request.restore()
    pipeline.write({"vendor/from": "mallory"})

    done = request.rebuild()
    scopes = pipeline.manifests()
    seen = []
    for build in (pipeline, pipeline.on(branch("feat/x")), pipeline.on(pull_request(13)), request):
        pipeline.next_build()
        build.restore(restore_keys=["d"])
        seen.append(pipeline.contents()["vendor/from"])

    assert (done.code, scopes) == (0, ["octo/site/main/default", "octo/site/~pr-12/default"])
    assert seen == [b"main", b"main", b"main", b"mallory"]


def test_9_a_pull_request_does_not_write_the_old_archive_that_every_branch_restores(pipeline):
    pipeline.write(FILES)
    pipeline.rebuild(compat="s3cache")
    pipeline.write({"vendor/evil": "e"})

    done = pipeline.on(pull_request(12)).rebuild(compat="s3cache")

    assert (done.code, done.requests) == (0, [])
    assert "nothing to do: with compat a pull request writes nothing" in done.err


def test_9_a_fork_writes_nothing_and_reads(pipeline):
    pipeline.cached()
    fork = pipeline.on(pull_request(12, source="mallory:feat"))

    restored = fork.restore(ttl="1ms")
    pipeline.write({"vendor/new": "n"})
    rebuilt = fork.rebuild()

    assert (restored.code, restored.changed, len(pipeline.contents())) == (0, [], 3)
    assert (rebuilt.code, rebuilt.requests) == (0, [])
    assert "a pull request from another repository writes nothing to the cache" in rebuilt.err


def test_9_a_pull_request_marks_no_cache_of_others_as_used(pipeline, monkeypatch):
    pipeline.cached()
    put_store_ahead(monkeypatch, 30)

    of_request = pipeline.on(pull_request(12)).restore(ttl="80s")
    of_branch = pipeline.on(branch("feat")).restore(ttl="80s")

    assert of_request.changed == []
    assert [operation for operation, _ in of_branch.changed] == ["CopyObject"]


SECRET = {"S3BATCH_CACHE_SECRET": "known to trusted builds only"}


def test_9_with_a_secret_the_signed_cache_is_restored_and_rebuilt_on(pipeline):
    signed = pipeline.on(SECRET)
    signed.cached()

    restored, again = signed.restore(), signed.rebuild()

    assert (restored.code, len(pipeline.contents())) == (0, 2)
    assert again.changed == []
    assert SECRET["S3BATCH_CACHE_SECRET"] not in restored.said + again.said + repr(again.requests)


def test_9_with_a_secret_an_unsigned_cache_is_a_miss(pipeline):
    pipeline.cached()

    done = pipeline.on(SECRET).restore(fail_on_error=True)

    assert (done.code, pipeline.contents()) == (0, {})
    assert "warning: the cache octo/site/main is not signed with this cache_secret and is not used" in done.err
    assert "no cache for octo/site/main" in done.err


def test_9_a_cache_signed_with_another_secret_is_a_miss(pipeline):
    pipeline.on({"S3BATCH_CACHE_SECRET": "somebody else's"}).cached()

    assert "not signed with this cache_secret" in pipeline.on(SECRET).restore().err
    assert pipeline.contents() == {}


def test_9_a_signed_cache_moved_to_another_scope_is_a_miss(pipeline):
    pipeline.on(SECRET, pull_request(12)).cached({"vendor/from": "mallory"})
    (key,) = pipeline.objects("v1/k/")
    moved = key.replace("~pr-12", "main")
    name = pipeline.step.bucket.name
    pipeline.step.bucket.client.copy_object(Bucket=name, Key=moved, CopySource={"Bucket": name, "Key": key})

    done = pipeline.on(SECRET).restore()

    assert (done.code, pipeline.contents()) == (0, {})
    assert "not signed with this cache_secret" in done.err


def test_9_a_state_file_that_came_with_the_code_does_not_stand_in_for_a_signature(pipeline):
    pipeline.cached({"vendor/from": "mallory"})  # unsigned, and remembered by a state file
    pipeline.restore()
    state = {path.name: path.read_bytes() for path in (pipeline.workspace / ".s3batch").glob("*.state")}
    pipeline.next_build()
    pipeline.step.files({f".s3batch/{name}": content for name, content in state.items()})

    done = pipeline.on(SECRET).restore()

    assert (done.code, pipeline.contents()) == (0, {})
    assert "not signed with this cache_secret" in done.err


def test_9_old_plugins_caches_are_no_signed_ones(pipeline):
    pipeline.write(FILES)
    pipeline.put("site/site.tar.gz", s3cache(pipeline.workspace, "vendor"))
    pipeline.next_build()

    done = pipeline.on(SECRET).restore()

    assert (done.code, pipeline.contents(), names(done, "GetObject")[1:]) == (0, {}, [])


def test_5_what_came_from_below_one_prefix_is_stored_whole_below_another(pipeline):
    pipeline.on(prefix="one").cached(FILES)
    pipeline.on(prefix="one").restore()
    other = pipeline.on(prefix="other")

    done = other.rebuild()
    pipeline.next_build()
    restored = other.restore(fail_on_error=True)

    assert (done.code, restored.code) == (0, 0), done.err + restored.err
    assert sorted(pipeline.contents()) == ["vendor/a", "vendor/b/c"]


def test_6_a_tree_as_our_rebuild_left_it_is_right_without_reading_the_cache(pipeline):
    pipeline.write(FILES)
    time.sleep(0.1)  # younger files may still be changing
    pipeline.rebuild()

    right = pipeline.restore()
    (pipeline.workspace / "vendor" / "a").unlink()
    wrong = pipeline.restore()

    assert {each.operation for each in right.requests} == {"HeadObject"}
    assert "all files were up to date" in right.out + right.err
    assert "GetObject" in {each.operation for each in wrong.requests}
    assert sorted(pipeline.contents()) == ["vendor/a", "vendor/b/c"]


def test_verify_on_a_fresh_workspace_restores(pipeline):
    """There is no file to hash then."""
    pipeline.cached()

    done = pipeline.restore(verify=True)

    assert (done.code, pipeline.contents()) == (0, {"vendor/a": b"A", "vendor/b/c": b"C"}), done.err
