"""``sync - s3://BUCKET/KEY`` and ``sync s3://BUCKET/KEY -``: pipes into and out of a bucket."""

from __future__ import annotations

import os
import signal
import subprocess
import time

import pytest

from tests.rig import program
from tests.rig.faults import Refuse

MIB = 1 << 20
PIPE = subprocess.PIPE


@pytest.fixture
def pipe(env, tmp_path):
    """A function that runs the program with bytes on stdin; it returns code, stdout as bytes and stderr as text."""

    def run(arguments: list[str], given: bytes = b"", env=env) -> tuple[int, bytes, str]:
        command = [*program.COMMAND, *arguments]
        done = subprocess.run(
            command, input=given, capture_output=True, env=env, cwd=tmp_path, timeout=120, check=False
        )
        return done.returncode, done.stdout, done.stderr.decode()

    return run


@pytest.mark.parametrize("size", [0, 5, 5 * MIB, 23 * MIB + 7])
def test_stdin_is_stored_and_comes_back(pipe, bucket, size):
    body = os.urandom(size)

    code, out, err = pipe(["sync", "-", bucket.url("dump.html"), "--part-size", "5MiB"], body)
    back = pipe(["sync", bucket.url("dump.html"), "-"])

    assert (code, out) == (0, b""), err
    assert bucket.get("dump.html") == body
    assert bucket.head("dump.html")["ContentType"].startswith("text/html")
    assert bucket.uploads() == []
    assert back[:2] == (0, body), back[2]


def test_a_run_that_is_stopped_aborts_its_upload(start_cli, bucket):
    process = start_cli(["sync", "-", bucket.url("dump"), "--part-size", "5MiB"], stdin=PIPE, stdout=PIPE, stderr=PIPE)
    process.stdin.buffer.write(os.urandom(12 * MIB))
    process.stdin.flush()
    until = time.monotonic() + 60
    while not bucket.uploads() and time.monotonic() < until:
        time.sleep(0.05)

    process.send_signal(signal.SIGTERM)
    code = process.wait(30)  # though stdin is open and silent

    assert code == 143
    assert "cannot be resumed" in process.stderr.read()
    assert (bucket.keys(), bucket.uploads()) == (set(), [])


def test_the_next_stream_aborts_what_a_killed_one_has_left(start_cli, pipe, bucket):
    words = ["sync", "-", bucket.url("dump"), "--part-size", "5MiB"]
    process = start_cli(words, stdin=PIPE, stdout=PIPE, stderr=PIPE)
    process.stdin.buffer.write(os.urandom(12 * MIB))
    process.stdin.flush()
    until = time.monotonic() + 60
    while not bucket.uploads() and time.monotonic() < until:
        time.sleep(0.05)
    process.kill()
    process.wait(30)
    left = len(bucket.uploads())

    code, _, err = pipe(words, b"again")

    assert (left, code) == (1, 0), err
    assert bucket.get("dump") == b"again"
    assert bucket.uploads() == []


def test_a_stream_that_is_refused_leaves_nothing(pipe, bucket, proxy, env):
    proxy.on("UploadPart", Refuse(403, "AccessDenied"))

    code, _, err = pipe(
        ["sync", "-", bucket.url("dump"), "--part-size", "5MiB"], os.urandom(12 * MIB),
        env=env | {"AWS_ENDPOINT_URL": proxy.url},
    )  # fmt: skip

    assert code == 1
    assert "UploadPart" in err
    assert "to finish it" not in err
    assert (bucket.keys(), bucket.uploads()) == (set(), [])


def test_an_object_that_changes_while_it_is_written_ends_with_1(pipe, bucket, proxy, env):
    bucket.put("a", os.urandom(20 * MIB))
    proxy.on("GetObject", Refuse(412, "PreconditionFailed"), skip=1)

    code, out, err = pipe(["sync", bucket.url("a"), "-"], env=env | {"AWS_ENDPOINT_URL": proxy.url})

    assert code == 1
    assert len(out) < 20 * MIB
    assert "changed while it was written" in err


def test_an_object_in_parts_is_proved_by_them(pipe, bucket):
    body = os.urandom(17 * MIB)
    assert pipe(["sync", "-", bucket.url("a"), "--part-size", "6MiB", "--checksum", "md5"], body)[0] == 0

    code, out, err = pipe(["sync", bucket.url("a"), "-", "-v"])

    assert (code, out == body) == (0, True)
    assert "only its size" not in err


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["sync", "-", "s3://b/"], "key is missing"),
        (["sync", "s3://b/dir/", "-"], "key is missing"),
        (["sync", "s3://b/k", "-", "--json"], "json"),
        (["sync", "-", "s3://b/k", "--delete"], "delete"),
        (["sync", "-", "-"], "stdin"),
    ],
)
def test_bad_streams_are_refused(pipe, words, named):
    code, out, err = pipe(words)

    assert code == 2
    assert named in err
    assert out == b"" or "--json" in words


def test_a_closed_stdin_stores_nothing(bucket, env, tmp_path):
    bucket.put("dump", b"what was there")
    command = ["sh", "-c", 'exec "$@" <&-', "sh", *program.COMMAND, "sync", "-", bucket.url("dump")]

    done = subprocess.run(command, capture_output=True, env=env, cwd=tmp_path, timeout=120, check=False)

    assert (done.returncode, b"stdin is closed" in done.stderr) == (2, True), done.stderr
    assert bucket.get("dump") == b"what was there"


def test_a_closed_stdout_is_said(bucket, env, tmp_path):
    bucket.put("dump", b"content")
    command = ["sh", "-c", 'exec "$@" >&-', "sh", *program.COMMAND, "sync", bucket.url("dump"), "-"]

    done = subprocess.run(command, stderr=PIPE, env=env, cwd=tmp_path, timeout=120, check=False)

    assert (done.returncode, b"stdout cannot be written" in done.stderr) == (1, True), done.stderr


@pytest.mark.parametrize("words", [["-", "s3://no-such-bucket-0/x"], ["s3://no-such-bucket-0/x", "-"]])
def test_a_bucket_that_is_not_there_ends_with_4(pipe, words):
    code, out, err = pipe(["sync", *words], b"content")

    assert (code, out) == (4, b"")
    assert "bucket 'no-such-bucket-0' at " in err


def test_a_missing_object_writes_nothing(pipe, bucket):
    code, out, err = pipe(["sync", bucket.url("none"), "-"])

    assert (code, out) == (1, b"")
    assert "none" in err
