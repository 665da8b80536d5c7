"""The settings of the one step in a pipeline file: as much of YAML as the documentation's examples need.

Maps by indentation, texts with or without quotes, ``true`` and ``false``. A key that is given twice has its last value.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

EXAMPLES = Path(__file__).parent / "examples"


def settings_of(name: str, secrets: Mapping[str, str] | None = None) -> dict[str, Any]:
    """What the CI reads of the step in ``examples/NAME.yml``, secrets put in their places."""
    text = (EXAMPLES / f"{name}.yml").read_text()
    _, _, step = text.partition("settings:\n")
    lines = [line for line in step.splitlines() if line.strip()]
    return {key: _with_secret(value, secrets or {}) for key, value in _map(lines).items()}


def _map(lines: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    indent = _indent(lines[0])
    for at, line in enumerate(lines):
        if _indent(line) != indent:
            continue
        key, _, value = line.strip().partition(":") if not line.strip().startswith('"') else _quoted(line.strip())
        below = _until_dedent(lines[at + 1 :], indent)
        found[_scalar(key)] = _scalar(value.strip()) if value.strip() else _map(below)
    return found


def _quoted(line: str) -> tuple[str, str, str]:
    key, _, value = line[1:].partition('":')
    return key, ":", value


def _until_dedent(lines: list[str], indent: int) -> list[str]:
    for at, line in enumerate(lines):
        if _indent(line) <= indent:
            return lines[:at]
    return lines


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _scalar(text: str) -> Any:
    return {"true": True, "false": False}.get(text, text.strip('"'))


def _with_secret(value: Any, secrets: Mapping[str, str]) -> Any:
    return secrets[value["from_secret"]] if isinstance(value, dict) and "from_secret" in value else value
