"""A store, and the program on PATH as a runner of a CI has it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rig import program
from tests.rig.fake_s3 import ACCESS_KEY, SECRET_KEY, FakeS3


@pytest.fixture
def store() -> Iterator[FakeS3]:
    with FakeS3() as running:
        yield running


@pytest.fixture
def runner(tmp_path: Path) -> dict[str, str]:
    """The environment of a runner: s3batch is on PATH, and nothing else of this machine's settings."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "s3batch").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m s3batch "$@"\n')
    (tmp_path / "bin" / "s3batch").chmod(0o755)
    environ = program.clean_environment(tmp_path)
    return {**environ, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "RUNNER_TEMP": str(tmp_path)}


@pytest.fixture
def keys() -> dict[str, str]:
    return {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}
