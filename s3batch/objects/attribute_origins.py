"""Tells of each attribute of a file's object which setting and which pattern gave it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from s3batch.objects.attributes import PatternChoice, collect_pattern_settings

if TYPE_CHECKING:
    from s3batch.model import Attributes
    from s3batch.objects.attributes import AttributeRules
    from s3batch.settings.table import Settings

_GUESSED = "the file's name"
_NOT_SHOWN = frozenset({"content_type_configured", "preserved"})


def explain_attributes(settings: Settings, rules: AttributeRules, path: str) -> dict[str, dict[str, Any]]:
    """Return by attribute: its value, the setting, the pattern (``None``: the setting has none), and the origin."""
    attributes = rules.attributes(path)
    chosen = {
        name: _find_pattern(values, path, rules.root)
        for name, (values, _) in collect_pattern_settings(settings).items()
    }
    found = {}
    for name, value in zip(attributes._fields, attributes, strict=True):
        if name in _NOT_SHOWN or value in ("", None, (), False):
            continue
        setting = _find_setting(name, attributes)
        origin = settings.origin(setting) if setting else _GUESSED
        found[name] = {
            "value": _as_json_value(value),
            "setting": setting or None,
            "pattern": chosen.get(setting),
            "from": origin,
        }
    return found


def _find_pattern(values: Any, path: str, root: str) -> str | None:
    """Return the pattern that wins for this path; ``None`` if none matches."""
    choice: PatternChoice[str | None] = PatternChoice.of({pattern: pattern for pattern in values}, root, None)
    return choice.get(path, root + path)


def _find_setting(name: str, attributes: Attributes) -> str:
    """Return the setting behind an attribute; empty for a type that follows from the name."""
    if name == "content_type":
        return "content_type" if attributes.content_type_configured else ""
    if name == "content_encoding" and attributes.gzip:
        return "gzip"
    return name


def _as_json_value(value: Any) -> Any:
    """Return a value as JSON has it: pairs as an object."""
    if isinstance(value, tuple):
        return dict(value) if all(isinstance(each, tuple) for each in value) else list(value)
    return value
