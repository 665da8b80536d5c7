"""Decisions 2, 3, 5, 8 and 9 about the cache, as a pipeline meets them. Names and ids begin with the decision."""

from __future__ import annotations

import hashlib
import json
import time

import pytest

from s3batch.archive.templates import go_arch, go_os
from tests.plugins import ci
from tests.plugins.caching import WOODPECKER, Pipeline, branch, md5, names, pull_request, s3cache
from tests.rig.faults import Call

FILES = {"vendor/a": "A" * 100, "vendor/b/c": "C"}


@pytest.fixture
def pipeline(step) -> Pipeline:
    return Pipeline(step)


def said(text: str) -> dict[str, str]:
    return {"DRONE_COMMIT_MESSAGE": text}


# --- 2: what a commit message orders -----------------------------------------------------------

SKIPPED = [
    pytest.param("[NO CACHE]", id="2 alone"),
    pytest.param("Try without [NO CACHE] please", id="2 inside a line"),
    pytest.param("Mend it\n\nlong story\n[NO CACHE]\n", id="2 on a later line"),
    pytest.param("[CLEAR CACHE] and [NO CACHE]", id="2 no beats clear"),
]


@pytest.mark.parametrize("message", SKIPPED)
@pytest.mark.parametrize("word", ["restore", "rebuild"])
def test_no_cache_makes_no_request(pipeline, message, word):
    pipeline.write(FILES)

    done = pipeline.on(said(message)).run(**{word: True})

    assert (done.code, done.requests) == (0, [])
    assert "nothing to do: the commit message says [NO CACHE]" in done.err


@pytest.mark.parametrize("message", ["[no cache]", "[NO  CACHE]", "NO CACHE", "", "no [ NO CACHE ]"])
def test_2_only_the_exact_words_count(pipeline, message):
    pipeline.write(FILES)

    assert "PutObject" in pipeline.on(said(message)).rebuild().counts


def test_2_the_message_is_looked_for_in_drones_variable_first_and_in_woodpeckers_then(pipeline):
    only_ci = {"DRONE_COMMIT_MESSAGE": "", "CI_COMMIT_MESSAGE": "[NO CACHE]"}
    both = {"DRONE_COMMIT_MESSAGE": "go on", "CI_COMMIT_MESSAGE": "[NO CACHE]"}
    pipeline.write(FILES)

    assert pipeline.on(only_ci).rebuild().requests == []
    assert pipeline.on(both).rebuild().requests != []


def test_2_no_message_at_all_is_fine(pipeline):
    pipeline.write(FILES)
    del pipeline.build["DRONE_COMMIT_MESSAGE"]

    assert (pipeline.rebuild().code, pipeline.manifests()) == (0, ["octo/site/main/default"])


def test_2_clear_cache_on_restore_removes_all_this_repository_has_and_restores_nothing(pipeline):
    pipeline.cached()
    pipeline.on(branch("dev")).cached()
    pipeline.on({"DRONE_REPO": "octo/site2", "DRONE_REPO_NAME": "site2"}).cached()
    for key in ("site/site.tar.gz", "site/a/b", "site2/site2.tar.gz", "site-notes.txt", "site"):
        pipeline.put(key, b"old")

    done = pipeline.on(said("Start over [CLEAR CACHE]")).restore()

    assert (done.code, pipeline.tree()) == (0, {})
    assert pipeline.manifests() == ["octo/site2/main/default"]
    assert [key for key in pipeline.objects() if not key.startswith("v1/")] == [
        "site",
        "site-notes.txt",
        "site2/site2.tar.gz",
    ]
    assert "cache cleared: removed 4 objects" in done.err
    assert done.counts["GetObject"] == 0


def test_2_nothing_to_clear_is_fine(pipeline):
    done = pipeline.on(said("[CLEAR CACHE]")).restore()

    assert (done.code, done.changed) == (0, [])
    assert "removed 0 objects" in done.err


def test_2_any_number_of_objects_is_cleared_a_thousand_at_a_time(pipeline):
    for number in range(1001):
        pipeline.put(f"site/{number:04}", b"")

    done = pipeline.on(said("[CLEAR CACHE]")).restore()

    assert (done.code, pipeline.objects("site/")) == (0, [])
    assert (done.counts["ListObjectsV2"], done.counts["DeleteObjects"]) == (3, 2)


def test_2_a_rebuild_of_the_clearing_build_makes_the_new_cache(pipeline):
    pipeline.cached()
    clearing = pipeline.on(said("[CLEAR CACHE]"))
    clearing.restore()
    pipeline.write({"vendor/new": "n"})

    done = clearing.rebuild()

    assert (done.code, pipeline.manifests()) == (0, ["octo/site/main/default"])
    pipeline.next_build()
    pipeline.restore()
    assert list(pipeline.contents()) == ["vendor/new"]


def test_2_a_pull_request_clears_only_its_own_scope(pipeline):
    pipeline.cached()
    pipeline.on(pull_request(12)).cached()
    pipeline.on(pull_request(120)).cached()
    pipeline.put("site/site.tar.gz", b"old")

    pipeline.on(pull_request(12), said("[CLEAR CACHE]")).restore()

    assert pipeline.manifests() == ["octo/site/main/default", "octo/site/~pr-120/default"]
    assert pipeline.objects("site/") == ["site/site.tar.gz"]


@pytest.mark.parametrize(
    ("facts", "settings"),
    [
        pytest.param(pull_request(12, source="mallory:feat"), {}, id="2 a fork clears nothing"),
        pytest.param({}, {"read_only": True}, id="2 read_only clears nothing"),
    ],
)
def test_who_may_not_write_may_not_clear(pipeline, facts, settings):
    pipeline.cached()

    done = pipeline.on(facts, said("[CLEAR CACHE]")).restore(**settings)

    assert (done.code, done.requests, pipeline.manifests()) == (0, [], ["octo/site/main/default"])
    assert "nothing is cleared" in done.err


def test_2_mode_clear_does_what_the_message_does(pipeline):
    pipeline.cached()

    done = pipeline.run(mode="clear", cache=None, json=True)

    document = json.loads(done.out)
    assert (done.code, pipeline.manifests()) == (0, [])
    assert (document["command"], document["exit_code"], len(document["cache"]["removed"])) == ("cache clear", 0, 1)


# --- 3: keys -----------------------------------------------------------------------------------


def test_3_a_branch_finds_its_own_cache_then_its_target_then_the_default_branch(pipeline):
    tries = []
    for build in (pipeline, pipeline.on(branch("feat/x")), pipeline.on(pull_request(7, target="dev"))):
        looked = [key.split("/") for key in names(build.restore(), "GetObject") if key.startswith("v1/")]
        tries.append([key[4] for key in looked])

    assert tries == [["main"], ["feat%2Fx", "main"], ["~pr-7", "dev", "main"]]


@pytest.mark.parametrize(
    ("held", "taken"),
    [
        pytest.param(["main", "dev", "feat/x"], "feat/x", id="3 its own"),
        pytest.param(["main", "dev"], "main", id="3 else the default branch, never another one"),
        pytest.param(["dev", "feat/x2", "feat"], "", id="3 never one that begins alike"),
    ],
)
def test_a_build_says_which_cache_it_took(pipeline, held, taken):
    for name in held:
        pipeline.on(branch(name)).cached({"vendor/from": name})

    done = pipeline.on(branch("feat/x")).restore()

    assert pipeline.contents() == ({"vendor/from": taken.encode()} if taken else {})
    fallback = "" if taken == "feat/x" else " (a fallback)"
    assert (f"restored octo/site/{taken}{fallback}: " if taken else "no cache for octo/site/feat/x") in done.err


def test_3_restore_keys_are_prefixes_and_the_newest_wins_in_the_order_of_scopes(pipeline):
    for name, key in (("main", "v1-a"), ("main", "v1-b"), ("main", "w"), ("feat", "v1-old")):
        pipeline.on(branch(name)).on(cache_key=key).cached({"vendor/from": f"{name} {key}"})
    feat = pipeline.on(branch("feat"), cache_key="v1-new")

    strict, scoped = feat.restore(), feat.restore(restore_keys=["x", "v1-"])
    own = pipeline.contents()
    pipeline.next_build()
    pipeline.on(branch("other"), cache_key="v1-new").restore(restore_keys=["v1-"])

    assert "no cache for octo/site/feat v1-new" in strict.err
    assert (scoped.code, own) == (0, {"vendor/from": b"feat v1-old"})
    assert pipeline.contents() == {"vendor/from": b"main v1-b"}


def test_3_a_restore_key_that_is_a_whole_key_of_ours_is_no_prefix_without_being_asked(pipeline):
    pipeline.on(cache_key="v1-2").cached()

    assert "no cache" in pipeline.on(cache_key="v1").restore().err


TEMPLATES = [
    pytest.param("{{ .Repo.Name }}/{{ .Commit.Branch }}", "site/main", id="3 fields"),
    pytest.param("{{ .Repo.Owner }}-{{ .Repo.Namespace }}", "octo-octo", id="3 owner"),
    pytest.param('{{ checksum "lock" }}', md5("locked"), id="3 checksum"),
    pytest.param('{{ checksum "gone" }}x', "x", id="3 checksum of nothing"),
    pytest.param(
        '{{ hashFiles "lock" "*/lock" }}',
        hashlib.sha256(hashlib.sha256(b"locked").digest() + hashlib.sha256(b"2").digest()).hexdigest(),
        id="3 hashFiles",
    ),
    pytest.param("{{ os }}-{{arch}}", f"{go_os()}-{go_arch()}", id="3 os and arch"),
    pytest.param("{{ .Commit.Ref }}", "refs/heads/main", id="3 Commit.Ref is the ref"),
    pytest.param("{{ .Commit.Sha }}:{{ .Build.Number }}:{{ .Build.Event }}", "8e5f3a1:7:push", id="3 the build"),
    pytest.param("{{ .Build.Status }}{{ .Repo.Private }}", "successfalse", id="3 defaults"),
]


@pytest.mark.parametrize(("template", "key"), TEMPLATES)
def test_keys_are_templates(pipeline, template, key):
    pipeline.write({**FILES, "lock": "locked", "sub/lock": "2"})

    done = pipeline.rebuild(cache_key=template)

    listed = json.loads(pipeline.rebuild(cache_key=template, json=True).out)["cache"]
    assert (done.code, listed["name"]) == (0, f"octo/site/main {key}")


def test_3_woodpecker_fills_the_same_fields(pipeline):
    pipeline.step.system = ci.woodpecker
    woodpecker = Pipeline(pipeline.step, dict(WOODPECKER))
    woodpecker.write(FILES)

    done = woodpecker.rebuild(cache_key="{{ .Repo.Owner }}/{{ .Repo.Name }}/{{ .Commit.Branch }}", json=True)

    assert json.loads(done.out)["cache"]["name"] == "octo/site/main octo/site/main"


def test_3_epoch_makes_a_new_key_each_time_and_restore_keys_find_the_last(pipeline):
    key = {"cache_key": "nightly-{{ epoch }}"}
    pipeline.on(**key).cached({"vendor/a": "1"})

    done = pipeline.on(**key).restore(restore_keys=["nightly-"])

    assert (done.code, pipeline.contents()) == (0, {"vendor/a": b"1"})


def test_3_other_paths_are_another_cache(pipeline):
    pipeline.cached()

    assert "no cache" in pipeline.restore(cache=["vendor", "other"]).err


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
    assert "warning: gone is not there: it is not cached" in done.err
    assert sorted(pipeline.contents()) == ["vendor/a", "vendor/b/c"]


def test_5_none_of_the_paths_leaves_the_cache_as_it_was(pipeline):
    pipeline.cached()
    before = pipeline.objects()

    done = pipeline.rebuild()

    assert (done.code, done.changed, pipeline.objects()) == (0, [], before)
    assert "none of the paths to cache is there; the cache stays as it was" in done.err


def test_5_nothing_is_left_behind_but_our_own_directory(pipeline):
    pipeline.write(FILES)
    pipeline.rebuild()
    pipeline.restore()
    pipeline.restore(json=True, verify=True)

    assert sorted(path.name for path in pipeline.workspace.iterdir()) == [".s3batch", "vendor"]
    left = sorted(path.suffix for path in (pipeline.workspace / ".s3batch").iterdir())
    assert left == [".db", ".db", ".lock", ".lock", ".state"]


def test_5_our_own_files_are_no_part_of_the_cache(pipeline):
    pipeline = pipeline.on(cache=["."])
    pipeline.write(FILES)

    done = pipeline.rebuild(journal="vendor/our.db")
    assert (done.code, (pipeline.workspace / "vendor" / "our.db").exists()) == (0, True)
    pipeline.next_build()
    pipeline.restore()

    assert sorted(pipeline.contents()) == ["vendor/a", "vendor/b/c"]


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
    assert dict(same.counts) == dict(restored.counts) == {"HeadObject": 1}
    assert dict(forgotten.counts) == {"GetObject": 1}
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


def test_8_new_times_alone_cost_no_chunk(pipeline):
    pipeline.cached()
    pipeline.restore()
    for path in (pipeline.workspace / "vendor").rglob("*"):
        path.touch()

    done = pipeline.rebuild()

    assert [key for _, key in done.changed if "/c/" in key] == []
    assert "nothing but the list of files sent" in done.err


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


def test_9_a_fork_writes_nothing_and_reads(pipeline):
    pipeline.cached()
    fork = pipeline.on(pull_request(12, source="mallory:feat"))

    restored = fork.restore(ttl="1ms")
    pipeline.write({"vendor/new": "n"})
    rebuilt = fork.rebuild()

    assert (restored.code, restored.changed, len(pipeline.contents())) == (0, [], 3)
    assert (rebuilt.code, rebuilt.requests) == (0, [])
    assert "a pull request from elsewhere writes nothing to the cache" in rebuilt.err


def test_9_a_pull_request_marks_no_cache_of_others_as_used(pipeline, monkeypatch):
    pipeline.cached()
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 3)

    of_request = pipeline.on(pull_request(12)).restore(ttl="8s")
    of_branch = pipeline.on(branch("feat")).restore(ttl="8s")

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
    assert "warning: the cache octo/site/main is not signed with this secret: it is left alone" in done.err
    assert "no cache for octo/site/main" in done.err


def test_9_a_cache_signed_with_another_secret_is_a_miss(pipeline):
    pipeline.on({"S3BATCH_CACHE_SECRET": "somebody else's"}).cached()

    assert "not signed with this secret" in pipeline.on(SECRET).restore().err
    assert pipeline.contents() == {}


def test_9_a_signed_cache_moved_to_another_scope_is_a_miss(pipeline):
    pipeline.on(SECRET, pull_request(12)).cached({"vendor/from": "mallory"})
    (key,) = pipeline.objects("v1/k/")
    moved = key.replace("~pr-12", "main")
    name = pipeline.step.bucket.name
    pipeline.step.bucket.client.copy_object(Bucket=name, Key=moved, CopySource={"Bucket": name, "Key": key})

    done = pipeline.on(SECRET).restore()

    assert (done.code, pipeline.contents()) == (0, {})
    assert "not signed with this secret" in done.err


def test_9_a_state_file_that_came_with_the_code_does_not_stand_in_for_a_signature(pipeline):
    pipeline.cached({"vendor/from": "mallory"})  # unsigned, and remembered by a state file
    pipeline.restore()
    state = {path.name: path.read_bytes() for path in (pipeline.workspace / ".s3batch").glob("*.state")}
    pipeline.next_build()
    pipeline.step.files({f".s3batch/{name}": content for name, content in state.items()})

    done = pipeline.on(SECRET).restore()

    assert (done.code, pipeline.contents()) == (0, {})
    assert "not signed with this secret" in done.err


def test_9_old_plugins_caches_are_no_signed_ones(pipeline):
    pipeline.write(FILES)
    pipeline.put("site/site.tar.gz", s3cache(pipeline.workspace, "vendor"))
    pipeline.next_build()

    done = pipeline.on(SECRET).restore()

    assert (done.code, pipeline.contents(), names(done, "GetObject")[1:]) == (0, {}, [])
