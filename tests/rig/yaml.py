"""As much of YAML as the pipelines in our documents need; what is more than that is an error, so they stay simple.

Maps and lists by indentation, ``[a, b]``, ``{a: b}``, texts with or without quotes, ``true``, ``false``, comments.
Numbers stay text: a CI hands them over as such.
"""

from __future__ import annotations

import re
from typing import Any

_PLAIN_STOPS = re.compile(r"[\[\]{}&*!|>%@`]")
_KEY = re.compile(r"""(?P<key>"[^"]*"|'[^']*'|[^\s"'\[{#][^:#]*?)\s*:(?:\s+(?P<value>.*))?$""")


def load(text: str) -> Any:
    """The one document in ``text``."""
    lines = [line for line in (_without_comment(line) for line in text.splitlines()) if line.strip()]
    value, rest = _block(lines, _indent(lines[0]))
    if rest:
        raise ValueError(f"what is {rest[0]!r} doing here?")
    return value


def _without_comment(line: str) -> str:
    return re.sub(r"(^|\s)#.*$", "", line) if '"' not in line and "'" not in line else line


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip(" "))


def _block(lines: list[str], indent: int) -> tuple[Any, list[str]]:
    return _list(lines, indent) if lines[0].lstrip().startswith("- ") else _map(lines, indent)


def _list(lines: list[str], indent: int) -> tuple[list[Any], list[str]]:
    found = []
    while lines and _indent(lines[0]) == indent and lines[0].lstrip().startswith("- "):
        first = lines[0].lstrip()[2:]
        inner = indent + 2 + _indent(first)
        if _KEY.match(first.strip()):
            value, lines = _map([" " * inner + first.strip(), *lines[1:]], inner)
        else:
            value, lines = scalar(first.strip()), lines[1:]
        found.append(value)
    return found, lines


def _map(lines: list[str], indent: int) -> tuple[dict[str, Any], list[str]]:
    found: dict[str, Any] = {}
    while lines and _indent(lines[0]) == indent and not lines[0].lstrip().startswith("- "):
        match = _KEY.match(lines[0].strip())
        if not match:
            raise ValueError(f"this is no line of a map: {lines[0]!r}")
        key, lines = scalar(match["key"]), lines[1:]
        if key in found:
            raise ValueError(f"{key!r} is there twice")
        if match["value"]:
            found[key] = scalar(match["value"].strip())
        else:
            found[key], lines = _block(lines, _indent(lines[0]))
    return found, lines


def scalar(text: str) -> Any:
    """A value on one line."""
    if text[:1] == text[-1:] and text[:1] in ('"', "'"):
        return text[1:-1]
    if text.startswith("["):
        return [scalar(item.strip()) for item in text[1:-1].split(",") if item.strip()]
    if text.startswith("{"):
        pairs = (item.partition(":") for item in text[1:-1].split(","))
        return {scalar(key.strip()): scalar(value.strip()) for key, _, value in pairs}
    if _PLAIN_STOPS.match(text) or ": " in text:
        raise ValueError(f"YAML wants quotes around {text!r}")
    return {"true": True, "false": False}.get(text, text)
