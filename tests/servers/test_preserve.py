"""``--preserve``: time, mode and owner of files in user metadata, as rclone writes and reads them."""

from __future__ import annotations

import io
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from s3batch.cli import main
from tests.rig import servers
from tests.rig.program import Finished

RCLONE = servers.BIN / "rclone"
NANOSECONDS = 1_600_000_000_123_456_789
PARTS = ("--multipart-threshold", "5MiB", "--part-size", "5MiB")


@pytest.fixture
def sync(env, bucket, tmp_path, make_tree) -> Callable[..., tuple[Path, Finished]]:
    """Sync a tree with ``site/`` in this process, with these flags."""
    tree = make_tree({"a.txt": b"some text", "large.bin": os.urandom(6 << 20)})
    for name in ("a.txt", "large.bin"):
        os.utime(tree / name, ns=(NANOSECONDS, NANOSECONDS))

    def run(*flags: str, command: str = "sync") -> tuple[Path, Finished]:
        out, err = io.StringIO(), io.StringIO()
        state = {"XDG_STATE_HOME": str(tmp_path / "state"), "XDG_CONFIG_HOME": str(tmp_path / "config")}
        arguments = [command, str(tree), bucket.url("site"), "--executor", "inline", "--json", *PARTS, *flags]
        code = main(arguments, {**env, **state}, out, err)
        return tree, Finished(code, out.getvalue(), err.getvalue())

    return run


def done(finished: Finished) -> dict[str, int]:
    """Return how many operations of each kind were done."""
    assert finished.code == 0, finished.stderr
    return {kind: count["done"] for kind, count in finished.json["operations"].items() if count["done"]}


def test_metadata_has_what_is_named_and_follows_the_file(sync, bucket):
    tree, first = sync("--preserve", "mtime,mode,owner", "--metadata", '{"*": {"build": "7"}}')
    info = os.stat(tree / "a.txt")
    owner = {"uid": str(info.st_uid), "gid": str(info.st_gid), "build": "7"}

    assert done(first) == {"upload": 2}
    for key in ("site/a.txt", "site/large.bin"):
        expected = {"mtime": "1600000000.123456789", "mode": f"{info.st_mode:o}", **owner}
        assert bucket.head(key)["Metadata"] == expected

    (tree / "large.bin").chmod(0o600)
    os.utime(tree / "a.txt", ns=(NANOSECONDS, 7_000_000_000))
    _, planned = sync("--preserve", "mtime,mode,owner", "--metadata", '{"*": {"build": "7"}}', "--dry-run")
    _, second = sync("--preserve", "mtime,mode,owner", "--metadata", '{"*": {"build": "7"}}')

    assert {(each["operation"], each["key"]) for each in planned.json["plan"]} == {
        ("copy", "site/a.txt"),
        ("copy", "site/large.bin"),
    }

    assert done(second) == {"copy": 2}
    assert second.json["operations"]["copy"]["bytes"] == 0
    assert bucket.head("site/a.txt")["Metadata"] == {"mtime": "7", "mode": f"{info.st_mode:o}", **owner}
    assert bucket.head("site/large.bin")["Metadata"]["mode"] == "100600"
    assert done(sync("--preserve", "mtime,mode,owner", "--metadata", '{"*": {"build": "7"}}')[1]) == {}


def test_objects_that_were_there_get_the_metadata_and_keep_their_own(sync, bucket):
    tree, _ = sync()
    bucket.put("site/a.txt", b"some text", Metadata={"theirs": "x", "mtime": "5"}, ContentType="text/plain")

    _, second = sync("--preserve", "mtime")

    assert done(second) == {"copy": 2}
    assert bucket.head("site/a.txt")["Metadata"] == {"theirs": "x", "mtime": "1600000000.123456789"}
    os.utime(tree / "a.txt", ns=(0, 0))
    _, third = sync("--preserve", "mtime", command="verify")
    assert third.code == 1
    assert [(each["key"], each["reason"]) for each in third.json["differences"]] == [("site/a.txt", "metadata")]


def test_without_it_another_time_is_no_difference(sync, bucket):
    tree, _ = sync()
    os.utime(tree / "a.txt", ns=(0, 0))

    assert done(sync()[1]) == {}
    assert "mtime" not in bucket.head("site/a.txt")["Metadata"]


def test_a_file_touched_in_the_midst_of_its_upload_gets_its_last_time(make_tree, bucket, run_cli, env):
    tree = make_tree({"large.bin": os.urandom(16 << 20)})
    os.utime(tree / "large.bin", ns=(NANOSECONDS, NANOSECONDS))
    arguments = ["sync", tree, bucket.url("site"), "--preserve", "mtime", "--json", *PARTS]

    killed = run_cli(arguments, env={**env, "S3BATCH_TEST_CRASH_AT": "part-settled:2"})
    os.utime(tree / "large.bin", ns=(NANOSECONDS, 7_000_000_000))
    resumed = run_cli(["resume", "--json"], cwd=tree)

    assert killed.code < 0
    assert resumed.code == 0, resumed.stderr
    assert bucket.head("site/large.bin")["Metadata"] == {"mtime": "7"}
    assert bucket.get("site/large.bin") == (tree / "large.bin").read_bytes()
    assert done(run_cli(arguments)) == {}


@pytest.mark.skipif(not RCLONE.exists(), reason="rclone is not installed: scripts/test installs it")
def test_rclone_reads_the_times_and_would_copy_nothing(sync, bucket, env):
    tree, _ = sync("--preserve", "mtime,mode")
    remote = f":s3,provider=Other,env_auth=true,force_path_style=true:{bucket.name}/site"
    environment = {**env, "RCLONE_S3_ENDPOINT": env["AWS_ENDPOINT_URL"], "RCLONE_CONFIG": os.devnull}

    def rclone(*arguments: str | Path) -> str:
        judged = subprocess.run(
            [RCLONE, *arguments], env=environment, capture_output=True, text=True, check=True, timeout=60
        )
        return judged.stdout + judged.stderr

    listed = json.loads(rclone("lsjson", "--metadata", remote))

    assert {each["ModTime"] for each in listed} == {"2020-09-13T12:26:40.123456789Z"}
    assert {each["Metadata"]["mode"] for each in listed} == {f"{os.stat(tree / 'a.txt').st_mode:o}"}
    assert "There was nothing to transfer" in rclone("sync", "--dry-run", "-v", tree, remote)
