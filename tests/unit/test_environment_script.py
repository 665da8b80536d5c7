"""``scripts/environment`` makes environments; it never empties one that belongs to another checkout."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

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
