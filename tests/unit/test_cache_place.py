"""Where our own files go."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from s3batch.base.errors import JobFailedError
from s3batch.cache import state_directory


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch) -> Path:
    """The temporary directory."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    return tmp_path / "tmp"


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    (tmp_path / "src").mkdir()
    return tmp_path / "src"


def ours(temporary: Path) -> str:
    return str(temporary / f"s3batch-{os.geteuid()}")


def test_they_go_into_the_workspace_for_our_eyes_only(workspace, temporary):
    path = state_directory.own_directory(str(workspace)).path

    assert path == str(workspace / ".s3batch")
    assert os.stat(path).st_mode & 0o077 == 0


@pytest.mark.parametrize("what", ["a link", "a file"])
def test_a_workspace_that_has_something_else_there_is_left_alone(workspace, temporary, tmp_path, what):
    (tmp_path / "elsewhere").mkdir()
    if what == "a link":
        (workspace / ".s3batch").symlink_to(tmp_path / "elsewhere")
    else:
        (workspace / ".s3batch").write_text("not ours")

    assert state_directory.own_directory(str(workspace)).path == ours(temporary)
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_directory_that_others_may_write_is_not_ours(workspace, temporary):
    (workspace / ".s3batch").write_text("not ours")
    Path(ours(temporary)).mkdir()
    Path(ours(temporary)).chmod(0o777)

    path = state_directory.own_directory(str(workspace)).path

    assert os.path.dirname(path) == str(temporary)
    assert path != ours(temporary)
    assert os.stat(path).st_mode & 0o077 == 0


def test_a_link_in_the_temporary_directory_is_not_followed(workspace, temporary, tmp_path):
    (workspace / ".s3batch").write_text("not ours")
    (tmp_path / "elsewhere").mkdir()
    Path(ours(temporary)).symlink_to(tmp_path / "elsewhere")

    path = state_directory.own_directory(str(workspace)).path

    assert path != ours(temporary)
    assert not os.path.islink(path)


def test_nowhere_to_write_is_one_sentence(workspace, monkeypatch):
    (workspace / ".s3batch").write_text("not ours")
    monkeypatch.setattr(tempfile, "tempdir", str(workspace / "no" / "such"))

    with pytest.raises(JobFailedError, match=r"neither .* nor the temporary directory can be written"):
        state_directory.own_directory(str(workspace))


@pytest.mark.parametrize("what", ["a link", "a directory of others", "a hard link", "a pipe"])
def test_one_thing_that_is_not_ours_is_said_and_nothing_there_is_used(workspace, temporary, tmp_path, what):
    own = workspace / ".s3batch"
    own.mkdir(mode=0o700)
    (tmp_path / "elsewhere").write_text("precious")
    if what == "a link":
        (own / "cache-1.state").symlink_to(tmp_path / "elsewhere")
    elif what == "a directory of others":
        (own / "cache-1.undo").mkdir()
        (own / "cache-1.undo").chmod(0o777)
    elif what == "a hard link":
        os.link(tmp_path / "elsewhere", own / "x.db.lock")
    else:
        os.mkfifo(own / "x.db")

    found = state_directory.own_directory(str(workspace))

    assert found.path == ours(temporary)
    assert "so s3batch does not use it" in found.trouble
