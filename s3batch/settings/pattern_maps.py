"""The values of string-or-map settings, as ``pattern → value``. Text in, plain dicts out; rules choose the pattern.

    "" or null or {}      nothing: the setting is not set
    a JSON object         the map; numbers and booleans become text, null drops the pair
    any other text        that text for all files, exactly as it stands (``{"*": text}``)

Drone turns yaml ``metadata: {version: 2}`` into ``{"version":2}``: that is why numbers keep the digits they
were written with. Values that no HTTP header can hold are refused here, before any request.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from s3batch.base.units import BOOLEAN_HINT, parse_boolean
from s3batch.settings.texts import is_utf8

if TYPE_CHECKING:
    from s3batch.settings.table import Settings  # workers read rules, not settings

EVERYTHING = "*"
"""The pattern of a plain string."""

Pairs = tuple[tuple[str, str], ...]
"""A flat map, sorted by name."""

_UNSET = ("", "null")
_CONTROL = r"[\x00-\x1f\x7f]"
_HEADER_NAME = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
"""The characters that RFC 9110 allows in the name of a header."""
_MAX_TAGS, _MAX_TAG_KEY, _MAX_TAG_VALUE = 10, 128, 256
"""S3's limits: tags of an object, characters of a tag."""


def parse_text_map(settings: Settings, name: str) -> dict[str, str]:
    """Return a string or a map of strings, such as ``acl`` or ``cache_control``."""
    text = _raw_text(settings, name)
    if text in _UNSET:
        return {}
    given = _parse_json(text)
    if not isinstance(given, dict):
        return {EVERYTHING: check_header_value(settings, name, text)}
    return {
        pattern: check_header_value(settings, name, value)
        for pattern, value in _flatten_map(settings, name, given).items()
    }


def parse_metadata_map(settings: Settings, name: str = "metadata") -> dict[str, Pairs]:
    """Return user metadata, with names in lower case, as they are sent."""
    return {
        pattern: _check_metadata(settings, name, pairs) for pattern, pairs in _maps_by_pattern(settings, name).items()
    }


def parse_tag_map(settings: Settings, name: str = "tags") -> dict[str, Pairs]:
    """Return tags, whose keys keep their case. ``a=1&b=2``, as S3 and its tools write them, is a map too."""
    text = _raw_text(settings, name)
    if text and not text.startswith("{") and all("=" in pair for pair in text.split("&")):
        return {EVERYTHING: _check_tags(settings, name, dict(parse_qsl(text, keep_blank_values=True)))}
    return {pattern: _check_tags(settings, name, pairs) for pattern, pairs in _maps_by_pattern(settings, name).items()}


def parse_switch_map(settings: Settings, name: str) -> dict[str, bool]:
    """Return a boolean, a list of patterns (JSON, or joined by commas as Drone does), or a map of booleans."""
    text = _raw_text(settings, name)
    if text in _UNSET:
        return {}
    given = _parse_json(text)
    if isinstance(given, dict):
        return {
            pattern: _parse_switch(settings, name, value)
            for pattern, value in _flatten_map(settings, name, given).items()
        }
    if isinstance(given, list):
        return dict.fromkeys(_check_patterns(settings, name, given), True)
    try:
        return {EVERYTHING: parse_boolean(text)}
    except ValueError:
        return dict.fromkeys(_check_patterns(settings, name, text.split(",")), True)


def parse_string_map(settings: Settings, name: str) -> dict[str, str]:
    """Return a JSON object of strings and nothing else, such as ``redirects``."""
    text = _raw_text(settings, name)
    given = {} if text in _UNSET else _parse_json(text, numbers_as_text=False)
    if not isinstance(given, dict) or not all(isinstance(value, str) for value in given.values()):
        raise settings.bad(name, 'write a map of strings, such as {"old/page": "/new/page"}')
    return {key: check_header_value(settings, name, value) for key, value in given.items()}


def check_header_value(settings: Settings, name: str, value: str) -> str:
    """Return the value without spaces around it. Raises SettingsError if it cannot be a header's value."""
    if not value.isascii():
        raise settings.bad(name, f"write {value!r} in ASCII: it travels in an HTTP header")
    return _one_line(settings, name, value)


def _one_line(settings: Settings, name: str, value: str) -> str:
    value = value.strip()
    if re.search(_CONTROL, value):
        raise settings.bad(name, f"write {value!r} on one line, without control characters")
    return _require_utf8(settings, name, value)


def _require_utf8(settings: Settings, name: str, value: str) -> str:
    if not is_utf8(value):
        raise settings.bad(name, f"write {value!r} in UTF-8")
    return value


def _raw_text(settings: Settings, name: str) -> str:
    return (getattr(settings, name) or "").strip()


def _parse_json(text: str, *, numbers_as_text: bool = True) -> Any:
    """Return the JSON value; ``None`` if it is not JSON."""
    number = str if numbers_as_text else None
    try:
        return json.loads(text, parse_int=number, parse_float=number, parse_constant=number)
    except ValueError:
        return None


def _flatten_map(settings: Settings, name: str, given: dict[str, Any]) -> dict[str, str]:
    """Return a flat map: numbers are text already, booleans become text, and null drops its pair."""
    flat = {key: str(value).lower() if isinstance(value, bool) else value for key, value in given.items()}
    if nested := [key for key, value in flat.items() if isinstance(value, dict | list)]:
        raise settings.bad(name, f"give {nested[0]!r} a plain value, not a map or a list")
    return {key: value for key, value in flat.items() if value is not None}


def _maps_by_pattern(settings: Settings, name: str) -> dict[str, dict[str, str]]:
    """Return maps by pattern: a flat map is for all files, a map of maps has one per pattern; no mixture."""
    text = _raw_text(settings, name)
    given = {} if text in _UNSET else _parse_json(text)
    hint = 'write a map for all files, such as {"version": "2"}, or a map of such maps by pattern'
    if not isinstance(given, dict):
        raise settings.bad(name, hint)
    given = {key: value for key, value in given.items() if value is not None}
    nested = [isinstance(value, dict) for value in given.values()]
    if not any(nested):
        return {EVERYTHING: _flatten_map(settings, name, given)} if given else {}
    if not all(nested):
        raise settings.bad(name, f"{hint}, not both at once")
    return {pattern: _flatten_map(settings, name, pairs) for pattern, pairs in given.items()}


def _check_metadata(settings: Settings, name: str, pairs: dict[str, str]) -> Pairs:
    if odd := [key for key in pairs if not re.fullmatch(_HEADER_NAME, key)]:
        raise settings.bad(name, f"{odd[0]!r} cannot name metadata: use letters, digits and hyphens")
    if len({key.lower().replace("_", "-") for key in pairs}) != len(pairs):
        raise settings.bad(
            name, "give each name once: names that differ only in case, or in - and _, are one in some stores"
        )
    return tuple(sorted((key.lower(), _one_line(settings, name, value)) for key, value in pairs.items()))


def _check_tags(settings: Settings, name: str, pairs: dict[str, str]) -> Pairs:
    if len(pairs) > _MAX_TAGS:
        raise settings.bad(name, f"an object has at most {_MAX_TAGS} tags")
    for key, value in pairs.items():
        if not 0 < len(key) <= _MAX_TAG_KEY or len(value) > _MAX_TAG_VALUE:
            raise settings.bad(
                name, f"a tag is a key of 1 to {_MAX_TAG_KEY} and a value of 0 to {_MAX_TAG_VALUE} characters"
            )
        _require_utf8(settings, name, f"{key}={value}")
    return tuple(sorted(pairs.items()))


def _parse_switch(settings: Settings, name: str, value: str) -> bool:
    try:
        return parse_boolean(value)
    except ValueError:
        raise settings.bad(name, f"{BOOLEAN_HINT} for each pattern") from None


def _check_patterns(settings: Settings, name: str, given: list[Any]) -> list[str]:
    if not all(isinstance(pattern, str) for pattern in given):
        raise settings.bad(name, 'write true, or a list of patterns such as ["*.html", ".css"]')
    return [pattern.strip() for pattern in given if pattern.strip()]
