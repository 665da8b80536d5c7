"""``sync --plan``, ``plan`` and ``apply``: exactly what was planned, and nothing that has drifted."""

from __future__ import annotations

import hashlib
import json
import os
import stat

import pytest


@pytest.fixture
def scene(bucket, make_tree, run_cli, tmp_path):
    """A tree with a change of each kind, its target, and the plan of a sync between them."""
    tree = make_tree({"same": b"same", "content": b"before", "page.html": b"page", "gone": b"gone", "other": b"other"})
    words = [tree, bucket.url("www"), "--delete", "--redirects", '{"www/from": "/to"}']
    assert run_cli(["sync", *words[:2]], cwd=tree).code == 0
    (tree / "content").write_bytes(b"behind")
    (tree / "new").write_bytes(b"new")
    (tree / "gone").unlink()
    plan = tmp_path / "plan.json"

    def call(*arguments):
        return run_cli([*arguments], cwd=tree)

    made = call("sync", *words, "--cache-control", CACHING, "--plan", plan)
    assert made.code == 0, made.stderr
    return call, bucket, tree, plan


def lines(answer) -> list[str]:
    return sorted(answer.stdout.splitlines())


CACHING = '{".html": "no-cache"}'
PLANNED = [
    "copy www/page.html metadata", "delete www/gone orphan", "redirect www/from redirect", "upload www/content content",
    "upload www/new missing",
]  # fmt: skip


def test_a_plan_sends_nothing_is_shown_and_carried_out_once(scene):
    call, store, tree, plan = scene
    assert store.keys("www/") == {"www/same", "www/content", "www/page.html", "www/gone", "www/other"}
    assert stat.S_IMODE(plan.stat().st_mode) == 0o600
    assert "secret" not in plan.read_text()
    assert lines(call("plan", plan)) == PLANNED
    assert [row["key"] for row in call("plan", plan, "--json").json["plan"]]
    (tree / "later").write_bytes(b"not in the plan")
    applied = call("apply", plan, "--json")
    assert (applied.code, applied.json["state"]) == (0, "done"), applied.stderr
    assert store.contents("www/") == {
        "www/same": b"same", "www/content": b"behind", "www/page.html": b"page", "www/other": b"other", "www/new": b"new",
        "www/from": b"",
    }  # fmt: skip
    assert store.head("www/page.html")["CacheControl"] == "no-cache"
    twice = call("apply", plan)
    assert (twice.code, "has been applied by job" in twice.stderr) == (2, True)
    assert lines(call("sync", tree, store.url("www"), "--delete", "--cache-control", CACHING, "--dry-run")) == [
        "delete www/from orphan", "upload www/later missing",
    ]  # fmt: skip


def failures(answer) -> dict[str, str]:
    assert (answer.code, answer.json["state"]) == (1, "failed"), answer.stderr
    assert {each["code"] for each in answer.json["failures"]} == {"Drifted"}
    return {each["key"]: each["error"] for each in answer.json["failures"]}


def test_what_has_drifted_is_refused_and_the_rest_goes_on(scene):
    call, store, tree, plan = scene
    (tree / "new").unlink()
    store.put("www/content", b"theirs")
    store.put("www/page.html", b"theirs", ContentType="text/html")
    found = failures(call("apply", plan, "--json"))
    assert found == {
        "www/new": "drifted: 'new' is no longer what was planned: No such file or directory", "www/content": "drifted: the object has changed",
        "www/page.html": "drifted: the object has changed",
    }  # fmt: skip
    assert store.contents("www/") == {
        "www/same": b"same", "www/content": b"theirs", "www/page.html": b"theirs", "www/gone": b"gone", "www/other": b"other",
    }  # fmt: skip
    assert failures(call("resume", "--json")) == found
    assert store.get("www/gone") == b"gone"
    (tree / "content").chmod(0o600)  # another ctime, so another file than planned
    assert set(failures(call("resume", "--json"))) == found.keys()


def test_an_object_and_a_file_that_are_new_are_drifts(scene):
    call, store, tree, plan = scene
    store.put("www/new", b"theirs")
    (tree / "content").write_bytes(b"change")
    found = failures(call("apply", plan, "--json"))
    assert found.pop("www/content").startswith("drifted: ")
    assert found == {"www/new": "drifted: there is an object of this key now"}
    assert (store.get("www/new"), store.get("www/content"), store.get("www/gone")) == (b"theirs", b"before", b"gone")
    assert store.head("www/page.html")["CacheControl"] == "no-cache"


@pytest.mark.parametrize("what", ["object", "file"])
def test_a_drifted_delete_keeps_all_deletes_back(scene, what):
    call, store, tree, plan = scene
    if what == "object":
        store.put("www/gone", b"theirs")
    else:
        (tree / "gone").write_bytes(b"back")
    assert list(failures(call("apply", plan, "--json"))) == ["www/gone"]
    assert store.get("www/gone") == (b"theirs" if what == "object" else b"gone")
    assert store.get("www/content") == b"behind"
    assert list(failures(call("resume", "--json"))) == ["www/gone"]
    assert store.get("www/gone") == (b"theirs" if what == "object" else b"gone")


@pytest.mark.parametrize("point", ["begun:1", "settled:1", "deleted:1"])
def test_a_killed_apply_is_resumed_without_the_file(scene, run_cli, env, point):
    call, store, tree, plan = scene
    killed = run_cli(["apply", plan, "--workers", "1"], env=env | {"S3BATCH_TEST_CRASH_AT": point}, cwd=tree)
    assert killed.code < 0
    assert call("apply", plan).code == 2
    plan.unlink()
    resumed = call("resume", "--json")
    assert (resumed.code, resumed.json["command"]) == (0, "apply"), resumed.stderr
    assert store.get("www/content") == b"behind"
    assert store.head("www/page.html")["CacheControl"] == "no-cache"
    assert store.keys("www/") == {"www/same", "www/content", "www/page.html", "www/other", "www/new", "www/from"}


def test_apply_stops_when_its_time_is_over_and_undo_takes_the_same_flag(scene):
    call, _, _, plan = scene
    stopped = call("apply", plan, "--max-duration", "0.001s", "--json")
    assert (stopped.code, stopped.json["state"]) == (124, "interrupted"), stopped.stderr
    assert "there is no job none" in call("undo", "none", "--max-duration", "1m").stderr


def test_a_plan_inside_the_tree_is_no_file_of_it(scene):
    call, store, tree, _ = scene
    for _ in range(2):  # the second time, the first plan is there
        assert call("sync", ".", store.url("in"), "--delete", "--plan", "own.plan").code == 0
    shown = call("plan", "own.plan", "--json").json["plan"]
    assert {row["key"] for row in shown} == {f"in/{path.name}" for path in tree.iterdir()} - {"in/own.plan"}
    assert call("apply", "own.plan").code == 0

    (tree / "orphan").write_bytes(b"orphan")
    for _ in range(2):
        assert call("sync", store.url("in"), tree, "--delete", "--plan", tree / "down.plan").code == 0
    shown = call("plan", "down.plan", "--json").json["plan"]
    assert {(row["operation"], row["key"]) for row in shown} == {("delete", "in/orphan"), ("delete", "in/own.plan")}
    assert call("apply", "down.plan").code == 0
    assert (tree / "down.plan").is_file()


def test_a_damaged_plan_is_refused(scene):
    call, store, _, plan = scene
    text = plan.read_bytes()
    first, *rest = text.splitlines(keepends=True)
    before = store.contents()
    moved = [first, rest[0].replace(b"www/", b"xxx/"), *rest[1:]]
    damages = {
        "cut": text[:-1], "shorter": b"".join([first, *rest[:-1]]), "moved": b"".join(moved), "longer": text + b"x",
        "empty": b"", "foreign": b"{}\n", "one less": b"".join([first, *rest[1:]]),
    }  # fmt: skip
    for what, damaged in damages.items():
        plan.write_bytes(damaged)
        for command in ("plan", "apply"):
            answer = call(command, plan)
            assert (answer.code, "damaged" in answer.stderr) == (2, True), (what, answer)
    for missing in ("nowhere.json", os.devnull, "."):
        assert call("apply", missing).code == 2
    assert store.contents() == before


def forge(plan, changes: dict[int, object], **counts) -> None:
    """Write a plan whose one operation has other fields, with a digest that fits."""
    first, *rows, last = plan.read_bytes().splitlines(keepends=True)
    row = json.loads(rows[0])
    for at, value in changes.items():
        row[at] = value
    body = first + json.dumps(row).encode() + b"\n"
    end = {**json.loads(last), "operations": 1, "blake2b": hashlib.blake2b(body, digest_size=32).hexdigest(), **counts}
    plan.write_bytes(body + json.dumps(end).encode() + b"\n")


PLANTED = [
    ({0: "upload", 1: "www/x", 3: "../../secret"}, {}, "not below the source"),
    ({0: "upload", 1: "else/new", 3: "new"}, {}, "the key of 'new' is not"),
    ({0: "delete", 1: "else/where", 3: ""}, {}, "does not delete"),
    ({0: "delete", 1: "www/.s3batch/fence", 3: ""}, {}, "keeps"),
    ({4: 1 << 70}, {}, "a line is no operation"),
    ({}, {"files": "many"}, "its last line"),
]


@pytest.mark.parametrize(("changes", "counts", "words"), PLANTED)
def test_a_planted_operation_is_refused(scene, changes, counts, words):
    """No operation of a forged plan leads out of source or target, and none is taken for a fault of s3batch."""
    call, store, _, plan = scene
    before = store.contents()
    forge(plan, changes, **counts)
    answer = call("apply", plan)
    assert (answer.code, words in answer.stderr) == (2, True), answer
    assert store.contents() == before


def test_a_file_older_than_1970_is_planned_and_sent(scene):
    call, store, tree, plan = scene
    os.utime(tree / "new", ns=(-1, -(10**18)))
    assert call("sync", tree, store.url("www"), "--plan", plan).code == 0
    assert "upload www/new missing" in lines(call("plan", plan))
    applied = call("apply", plan)
    assert (applied.code, store.get("www/new")) == (0, b"new"), applied.stderr


def test_bad_input(scene, tmp_path):
    call, store, tree, plan = scene
    assert call("apply").code == 2
    assert call("plan").code == 2
    assert call("apply", plan, "--dry-run").code == 2
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    for strange in (fifo, tmp_path):
        refused = call("sync", tree, store.url("www"), "--plan", strange)
        assert (refused.code, "no regular file" in refused.stderr) == (2, True)
    assert stat.S_ISFIFO(fifo.stat().st_mode)
    nowhere = call("sync", tree, store.url("www"), "--plan", tmp_path / "no" / "plan")
    assert (nowhere.code, "cannot be written" in nowhere.stderr) == (2, True)


def test_no_plan_is_saved_of_a_run_that_fails(scene):
    call, store, tree, plan = scene
    before = plan.read_bytes()
    os.symlink("nowhere", tree / "broken")
    failed = call("sync", tree, store.url("www"), "--plan", plan)
    assert (failed.code, "no plan was saved" in failed.stderr) == (1, True)
    assert plan.read_bytes() == before
    assert [each for each in plan.parent.iterdir() if ".new-" in each.name] == []


def test_a_delete_that_an_ignore_file_hides_by_now_has_drifted(scene):
    call, store, tree, plan = scene
    (tree / ".s3batchignore").write_text("gone\n")
    refused = call("apply", plan, "--json")
    assert failures(refused) == {"www/gone": "drifted: an ignore file leaves it out by now"}
    assert store.get("www/content") == b"behind"
    assert store.keys("www/gone") == {"www/gone"}


def test_a_plan_that_another_user_may_have_written_is_shown_and_never_applied(scene, tmp_path):
    call, store, _, plan = scene
    before = store.contents()
    link = tmp_path / "link.plan"
    link.symlink_to(plan)
    refused = {"is a symbolic link": call("apply", link)}
    plan.chmod(0o666)
    refused["can be written by others"] = call("apply", plan)
    assert lines(call("plan", plan)) == PLANNED
    if os.geteuid() == 0:
        plan.chmod(0o600)
        os.chown(plan, 1234, -1)
        refused["belongs to another user"] = call("apply", plan)
    for words, answer in refused.items():
        assert (answer.code, words in answer.stderr) == (3, True), answer.stderr
    assert store.contents() == before


def test_a_backup_without_its_bucket_is_named_before_anything_is_sent(bucket, make_tree, run_cli):
    bucket.put("www/a", b"old")
    tree = make_tree({"a": b"new!"})
    refused = run_cli(["sync", tree, bucket.url("www"), "--backup", "s3://no-such-bucket-at-all/kept"], cwd=tree)
    assert refused.code == 4
    assert "backup s3://no-such-bucket-at-all/kept (from --backup)" in refused.stderr
    assert "does not exist" in refused.stderr
    assert bucket.contents() == {"www/a": b"old"}


def test_a_redirect_elsewhere_in_the_bucket_is_pinned_too(scene):
    call, store, tree, plan = scene
    store.put("go", b"", WebsiteRedirectLocation="/old")
    words = [tree, store.url("www"), "--redirects", '{"go": "/new", "came": "/new"}', "--plan", plan]
    assert call("sync", *words).code == 0
    store.put("came", b"theirs")
    assert failures(call("apply", plan, "--json")) == {"came": "drifted: there is an object of this key now"}
    assert store.head("go")["WebsiteRedirectLocation"] == "/new"
    assert store.get("came") == b"theirs"
