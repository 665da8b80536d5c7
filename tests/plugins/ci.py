"""The environment that a CI makes of a step's settings: Drone, Woodpecker and Harness, each in its own way.

docs/plugins.md has the table these three functions follow.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

Environment = dict[str, str]


def drone(settings: Mapping[str, Any]) -> Environment:
    """Names in upper case and else as they are, maps with sorted keys, lists joined by commas without escaping."""
    said = {"CI": "true", "DRONE": "true", "DRONE_REPO": "octo/site", "DRONE_BUILD_NUMBER": "7"}
    return said | {f"PLUGIN_{name.upper()}": _drone(value) for name, value in settings.items() if value is not None}


def woodpecker(settings: Mapping[str, Any]) -> Environment:
    """Dashes and dots of a name become underscores; a float is written as it is."""
    said = {"CI": "woodpecker", "CI_REPO": "octo/site", "CI_REPO_NAME": "site", "CI_PIPELINE_NUMBER": "7"}
    names = {name: name.upper().replace("-", "_").replace(".", "_") for name in settings}
    return said | {f"PLUGIN_{names[name]}": _woodpecker(value) for name, value in settings.items() if value is not None}


def harness(settings: Mapping[str, Any]) -> Environment:
    """Everything is a quoted string; maps and lists are JSON, with whatever spaces their writer liked."""
    said = {"CI": "true", "DRONE": "true", "HARNESS_BUILD_ID": "7", "DRONE_REPO_NAME": "site"}
    return said | {f"PLUGIN_{name.upper()}": _harness(value) for name, value in settings.items() if value is not None}


SYSTEMS: Mapping[str, Callable[[Mapping[str, Any]], Environment]] = {
    "drone": drone,
    "woodpecker": woodpecker,
    "harness": harness,
}


def _drone(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return _scalar(value) or _list(value) or _go_json(value)


def _woodpecker(value: Any) -> str:
    return _scalar(value) or _list(value) or _go_json(value)


def _harness(value: Any) -> str:
    if isinstance(value, Mapping):
        return json.dumps(value)
    return _scalar(value) or _list(value)


def _scalar(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "" if isinstance(value, Mapping | list) else str(value)


def _list(value: Any) -> str:
    """Joined by commas, unless there is a map among its items."""
    if not isinstance(value, list) or any(isinstance(item, Mapping) for item in value):
        return ""
    return ",".join("" if item is None else _scalar(item) for item in value)


def _go_json(value: Any) -> str:
    """As Go's encoding/json writes it: sorted, without spaces, and safe to stand in HTML."""
    if value in ("", []):
        return ""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
