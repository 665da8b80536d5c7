"""A machine that gives us no more processes and no threads, as under ``ulimit -u``: each command does its work all the same."""

from __future__ import annotations

import pytest

from tests.rig import program
from tests.rig.fake_s3 import ACCESS_KEY, SECRET_KEY, FakeS3

NONE_LEFT = """
import errno, os, subprocess, threading

def refused(*_, **__):
    raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

def no_thread(*_, **__):
    raise RuntimeError("can't start new thread")

os.fork = refused
subprocess.Popen.__init__ = refused
threading.Thread.start = no_thread
"""
WARNING = "no worker process could be started (Resource temporarily unavailable); the work is done in the main process"


@pytest.fixture
def place(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(NONE_LEFT)
    (tmp_path / "tree").mkdir()
    for number in range(30):
        (tmp_path / "tree" / str(number)).write_bytes(b"%d" % number)
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("lane", ["lean", "reference"])
@pytest.mark.parametrize("command", ["sync", "verify", "doctor", "cache"])
def test_a_command_without_processes_does_its_work(place, command, lane):
    with FakeS3() as fake:
        environ = program.clean_environment(place)
        environ |= {
            "AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY, "AWS_ENDPOINT_URL_S3": fake.url,
            "DRONE_REPO": "o/r", "DRONE_REPO_OWNER": "o", "DRONE_REPO_NAME": "r", "DRONE_COMMIT_BRANCH": "main",
            "S3BATCH_LANE": lane, "DRONE": "true",
        }  # fmt: skip
        few = environ | {"PYTHONPATH": f"{place}:{environ['PYTHONPATH']}"}

        def run(*words, environ=few):
            ended = program.run([*words, "--workers", "3"] if words[0] != "doctor" else words, environ, place)
            assert "bug in s3batch" not in ended.stderr
            assert "Traceback" not in ended.stderr
            return ended

        if command in {"verify", "sync"}:
            ended = run("sync", "tree", "s3://b/p", environ=few if command == "sync" else environ)
            if command == "verify":
                (place / "tree" / "0").write_bytes(b"x")
                ended = run("verify", "tree", "s3://b/p")
            assert ended.code == (command == "verify"), ended.stderr
            assert len(fake.objects["b"]) == 30
        elif command == "doctor":
            ended = run("doctor", "s3://b/p")
            assert ended.code == 0, ended.stderr
            return
        else:
            ended = run("cache", "rebuild", "s3://b", "--cache", "tree", "--fail-on-error")
            assert ended.code == 0, ended.stderr
            assert ended.stderr.count(WARNING) == 1
            (place / "tree" / "3").unlink()
            ended = run("cache", "restore", "s3://b", "--cache", "tree", "--fail-on-error", "--fail-on-miss")
            assert ended.code == 0, ended.stderr
            assert (place / "tree" / "3").read_bytes() == b"3"
        assert ended.stderr.count(WARNING) == 1
