"""Decision 11: a rebuild or restore that is stopped goes on where it was. The real program, with its workers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from pathlib import Path

import pytest

from tests.archive.cycle import noise
from tests.plugins.caching import Pipeline
from tests.rig import program
from tests.rig.faults import Hold, Refuse


@pytest.fixture
def pipeline(step) -> Pipeline:
    step.settings = {"retries": 1}
    return Pipeline(step)


# --- 11: resume --------------------------------------------------------------------------------


@pytest.fixture
def large(pipeline) -> Pipeline:
    """Some chunks to be stopped between."""
    pipeline.write({f"vendor/{name}": noise(9 << 20, seed=ord(name)) for name in "abc"})
    return pipeline


def start(pipeline: Pipeline, word: str, **settings: object) -> subprocess.Popen[str]:
    environment = program.clean_environment(pipeline.step.home)
    given = {**pipeline.settings, word: True, "workers": 1, "max_concurrency": 1, **settings}
    pipeline.step.proxy.requests.clear()
    return program.start(
        ["plugin"], environment | pipeline.step.environment(given, **pipeline.build), pipeline.workspace
    )


def interrupted(pipeline: Pipeline, word: str, operation: str) -> program.Finished:
    """Terminated once two chunks have travelled; the third is held until the signal is heard."""
    heard = threading.Event()
    pipeline.step.proxy.on(operation, Hold(heard), skip=2)
    process = start(pipeline, word, json=True)
    assert pipeline.step.proxy.wait_for(operation, 3)
    os.kill(process.pid, signal.SIGTERM)
    program.read_until(process, "stopping: finishing")
    heard.set()
    return program.finish(process)


def resumed(pipeline: Pipeline, line: str) -> program.Finished:
    """The command that the end of an interrupted run names."""
    words = line.partition("to finish it: s3batch ")[2].split()
    server = pipeline.step.bucket.server
    keys = {"AWS_ACCESS_KEY_ID": server.access_key, "AWS_SECRET_ACCESS_KEY": server.secret_key}
    environment = program.clean_environment(pipeline.step.home) | keys
    pipeline.step.proxy.requests.clear()
    return program.run([*words, "--json"], environment, pipeline.step.home)


@pytest.mark.parametrize("how", ["the same command", "s3batch resume", "mode: resume"])
def test_11_a_terminated_rebuild_is_finished_and_sends_no_chunk_again(large, how):
    ended = interrupted(large, "rebuild", "PutObject")
    stored = set(large.objects("v1/c/"))
    again = went_on(large, ended, how, "rebuild")

    document = json.loads(ended.stdout)
    assert (ended.code, document["state"], document["exit_code"]) == (143, "interrupted", 143)
    assert stored
    assert "error: interrupted by SIGTERM" in ended.stderr
    assert f"to finish it: s3batch resume {document['job']} --journal {document['journal']}" in ended.stderr
    assert again.code == 0, again
    assert stored.isdisjoint(key for key in put_again(large))
    assert large.manifests() == ["octo/site/main/default"]


def put_again(pipeline: Pipeline) -> list[str]:
    return [request.key for request in pipeline.step.proxy.requests if request.operation == "PutObject"]


def went_on(pipeline: Pipeline, ended: program.Finished, how: str, word: str):
    """The run that finishes an interrupted one."""
    if how == "s3batch resume":
        return resumed(pipeline, ended.stderr)
    return pipeline.run(**{word: True}, **({"mode": "resume"} if how == "mode: resume" else {}))


@pytest.mark.parametrize("how", ["the same command", "s3batch resume"])
def test_11_a_terminated_restore_is_finished_and_writes_no_right_file_again(large, how):
    large.rebuild()
    before = large.tree()
    large.next_build()
    ended = interrupted(large, "restore", "GetObject")
    fetched = {path: path.stat().st_ino for path in (large.workspace / "vendor").iterdir() if is_right(path, before)}

    again = large.restore(json=True) if how == "the same command" else resumed(large, ended.stderr)

    document = json.loads(again.out if how == "the same command" else again.stdout)
    assert (ended.code, again.code, large.tree()) == (143, 0, before)
    assert document["resumed"] is (how != "the same command")
    assert document["command"] == "cache restore"
    assert {path: path.stat().st_ino for path in fetched} == fetched


def is_right(path: Path, tree: dict) -> bool:
    return path.stat().st_mtime_ns == tree[f"vendor/{path.name}"][2]


def test_11_a_signed_job_is_resumed_with_the_secret(large):
    large.build["S3BATCH_CACHE_SECRET"] = "known to trusted builds only"
    ended = interrupted(large, "rebuild", "PutObject")
    words = ended.stderr.partition("to finish it: s3batch ")[2].split()
    server = large.step.bucket.server
    keys = {"AWS_ACCESS_KEY_ID": server.access_key, "AWS_SECRET_ACCESS_KEY": server.secret_key}
    secret = {"S3BATCH_CACHE_SECRET": large.build["S3BATCH_CACHE_SECRET"]}

    done = program.run(words, program.clean_environment(large.step.home) | keys | secret, large.workspace)
    large.next_build()

    assert done.code == 0, done.stderr
    assert large.restore().err.count("restored octo/site/main") == 1


def test_11_a_failed_rebuild_is_resumed(large):
    large.step.proxy.on("PutObject", Refuse(403, "AccessDenied"), key="/c/", times=2)
    failed = large.rebuild(fail_on_error=True)
    large.step.proxy.forget()

    done = resumed(large, failed.err)

    assert failed.code == 1
    assert "error: the cache was not stored: a chunk cannot be stored" in failed.err
    assert done.code == 0, done.stderr
    assert (done.json["state"], done.json["resumed"], done.json["failures"]) == ("done", True, [])
    assert large.manifests() == ["octo/site/main/default"]


def test_11_what_was_planned_and_is_gone_since_is_not_carried_out(large):
    ended = interrupted(large, "rebuild", "PutObject")
    for name in "abc":
        (large.workspace / "vendor" / name).unlink()
    large.write({"vendor/only": "o"})

    done = resumed(large, ended.stderr)

    chunks = done.json["operations"]["chunk"]
    assert done.code == 0, done.stderr
    assert (chunks["failed"], done.json["files"]) == (0, 1)
    assert chunks["planned"] == chunks["done"] + chunks["skipped"]
    large.next_build()
    large.restore()
    assert large.contents() == {"vendor/only": b"o"}
