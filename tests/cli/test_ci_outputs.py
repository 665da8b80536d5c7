"""What later steps of a build may read of a run, in each CI's own file and form."""

from __future__ import annotations

import base64
import json
import os
import re
from pathlib import Path

import pytest

from tests.cli.caches import DRONE, bucket, cached, fake, in_days, shell
from tests.rig.fake_s3 import ACCESS_KEY, SECRET_KEY

__all__ = ["bucket", "cached", "fake", "in_days", "shell"]
DOCS = Path(__file__).parents[2] / "docs"
GITHUB = {
    "GITHUB_ACTIONS": "true", "GITHUB_REPOSITORY": "octo/site", "GITHUB_REF": "refs/heads/main",
    "GITHUB_EVENT_NAME": "push",
}  # fmt: skip


def outputs(path) -> dict[str, str]:
    return dict(line.split("=", 1) for line in path.read_text().splitlines())


MISS = {
    "cache-hit": "false", "cache-matched-key": "", "cache-state": "none", "cache-files": "0", "cache-bytes": "0",
    "cache-seconds": "0",
}  # fmt: skip


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
    assert restored(GITHUB) == MISS


def test_on_harness_names_have_underscores(restored):
    assert restored(DRONE, name="DRONE_OUTPUT") == {name.replace("-", "_"): value for name, value in MISS.items()}


def test_a_file_of_the_users_own_gets_them_in_any_ci(shell, workspace):
    (workspace / "out").write_text("kept=1\n")

    shell("restore", "--cache", "v", "--output-file", "out", env=DRONE)

    assert outputs(workspace / "out") == {
        "kept": "1",
        **{name.replace("-", "_"): value for name, value in MISS.items()},
    }


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


@pytest.fixture
def synced(call, fake, workspace, tmp_path):
    """``synced(GITHUB_STEP_SUMMARY=...)``: a sync of one file in a CI with these variables."""
    (workspace / "src").mkdir()
    (workspace / "src" / "a|b.txt").write_text("a")

    def sync(**env: str):
        keys = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY, "AWS_REGION": "us-east-1"}
        return call("sync", "src", "s3://b/site", "--endpoint-url", fake.url, env=keys | env)

    return sync


def test_the_summary_of_a_step_is_appended(synced, tmp_path):
    (tmp_path / "summary").write_text("before\n")

    assert synced(GITHUB_STEP_SUMMARY=str(tmp_path / "summary"), GITHUB_ACTIONS="true").code == 0
    assert synced(GITHUB_STEP_SUMMARY=str(tmp_path / "summary"), GITHUB_ACTIONS="true").code == 0

    text = (tmp_path / "summary").read_text()
    assert text.startswith("before\n### s3batch sync: done\n")
    assert text.count("### s3batch sync: done") == 2


def test_drone_gets_a_card(synced, tmp_path):
    assert synced(DRONE_CARD_PATH=str(tmp_path / "card"), DRONE="true").code == 0

    card = json.loads((tmp_path / "card").read_text())
    assert set(card) == {"schema", "data"}
    assert (card["data"]["state"], card["data"]["operations"]) == ("done", "1 upload")
    names = set(re.findall(r"\$\{(\w+)", (DOCS / "drone-card.json").read_text()))
    assert names == set(card["data"])
    assert card["schema"].endswith("/docs/drone-card.json")


def test_drones_card_on_stdout_is_one_line_with_an_escape_code(synced, capfd):
    assert synced(DRONE_CARD_PATH="/dev/stdout", DRONE="true").code == 0

    (encoded,) = re.findall("\x1b]1338;([A-Za-z0-9+/=]+)\x1b]0m\n", capfd.readouterr().out)
    assert json.loads(base64.b64decode(encoded))["data"]["state"] == "done"


@pytest.mark.parametrize(("path", "ci"), [("GITHUB_STEP_SUMMARY", "GITHUB_ACTIONS"), ("DRONE_CARD_PATH", "DRONE")])
def test_a_page_that_is_a_pipe_holds_no_step_up(synced, tmp_path, path, ci):
    os.mkfifo(tmp_path / "page")

    ran = synced(**{path: str(tmp_path / "page"), ci: "true"})

    assert (ran.code, ran.err.count("cannot be written: No such device or address")) == (0, 1)


def test_a_card_replaces_the_one_before(synced, tmp_path):
    (tmp_path / "card").write_text("x" * 10_000)

    assert synced(DRONE_CARD_PATH=str(tmp_path / "card"), DRONE="true").code == 0

    assert json.loads((tmp_path / "card").read_text())["data"]["state"] == "done"


def test_a_page_that_cannot_be_written_is_a_warning(synced, tmp_path):
    ran = synced(GITHUB_STEP_SUMMARY=str(tmp_path), DRONE_CARD_PATH=str(tmp_path), GITHUB_ACTIONS="true")

    assert (ran.code, ran.err.count("cannot be written: Is a directory")) == (0, 1)
