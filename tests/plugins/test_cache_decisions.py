"""Decisions 2 and 3 about the cache: what a commit message orders, and which cache is taken. Ids begin with them."""

from __future__ import annotations

import hashlib
import json

import pytest

from s3batch.cache.key_template import go_arch, go_os
from tests.plugins import ci
from tests.plugins.caching import WOODPECKER, Pipeline, branch, md5, names, pull_request

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
        ".s3batch/cache",
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
