"""What later steps of a build may read of a run, in each CI's own file and form."""

from __future__ import annotations

import os

import pytest

from tests.cli.caches import DRONE, bucket, cached, fake, in_days, shell

__all__ = ["bucket", "cached", "fake", "in_days", "shell"]
GITHUB = {
    "GITHUB_ACTIONS": "true", "GITHUB_REPOSITORY": "octo/site", "GITHUB_REF": "refs/heads/main",
    "GITHUB_EVENT_NAME": "push",
}  # fmt: skip


def outputs(path) -> dict[str, str]:
    return dict(line.split("=", 1) for line in path.read_text().splitlines())


@pytest.fixture
def restored(shell, workspace, tmp_path):
    """``restored(build, "--cache-key", "k")``: the outputs of a restore in that CI."""

    def restore(build: dict[str, str], *more: str, name: str = "GITHUB_OUTPUT") -> dict[str, str]:
        file = tmp_path / "outputs"
        file.unlink(missing_ok=True)
        file.touch()
        done = shell("restore", "--cache", "v", *more, env=build | {name: str(file)})
        assert done.code == 0, done.err
        return outputs(file)

    return restore


def test_on_github_names_have_hyphens(shell, workspace, restored):
    (workspace / "v").mkdir()
    (workspace / "v" / "a").write_bytes(b"A")
    assert shell("rebuild", "--cache", "v", "--cache-key", "lock-1", env=GITHUB).code == 0

    told = restored(GITHUB, "--cache-key", "lock-1")

    assert float(told.pop("cache-seconds")) >= 0
    assert told == {
        "cache-hit": "true", "cache-matched-key": "lock-1", "cache-state": "complete", "cache-files": "1",
        "cache-bytes": "1",
    }  # fmt: skip


def test_a_fallback_is_no_hit_but_names_its_key(shell, workspace, restored):
    (workspace / "v").mkdir()
    (workspace / "v" / "a").write_bytes(b"A")
    assert shell("rebuild", "--cache", "v", "--cache-key", "lock-1", env=GITHUB).code == 0

    told = restored(GITHUB, "--cache-key", "lock-2", "--restore-keys", "lock-")

    assert (told["cache-hit"], told["cache-matched-key"]) == ("false", "lock-1")


def test_a_miss_is_told(restored):
    assert restored(GITHUB) == {"cache-hit": "false"}


def test_on_harness_names_have_underscores(restored):
    assert restored(DRONE, name="DRONE_OUTPUT") == {"cache_hit": "false"}


def test_a_file_of_the_users_own_gets_them_in_any_ci(shell, workspace):
    (workspace / "out").write_text("kept=1\n")

    shell("restore", "--cache", "v", "--output-file", "out", env=DRONE)

    assert outputs(workspace / "out") == {"kept": "1", "cache_hit": "false"}


@pytest.mark.parametrize("made", [os.mkdir, os.mkfifo], ids=["directory", "fifo"])
def test_a_file_that_cannot_be_written_is_a_warning(shell, workspace, made):
    made(workspace / "out")

    done = shell("restore", "--cache", "v", "--output-file", "out", env=DRONE)

    assert done.code == 0
    assert f"the outputs of this step cannot be written to {workspace / 'out'}" in done.err


def test_a_link_in_the_checkout_is_not_written_through(shell, workspace, tmp_path):
    (tmp_path / "precious").write_text("mine\n")
    (workspace / "out").symlink_to(tmp_path / "precious")

    done = shell("restore", "--cache", "v", "--output-file", "out", env=DRONE)

    assert (done.code, "cannot be written" in done.err) == (0, True)
    assert (tmp_path / "precious").read_text() == "mine\n"


def test_a_sync_tells_its_counts(call, fake, tmp_path):
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "a").write_bytes(b"12345")
    (tmp_path / "outputs").touch()
    environment = {
        "AWS_ACCESS_KEY_ID": "FAKES3FAKES3FAKES3AA", "AWS_SECRET_ACCESS_KEY": "a-secret-that-is-none",
        "AWS_ENDPOINT_URL": fake.url, "S3BATCH_EXECUTOR": "inline", "GITHUB_OUTPUT": str(tmp_path / "outputs"),
    }  # fmt: skip

    done = call("sync", str(tmp_path / "tree"), "s3://bucket/p", env=environment | GITHUB)

    assert done.code == 0, done.err
    assert outputs(tmp_path / "outputs") == {
        "uploaded": "1", "copied": "0", "deleted": "0", "unchanged": "0", "failed": "0", "bytes": "5",
    }  # fmt: skip
