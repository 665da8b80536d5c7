"""The documents say what the program does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from s3batch.settings.schema import COMMANDS
from s3batch.settings.table import TABLE

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_the_generated_pages_are_as_regen_writes_them():
    ran = subprocess.run(
        [sys.executable, ROOT / "scripts/regen", "--check"], text=True, capture_output=True, check=False
    )

    assert (ran.returncode, ran.stderr) == (0, "")


@pytest.mark.parametrize("row", TABLE.values(), ids=lambda row: row.name)
def test_the_settings_page_tells_each_settings_names_and_meaning(row):
    lines = (ROOT / "docs" / "settings.md").read_text().splitlines()
    [line] = [line for line in lines if line.startswith(f"| `{row.name}`")]

    spelled = {*row.names, row.variable, *row.also, *row.plugin_names, *row.plugin_cache}
    assert {name for name in spelled if f"`{name}`" not in line} == set()
    assert row.help.replace("|", "\\|") in line


def test_the_map_of_packages_names_every_package_and_module():
    text = (ROOT / "s3batch" / "README.md").read_text()
    packages = [path.parent for path in (ROOT / "s3batch").rglob("__init__.py") if path.parent.name != "s3batch"]
    modules = [path for path in (ROOT / "s3batch").glob("*.py") if path.name not in {"__init__.py", "_version.py"}]

    wanted = {f"({path.relative_to(ROOT / 's3batch')}/)" for path in packages} | {f"({path.name})" for path in modules}
    assert {name for name in wanted if name not in text} == set()


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_its_help_on_the_commands_page(command):
    assert f"\n## s3batch {command}\n" in (ROOT / "docs" / "commands.md").read_text()
