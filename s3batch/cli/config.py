"""``s3batch config [COMMAND]``: every effective setting, and where it came from. Secrets are ``***``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from s3batch.cli import help as helps
from s3batch.output import MASK, Output
from s3batch.settings import DEFAULT, Setting, Settings, taken_by

_PROFILE_VARIABLES = ("AWS_PROFILE", "AWS_DEFAULT_PROFILE")
"""Read by boto3 itself; shown, because they decide which keys are used."""


def show(settings: Settings, output: Output, environ: Mapping[str, str]) -> int:
    """Print the table, or with ``--json`` the same as one document."""
    rows = [_row(row, settings, environ) for row in taken_by(settings.command).values()]
    if settings.json:
        listed = {name: {"value": value, "from": origin} for name, value, _, origin in rows}
        output.document({"command": settings.command, "settings": listed})
        return 0
    cells = [("setting", "value", "from"), *((name, shown, origin) for name, _, shown, origin in rows)]
    widths = [max(len(row[column]) for row in cells) for column in (0, 1)]
    for name, shown, origin in cells:
        output.data(f"{name.ljust(widths[0])}  {shown.ljust(min(widths[1], 40))}  {origin}")
    return 0


def _row(row: Setting, settings: Settings, environ: Mapping[str, str]) -> tuple[str, Any, str, str]:
    """Name, value, the value for people, origin."""
    value, origin = getattr(settings, row.name), settings.origin(row.name)
    if row.name == "profile" and not value:
        variable = next((name for name in _PROFILE_VARIABLES if environ.get(name)), "")
        value, origin = (environ[variable], variable) if variable else (value, origin)
    if row.secret and value:
        return row.name, MASK, MASK, origin
    value = list(value) if isinstance(value, tuple) else value
    return row.name, value, _shown(row, value, origin), origin


def _shown(row: Setting, value: Any, origin: str) -> str:
    if origin == DEFAULT and row.shown_default:
        return f"({row.shown_default})"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return ", ".join(value) or "-"
    if origin == DEFAULT:
        return helps.default_of(row) or "-"
    return f"{value:g}" if isinstance(value, float) else str(value)
