"""Filters in a real sync: what they hide is neither sent nor deleted, also by a resume, and as the AWS tools would."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.rig import servers

AWS = Path(os.environ.get("S3BATCH_TEST_AWS", servers.ROOT / ".venv-judges" / "bin" / "aws"))
TREE = {
    ".s3batchignore": b"*.log\n/private/\n",
    "a.html": b"a",
    "a.log": b"log",
    "d/.s3batchignore": b"!keep.log\n*.tmp\n",
    "d/keep.log": b"kept",
    "d/x.tmp": b"tmp",
    "private/key": b"secret",
}


def test_what_ignore_files_hide_is_neither_sent_nor_deleted(make_tree, bucket, run_cli):
    tree = make_tree(TREE)
    hidden = {"site/b.log", "site/private/old", "site/d/y.tmp", "site/.s3batchignore", "site/gone/.s3batchignore"}
    for key in {*hidden, "site/orphan"}:
        bucket.put(key, b"old")

    done = run_cli(["sync", tree, bucket.url("site"), "--delete"])

    assert done.code == 0, done.stderr
    assert bucket.keys() == {"site/a.html", "site/d/keep.log", *hidden}
    assert run_cli(["verify", tree, bucket.url("site")]).code == 0


def test_a_resume_leaves_out_what_an_ignore_file_hides_by_then(make_tree, bucket, run_cli, env):
    tree = make_tree({f"{number:03}.txt": b"x" for number in range(100)})
    bucket.put("site/orphan.tmp")
    bucket.put("site/orphan.txt")
    arguments = ["sync", tree, bucket.url("site"), "--delete"]
    assert run_cli(arguments, env={**env, "S3BATCH_TEST_CRASH_AT": "leased:1"}).code < 0
    assert not {key for key in bucket.keys("site/0") if key > "site/05"}

    (tree / ".s3batchignore").write_text("/05?.txt\n*.tmp\n")
    resumed = run_cli(["resume", "--json"], cwd=tree)

    assert resumed.code == 0, resumed.stderr
    sent = {f"site/{number:03}.txt" for number in range(100) if number // 10 != 5}
    assert bucket.keys() == {*sent, "site/orphan.tmp"}
    assert run_cli(["resume"], cwd=tree).stderr.endswith("nothing to resume: no unfinished job\n")


@pytest.mark.skipif(not AWS.exists(), reason="the AWS command line is not installed: scripts/environment judges")
@pytest.mark.parametrize(
    "flags", [["--exclude", "*", "--include", "d1/*"], ["--exclude", "d1/*", "--exclude", "*.css"]]
)
def test_the_aws_command_line_would_send_and_delete_nothing_with_the_same_flags(make_tree, bucket, run_cli, env, flags):
    tree = make_tree({"a.html": b"a", "d1/x.css": b"x", "d1/deep/y": b"y", "d2/z": b"z"})
    for key in ("site/d1/orphan", "site/other/orphan.css", "site/other/orphan"):
        bucket.put(key)

    done = run_cli(["sync", tree, bucket.url("site"), "--delete", *flags])
    judged = subprocess.run(
        [AWS, "s3", "sync", "--dryrun", "--size-only", "--delete", *flags, str(tree), bucket.url("site")],
        env=env, capture_output=True, text=True, check=True,
    )  # fmt: skip

    assert done.code == 0, done.stderr
    assert judged.stdout == ""


def test_files_and_objects_beyond_a_limit_are_left_alone(make_tree, bucket, run_cli):
    tree = make_tree({"small": b"x", "right": b"x" * 50, "large": b"x" * 500, "old": b"x" * 50, "d/right": b"x" * 50})
    os.utime(tree / "old", (0, 0))
    for key, size in (("small", 2), ("large", 400), ("old", 51), ("orphan-small", 2), ("orphan", 50)):
        bucket.put(f"site/{key}", b"y" * size)
    before = bucket.contents()
    limits = ["--min-size", "10", "--max-size", "100B", "--max-age", "36h"]

    done = run_cli(["sync", tree, bucket.url("site"), "--delete", *limits])

    assert done.code == 0, done.stderr
    del before["site/orphan"]
    assert bucket.contents() == {**before, "site/right": b"x" * 50, "site/d/right": b"x" * 50}
    assert run_cli(["verify", tree, bucket.url("site"), *limits]).code == 0
    assert run_cli(["verify", tree, bucket.url("site")]).code == 1
    old = run_cli(["sync", tree, bucket.url("site"), "--delete", "--min-age", "1h", "--json"])
    assert old.code == 0, old.stderr
    assert {kind: count["done"] for kind, count in old.json["operations"].items() if count["done"]} == {"upload": 1}
    assert bucket.get("site/old") == b"x" * 50
