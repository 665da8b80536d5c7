"""``s3batch explain`` of a source in S3: what a download or a transfer would do with one key, and why; then it does just that."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.rig.fake_s3 import ACCESS_KEY, SECRET_KEY, FakeS3, Stored

FLAGS = ["--exclude", "*.map", "--delete"]


class Explained:
    """A prefix that has been synced, with a change of each kind on either side."""

    def __init__(self, direction: str, bucket, run_cli, tmp_path: Path) -> None:
        self.direction, self.bucket, self._run, self._here = direction, bucket, run_cli, tmp_path / "elsewhere"
        self._here.mkdir()
        self.site = tmp_path / "site"
        self.front = "in/" if direction == "download" else "out/"
        self.sides = [bucket.url("in"), str(self.site) if direction == "download" else bucket.url("out")]
        for path in ("same", "size", "content", "lost", "skip.map"):
            bucket.put(f"in/{path}", path.encode())
        assert self("sync", *self.sides).code == 0
        bucket.put("in/size", b"longer than before")
        bucket.put("in/content", b"CONTENT")
        bucket.put("in/new", b"new")
        bucket.client.delete_object(Bucket=bucket.name, Key="in/lost")
        if direction == "download":
            os.utime(self.site / "same", (1, 1))

    def __call__(self, *words, **more):
        return self._run([*words], cwd=self._here, **more)

    def explain(self, word: str, *more: str):
        found = self("explain", word, *self.sides, "--json", *FLAGS, *more)
        assert found.code == 0, found.stderr
        return found.json


@pytest.fixture(params=["download", "transfer"])
def scene(request, bucket, run_cli, tmp_path) -> Explained:
    return Explained(request.param, bucket, run_cli, tmp_path)


def test_the_action_its_reason_and_what_each_side_knows(scene):
    actions = [
        ("new", scene.direction, "no such"),
        ("size", scene.direction, "18 bytes"),
        ("content", scene.direction, "content differs"),
        ("same", "nothing", "equal" if scene.direction == "download" else "as the journal has them"),
        ("skip.map", "nothing", "*.map leaves it out"),
        ("lost", "delete", "--delete is set"),
    ]
    for path, action, reason in actions:
        found = scene.explain(path)
        assert (found["action"], reason in found["reason"]) == (action, True), found
    planned = scene("sync", *scene.sides, "--dry-run", "--json", *FLAGS).json["plan"]
    assert {(each["operation"], each["key"].removeprefix(scene.front)) for each in planned} == {
        (action, path) for path, action, _ in actions if action != "nothing"
    }
    found = scene.explain(f"s3://{scene.bucket.name}/in/content")
    assert (found["path"], found["key"], found["taken"]) == ("content", f"{scene.front}content", True)
    other = found["file"] if scene.direction == "download" else found["source_object"]
    assert (found["store"]["size"], other["size"]) == (7, 7)
    assert found["journal"]["last"]["operation"] == scene.direction
    hidden = scene.explain("skip.map")
    assert (hidden["taken"], hidden["pattern"], hidden["from"]) == (False, "*.map", "--exclude")


def test_it_sends_one_listing_and_one_head_on_each_side(scene, env, proxy):
    asked = env | {"S3BATCH_ENDPOINT_URL": proxy.url}
    for path in ("content", "new", "lost"):
        assert scene("explain", path, *scene.sides, env=asked).code == 0
    sides = 1 if scene.direction == "download" else 2
    heads = 2 if scene.direction == "download" else 4
    assert proxy.counts() == {"HeadObject": heads, "ListObjectsV2": 3 * sides}


def test_neither_path_nor_key_is_exit_2_and_lines_are_for_people(scene):
    for word in ("nothing-here", "s3://other/in/same", "/etc/passwd", "in/", "a/../../b"):
        assert scene("explain", word, *scene.sides).code == 2, word
    shown = scene("explain", f"{scene.front}new", *scene.sides, *FLAGS).stdout.splitlines()
    assert shown[-1].startswith(f"{scene.direction}: ")
    assert any(line.startswith("file " if scene.direction == "download" else "source object ") for line in shown), shown


@pytest.mark.parametrize(
    ("end", "problem"),
    [("../up", "the component '..'"), ("/lead", "an empty component"), ("a/./b", "'.'"), ("blank ", "")],
)
def test_a_key_may_have_any_end(tmp_path, run_cli, env, end, problem):
    with FakeS3() as fake:
        fake.objects["b"] = {f"in/{end}": Stored(b"", '"d41d8cd98f00b204e9800998ecf8427e"')}
        keys = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY, "AWS_ENDPOINT_URL": fake.url}
        asked = ["explain", f"in/{end}", "s3://b/in"]

        copied, fetched = (
            run_cli([*asked, target, "--json"], env={**env, **keys}).json
            for target in ("s3://b/out", tmp_path / "site")
        )

    assert [(each["path"], each["key"]) for each in (copied, fetched)] == [(end, f"out/{end}"), (end, f"in/{end}")]
    assert (copied["action"], fetched["action"]) == ("transfer", "nothing" if problem else "download")
    assert problem in fetched["reason"]


def test_names_that_are_no_paths_and_local_paths(scene):
    if scene.direction == "transfer":
        pytest.skip("objects have any name")
    scene.bucket.put("in/a//b", b"x")
    assert "empty component" in scene.explain("in/a//b")["reason"]
    assert scene.explain(str(scene.site / "content"))["key"] == "in/content"
    (scene.site / "own").mkdir()
    assert scene.explain("own")["action"] == "nothing"
    (scene.site / ".s3batchignore").write_text("content\n")
    hidden = scene.explain("content")
    assert (hidden["action"], hidden["from"]) == ("nothing", ".s3batchignore")
