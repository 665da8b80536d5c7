"""What lies in the place of our own files, or of files that hold settings, ends a command in one sentence."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.cli.test_journal_trust import KEYS, QUICK, plant
from tests.rig import program
from tests.rig.fake_s3 import FakeS3


@pytest.fixture
def store():
    with FakeS3() as fake:
        yield fake


def odd(path: Path, what: str) -> Path:
    """Make something that is no file of settings and no journal."""
    if what == "a pipe":
        os.mkfifo(path)
    elif what == "a directory":
        path.mkdir()
    elif what == "a large file":
        path.write_bytes(b"# " + b"x" * (1 << 20))
    elif what == "a device":
        return Path("/dev/zero")
    return path


@pytest.mark.parametrize("what", ["a pipe", "a directory", "a large file", "a device"])
@pytest.mark.parametrize("how", ["--env-file", "--config", "S3BATCH_ENV_FILE", "S3BATCH_CONFIG", "PLUGIN_ENV_FILE"])
def test_a_file_of_settings_that_is_none_is_refused(call, workspace, what, how):
    path = odd(workspace / "odd", what)
    env = {} if how.startswith("--") else {how: str(path)}
    command = ["plugin"] if how.startswith("PLUGIN") else ["sync", ".", "s3://b"]

    ran = call(*command, *([how, str(path)] if how.startswith("--") else []), env=env)

    assert ran.code == 2
    assert f"{path}" in ran.err
    assert "cannot be read: it " in ran.err


@pytest.mark.parametrize("what", ["a pipe", "a directory", "a device"])
@pytest.mark.parametrize("place", ["journal", "lock"])
@pytest.mark.parametrize(
    "command",
    [["sync", "tree", "s3://b"], ["resume"], ["jobs", "list"], ["jobs", "show"], ["jobs", "prune"]],
    ids=" ".join,
)
def test_a_journal_or_lock_that_is_none_is_refused_and_stays(call, workspace, store, what, place, command):
    if place == "lock" and what == "a device":
        pytest.skip("no device has such a name")
    (workspace / "tree").mkdir()
    journal = workspace / "x.db"
    if place == "lock":
        plant(journal, store.url, workspace / "tree")
        (workspace / "x.db.lock").unlink(missing_ok=True)
    path = odd(Path(f"{journal}.lock") if place == "lock" else journal, what)
    before = os.lstat(path)

    named = path if what == "a device" else journal
    ran = call(*command, "--journal", str(named), env={**KEYS, **QUICK, "S3BATCH_ENDPOINT_URL": store.url})

    assert ran.code == 3, ran.err
    assert len(ran.err.splitlines()) == 1
    assert "so s3batch does not use it" in ran.err
    after = os.lstat(path)
    assert (after.st_mode, after.st_ino, after.st_rdev) == (before.st_mode, before.st_ino, before.st_rdev)


def test_a_workspace_whose_own_directory_is_a_link_is_refused_by_a_sync_step(call, workspace, store, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (workspace / ".s3batch").symlink_to(tmp_path / "elsewhere")
    (workspace / "dist").mkdir()
    keys = {name.replace("S3BATCH", "PLUGIN"): text for name, text in KEYS.items()}
    env = {**keys, **QUICK, "PLUGIN_BUCKET": "b", "PLUGIN_ENDPOINT": store.url, "PLUGIN_SOURCE": "dist"}

    ran = call("plugin", env=env)

    assert (ran.code, store.requests, os.listdir(tmp_path / "elsewhere")) == (3, [], [])
    listed = call("jobs", "list")
    assert listed.code == 0
    assert "is a symbolic link, not a directory" in listed.err


@pytest.mark.parametrize("what", ["a pipe", "a directory"])
@pytest.mark.parametrize("place", ["journal", "journal lock", "target lock"])
def test_what_lies_in_the_workspaces_own_directory_is_refused_by_a_sync_step(call, workspace, store, what, place):
    (workspace / "dist").mkdir()
    keys = {name.replace("S3BATCH", "PLUGIN"): text for name, text in KEYS.items()}
    env = {**keys, **QUICK, "PLUGIN_BUCKET": "b", "PLUGIN_ENDPOINT": store.url, "PLUGIN_SOURCE": "dist"}
    assert call("plugin", env=env).code == 0
    ends = {"journal": ".db", "journal lock": ".db.lock", "target lock": ".lock"}
    names = [each for each in (workspace / ".s3batch").iterdir() if each.name.endswith(ends[place])]
    (path,) = (each for each in names if each.name.startswith("target-") == (place == "target lock"))
    path.unlink()
    odd(path, what)
    store.forget()

    ran = call("plugin", env=env)

    assert (ran.code, store.requests) == (3, []), ran.err
    assert f"{path} is " in ran.err


@pytest.fixture
def outside():
    """A directory that a user without privileges may enter."""
    path = Path(tempfile.mkdtemp(prefix="tests-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


def run_as_nobody(words: list[str], environment: dict[str, str], cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run the program as a user that the system does not know."""
    script = (
        "import os, sys; sys.path.insert(0, sys.argv.pop(1)); import argparse, encodings.idna, pkgutil, importlib\n"
        "import boto3, s3batch\n"
        "for each in pkgutil.walk_packages(s3batch.__path__, 's3batch.'):\n"  # Python may be root's own
        "    each.name.endswith('__main__') or importlib.import_module(each.name)\n"
        "os.setgroups([]); os.setgid(54321); os.setuid(54321); sys.exit(s3batch.cli.main())"
    )
    return subprocess.run(
        [sys.executable, "-c", script, str(program.ROOT), *words],
        env=environment, cwd=cwd, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
@pytest.mark.parametrize("home", [None, "a directory of root", "/nonexistent", "."])
def test_a_user_without_a_name_or_a_home_works(outside, store, home):
    (outside / "home").mkdir()
    (outside / "tmp").mkdir()
    (outside / "tmp").chmod(0o1777)
    (outside / "tree").mkdir()
    (outside / "tree" / "a").write_text("a")
    environment = program.clean_environment(outside / "home") | KEYS | QUICK | {"TMPDIR": str(outside / "tmp")}
    for name in ("HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME", "PYTHONPATH"):
        environment.pop(name)
    if home:
        environment["HOME"] = str(outside / "home") if home.startswith("a ") else home
    words = ["sync", "tree", "s3://b", "--endpoint-url", store.url]

    ran = run_as_nobody(words, environment, outside)

    assert ran.returncode == 0, ran.stderr
    assert "Traceback" not in ran.stderr
    assert f"so the journal is in {outside}/tmp/s3batch-54321" in ran.stderr
    assert sorted(os.listdir(outside)) == ["home", "tmp", "tree"]
    assert (outside / "tmp" / "s3batch-54321").stat().st_mode & 0o777 == 0o700


def test_a_home_that_cannot_be_made_names_the_flag_that_helps(call, workspace, store):
    ran = call("sync", ".", "s3://b", env={**KEYS, **QUICK, "XDG_STATE_HOME": "/proc/nowhere", "TMPDIR": "/proc"})

    assert ran.code == 3, ran.err
    assert "name a journal with --journal" in ran.err


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
@pytest.mark.parametrize("step", ["sync", "cache"])
def test_a_step_after_one_of_root_keeps_its_journal_elsewhere_and_says_so(outside, store, step):
    (outside / "work" / "dist").mkdir(parents=True)
    (outside / "work" / "dist" / "a").write_text("a")
    (outside / "work").chmod(0o777)
    (outside / "work" / ".s3batch").mkdir(mode=0o700)
    plant(outside / "work" / ".s3batch" / "sync-0.db", store.url, outside / "work")
    before = sorted(os.listdir(outside / "work" / ".s3batch"))
    (outside / "tmp").mkdir()
    (outside / "tmp").chmod(0o1777)
    environment = program.clean_environment(outside / "home") | QUICK | {"TMPDIR": str(outside / "tmp")}
    environment |= {name.replace("S3BATCH", "PLUGIN"): text for name, text in KEYS.items()}
    environment |= {"PLUGIN_BUCKET": "b", "PLUGIN_ENDPOINT": store.url, "DRONE_REPO": "o/r", "DRONE_BRANCH": "main"}
    del environment["PYTHONPATH"]
    more = {"PLUGIN_SOURCE": "dist"} if step == "sync" else {"PLUGIN_REBUILD": "true", "PLUGIN_CACHE": "dist"}

    ran = run_as_nobody(["plugin"], environment | more, outside / "work")

    assert ran.returncode == 0, ran.stderr
    assert "Traceback" not in ran.stderr
    assert f"the workspace cannot be written, so the journal is in {outside}/tmp/s3batch-54321" in ran.stderr
    assert sorted(os.listdir(outside / "work" / ".s3batch")) == before
    assert [each.key for each in store.requests if each.name == "PutObject"]


def test_a_home_that_holds_our_state_is_sent_and_cached_without_it(call, tmp_path, store):
    home, env = tmp_path, {**KEYS, **QUICK, "S3BATCH_ENDPOINT_URL": store.url}
    (home / "notes").write_text("content")
    (home / "elsewhere").symlink_to("state")
    assert call("sync", home / "notes", "s3://b/other", env=env).code == 0  # leaves another journal and another lock
    (home / "list").write_text("notes\nstate/s3batch/sync.db\n")

    ran = [call("sync", home, "s3://b/home", "--delete", "--json", env=env) for _ in range(3)]
    verified = call("verify", home, "s3://b/home", "--json", env=env)
    listed = call("sync", home, "s3://b/listed", "--files-from", home / "list", "--json", env=env)
    cached = call("cache", "rebuild", "--bucket", "b", "--cache", home, "--cache-key", "k", env=env)
    restored = call("cache", "restore", "--bucket", "b", "--cache", home, "--cache-key", "k", "-v", env=env)
    held = call("cache", "inspect", "--bucket", "b", "--cache-key", "k", "--json", env=env)

    assert [each.code for each in ran] == [0, 0, 0]
    assert [each.json["operations"]["upload"]["done"] for each in ran][1:] == [0, 0]
    assert (verified.code, verified.json["differences"]) == (0, [])
    assert (listed.code, listed.json["operations"]["upload"]["done"]) == (0, 1), listed.err
    assert (cached.code, restored.code) == (0, 0), cached.err
    assert [key for key in store.objects["b"] if "/state/" in key or "/elsewhere/" in key] == []
    assert "s3batch/sync" not in held.out
    assert ".db" not in held.out
