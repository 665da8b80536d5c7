"""From keys back to files: many keys at once are told as each by itself."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from s3batch.objects.key_paths import KeyPaths
from s3batch.objects.target import normalise_target

PATHS = [
    "file", "there/file", "there/gone", "gone/a", "gone/b", "gone/deep/c", "there", "there/", "file/below", "link",
    "link-to-directory", "link-to-directory/file", "dangling", "there//file", "./file", "there/../file", "/file",
    "/etc/passwd", "../file", "a\0b", "a\0/b", "x" * 300, "x" * 300 + "/y", "gone//a", "\udcff/odd", "shut/secret",
]  # fmt: skip


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "there").mkdir()
    (tmp_path / "file").write_bytes(b"1")
    (tmp_path / "there" / "file").write_bytes(b"2")
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "link-to-directory").symlink_to("there")
    (tmp_path / "dangling").symlink_to("nowhere")
    return tmp_path


@pytest.mark.parametrize(("target", "strip"), [("", ""), ("site", ""), ("site", "there/"), ("site", "*/")])
def test_the_files_of_many_keys_are_those_of_each_key(tree: Path, target: str, strip: str):
    paths = KeyPaths(str(tree), normalise_target("bucket", target, strip))
    keys = [paths.target.prefix + path for path in PATHS]

    found = paths.find_files(keys)

    assert found == {key for key in keys if paths.has_file(key)}
    assert f"{paths.target.prefix}file" in found
    assert f"{paths.target.prefix}gone/a" not in found


@pytest.mark.parametrize("rest", ["../file", "/etc/passwd", "there/../file", "./file", "there//file", ".."])
def test_a_key_that_no_walk_makes_has_no_path(tree: Path, rest: str):
    for strip in ("", "there/"):
        paths = KeyPaths(str(tree / "there"), normalise_target("bucket", "site", strip))
        assert paths.paths(f"site/{rest}") == []


@pytest.mark.parametrize("left", ["nothing", "a file"])
def test_of_a_source_that_is_gone_every_key_may_have_a_file(tmp_path: Path, left: str):
    root = tmp_path / "root"
    if left == "a file":
        root.write_bytes(b"")
    paths = KeyPaths(str(root), normalise_target("bucket", ""))

    assert paths.find_files(["a", "b/c"]) == {"a", "b/c"}
    assert paths.has_file("b/c")


def test_a_directory_that_cannot_be_entered_may_have_every_file(tree: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(name: str, **_: object) -> os.stat_result:
        raise PermissionError(13, "Permission denied", name)

    paths = KeyPaths(str(tree), normalise_target("bucket", ""))
    monkeypatch.setattr(os, "stat", refuse)
    monkeypatch.setattr(os, "lstat", refuse)
    monkeypatch.setattr(os.path, "isdir", lambda _: True)

    assert paths.find_files(["shut/a", "shut/b"]) == {"shut/a", "shut/b"}
