"""``s3batch config [COMMAND]``: every effective setting, and where it came from. Secrets are ``***``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from s3batch.cli import help as helps
from s3batch.reporting.console import MASK, Output
from s3batch.reporting.publish import publish_document
from s3batch.reporting.text import format_table
from s3batch.settings.schema import DEFAULT, Form, Setting
from s3batch.settings.table import Settings, taken_by

if TYPE_CHECKING:
    from s3batch.s3.profile import AwsProfile

_WIDEST = 40
"""Characters of a value, so that the last column stays on the screen."""
_PROFILE_VARIABLES = ("AWS_PROFILE", "AWS_DEFAULT_PROFILE")
"""Read by boto3 itself; shown, because they decide which keys are used."""


def show_settings(settings: Settings, output: Output, environ: Mapping[str, str]) -> int:
    """Print the table, or with ``--json`` the same as one document, with ``--json-lines`` as one event."""
    profile = _find_profile(settings, environ)
    rows = [_config_row(row, settings, environ, profile) for row in taken_by(settings.command).values()]
    if settings.json or settings.json_lines:
        listed = {name: {"value": value, "from": origin} for name, value, _, origin in rows}
        about = _describe_profile(profile) if profile else None
        document = {"command": settings.command, "settings": listed, "profile": about}
        publish_document(without_effects(settings), output, document)
        return 0
    cells = [("setting", "value", "from"), *((name, shown, origin) for name, _, shown, origin in rows)]
    output.data(*format_table(cells, _WIDEST))
    if profile:
        shown = [f"{name} = {value}" for name, value in profile.section.items()]
        output.data(*([f"[s3] of {_name_profile(profile)}: {', '.join(shown)}"] if shown else []))
        output.data(*(_format_ignored(name, profile) for name in profile.ignored))
    return 0


def without_effects(settings: Settings) -> Settings:
    """Return the settings without reports, outputs, commands and pings: to show a setting carries nothing out."""
    return settings._replace(report=(), on_done="", ping="", build=None)


def _find_profile(settings: Settings, environ: Mapping[str, str]) -> AwsProfile | None:
    if "profile" not in taken_by(settings.command):
        return None
    from s3batch.s3.profile import read_profile  # noqa: PLC0415 - boto3 comes with it, if there is such a file

    named = next((environ[name] for name in _PROFILE_VARIABLES if environ.get(name)), "")
    return read_profile(settings._replace(profile=settings.profile or named))


def _describe_profile(profile: AwsProfile) -> dict[str, Any]:
    from s3batch.s3.profile import INSTEAD  # noqa: PLC0415 - as above

    return {
        "name": profile.name, "region": profile.region or None, "endpoint_url": profile.endpoint_url or None,
        "addressing_style": profile.addressing_style, "s3": dict(profile.section),
        "ignored": [{"name": name, "use": INSTEAD.get(name)} for name in profile.ignored],
    }  # fmt: skip


def _format_ignored(name: str, profile: AwsProfile) -> str:
    from s3batch.s3.profile import INSTEAD  # noqa: PLC0415 - as above

    instead = f"; use {INSTEAD[name]}" if name in INSTEAD else ""
    return f"ignored from {_name_profile(profile)}: {name}{instead}"


def _name_profile(profile: AwsProfile) -> str:
    return f"profile {profile.name}"


def _config_row(
    row: Setting, settings: Settings, environ: Mapping[str, str], profile: AwsProfile | None
) -> tuple[str, Any, str, str]:
    """Return name, value, the value for people, and origin."""
    value, origin = getattr(settings, row.name), settings.origin(row.name)
    if row.name == "profile" and not value:
        variable = next((name for name in _PROFILE_VARIABLES if environ.get(name)), "")
        value, origin = (environ[variable], variable) if variable else (value, origin)
    if profile and origin == DEFAULT:
        value, origin = _value_of_profile(row.name, profile) or (value, origin)
    if row.secret and value:
        return row.name, MASK, MASK, origin
    shown = _by_default(row) if origin == DEFAULT and value == row.default else _show_value(value)
    return row.name, list(value) if isinstance(value, tuple) else value, shown, origin


def _value_of_profile(name: str, profile: AwsProfile) -> tuple[Any, str] | None:
    """Return what the profile gives to a setting that nothing else gives, and where it stands."""
    origin = _name_profile(profile)
    if name == "path_style" and profile.addressing_style != "auto":
        return profile.addressing_style == "path", f"{origin}: addressing_style = {profile.addressing_style}"
    value = {"region": profile.region, "endpoint_url": profile.endpoint_url}.get(name)
    return (value, origin) if value else None


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
