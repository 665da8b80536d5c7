"""The documents say what the program does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from s3batch.settings import COMMANDS, TABLE

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_the_readme_and_the_commands_page_are_as_regen_writes_them():
    ran = subprocess.run(
        [sys.executable, ROOT / "scripts/regen", "--check"], text=True, capture_output=True, check=False
    )

    assert (ran.returncode, ran.stderr) == (0, "")


def test_the_readme_names_every_setting():
    text = (ROOT / "README.md").read_text()

    assert [name for name in TABLE if f"| `{name}`" not in text] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_its_help_on_the_commands_page(command):
    assert f"\n## s3batch {command}\n" in (ROOT / "docs" / "commands.md").read_text()
