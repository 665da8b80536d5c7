"""Whether another machine sees the same source."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from s3batch.executors.dask import source_check


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    for number in range(40):
        path = root / f"d{number % 4}" / f"f{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"content %d" % number)
    return root


def test_a_source_is_like_itself(tree):
    taken = source_check.take_samples(str(tree))

    assert 1 <= len(taken) <= 8
    assert len({os.path.dirname(sample.path) for sample in taken}) > 1
    assert source_check.describe_source_difference(str(tree), taken) == ""


def test_one_file_as_source_is_its_own_sample(tree):
    root = str(tree / "d0" / "f0")

    assert [sample.path for sample in source_check.take_samples(root)] == [""]
    assert source_check.describe_source_difference(root, source_check.take_samples(root)) == ""


def test_an_empty_source_has_only_to_be_there(tmp_path):
    assert source_check.take_samples(str(tmp_path)) == ()
    assert source_check.describe_source_difference(str(tmp_path), ()) == ""
    assert source_check.describe_source_difference(str(tmp_path / "none"), ()).endswith(f"has no {tmp_path / 'none'}")


def write(path: Path) -> None:
    path.write_bytes(b"longer than it was before")


def rewrite(path: Path) -> None:
    """Other bytes, the same size and time."""
    status = path.stat()
    path.write_bytes(b"x" * status.st_size)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def turn_into_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param(Path.unlink, "cannot read", id="gone"),
        pytest.param(write, "another size", id="longer"),
        pytest.param(rewrite, "another content", id="other bytes of that size and time"),
        pytest.param(lambda path: os.utime(path, ns=(1, 1)), "another modification time", id="a copy"),
        pytest.param(lambda path: path.chmod(0o600), "another inode or time of change", id="another ctime"),
        pytest.param(turn_into_pipe, "cannot read", id="a pipe that nobody writes to"),
    ],
)
def test_a_file_seen_otherwise_is_named(tree, change, words):
    taken = source_check.take_samples(str(tree))
    path = tree / taken[-1].path
    change(path)

    assert words in source_check.describe_source_difference(str(tree), taken)
    assert str(path) in source_check.describe_source_difference(str(tree), taken)


def test_what_the_journal_writes_is_no_sample(tree):
    shutil.rmtree(tree / "d0")
    journal = tree / "j.db"
    for name in ("j.db", "j.db-wal", "j.db-shm"):
        (tree / name).write_bytes(b"always changing")

    assert "j.db" not in {sample.path[:4] for sample in source_check.take_samples(str(tree), str(journal))}


def test_links_into_nowhere_and_special_files_are_passed_over(tmp_path):
    (tmp_path / "link").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe")

    assert source_check.take_samples(str(tmp_path)) == ()


def test_files_are_opened_under_the_link_policy_of_the_walk(tree):
    inside, outside = tree / "d0", tree.parent / "elsewhere"
    taken = source_check.take_samples(str(tree))
    inside.rename(outside)
    inside.symlink_to(outside)

    assert source_check.describe_source_difference(str(tree), taken) == ""
    assert "cannot read" in source_check.describe_source_difference(str(tree), taken, "skip")
    assert "cannot read" in source_check.describe_source_difference(str(tree), taken, "inside")
    assert not [
        sample for sample in source_check.take_samples(str(tree), symlinks="skip") if sample.path.startswith("d0/")
    ]
