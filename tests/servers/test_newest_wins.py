"""``--newest-wins N``: an older run sends nothing, also when it is overtaken half-way."""

from __future__ import annotations

import threading

import pytest

from tests.rig import buckets
from tests.rig.faults import Hold, Refuse
from tests.rig.proxy import FaultProxy
from tests.rig.waiting import wait_until

FENCE = "www/.s3batch/fence"


@pytest.fixture(params=["ministack", "moto"])
def store(request, server_named):
    """A bucket on a store with conditional writes."""
    made = buckets.make_bucket(server_named(request.param))
    yield made
    buckets.remove_bucket(made)


@pytest.fixture
def call(run_cli, clean_env, server):
    """A function that runs s3batch against an endpoint in the place of the server."""
    env = clean_env | server.environment()
    return lambda url, *words: run_cli(list(words), env=env | {"AWS_ENDPOINT_URL": url})


def sync(run_cli, clean_env, store, tree, number, *more):
    words = ["sync", tree, store.url("www"), "--newest-wins", number, "--json", *more]
    return run_cli(words, env=clean_env | store.server.environment())


def puts(proxy) -> set[str]:
    return {each.key for each in list(proxy.requests) if each.operation == "PutObject"}


def test_the_fence_rises_and_an_older_run_sends_nothing(run_cli, clean_env, store, make_tree):
    tree = make_tree({"a": b"41"})
    assert sync(run_cli, clean_env, store, tree, "41").code == 0
    assert store.get(FENCE) == b"41\n"
    (tree / "a").write_bytes(b"43")
    assert sync(run_cli, clean_env, store, tree, "43").code == 0
    assert store.get(FENCE) == b"43\n"
    (tree / "a").write_bytes(b"42")
    older = sync(run_cli, clean_env, store, tree, "42", "--delete")
    assert (older.code, older.json["state"], older.json["job"]) == (0, "superseded", None)
    assert older.json["source"] == str(tree)
    assert "run 43 has begun" in older.stderr
    assert store.contents("www/") == {"www/a": b"43", FENCE: b"43\n"}
    assert sync(run_cli, clean_env, store, tree, "43").json["state"] == "done"  # the same build once more
    assert store.get("www/a") == b"42"


def test_a_plan_that_a_newer_run_overtakes_names_its_source(run_cli, clean_env, store, make_tree, tmp_path):
    tree = make_tree({"a": b"41"})
    assert sync(run_cli, clean_env, store, tree, "41", "--plan", tmp_path / "plan").code == 0
    assert sync(run_cli, clean_env, store, tree, "43").code == 0

    ended = run_cli(["apply", tmp_path / "plan", "--json"], env=clean_env | store.server.environment())

    assert (ended.code, ended.json["state"], ended.json["source"]) == (0, "superseded", str(tree))


def test_an_older_run_keeps_nobody_from_resuming_a_newer_one(run_cli, clean_env, store, make_tree):
    tree = make_tree({"a": b"43", "b": b"43"})
    killed = run_cli(
        ["sync", tree, store.url("www"), "--newest-wins", "43", "--workers", "1"],
        env=clean_env | store.server.environment() | {"S3BATCH_TEST_CRASH_AT": "settled:1"},
    )
    assert killed.code < 0
    assert sync(run_cli, clean_env, store, tree, "42").json["state"] == "superseded"
    resumed = run_cli(["resume", "--json"], env=clean_env | store.server.environment(), cwd=tree)
    assert (resumed.code, resumed.json["state"]) == (0, "done"), resumed.stderr


def test_an_unfinished_job_that_a_newer_run_overtook_is_resumed_no_more(run_cli, clean_env, store, make_tree):
    tree = make_tree({"a": b"41", "b": b"41"})
    env = clean_env | store.server.environment()
    killed = run_cli(
        ["sync", tree, store.url("www"), "--newest-wins", "41"], env=env | {"S3BATCH_TEST_CRASH_AT": "added"}
    )
    assert killed.code < 0
    store.put(FENCE, b"42\n")

    first, second = (run_cli(["resume"], env=env, cwd=tree) for _ in range(2))

    assert (first.code, "run 42 has begun" in first.stderr) == (0, True), first.stderr
    assert (second.code, "no unfinished job" in second.stderr) == (0, True), second.stderr
    assert store.keys("www/") == {FENCE}


def test_a_dry_run_only_reads(run_cli, clean_env, store, make_tree):
    tree = make_tree({"a": b"1"})
    assert sync(run_cli, clean_env, store, tree, "7", "--dry-run").code == 0
    assert store.keys() == set()
    store.put(FENCE, b"8\n")
    assert sync(run_cli, clean_env, store, tree, "7", "--dry-run").json["state"] == "superseded"


def test_a_run_is_overtaken_half_way(start_cli, run_cli, clean_env, store, make_tree):
    """A file of the older run is on its way when the newer one begins."""
    tree = make_tree({"big": b"x" * 600_000, "index.html": b"42"})
    store.put("www/orphan", b"stays")
    overtaken = threading.Event()
    with FaultProxy(store.server.url) as proxy:
        proxy.on("PutObject", Hold(overtaken), key="^www/big$")
        slow = start_cli(
            [
                "sync",
                tree,
                store.url("www"),
                "--newest-wins",
                "42",
                "--publish-last",
                "index.html",
                "--delete",
                "--json",
            ],
            env=clean_env | store.server.environment() | {"AWS_ENDPOINT_URL": proxy.url},
        )
        assert wait_until(lambda: "www/big" in puts(proxy))
        store.put(FENCE, b"43\n")
        overtaken.set()
        stdout, stderr = slow.communicate(timeout=60)
    assert slow.returncode == 0, stderr
    assert '"state": "superseded"' in stdout or '"state":"superseded"' in stdout
    assert store.keys("www/") == {"www/big", "www/orphan", FENCE}
    left = run_cli(["resume"], env=clean_env | store.server.environment(), cwd=tree)
    assert (left.code, "nothing to resume" in left.stderr) == (0, True)


def test_an_overtaken_run_overwrites_nothing_of_the_newer_one(start_cli, clean_env, store, make_tree):
    """The newer run has written an object while the older one is about to."""
    tree = make_tree({"a": b"42", "b": b"42"})
    store.put("www/a", b"41")
    overtaken = threading.Event()
    with FaultProxy(store.server.url) as proxy:
        proxy.on("PutObject", Hold(overtaken), key="^www/[ab]$")
        slow = start_cli(
            ["sync", tree, store.url("www"), "--newest-wins", "42", "--json"],
            env=clean_env | store.server.environment() | {"AWS_ENDPOINT_URL": proxy.url},
        )
        assert wait_until(lambda: {"www/a", "www/b"} <= puts(proxy))
        for key in ("www/a", "www/b"):
            store.put(key, b"43")
        store.put(FENCE, b"43\n")
        overtaken.set()
        stdout, stderr = slow.communicate(timeout=60)
    assert slow.returncode == 0, stderr
    assert '"superseded"' in stdout
    assert store.contents("www/") == {"www/a": b"43", "www/b": b"43", FENCE: b"43\n"}


def test_a_write_of_the_older_run_that_lands_on_what_needed_nothing_is_mended(start_cli, clean_env, store, make_tree):
    """The newer run brings back what the bucket holds, and lists it before the write of the older one lands."""
    older, newer = make_tree({"a": b"42"}), make_tree({"a": b"41"}, "newer")
    store.put("www/a", b"41")
    listed = threading.Event()
    env = clean_env | store.server.environment()
    with FaultProxy(store.server.url) as one, FaultProxy(store.server.url) as other:
        one.on("PutObject", Hold(listed), key="^www/a$")
        slow = start_cli(
            ["sync", older, store.url("www"), "--newest-wins", "42"], env=env | {"AWS_ENDPOINT_URL": one.url}
        )
        assert wait_until(lambda: "www/a" in puts(one))
        quick = start_cli(
            ["sync", newer, store.url("www"), "--newest-wins", "43", "--json"],
            env=env | {"AWS_ENDPOINT_URL": other.url, "XDG_STATE_HOME": str(newer.parent / "another machine")},
        )
        assert wait_until(lambda: any(each.operation == "HeadObject" for each in list(other.requests)))
        listed.set()
        for process in (slow, quick):
            _, stderr = process.communicate(timeout=60)
            assert process.returncode == 0, stderr
    assert store.get("www/a") == b"41"


@pytest.mark.parametrize("number", ["x", "-1", "1.5", "9" * 19, "true"])
def test_what_is_no_number_is_refused(run_cli, clean_env, make_tree, server, number):
    tree = make_tree({"a": b"1"})
    refused = run_cli(
        ["sync", tree, "s3://nowhere/www", f"--newest-wins={number}"], env=clean_env | server.environment()
    )
    assert refused.code == 2
    assert "newest_wins" in refused.stderr


def test_a_fence_that_holds_no_number_is_refused(run_cli, clean_env, store, make_tree):
    store.put(FENCE, b"<html>")
    refused = sync(run_cli, clean_env, store, make_tree({"a": b"1"}), "3")
    assert refused.code == 2
    assert store.keys() == {FENCE}


@pytest.mark.parametrize(
    ("method", "refusal", "words"),
    [
        ("PutObject", Refuse(403, "AccessDenied"), ("fence cannot be written", "; allow s3:PutObject for it")),
        ("GetObject", Refuse(403, "AccessDenied"), ("fence cannot be read", "; allow s3:GetObject for it")),
        ("PutObject", Refuse(409, "ConditionalRequestConflict"), ("fence cannot be written", "; run it again")),
        ("PutObject", Refuse(500, "InternalError"), ("fence cannot be written", "; run it again")),
        ("PutObject", Refuse(501, "NotImplemented"), ("needs a store with conditional writes", "; remove newest_wins")),
    ],
)
def test_a_fence_that_is_refused_is_told_with_its_cure(call, make_bucket, make_tree, proxy, method, refusal, words):
    target, tree = make_bucket(), make_tree({"a": b"1"})
    proxy.on(method, refusal, key="fence$")

    refused = call(proxy.url, "sync", tree, target.url("www"), "--newest-wins", "3")

    tries = [each for each in proxy.requests if (each.operation, each.key) == (method, FENCE)]
    assert (refused.code, len(tries) <= 5) == (4, True), refused.stderr
    for each in ("newest_wins", refusal.code, *words):
        assert each in refused.stderr
    assert target.keys() == set()


def test_a_store_that_ignores_conditions_is_refused(run_cli, clean_env, server_named, make_tree):
    server = server_named("rclone")
    made = buckets.make_bucket(server)
    tree = make_tree({"a": b"1"})
    for _ in range(2):
        refused = sync(run_cli, clean_env, made, tree, "3")
        assert refused.code == 4, refused.stderr
        assert "conditional writes" in refused.stderr
        assert made.keys() == set()


def test_true_is_the_number_of_the_build(run_cli, clean_env, store, make_tree):
    tree = make_tree({"a": b"1"})
    step = clean_env | store.server.environment() | {
        "PLUGIN_SOURCE": str(tree), "PLUGIN_BUCKET": store.name, "PLUGIN_TARGET": "www",
        "PLUGIN_ENDPOINT": store.server.url, "PLUGIN_PATH_STYLE": "true", "PLUGIN_NEWEST_WINS": "true", "DRONE": "true",
    }  # fmt: skip
    without = run_cli(["plugin"], env=step)
    assert without.code == 2
    assert "build number" in without.stderr
    assert run_cli(["plugin"], env=step | {"DRONE_BUILD_NUMBER": "7"}).code == 0
    assert store.get(FENCE) == b"7\n"
    build = clean_env | store.server.environment() | {"GITHUB_ACTIONS": "true", "GITHUB_RUN_NUMBER": "8"}
    assert run_cli(["sync", tree, store.url("www"), "--newest-wins", "true"], env=build).code == 0
    assert store.get(FENCE) == b"8\n"
