"""``s3batch explain``: what a sync would do with one path or key, and why; then the sync does just that."""

from __future__ import annotations

import errno
import os

import pytest

from s3batch.commands.explain import find_subject
from s3batch.commands.explanation import Subject
from s3batch.plan.spec import SyncSpec
from s3batch.settings.table import Settings
from tests.rig.fake_s3 import ACCESS_KEY, SECRET_KEY, FakeS3, Stored


@pytest.fixture
def scene(bucket, make_tree, run_cli):
    """A tree of which all but one file has been synced, with orphans beside it."""
    tree = make_tree(
        {
            "same.txt": b"same", "size.txt": b"before", "content.txt": b"before", "type.txt": b"type",
            "skipped.map": b"map", "docs/index.html": b"<p>", "kept.log": b"log",
        }
    )  # fmt: skip
    bucket.put("www/orphan.txt", b"old")
    bucket.put("www/skipped.map", b"old map")
    bucket.put("www/.s3batch/manifest", b"x")
    assert run_cli(["sync", tree, bucket.url("www"), "--exclude", "*.map"]).code == 0
    (tree / "size.txt").write_bytes(b"longer than before")
    (tree / "content.txt").write_bytes(b"behind")
    (tree / "new.txt").write_bytes(b"new")
    (tree / "folder").mkdir()
    os.symlink("nowhere", tree / "broken")
    bucket.put("www/type.txt", b"type", ContentType="image/png")
    return bucket, tree


CACHING = '{"*": "max-age=60", ".html": "no-cache"}'
FLAGS = ["--exclude", "*.map,*.log,!kept.log", "--delete", "--cache-control", CACHING]


def explain(run_cli, scene, word, *more, cwd=None):
    bucket, tree = scene
    found = run_cli(["explain", word, tree, bucket.url("www"), "--json", *FLAGS, *more], cwd=cwd or tree)
    assert found.code == 0, found.stderr
    return found.json


ACTIONS = [
    ("new.txt", "upload", "no such object"),
    ("size.txt", "upload", "18 bytes, the object 6"),
    ("content.txt", "upload", "content differs"),
    ("same.txt", "copy", "cache-control"),
    ("type.txt", "copy", "content-type is 'image/png'"),
    ("skipped.map", "nothing", "*.map leaves it out"),
    ("www/orphan.txt", "delete", "--delete is set"),
    ("orphan.txt", "delete", "--delete is set"),
    ("www/.s3batch/manifest", "nothing", "belongs to s3batch"),
    ("folder", "nothing", "it is a directory"),
    ("broken", "nothing", "broken"),
]


def test_the_action_and_its_reason(run_cli, scene):
    for word, action, reason in ACTIONS:
        found = explain(run_cli, scene, word)
        assert (found["action"], reason in found["reason"]) == (action, True), found


def test_the_sync_does_what_was_said(run_cli, scene):
    bucket, tree = scene
    plan = run_cli(["sync", tree, bucket.url("www"), "--dry-run", "--json", *FLAGS], cwd=tree).json["plan"]
    for row in plan:
        assert explain(run_cli, scene, row["key"])["action"] == row["operation"], row


def test_pattern_attributes_store_and_journal(run_cli, scene):
    bucket, tree = scene
    found = explain(run_cli, scene, f"s3://{bucket.name}/www/docs/index.html")
    assert (found["path"], found["key"], found["taken"]) == ("docs/index.html", "www/docs/index.html", True)
    assert found["attributes"]["cache_control"] == {
        "value": "no-cache", "setting": "cache_control", "pattern": ".html", "from": "--cache-control",
    }  # fmt: skip
    assert found["attributes"]["content_type"]["from"] == "the file's name"
    assert found["store"]["size"] == 3
    assert found["journal"]["last"]["operation"] == "upload"
    (tree / "docs" / ".s3batchignore").write_text("# none\n*.html\n")
    hidden = explain(run_cli, scene, "docs/index.html")
    assert (hidden["taken"], hidden["pattern"], hidden["from"]) == (False, "*.html", "docs/.s3batchignore")
    kept = explain(run_cli, scene, "kept.log")
    assert (kept["taken"], kept["pattern"], kept["from"]) == (True, "!kept.log", "--exclude")


def test_a_limit_of_size_leaves_alone(run_cli, scene):
    found = explain(run_cli, scene, "new.txt", "--min-size", "1KiB")
    assert (found["taken"], found["action"], "min_size" in found["reason"]) == (False, "nothing", True)


def test_a_path_is_relative_to_the_working_directory_first(run_cli, scene):
    _, tree = scene
    (tree / "docs" / "same.txt").write_bytes(b"another")
    assert explain(run_cli, scene, "same.txt", cwd=tree / "docs")["path"] == "docs/same.txt"
    assert explain(run_cli, scene, "size.txt", cwd=tree / "docs")["path"] == "size.txt"
    (tree / "..odd").write_bytes(b"its name begins with two dots")
    assert explain(run_cli, scene, "../..odd", cwd=tree / "docs")["path"] == "..odd"


def test_neither_path_nor_key_is_exit_2(run_cli, scene):
    bucket, tree = scene
    for word in ("nothing-here", "s3://other/www/same.txt", "../outside", "/", "."):
        assert run_cli(["explain", word, tree, bucket.url("www")], cwd=tree).code == 2


def test_a_key_that_no_walk_makes_has_no_file(make_tree, run_cli, env, tmp_path):
    tree = make_tree({"a": b"a"})
    (tree.parent / "outside").write_bytes(b"another")
    with FakeS3() as fake:
        keys = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY, "AWS_ENDPOINT_URL": fake.url}
        for rest in ("../outside", "./a", "/etc/passwd"):
            fake.objects["b"] = {f"www/{rest}": Stored(b"", '"d41d8cd98f00b204e9800998ecf8427e"')}
            words = ["explain", f"www/{rest}", tree, "s3://b/www", "--delete", "--json"]
            told = run_cli(words, env={**env, **keys}, cwd=tmp_path).json
            assert (told["path"], told["key"], told["action"]) == (rest, f"www/{rest}", "delete")


def test_it_sends_one_listing_and_one_head(run_cli, scene, env, proxy):
    bucket, tree = scene
    asked = env | {"S3BATCH_ENDPOINT_URL": proxy.url}
    assert run_cli(["explain", "same.txt", tree, bucket.url("www")], env=asked, cwd=tree).code == 0
    assert proxy.counts() == {"HeadObject": 1, "ListObjectsV2": 1}


def test_lines_for_people(run_cli, scene):
    bucket, tree = scene
    shown = run_cli(["explain", "same.txt", tree, bucket.url("www"), *FLAGS], cwd=tree).stdout
    assert "key            www/same.txt" in shown
    assert "cache control  max-age=60, by cache_control * (--cache-control)" in shown


def test_what_no_filter_and_no_setting_decides(run_cli, scene):
    """The name of the file gives the type, and no pattern is named where none decides."""
    bucket, tree = scene
    asked = ["explain", "same.txt", tree, bucket.url("www"), "--exclude", "nothing-like-it"]
    shown = run_cli(asked, cwd=tree).stdout.splitlines()
    assert "taken         yes" in shown
    assert "content type  text/plain; charset=utf-8, from the file's name" in shown
    document = run_cli([*asked, "--json"], cwd=tree).json
    assert (document["source"], document["pattern"], document["from"]) == (str(tree), None, None)


def test_values_of_several_parts_are_text(run_cli, scene):
    bucket, tree = scene
    bucket.put("www/new.txt", b"new", Metadata={"who": "me"})
    asked = [
        "explain",
        "new.txt",
        tree,
        bucket.url("www"),
        "--preserve",
        "mtime,mode",
        "--metadata",
        '{"*": {"a": "1"}}',
    ]
    shown = run_cli(asked, cwd=tree).stdout.splitlines()
    assert "preserve      mtime, mode, by preserve (--preserve)" in shown
    assert "metadata      a=1, by metadata * (--metadata)" in shown
    assert any(line.startswith("store ") and line.endswith("metadata who=me") for line in shown), shown


def test_what_this_user_may_not_look_at_is_no_missing_file(monkeypatch, tmp_path):
    wanted = SyncSpec.from_settings(Settings(source=str(tmp_path), bucket="b", target="www"))

    def refuse(path):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)

    monkeypatch.setattr(os, "lstat", refuse)
    for word in (str(tmp_path / "closed/file"), "closed/file"):
        assert find_subject(wanted, word) == Subject("www/closed/file", "closed/file", exists=True)
