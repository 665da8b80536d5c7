"""``scripts/environment`` makes environments; it never empties one that belongs to another checkout."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.rig.program import ROOT


def test_an_environment_behind_a_link_is_left_alone(tmp_path: Path) -> None:
    checkout, other = tmp_path / "checkout", tmp_path / "other"
    other.mkdir()
    (other / "kept").write_text("of another checkout")
    for name in ("scripts", "requirements"):
        shutil.copytree(ROOT / name, checkout / name)
    shutil.copy(ROOT / "pyproject.toml", checkout)
    (checkout / ".venv").symlink_to(other)

    ran = subprocess.run([checkout / "scripts/environment", "main"], capture_output=True, text=True, check=False)

    assert ran.returncode == 0, ran.stderr
    assert (other / "kept").exists()
    assert f".venv is a link and not up to date: bring it up to date in {other}" in ran.stderr


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A directory for PATH: the programs that the script needs, and an apt-get that notes its words and fails."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("bash", "dirname", "flock", "timeout", "env"):
        (folder / name).symlink_to(str(shutil.which(name)))
    (folder / "python3").symlink_to(sys.executable)
    write_program(folder / "id", "echo 0")
    write_program(folder / "apt-get", f'echo "$@" >> {tmp_path}/asked; exit 100')
    return folder


def write_program(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def find_browser(programs: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [ROOT / "scripts/environment", "browser"],
        env={"PATH": str(programs)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_browser_that_cannot_be_had_is_one_line_and_no_failure(programs: Path, tmp_path: Path) -> None:
    ran = find_browser(programs)

    assert (ran.returncode, ran.stdout) == (0, "")
    assert ran.stderr.splitlines() == [
        "environment: installing chromium",
        "environment: no browser, so the test of the HTML report is skipped (apt-get install chromium)",
    ]
    assert "update" in (tmp_path / "asked").read_text()


def test_nothing_is_installed_where_there_is_a_browser_and_for_others_than_root(programs: Path, tmp_path: Path) -> None:
    write_program(programs / "id", "echo 1000")
    assert find_browser(programs).stderr.count("\n") == 1
    write_program(programs / "google-chrome", "exit 0")

    assert find_browser(programs).stderr == ""
    assert not (tmp_path / "asked").exists()
