"""Writes below one directory: nothing leaves it, whatever lies in the way."""

from __future__ import annotations

import errno
import itertools
import os
from pathlib import Path

import pytest

from s3batch.files.beneath import write_all
from s3batch.files.tree import TEMPORARY, TargetTree


@pytest.fixture
def root(tmp_path) -> Path:
    (tmp_path / "target").mkdir()
    (tmp_path / "outside").mkdir()
    return tmp_path / "target"


@pytest.fixture
def tree(root) -> TargetTree:
    return TargetTree(str(root))


def store(tree: TargetTree, path: str, body: bytes = b"body") -> os.stat_result:
    descriptor = tree.create_anew("1.1")
    write_all(descriptor, body)
    os.close(descriptor)
    return tree.move_in("1.1", path)


def test_a_file_gets_its_place_with_the_directories_above_it(tree, root):
    info = store(tree, "a/b/c")

    assert (root / "a/b/c").read_bytes() == b"body"
    assert info.st_ino == os.stat(root / "a/b/c").st_ino
    assert os.listdir(root / TEMPORARY) == []


@pytest.mark.parametrize("path", ["link/f", "a/link/f", "file/f", "a/../../outside/f", "../outside/f"])
def test_nothing_is_written_through_a_link_a_file_or_the_parent(tree, root, path):
    (root / "a").mkdir()
    (root / "file").write_bytes(b"")
    for place in ("link", "a/link"):
        (root / place).symlink_to(root.parent / "outside")

    with pytest.raises(OSError) as refused:
        store(tree, path)

    assert refused.value.errno in (errno.ENOTDIR, errno.ELOOP, errno.EINVAL)
    assert list((root.parent / "outside").iterdir()) == []


def test_a_directory_that_becomes_a_link_is_noticed_after_half_a_second(root):
    now = [0.0]
    tree = TargetTree(str(root), clock=lambda: now[0])
    store(tree, "a/first")
    (root / "a").rename(root / "moved")
    (root / "a").symlink_to(root.parent / "outside")
    now[0] = 0.6

    with pytest.raises(OSError):
        store(tree, "a/second")

    assert list((root.parent / "outside").iterdir()) == []


def test_a_link_in_a_files_place_is_replaced_and_not_followed(tree, root):
    (root.parent / "outside" / "f").write_bytes(b"kept")
    (root / "f").symlink_to(root.parent / "outside" / "f")

    store(tree, "f")

    assert not (root / "f").is_symlink()
    assert (root.parent / "outside" / "f").read_bytes() == b"kept"


@pytest.mark.parametrize("name", ["../x", "a/b", "..", ".", ""])
def test_the_name_of_an_unfinished_file_leads_nowhere_else(tree, name):
    for use in (tree.create, tree.open_unfinished, tree.discard):
        with pytest.raises(OSError, match="no name of an unfinished file"):
            use(name)


def test_empty_directories_go_up_to_a_level(tree, root):
    (root / "a/b/c").mkdir(parents=True)
    (root / "x/y").mkdir(parents=True)
    (root / "x/kept").write_bytes(b"")

    tree.remove_empty("a/b/c", 2)
    tree.remove_empty("x/y", 2)

    assert (root / "a").is_dir()
    assert not (root / "a/b").exists()
    assert not (root / "x/y").exists()
    assert (root / "x/kept").exists()


def test_unfinished_files_of_others_are_removed_but_those_named(tree, root):
    for name in ("1-kept", "2-gone"):
        os.close(tree.create(name))

    tree.discard_others({"1-kept"})

    assert os.listdir(root / TEMPORARY) == ["1-kept"]


def test_many_files_are_looked_at_together_and_no_link_is_followed(tree, root):
    for path in ("a/one", "a/two", "b/three"):
        store(tree, path, path.encode())
    (root / "a" / "link").symlink_to("one")
    (root / "linked").symlink_to(root / "a")
    (root / "a" / "dir").mkdir()

    bad = ["a/none", "a/link", "a/dir", "linked/one", "none/x", "../outside/x", "a/../b/three"]
    paths = ["a/one", *bad, "a/two", "b/three", "a/one"]
    found = tree.read_files(paths)

    infos = {path: os.lstat(root / path) for path in ("a/one", "a/two", "b/three")}
    facts = {path: (info.st_size, info.st_mtime_ns, info.st_ctime_ns, info.st_ino) for path, info in infos.items()}
    assert found == [facts.get(path) for path in paths]


def test_a_directory_that_a_look_at_another_has_closed_is_opened_again(root):
    seconds = itertools.count(step=0.3)
    tree = TargetTree(str(root), clock=lambda: next(seconds))  # the second look comes later than open ones are trusted
    store(tree, "a/first")

    found = tree.read_files(["a/first", "gone/x", "a/first"] * 3)

    assert [each is None for each in found] == [False, True, False] * 3
