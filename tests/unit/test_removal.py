"""Removal of directories: any depth, no link followed, and what cannot go stays and is told."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import pytest

from s3batch.archive.paths import is_below
from s3batch.archive.undo_log import UndoLog
from s3batch.files import private
from s3batch.files.removal import remove_directory

DEPTH = 1100


def make_deep(path: Path, depth: int = DEPTH) -> None:
    """Directories in each other, deeper than Python recurses, with a file at the end."""
    path.mkdir()
    descriptor = os.open(path, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("d", dir_fd=descriptor)
        inner = os.open("d", os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = inner
    os.close(os.open("leaf", os.O_CREAT | os.O_WRONLY, dir_fd=descriptor))
    os.close(descriptor)


def remove(path: Path) -> None:
    parent = os.open(path.parent, os.O_RDONLY)
    try:
        remove_directory(path.name, parent)
    finally:
        os.close(parent)


def test_a_wide_tree_goes_and_its_links_are_not_followed(tmp_path):
    there, out = tmp_path / "there", tmp_path / "out"
    for path in ("a/b/c", "a/d", "e", "a/b/f"):
        (there / path).mkdir(parents=True)
        (there / path / "file").write_text("x")
    out.mkdir()
    (out / "dear").write_text("dear")
    (there / "a/d/link").symlink_to(out)
    (there / "link").symlink_to(out)
    os.mkfifo(there / "a/b/pipe")

    remove(there)

    assert os.listdir(tmp_path) == ["out"]
    assert (out / "dear").read_text() == "dear"


def test_a_tree_deeper_than_python_recurses_goes_with_few_descriptors(tmp_path):
    make_deep(tmp_path / "deep")
    _, hard = usual = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 40, hard))
    try:
        private.remove_tree(str(tmp_path / "deep"))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, usual)

    assert os.listdir(tmp_path) == []


def test_what_is_no_directory_stays_and_a_link_to_one_too(tmp_path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "dir").mkdir()
    (tmp_path / "link").symlink_to("dir")

    for name in ("file", "link"):
        with pytest.raises(OSError, match=name):
            remove(tmp_path / name)

    assert sorted(os.listdir(tmp_path)) == ["dir", "file", "link"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may remove everything")
def test_what_may_not_be_removed_stays_and_the_rest_goes(tmp_path):
    closed = tmp_path / "there" / "a" / "closed"
    closed.mkdir(parents=True)
    (closed / "file").write_text("x")
    (tmp_path / "there" / "b").mkdir()
    (tmp_path / "there" / "empty").mkdir(mode=0)
    closed.chmod(0o500)
    try:
        with pytest.raises(PermissionError):
            remove(tmp_path / "there")
    finally:
        left = list((tmp_path / "there").rglob("file"))
        left[0].parent.chmod(0o700)

    assert len(left) == 1
    assert not (tmp_path / "there" / "b").exists()
    assert not (tmp_path / "there" / "empty").exists()


def test_a_deep_directory_that_a_restore_moves_aside_or_removes_is_no_trouble(tmp_path):
    there, folder = tmp_path / "there", tmp_path / "own" / "cache.undo"
    (there / "vendor").mkdir(parents=True)
    (tmp_path / "own").mkdir(mode=0o700)
    for name in ("extra", "made"):
        make_deep(there / "vendor" / name)
    undo = UndoLog(
        str(folder), str(there), ["vendor"], "label", within=lambda path: is_below(path, frozenset({"vendor"}))
    )

    undo.move_aside("vendor/extra")
    undo.will_make_one("vendor/made")
    undo.move_aside("vendor/made")
    undo.commit()

    assert os.listdir(there / "vendor") == os.listdir(tmp_path / "own") == []
