"""Renamed files: the store copies, nothing is sent, and the old object goes with the orphans."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

from tests.rig import program

PARTS = ("--multipart-threshold", "5MiB", "--part-size", "5MiB", "--workers", "1")


@pytest.fixture
def sync(run_cli, bucket, tmp_path, env) -> Callable[..., Any]:
    """Sync the tree with ``site/`` and delete what has no file."""

    def run(*flags: str, command: str = "sync", crash: str = "") -> program.Finished:
        where = [tmp_path / "tree", bucket.url("site")] if command != "resume" else []
        more = ["--delete", *PARTS] if command == "sync" else []
        environment = {**env, "S3BATCH_TEST_CRASH_AT": crash}
        return run_cli([command, *where, "--json", *more, *flags], env=environment, cwd=tmp_path / "tree")

    return run


def counts(finished: program.Finished) -> dict[str, int]:
    assert finished.code == 0, finished.stderr
    return {kind: count["done"] for kind, count in finished.json["operations"].items() if count["done"]}


def sent(finished: program.Finished) -> int:
    return sum(count["bytes"] for count in finished.json["operations"].values())


def holds(bucket, tree) -> bool:
    return bucket.contents("site/") == {
        f"site/{path.relative_to(tree)}": path.read_bytes() for path in tree.rglob("*") if path.is_file()
    }


@pytest.mark.parametrize("fresh", [False, True], ids=["with its journal", "with the listing alone"])
def test_a_renamed_file_is_copied_and_its_orphan_deleted(make_tree, bucket, sync, fresh, tmp_path):
    tree = make_tree({"a.html": b"<h1>a</h1>", "d/b.css": b"b {}" * 50, "d/c.css": b"c {}" * 50, "stays": b"x"})
    counts(sync("--cache-control", "no-cache"))
    (tree / "a.html").rename(tree / "new.txt")
    (tree / "d").rename(tree / "e")
    (tree / "e/new").write_bytes(b"<h1>b</h1>")  # as large as a.html
    flags = ["--cache-control", "no-cache", *(["--journal", str(tmp_path / "other.db")] if fresh else [])]

    planned = sync("--dry-run", *flags)
    renamed = sync(*flags)

    assert {(each["operation"], each["key"], each["reason"]) for each in planned.json["plan"]} == {
        ("copy", "site/new.txt", "renamed"), ("copy", "site/e/b.css", "renamed"), ("copy", "site/e/c.css", "renamed"),
        ("upload", "site/e/new", "missing"),
        *(("delete", f"site/{key}", "orphan") for key in ("a.html", "d/b.css", "d/c.css")),
    }  # fmt: skip
    assert counts(renamed) == {"upload": 1, "copy": 3, "delete": 3}
    assert sent(renamed) == 10
    assert holds(bucket, tree)
    head = bucket.head("site/new.txt")
    assert (head["ContentType"], head["CacheControl"]) == ("text/plain; charset=utf-8", "no-cache")
    assert counts(sync(*flags)) == {}
    assert sync("--cache-control", "no-cache", command="verify").code == 0


def test_a_large_file_that_was_sent_in_parts_is_copied_too(make_tree, bucket, sync):
    tree = make_tree({"large.bin": os.urandom(6 << 20)})
    counts(sync())
    (tree / "large.bin").rename(tree / "moved.bin")

    renamed = sync()

    assert (counts(renamed), sent(renamed)) == ({"copy": 1, "delete": 1}, 0)
    assert holds(bucket, tree)


def test_without_delete_a_file_is_sent(make_tree, bucket, sync, run_cli):
    tree = make_tree({"a": b"some text"})
    counts(sync())
    (tree / "a").rename(tree / "b")

    assert counts(run_cli(["sync", tree, bucket.url("site"), "--json"])) == {"upload": 1}
    assert bucket.keys() == {"site/a", "site/b"}


def test_an_object_that_someone_else_writes_meanwhile_is_not_copied(make_tree, bucket, sync):
    tree = make_tree({"a": b"some text", "b": b"other"})
    counts(sync())
    (tree / "a").rename(tree / "c")
    assert sync(crash="added:1").code < 0  # planned, and nothing done
    bucket.put("site/a", b"SOME TEXT")

    resumed = sync(command="resume")

    assert counts(resumed)["upload"] == 1
    assert bucket.get("site/c") == b"some text"


@pytest.mark.parametrize("crash", ["stored:1", "stored:3", "settled:1", "deleting:1", "deleted:1"])
def test_a_kill_at_any_moment_loses_nothing(make_tree, bucket, sync, crash):
    tree = make_tree({f"d/{number}": b"content of %d" % number for number in range(10, 30)})
    counts(sync())
    (tree / "d").rename(tree / "e")

    killed = sync(crash=crash)
    there = bucket.contents("site/")
    resumed = sync(command="resume")

    assert killed.code < 0 or crash.startswith("stored")  # a worker that dies is replaced
    for number in range(10, 30):
        assert b"content of %d" % number in there.values()
    assert resumed.code == 0, resumed.stderr
    assert holds(bucket, tree)
    assert bucket.keys() == {f"site/e/{number}" for number in range(10, 30)}


def test_a_rename_is_undone_with_its_job(make_tree, bucket, sync, run_cli):
    tree = make_tree({"a": b"some text", "b": b"other"})
    counts(sync())
    (tree / "a").rename(tree / "c")
    renamed = sync("--backup", bucket.url("backup"))

    undone = run_cli(["undo", renamed.json["job"], "--json"], cwd=tree)

    assert counts(renamed) == {"copy": 1, "delete": 1}
    assert undone.code == 0, undone.stderr
    assert bucket.contents("site/") == {"site/a": b"some text", "site/b": b"other"}
