"""Transfers that are killed at named points and begun again: every byte and attribute, and no upload left behind."""

from __future__ import annotations

import os
import signal
from functools import partial

import pytest

from tests.crash.scene import kill_workers
from tests.rig import buckets, program
from tests.rig.faults import Call, Refuse

MIB = 1 << 20
TREE = {f"d{number % 3}/{number}.bin": os.urandom(1000 + number) for number in range(40)}
BIG = {"big.bin": os.urandom(21 * MIB)}
FIRST = next(iter(TREE))
COPIED = ("added", "leased", "settled:2", "stored:3", "deleting")
STREAMED = ("upload-journalled:1", "part-settled:2", "part-stored:2", "finishing:1", "completed")
ENDS = (0, 1, -signal.SIGKILL)
"""A worker that dies is replaced; one operation that every worker dies of is failed."""


def fill(bucket: buckets.Bucket, tree: dict[str, bytes]) -> None:
    for path, body in tree.items():
        bucket.put(f"in/{path}", body, ContentType="text/x-odd", Metadata={"colour": "blue"})


def look(target: buckets.Bucket, tree: dict[str, bytes]) -> None:
    """Compare every object of the target with the source's."""
    assert target.contents("out/") == {f"out/{path}": body for path, body in tree.items()}
    for path in tree:
        head = target.head(f"out/{path}")
        assert (head["ContentType"], head["Metadata"]) == ("text/x-odd", {"colour": "blue"})
    assert target.uploads() == []


@pytest.fixture
def run_elsewhere(run_cli, tmp_path):
    """``run_cli`` in a directory that holds no journal: ``resume`` believes those of the user."""
    (tmp_path / "work").mkdir()
    return partial(run_cli, cwd=tmp_path / "work")


@pytest.fixture(scope="module")
def source_of(server_named):
    """A function from a tree to a bucket that holds it; each is filled once."""
    made: dict[int, buckets.Bucket] = {}

    def of(server, tree):
        if len(tree) not in made:
            made[len(tree)] = buckets.make_bucket(server)
            fill(made[len(tree)], tree)
        return made[len(tree)]

    yield of
    for bucket in made.values():
        buckets.remove_bucket(bucket)


def words_of(source: buckets.Bucket, target: buckets.Bucket) -> list[str]:
    return ["sync", source.url("in"), target.url("out"), "--delete", "--workers", "1"]


@pytest.mark.parametrize("point", COPIED)
def test_copies_are_finished_after_a_kill(run_elsewhere, env, server, make_bucket, source_of, point):
    source, target = source_of(server, TREE), make_bucket()
    target.put("out/orphan", b"x")
    env = env | {"S3BATCH_TEST_LONGEST_WAIT": "0"}

    killed = run_elsewhere(words_of(source, target), env=env | {"S3BATCH_TEST_CRASH_AT": point})
    resumed = run_elsewhere(["resume"], env=env)

    assert killed.code in ENDS
    assert resumed.code == 0, resumed.stderr
    look(target, TREE)


def test_a_source_without_an_object_after_a_kill_deletes_nothing_more(run_elsewhere, env, server, make_bucket):
    source, target = make_bucket(), make_bucket()
    fill(source, {"a": b"a"})
    target.put("out/orphan", b"x")
    words, env = words_of(source, target), env | {"S3BATCH_TEST_LONGEST_WAIT": "0"}

    killed = run_elsewhere(words, env=env | {"S3BATCH_TEST_CRASH_AT": "deleting"})
    source.client.delete_object(Bucket=source.name, Key="in/a")
    refused = run_elsewhere(["resume"], env=env)

    assert killed.code == -signal.SIGKILL
    assert refused.code == 1
    assert "holds no file; refusing to delete" in refused.stderr
    assert target.contents("out/") == {"out/a": b"a", "out/orphan": b"x"}


@pytest.mark.parametrize("point", STREAMED)
def test_streams_are_finished_after_a_kill(run_elsewhere, env, server_named, make_bucket, source_of, point):
    tree = TREE | BIG
    other = server_named("moto")
    source, target = source_of(other, tree), make_bucket()
    words = [
        *words_of(source, target), "--source-endpoint-url", other.url,
        "--multipart-threshold", "8MiB", "--part-size", "5MiB", "--max-concurrency", "4",
    ]  # fmt: skip
    keys = {"S3BATCH_SOURCE_ACCESS_KEY": other.access_key, "S3BATCH_SOURCE_SECRET_KEY": other.secret_key}
    env = env | keys | {"S3BATCH_TEST_LONGEST_WAIT": "0"}

    killed = run_elsewhere(words, env=env | {"S3BATCH_TEST_CRASH_AT": point})
    resumed = run_elsewhere(["resume", "--json"], env=env)

    assert killed.code in ENDS
    assert resumed.code == 0, resumed.stderr
    if point == "part-settled:2":
        assert resumed.json["requests"]["UploadPart"] < 10, resumed.json["requests"]
    look(target, tree)


@pytest.mark.parametrize("again", ["sync", "resume"])
def test_a_job_that_is_killed_while_it_looks_at_what_a_killed_one_had_begun(
    run_elsewhere, env, server, make_bucket, source_of, again
):
    source, target = source_of(server, TREE), make_bucket()
    target.put("out/orphan", b"x")
    env = env | {"S3BATCH_TEST_LONGEST_WAIT": "0"}
    words = words_of(source, target)

    first = run_elsewhere(words, env=env | {"S3BATCH_TEST_CRASH_AT": "dispatched"})
    second = run_elsewhere(words, env=env | {"S3BATCH_TEST_CRASH_AT": "looking-again"})
    third = run_elsewhere(words if again == "sync" else ["resume"], env=env)

    assert (first.code, second.code) == (-signal.SIGKILL, -signal.SIGKILL)
    assert third.code == 0, third.stderr
    look(target, TREE)


def test_a_probe_that_a_kill_has_left_is_removed_by_the_next_run(env, make_bucket, source_of, server, proxy, tmp_path):
    source, target = source_of(server, TREE), make_bucket()
    env = env | {"S3BATCH_TEST_LONGEST_WAIT": "0", "S3BATCH_ENDPOINT_URL": proxy.url}
    process = program.start(words_of(source, target), env, tmp_path)
    proxy.on("HeadObject", Call(lambda _: program.kill(process)), key="probe-.*-copy$", times=1)
    killed = program.finish(process)
    left = target.keys("out/.s3batch/")

    again = program.run(words_of(source, target), env, tmp_path)

    assert killed.code == -signal.SIGKILL
    assert len(left) == 2
    assert again.code == 0, again.stderr
    look(target, TREE)


def test_a_probe_that_a_dead_worker_has_left_is_removed_by_the_same_run(
    env, make_bucket, source_of, server, proxy, tmp_path
):
    source, target = source_of(server, TREE), make_bucket()
    process = program.start(words_of(source, target), env | {"S3BATCH_ENDPOINT_URL": proxy.url}, tmp_path)
    proxy.on("HeadObject", Call(lambda _: kill_workers(process)), key="probe-.*-copy$", times=1)

    run = program.finish(process)

    copies = [each.key for each in proxy.requests if each.operation == "HeadObject" and "probe-" in each.key]
    assert run.code == 0, run.stderr
    assert len(set(copies)) > 1, "a worker died in its probe, and another probed"
    look(target, TREE)


def test_a_run_with_a_failure_removes_the_probe_of_a_dead_run_too(env, make_bucket, source_of, server, proxy, tmp_path):
    source, target = source_of(server, TREE), make_bucket()
    env = env | {"S3BATCH_TEST_LONGEST_WAIT": "0", "S3BATCH_ENDPOINT_URL": proxy.url}
    process = program.start(words_of(source, target), env, tmp_path)
    proxy.on("HeadObject", Call(lambda _: program.kill(process)), key="probe-.*-copy$", times=1)
    program.finish(process)
    proxy.on("CopyObject", Refuse(400, "InvalidArgument"), key=f"out/{FIRST}$")

    again = program.run([*words_of(source, target), "--json"], env, tmp_path)

    assert again.code == 1, again.stderr
    assert [failure["key"] for failure in again.json["failures"]] == [f"out/{FIRST}"]
    assert not target.keys("out/.s3batch/")
