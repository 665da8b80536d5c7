"""Programs we did not write look at a target after a sync of ours and must find nothing to do."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.rig import servers

AWS = Path(os.environ.get("S3BATCH_TEST_AWS", servers.ROOT / ".venv-judges" / "bin" / "aws"))
RCLONE = servers.BIN / "rclone"

TREE = {
    "index.html": b"<h1>hello</h1>",
    "empty": b"",
    "deep/er/still/file.txt": b"content\n",
    "names/with space & umlaut äöü + plus %.txt": b"odd",
    "names/quote'\"": b"quotes",
    **{f"many/{number:04}.txt": b"number %d" % number for number in range(300)},
}


@pytest.fixture
def synced(make_tree, bucket, run_cli, env):
    """A tree with a file large enough for parts, and its bucket after a sync."""
    tree = make_tree(TREE)
    (tree / "large.bin").write_bytes(os.urandom(11 << 20))
    arguments = ["--multipart-threshold", "5MiB", "--part-size", "5MiB"]

    done = run_cli(["sync", str(tree), bucket.url("site"), *arguments])

    assert done.code == 0, done.stderr
    return tree, bucket, env


def test_rclone_check_reads_every_byte_and_finds_no_difference(synced):
    tree, bucket, env = synced

    assert_no_difference(tree, bucket, env)


def test_rclone_check_finds_no_difference_after_a_download(synced, run_cli, tmp_path):
    _, bucket, env = synced

    done = run_cli(["sync", bucket.url("site"), "copy", "--multipart-threshold", "5MiB", "--part-size", "5MiB"])

    assert done.code == 0, done.stderr
    assert_no_difference(tmp_path / "copy", bucket, env)


def assert_no_difference(tree, bucket, env) -> None:
    remote = f":s3,provider=Other,env_auth=true,force_path_style=true:{bucket.name}/site"
    environment = {**env, "RCLONE_S3_ENDPOINT": env["AWS_ENDPOINT_URL"], "RCLONE_CONFIG": os.devnull}

    judged = subprocess.run(
        [RCLONE, "check", "--download", str(tree), remote], env=environment, capture_output=True, text=True, check=False
    )

    assert judged.returncode == 0, judged.stderr
    assert "0 differences found" in judged.stderr


@pytest.mark.skipif(not AWS.exists(), reason="the AWS command line is not installed: scripts/environment judges")
def test_the_aws_command_line_would_send_and_delete_nothing(synced):
    tree, bucket, env = synced

    judged = subprocess.run(
        [AWS, "s3", "sync", "--dryrun", "--size-only", "--delete", str(tree), bucket.url("site")],
        env=env, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert judged.returncode == 0, judged.stderr
    assert judged.stdout == ""


@pytest.mark.parametrize("streamed", [False, True], ids=["copied", "streamed"])
def test_judges_find_no_difference_between_two_prefixes(synced, run_cli, make_bucket, server, streamed):
    _, source, env = synced
    target = make_bucket()
    words = ["sync", source.url("site"), target.url("mirror"), "--delete"]
    if streamed:  # the same server by another name is another server
        names = {"S3BATCH_SOURCE_ACCESS_KEY": server.access_key, "S3BATCH_SOURCE_SECRET_KEY": server.secret_key}
        words += ["--source-endpoint-url", server.url.replace("127.0.0.1", "localhost"), "--part-size", "5MiB"]
        words += ["--multipart-threshold", "5MiB"]
        env = env | names

    done = run_cli([*words, "--json"], env=env)

    assert done.code == 0, done.stderr
    assert ("UploadPart" in done.json["requests"], done.json["requests"].get("CopyObject", 0) > 0) == (
        streamed,
        not streamed,
    )
    remote = ":s3,provider=Other,env_auth=true,force_path_style=true:{}".format
    environment = {**env, "RCLONE_S3_ENDPOINT": server.url, "RCLONE_CONFIG": os.devnull}
    sides = [remote(f"{source.name}/site"), remote(f"{target.name}/mirror")]
    judged = subprocess.run(
        [RCLONE, "check", "--download", *sides], env=environment, capture_output=True, text=True, check=False
    )
    assert judged.returncode == 0, judged.stderr
    assert "0 differences found" in judged.stderr
    if AWS.exists():
        command = [AWS, "s3", "sync", "--dryrun", "--size-only", "--delete", source.url("site"), target.url("mirror")]
        judged = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        assert (judged.returncode, judged.stdout) == (0, ""), judged.stderr
