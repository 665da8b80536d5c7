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


@pytest.mark.parametrize(
    "flags", [["--include", "*.pdf"], ["--exclude", "d/", "--exclude", "a.*"], ["--min-size", "1G"]]
)
def test_filters_that_leave_nothing_are_a_warning_and_a_failure_on_request(make_tree, bucket, run_cli, flags):
    tree = make_tree(TREE)
    bucket.put("site/kept.txt")

    done = run_cli(["sync", tree, bucket.url("site"), "--json", *flags])
    failed = run_cli(["sync", tree, bucket.url("site"), "--fail-on", "empty", *flags])

    assert (done.code, done.json["warnings"]) == (0, ["the filters leave no file of the source"])
    assert failed.code == 1
    assert "the filters left no file, and fail_on says empty" in failed.stderr
    assert bucket.keys() == {"site/kept.txt"}


def test_a_source_without_files_is_no_matter_of_filters(make_tree, bucket, run_cli):
    tree = make_tree({".s3batchignore": b"*"})

    done = run_cli(["sync", tree, bucket.url("site"), "--json", "--fail-on", "empty", "--acl", '{"x/*": "private"}'])

    assert (done.code, done.json["warnings"]) == (0, [])
    assert run_cli(["sync", tree, bucket.url("site"), "--fail-on", "nothing"]).code == 1


@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_a_verify_of_nothing_is_a_failure(make_tree, bucket, run_cli, flags):
    tree = make_tree({"a.txt": b"a"})
    bucket.put("site/b.txt")
    nothing = run_cli(["verify", tree, bucket.url("site"), "--include", "*.pdf", *flags])

    assert nothing.code == 1
    assert "nothing compared" in nothing.stderr
    if flags:
        assert (nothing.json["state"], nothing.json["error"][:16]) == ("failed", "nothing compared")
    assert run_cli(["verify", tree, bucket.url("empty"), "--include", "b*", *flags]).code == 1


def test_a_pattern_that_matches_no_file_is_one_warning(make_tree, bucket, run_cli):
    tree = make_tree({"a.html": b"a", "b.css": b"b"})
    maps = [
        "--cache-control",
        '{"*.html": "no-cache", "*.htm": "no-cache"}',
        "--content-language",
        '{"private/*": "de"}',
    ]

    done = run_cli(["sync", tree, bucket.url("site"), "--json", *maps])

    assert done.code == 0
    assert done.json["warnings"] == [
        "no file matches these patterns: cache_control '*.htm', content_language 'private/*'"
    ]


def test_a_resume_takes_the_same_flags_in_the_same_order_only(make_tree, bucket, run_cli, env):
    tree = make_tree({"a": b"a", "d1/b": b"b", "d1/c": b"c"})
    flags = ["--exclude", "*", "--include", "d1/*"]
    assert run_cli(["sync", tree, bucket.url("site"), *flags], env={**env, "S3BATCH_TEST_CRASH_AT": "added:1"}).code < 0

    refused = run_cli(["resume", *flags[2:], *flags[:2]], cwd=tree)
    resumed = run_cli(["resume", *flags], cwd=tree)

    assert (refused.code, resumed.code) == (2, 0), resumed.stderr
    assert "--include and --exclude are in another order than those of job" in refused.stderr
    assert bucket.keys() == {"site/d1/b", "site/d1/c"}
