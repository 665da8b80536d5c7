"""The command line in this process, with an environment of its own."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from s3batch.cli import main


@dataclass(frozen=True)
class Answer:
    """What a call of the program came to."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    def setting(self, name: str) -> tuple[Any, str]:
        """Value and origin, of ``config --json``."""
        row = self.json["settings"][name]
        return row["value"], row["from"]


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


@pytest.fixture
def call(tmp_path: Path, workspace: Path) -> Callable[..., Answer]:
    """``call("sync", "a", S3BATCH_ACL="private")``: arguments, and variables as keywords or as a mapping ``env``."""

    def run(*argv: str | os.PathLike, env: dict[str, str] | None = None, **variables: str) -> Answer:
        homes = {"XDG_CONFIG_HOME": str(tmp_path / "config"), "XDG_STATE_HOME": str(tmp_path / "state")}
        out, err = io.StringIO(), io.StringIO()
        code = main([os.fspath(word) for word in argv], {**homes, **(env or {}), **variables}, out, err)
        return Answer(code, out.getvalue(), err.getvalue())

    return run


@pytest.fixture
def config_file(tmp_path: Path) -> Callable[[str], Path]:
    """Writes the user's config file."""

    def write(text: str) -> Path:
        path = tmp_path / "config" / "s3batch" / "config.toml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    return write
