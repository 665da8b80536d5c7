"""``--files-from``: only the files of a list, without walk and listing, and also after a kill."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.rig import program

NOWHERE = "s3://no-such-bucket-0/p"
MANY = {f"d/{number:03}.txt": b"%d" % number for number in range(200)}


@pytest.fixture
def sync(env, bucket, tmp_path) -> Callable[..., Any]:
    """Sync the tree with ``site/``; ``stdin`` is the list."""

    def run(*flags: str | Path, stdin: bytes | None = None, command: str = "sync", crash: str = "") -> program.Finished:
        arguments = [command, tmp_path / "tree", bucket.url("site"), "--json", *flags]
        process = subprocess.run(
            [*program.COMMAND, *map(str, arguments)], env={**env, "S3BATCH_TEST_CRASH_AT": crash}, cwd=tmp_path,
            input=stdin or b"", capture_output=True, timeout=120, check=False,
        )  # fmt: skip
        return program.Finished(process.returncode, process.stdout.decode(), process.stderr.decode())

    return run


def counts(finished: program.Finished) -> dict[str, int]:
    return {kind: count["done"] for kind, count in finished.json["operations"].items() if count["done"]}


def test_only_the_files_of_the_list_are_sent_and_nothing_is_listed(make_tree, bucket, sync, tmp_path):
    tree = make_tree({**MANY, "other": b"x", "a b": b"y"})
    (tmp_path / "list").write_text("d/001.txt\r\n./d/002.txt\n\nd/001.txt\na b\n")
    bucket.put("site/d/002.txt", b"2", ContentType="text/plain; charset=utf-8")
    bucket.put("site/orphan")

    first = sync("--files-from", tmp_path / "list")
    again = sync("--files-from0", "-", stdin=b"d/001.txt\0d/002.txt\0a b\0")
    (tree / "a b").write_bytes(b"z")
    changed = sync("--files-from=-", "-0", stdin=b"d/001.txt\0d/002.txt\0a b\0")

    assert (first.code, first.json["files"], counts(first)) == (0, 3, {"upload": 2}), first.stderr
    assert bucket.contents() == {"site/d/001.txt": b"1", "site/d/002.txt": b"2", "site/a b": b"z", "site/orphan": b""}
    assert (again.code, counts(again), again.json["unchanged"]) == (0, {}, 3), again.stderr
    assert again.json["requests"] == {"HeadObject": 4}
    assert (changed.code, counts(changed)) == (0, {"upload": 1}), changed.stderr
    assert not [name for each in (first, again, changed) for name in each.json["requests"] if name == "ListObjectsV2"]


def test_what_the_list_names_in_vain_is_a_failure_of_its_own(make_tree, bucket, sync):
    make_tree({"a": b"a", "d/b": b"b"})

    done = sync("--files-from", "-", stdin=b"gone\nd\na\n")

    vain = sync("--files-from", "-", stdin=b"gone\n")
    none = sync("--files-from", "-", stdin=b"\n")

    assert done.code == 1
    assert (vain.code, vain.json["warnings"]) == (1, [])
    assert (none.code, none.json["warnings"]) == (0, ["files_from names no file that the job takes"])
    assert bucket.keys() == {"site/a"}
    assert {(each["path"], each["error"]) for each in done.json["failures"]} == {
        ("gone", "it does not exist, and the list names it"),
        ("d", "it is a directory; a list names files only"),
    }


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--files-from", "-", "--delete"], "delete cannot be 'true' (from --delete)"),
        (["--files-from", "-", "--delete", "--plan", "p"], "delete cannot be 'true' (from --delete)"),
        (["--files-from", "-", "--files-from0", "-"], "give files_from or files_from0"),
        (["--files-from", "nowhere"], "files_from cannot be 'nowhere' (from --files-from); name a file of paths"),
        (["--files-from", "-"], "its line 2 is '../x'; write paths relative to the source"),
    ],
)
def test_bad_input_is_exit_code_2_before_any_request(make_tree, bucket, sync, flags, words):
    make_tree({"a": b"a"})

    done = sync(*flags, stdin=b"a\n../x\n")

    assert done.code == 2
    assert words in done.stderr
    assert not bucket.keys()


def test_a_resume_has_the_list_though_stdin_is_gone(make_tree, bucket, sync, run_cli):
    tree = make_tree({**MANY, "other": b"x"})
    listed = [*sorted(MANY)[:150], "gone"]

    killed = sync("--files-from", "-", stdin="\n".join(listed).encode(), crash="settled:2")
    early = len(bucket.keys())
    resumed = run_cli(["resume", "--json"], cwd=tree)

    assert killed.code < 0
    assert early < 150
    assert (resumed.code, [each["path"] for each in resumed.json["failures"]]) == (1, ["gone"]), resumed.stderr
    assert bucket.keys() == {f"site/{path}" for path in listed[:-1]}


def test_dry_run_and_verify_are_about_the_list_alone(make_tree, bucket, sync):
    make_tree({"a": b"a", "b": b"b", "c": b"c"})
    bucket.put("site/a", b"a")
    bucket.put("site/b", b"B")
    bucket.put("site/extra")

    planned = sync("--files-from", "-", "--dry-run", stdin=b"a\nb\nc\n")
    verified = sync("--files-from", "-", command="verify", stdin=b"a\nb\n")

    assert {(each["operation"], each["key"], each["reason"]) for each in planned.json["plan"]} == {
        ("upload", "site/b", "content"),
        ("upload", "site/c", "missing"),
    }
    assert verified.code == 1
    assert [(each["what"], each["key"]) for each in verified.json["differences"]] == [("different", "site/b")]
    assert sync("--files-from", "-", command="verify", stdin=b"a\n").code == 0
    assert bucket.get("site/b") == b"B"


def test_a_dry_run_has_its_list_though_an_unfinished_job_has_the_same(make_tree, bucket, sync, tmp_path):
    tree = make_tree({"a": b"a"})
    unfinished = sync("--files-from", "-", stdin=b"a\ngone\n")
    (tree / "gone").write_bytes(b"here by now")

    planned = sync("--files-from", "-", "--dry-run", stdin=b"a\ngone\n")
    saved = sync("--files-from", "-", "--plan", tmp_path / "plan", stdin=b"a\ngone\n")

    assert (unfinished.code, planned.code, saved.code) == (1, 0, 0), saved.stderr
    assert [each["key"] for each in planned.json["plan"]] == ["site/gone"]
    assert '"site/gone"' in (tmp_path / "plan").read_text()


@pytest.mark.parametrize(
    ("source", "target"),
    [
        pytest.param("tree", NOWHERE, id="upload"),
        pytest.param(NOWHERE, "out", id="download"),
        pytest.param(NOWHERE, "{bucket}", id="transfer: source"),
        pytest.param("{bucket}", NOWHERE, id="transfer: target"),
    ],
)
@pytest.mark.parametrize("command", ["sync", "verify"])
def test_a_bucket_that_is_not_there_ends_with_4_and_leaves_nothing(
    make_tree, bucket, run_cli, tmp_path, command, source, target
):
    make_tree({"a": b"a", "b": b"b"})
    bucket.put("site/a", b"a")
    (tmp_path / "list").write_text("a\nb\n")
    places = [word.format(bucket=bucket.url("site")) for word in (source, target)]

    done = run_cli([command, *places, "--files-from", "list", "--json"], cwd=tmp_path)

    assert done.code == 4, done.stderr
    assert "bucket 'no-such-bucket-0' at " in done.json["error"]
    assert "s3batch resume" not in done.stderr
    assert not sum(count["planned"] for count in done.json.get("operations", {}).values())


def test_an_object_that_someone_else_has_written_is_compared(make_tree, bucket, sync):
    tree = make_tree({"a": b"a", "b": b"b"})
    assert sync("--files-from", "-", stdin=b"a\nb\n").code == 0
    bucket.put("site/a", b"X")
    bucket.client.delete_object(Bucket=bucket.name, Key="site/b")

    assert counts(sync("--files-from", "-", stdin=b"a\nb\n")) == {"upload": 2}
    assert bucket.contents() == {f"site/{name}": (tree / name).read_bytes() for name in os.listdir(tree)}


def test_a_plan_of_a_list_has_its_files_only_and_names_the_state_of_each_object(make_tree, bucket, sync, run_cli):
    tree = make_tree({"a": b"a", "b": b"b", "c": b"c", "d": b"d", "e": b"e", "other": b"x"})
    for key, body in {"a": b"a", "b": b"B", "d": b"D", "orphan": b"o"}.items():
        bucket.put(f"site/{key}", body, ContentType="application/octet-stream")
    plan = tree.parent / "release.plan"

    def call(*words):
        return run_cli([*words], cwd=tree)

    planned = sync("--files-from", "-", "--plan", plan, stdin=b"a\nb\nc\nd\ne\n")
    shown = call("plan", plan)
    (tree / "other").write_bytes(b"changed")
    bucket.put("site/d", b"theirs")
    bucket.put("site/e", b"theirs")
    applied = call("apply", plan, "--json")

    assert planned.code == 0, planned.stderr
    assert sorted(shown.stdout.splitlines()) == [
        "upload site/b content", "upload site/c missing", "upload site/d content", "upload site/e missing",
    ]  # fmt: skip
    assert {each["key"]: each["error"] for each in applied.json["failures"]} == {
        "site/d": "drifted: the object has changed", "site/e": "drifted: there is an object of this key now",
    }  # fmt: skip
    assert (applied.code, applied.json["command"]) == (1, "apply")
    assert bucket.contents() == {
        "site/a": b"a", "site/b": b"b", "site/c": b"c", "site/d": b"theirs", "site/e": b"theirs", "site/orphan": b"o",
    }  # fmt: skip
    assert not [name for each in (planned, applied) for name in each.json["requests"] if name == "ListObjectsV2"]


def test_a_killed_apply_of_a_list_is_resumed_without_list_and_plan(make_tree, bucket, sync, run_cli, env):
    tree = make_tree({**MANY, "other": b"x"})
    plan = tree.parent / "release.plan"
    assert sync("--files-from", "-", "--plan", plan, stdin="\n".join(sorted(MANY)[:50]).encode()).code == 0
    crash = env | {"S3BATCH_TEST_CRASH_AT": "settled:1"}

    killed = run_cli(["apply", plan, "--workers", "1", "--max-concurrency", "4"], env=crash, cwd=tree)
    plan.unlink()
    resumed = run_cli(["resume", "--json"], cwd=tree)

    assert killed.code < 0
    assert (resumed.code, resumed.json["command"]) == (0, "apply"), resumed.stderr
    assert bucket.keys() == {f"site/{path}" for path in sorted(MANY)[:50]}


def test_no_plan_is_saved_of_a_list_that_names_a_file_in_vain(make_tree, bucket, sync):
    tree = make_tree({"a": b"a"})

    planned = sync("--files-from", "-", "--plan", tree.parent / "release.plan", stdin=b"a\ngone\n")

    assert (planned.code, [each["path"] for each in planned.json["failures"]]) == (1, ["gone"])
    assert not (tree.parent / "release.plan").exists()
