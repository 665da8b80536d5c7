"""``sync --plan``, ``plan`` and ``apply`` of a source in S3: what was planned on both sides, and nothing that has drifted."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest

from tests.rig.faults import Refuse

MIB = 1024 * 1024


class Scene:
    """A prefix with a change of each kind, its target, and the plan of a sync between them."""

    def __init__(self, direction: str, bucket, run_cli, tmp_path: Path, big: bytes) -> None:
        self.direction, self.bucket, self._run, self._site = direction, bucket, run_cli, tmp_path / "site"
        self.front = "in/" if direction == "download" else "out/"
        """Before each path in the keys of operations."""
        self.plan = tmp_path / "plan.json"
        self._here = tmp_path / "elsewhere"
        self._here.mkdir()
        target = str(self._site) if direction == "download" else bucket.url("out")
        self.words = [bucket.url("in"), target, "--delete", "--multipart-threshold", "6MiB", "--part-size", "5MiB"]
        for path in BEFORE:
            bucket.put(f"in/{path}", path.encode())
        assert self("sync", *self.words).code == 0
        bucket.put("in/content", b"behind")
        for path in ("new", "lost", "late"):
            bucket.put(f"in/{path}", path.encode())
        bucket.put("in/big", big)
        for path in GONE:
            bucket.client.delete_object(Bucket=bucket.name, Key=f"in/{path}")
        made = self("sync", *self.words, "--plan", self.plan)
        assert made.code == 0, made.stderr

    def __call__(self, *words, **more):
        return self._run([*words], cwd=self._here, **more)

    def held(self) -> dict[str, bytes]:
        """What the target has."""
        if self.direction == "download":
            files = (each for each in self._site.rglob("*") if each.is_file())
            return {str(each.relative_to(self._site)): each.read_bytes() for each in files}
        return {key.removeprefix("out/"): body for key, body in self.bucket.contents("out/").items()}

    def put(self, path: str, body: bytes) -> None:
        """Have someone else write to the target."""
        if self.direction == "download":
            (self._site / path).write_bytes(body)
        else:
            self.bucket.put(f"out/{path}", body)

    def failures(self, answer) -> dict[str, str]:
        assert (answer.code, answer.json["state"]) == (1, "failed"), answer.stderr
        assert {each["code"] for each in answer.json["failures"]} == {"Drifted"}, answer.json["failures"]
        return {each["key"].removeprefix(self.front): each["error"] for each in answer.json["failures"]}


@pytest.fixture(params=["download", "transfer"])
def scene(request, bucket, run_cli, tmp_path) -> Scene:
    return Scene(request.param, bucket, run_cli, tmp_path, BIG)


BIG = os.urandom(7 * MIB)
GONE = ("away", "gone", "gone too")
BEFORE = {path: path.encode() for path in ("same", "content", "other", *GONE)}
AFTER = {
    **{path: path.encode() for path in ("same", "other", "new", "lost", "late")}, "content": b"behind", "big": BIG,
}  # fmt: skip


def test_a_plan_sends_nothing_is_shown_and_carried_out_once(scene):
    assert scene.held() == BEFORE
    word, front = scene.direction, scene.front
    assert sorted(scene("plan", scene.plan).stdout.splitlines()) == [
        *(f"delete {front}{path} orphan" for path in GONE), f"{word} {front}big missing", f"{word} {front}content content",
        *(f"{word} {front}{path} missing" for path in ("late", "lost", "new")),
    ]  # fmt: skip
    shown = scene("plan", scene.plan, "--json").json
    assert shown["source"].startswith("s3://")
    scene.bucket.put("in/later", b"not in the plan")

    applied = scene("apply", scene.plan, "--json")

    assert (applied.code, applied.json["state"], applied.json["source"]) == (0, "done", shown["source"]), applied.stderr
    assert (applied.json["target"], shown["target"]) == (shown["target"], applied.json["target"])
    assert scene.held() == AFTER
    twice = scene("apply", scene.plan)
    assert (twice.code, "has been applied by job" in twice.stderr) == (2, True)
    later = scene("sync", *scene.words, "--dry-run")
    assert later.stdout.splitlines() == [f"{word} {front}later missing"]


def test_what_has_drifted_on_either_side_is_refused_and_the_rest_goes_on(scene):
    scene.bucket.put("in/big", b"theirs")
    scene.bucket.client.delete_object(Bucket=scene.bucket.name, Key="in/lost")
    scene.put("content", b"theirs")
    scene.put("late", b"theirs")

    found = scene.failures(scene("apply", scene.plan, "--json"))

    assert set(found) == {"big", "lost", "content", "late"}
    assert all(words.startswith("drifted: ") for words in found.values()), found
    assert scene.held() == {**BEFORE, "content": b"theirs", "late": b"theirs", "new": b"new"}
    assert scene.failures(scene("resume", "--json")) == found
    assert scene.held() == {**BEFORE, "content": b"theirs", "late": b"theirs", "new": b"new"}


def test_drifted_deletes_keep_all_deletes_back(scene):
    scene.bucket.put("in/gone", b"back")
    scene.put("gone too", b"theirs")

    assert set(scene.failures(scene("apply", scene.plan, "--json"))) == {"gone", "gone too"}

    assert scene.held() == {**AFTER, "gone": b"gone", "gone too": b"theirs", "away": b"away"}
    assert set(scene.failures(scene("resume", "--json"))) == {"gone", "gone too"}
    assert scene.held() == {**AFTER, "gone": b"gone", "gone too": b"theirs", "away": b"away"}


def test_a_killed_apply_is_resumed_without_the_file(scene, env):
    for point in ("settled:1", "finished:1", "deleted:1"):
        killed = scene("apply" if scene.plan.exists() else "resume", *([scene.plan] if scene.plan.exists() else []),
                       "--workers", "1", env=env | {"S3BATCH_TEST_CRASH_AT": point})  # fmt: skip
        scene.plan.unlink(missing_ok=True)
        assert killed.code < 0 or (point, scene.direction) == ("finished:1", "transfer"), (point, killed)
        if killed.code == 0:
            break
    else:
        resumed = scene("resume", "--json")
        assert (resumed.code, resumed.json["command"]) == (0, "apply"), resumed.stderr
    assert scene.held() == AFTER


def test_a_planted_operation_is_refused(scene):
    first, *rows, last = scene.plan.read_bytes().splitlines(keepends=True)
    row = next(each for each in map(json.loads, rows) if each[0] == scene.direction)
    body = first + json.dumps([*row[:3], "../../secret", *row[4:]]).encode() + b"\n"
    end = {**json.loads(last), "operations": 1, "blake2b": hashlib.blake2b(body, digest_size=32).hexdigest()}
    scene.plan.write_bytes(body + json.dumps(end).encode() + b"\n")

    answer = scene("apply", scene.plan)

    assert (answer.code, "../../secret" in answer.stderr) == (2, True), answer.stderr
    assert scene.held() == BEFORE


@pytest.mark.parametrize("scene", ["download"], indirect=True)
def test_a_local_delete_that_an_ignore_file_hides_by_now_has_drifted(scene):
    (hidden, *_) = GONE
    scene.put(".s3batchignore", f"/{hidden}\n".encode())
    assert scene.failures(scene("apply", scene.plan, "--json")) == {
        hidden: "drifted: an ignore file leaves it out by now"
    }
    assert set(GONE) <= scene.held().keys()


def test_a_local_delete_that_failed_is_tried_again_by_each_resume(bucket, proxy, run_cli, tmp_path):
    where, at = [bucket.url("in"), tmp_path / "site"], ["--endpoint-url", proxy.url, "--journal", tmp_path / "jobs.db"]
    for name in ("kept", "gone"):
        bucket.put(f"in/{name}", b"1")
    assert run_cli(["sync", *where, *at]).code == 0
    bucket.client.delete_object(Bucket=bucket.name, Key="in/gone")
    assert run_cli(["sync", *where, *at, "--delete", "--plan", "p"]).code == 0
    for words in (["apply", "p"], ["resume"]):
        proxy.on("ListObjectsV2", Refuse(403, "AccessDenied"), skip=2)  # the workers' look before a delete
        failed = run_cli([*words, *at, "--json"])
        assert (failed.code, [each["key"] for each in failed.json["failures"]]) == (1, ["in/gone"]), failed.stderr
        proxy.forget()

    resumed = run_cli(["resume", *at, "--json"])

    assert (resumed.code, resumed.json["operations"]["delete"]["done"]) == (0, 1), resumed.stderr
    assert [each.name for each in (tmp_path / "site").iterdir()] == ["kept"]


def test_a_plan_without_the_credentials_of_its_source_is_not_used_up(bucket, proxy, server, run_cli):
    bucket.put("in/a", b"1")
    login = ["--source-access-key", server.access_key, "--source-secret-key", server.secret_key]
    other = ["--source-endpoint-url", proxy.url]
    made = run_cli(["sync", bucket.url("in"), bucket.url("out"), *other, *login, "--plan", "p"])

    refused = run_cli(["apply", "p"])
    applied = run_cli(["apply", "p", *login])

    assert (made.code, refused.code, applied.code) == (0, 2, 0), applied.stderr
    assert "no credentials are named for it" in refused.stderr
    assert f"{bucket.url('in')} to {bucket.url('out')} at" in applied.stderr
    assert bucket.get("out/a") == b"1"
