"""A checkout that holds something in the place of our own files: the cache step warns, and works without them."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

import pytest

from tests.plugins.caching import Pipeline


@pytest.fixture
def pipeline(step, tmp_path, monkeypatch) -> Pipeline:
    (tmp_path / "tmp").mkdir()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    return Pipeline(step)


def plant(pipeline: Pipeline, what: str, elsewhere: Path) -> None:
    """Put something that leads out of the workspace where our own files are."""
    own = pipeline.workspace / ".s3batch"
    names = [each.name for each in own.iterdir()]
    (elsewhere / "precious").write_text("precious")
    if what == "the directory is a link":
        own.rename(elsewhere / "own")
        own.symlink_to(elsewhere / "own")
        return
    name = next(each for each in names if each.endswith({"the state": ".state", "the lock": ".lock"}[what]))
    (own / name).unlink()
    (own / name).symlink_to(elsewhere / "precious")


@pytest.mark.parametrize("what", ["the directory is a link", "the state", "the lock"])
def test_a_planted_link_is_said_and_not_followed(pipeline, tmp_path, what):
    pipeline.cached()
    pipeline.restore()
    plant(pipeline, what, tmp_path / "elsewhere")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "elsewhere").rglob("*")}
    (pipeline.workspace / "vendor" / "a").write_text("changed")

    ran = pipeline.rebuild()
    restored = pipeline.restore()

    assert (ran.code, restored.code) == (0, 0), ran.err
    for each in (ran, restored):
        assert "is a symbolic link" in each.err
        assert "this step starts without the state of earlier steps" in each.err
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "elsewhere").rglob("*")} == before
    assert (tmp_path / "elsewhere" / "precious").read_text() == "precious"
    assert pipeline.contents()["vendor/a"] == b"changed"
    assert stat.S_IMODE(os.stat(tmp_path / "tmp" / f"s3batch-{os.geteuid()}").st_mode) == 0o700
