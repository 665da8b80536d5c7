"""``s3batch config [COMMAND]``: every effective setting, and where it came from. Secrets are ``***``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from s3batch.cli import help as helps
from s3batch.reporting.console import MASK, Output
from s3batch.reporting.text import format_table
from s3batch.settings.schema import DEFAULT, Form, Setting
from s3batch.settings.table import Settings, taken_by

_WIDEST = 40
"""Characters of a value, so that the last column stays on the screen."""
_PROFILE_VARIABLES = ("AWS_PROFILE", "AWS_DEFAULT_PROFILE")
"""Read by boto3 itself; shown, because they decide which keys are used."""


def show_settings(settings: Settings, output: Output, environ: Mapping[str, str]) -> int:
    """Print the table, or with ``--json`` the same as one document."""
    rows = [_config_row(row, settings, environ) for row in taken_by(settings.command).values()]
    if settings.json:
        listed = {name: {"value": value, "from": origin} for name, value, _, origin in rows}
        output.document({"command": settings.command, "settings": listed})
        return 0
    cells = [("setting", "value", "from"), *((name, shown, origin) for name, _, shown, origin in rows)]
    output.data(*format_table(cells, _WIDEST))
    return 0


def _config_row(row: Setting, settings: Settings, environ: Mapping[str, str]) -> tuple[str, Any, str, str]:
    """Return name, value, the value for people, and origin."""
    value, origin = getattr(settings, row.name), settings.origin(row.name)
    if row.name == "profile" and not value:
        variable = next((name for name in _PROFILE_VARIABLES if environ.get(name)), "")
        value, origin = (environ[variable], variable) if variable else (value, origin)
    if row.name == "region" and not value:
        value, origin = _configured_region(settings) or (value, origin)
    if row.secret and value:
        return row.name, MASK, MASK, origin
    shown = _by_default(row) if origin == DEFAULT and value == row.default else _show_value(value)
    return row.name, list(value) if isinstance(value, tuple) else value, shown, origin


def _configured_region(settings: Settings) -> tuple[str, str] | None:
    """Return the region of the AWS config file and where it stands there; ``None`` if it names none."""
    from s3batch.s3.credentials import find_region  # noqa: PLC0415 - boto3 comes with it, if there is such a file

    region = find_region(settings)
    return (region, f"profile {settings.profile}" if settings.profile else "the AWS config file") if region else None


def _by_default(row: Setting) -> str:
    if row.form is Form.BOOLEAN:
        return _show_value(row.default)
    return f"({row.shown_default})" if row.shown_default else helps.default_of(row) or "-"


def _show_value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return ", ".join(value)
    return f"{value:g}" if isinstance(value, float) else str(value)
