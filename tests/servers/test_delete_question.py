"""``sync --delete`` of more than 100 objects asks first, on a terminal only; nothing is sent before the answer."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import time

import pytest

ORPHANS = 101


@pytest.fixture
def scene(bucket, make_tree):
    """A tree with one new file, and a target with as many orphans as are asked about."""
    for number in range(ORPHANS):
        bucket.put(f"www/old-{number}", b"x")
    return bucket, make_tree({"new.txt": b"new"})


def talk(arguments, env, cwd, answer: str | None) -> tuple[int, str]:
    """Run it at a terminal; return exit code and what the terminal shows. ``None``: the question must not come."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "s3batch", *map(str, arguments)],
        env=env, cwd=cwd, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    shown, until, answered = b"", time.monotonic() + 60, False
    while time.monotonic() < until:
        ready, _, _ = select.select([ours], [], [], 0.2)
        try:
            shown += os.read(ours, 4096) if ready else b""
        except OSError:
            break  # EIO: it has ended
        if b"[y/N]" in shown and not answered:
            answered = True
            assert answer is not None, "it asked"
            os.write(ours, answer.encode())
    os.close(ours)
    return process.wait(30), shown.decode()


@pytest.mark.parametrize("answer", ["n\n", "\n", "\x04"])
def test_no_sends_nothing_and_leaves_nothing_to_resume(scene, env, tmp_path, run_cli, answer):
    bucket, tree = scene
    code, shown = talk(["sync", tree, bucket.url("www"), "--delete"], env, tree, answer)
    assert code == 1, shown
    assert "delete 101 objects below" in shown
    assert len(bucket.keys()) == ORPHANS
    assert not bucket.keys("www/new.txt")
    assert "nothing to resume" in run_cli(["resume"], cwd=tree).stderr


def test_no_leaves_an_unfinished_job_to_resume(scene, env, run_cli):
    bucket, tree = scene
    words = ["sync", tree, bucket.url("www"), "--delete"]
    assert run_cli([*words, "--yes"], env=env | {"S3BATCH_TEST_CRASH_AT": "added"}).code < 0

    for again in (["resume"], words):
        code, shown = talk(again, env, tree, "n\n")
        assert code == 1, shown
        assert "to finish it: s3batch resume" in shown
        assert len(bucket.keys()) == ORPHANS

    resumed = run_cli(["resume"], cwd=tree)
    assert resumed.code == 0, resumed.stderr
    assert bucket.contents() == {"www/new.txt": b"new"}


def test_yes_goes_on(scene, env):
    bucket, tree = scene
    code, shown = talk(["sync", tree, bucket.url("www"), "--delete"], env, tree, "y\n")
    assert code == 0, shown
    assert bucket.contents() == {"www/new.txt": b"new"}


@pytest.mark.parametrize("more", [["--yes"], ["--dry-run"], ["--max-delete", "5"]])
def test_no_question(scene, env, more):
    """With --yes, and where nothing is deleted."""
    bucket, tree = scene
    code, _ = talk(["sync", tree, bucket.url("www"), "--delete", *more], env, tree, None)
    assert code == (1 if "--max-delete" in more else 0)


def test_without_a_terminal_no_question(scene, run_cli):
    bucket, tree = scene
    assert run_cli(["sync", tree, bucket.url("www"), "--delete"]).code == 0
    assert bucket.contents() == {"www/new.txt": b"new"}


def test_few_deletes_are_not_asked_about(bucket, make_tree, env):
    bucket.put("www/old", b"x")
    tree = make_tree({"new.txt": b"new"})
    code, shown = talk(["sync", tree, bucket.url("www"), "--delete"], env, tree, None)
    assert code == 0, shown
    assert bucket.keys() == {"www/new.txt"}
