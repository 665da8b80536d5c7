"""GitHub Actions and those that speak its names, Gitea and Forgejo: facts that only the event file tells."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from s3batch.files.bounded import read_regular_file

_LIMIT = 25 << 20
"""Bytes of an event file: https://docs.github.com/en/webhooks/webhook-events-and-payloads caps payloads there."""
_PULL_REF = re.compile(r"refs/pull/(\d{1,18})/")


def complete_facts(facts: dict[str, str], environ: Mapping[str, str]) -> dict[str, Any]:
    """Return further facts from the event file and the ref."""
    event = read_event(environ.get("GITHUB_EVENT_PATH", "").strip())
    ref = facts["ref"]
    found: dict[str, Any] = {
        "default_branch": _text_at(event, "repository", "default_branch"),
        "message": _text_at(event, "head_commit", "message"),
        "branch": ref.removeprefix("refs/heads/") if ref.startswith("refs/heads/") else "",
        "tag": ref.removeprefix("refs/tags/") if ref.startswith("refs/tags/") else "",
    }
    server = environ.get("GITHUB_SERVER_URL", "").strip().rstrip("/")
    if server and facts["slug"]:
        run = environ.get("GITHUB_RUN_ID", "").strip()
        found |= {"link": f"{server}/{facts['slug']}", "remote": f"{server}/{facts['slug']}.git"}
        found |= {"build_link": f"{server}/{facts['slug']}/actions/runs/{run}"} if run else {}
    return found | (_pull_request(event, facts) if _is_pull_request(event, facts) else {})


def _is_pull_request(event: Mapping[str, Any], facts: Mapping[str, str]) -> bool:
    """Return whether others may have written the code that is built; a comment's build may check their code out."""
    return (
        facts["event"].startswith("pull_request")
        or bool(facts["source_branch"])
        or bool(_PULL_REF.match(facts["ref"]))
        or isinstance(_field_at(event, "issue", "pull_request"), dict)
    )


def _pull_request(event: Mapping[str, Any], facts: Mapping[str, str]) -> dict[str, Any]:
    in_ref = _PULL_REF.match(facts["ref"])
    number = next((text for text in map(_number_text, _request_numbers(event)) if text), in_ref[1] if in_ref else "")
    head, base = (_text_at(event, "pull_request", side, "repo", "full_name") for side in ("head", "base"))
    target = facts["target_branch"] or _text_at(event, "pull_request", "base", "ref")
    return {
        "pull_request": number,
        "source_branch": facts["source_branch"] or _text_at(event, "pull_request", "head", "ref"),
        "target_branch": target,
        "branch": target,
        "tag": "",
        "event": facts["event"] if facts["event"].startswith("pull_request") else "pull_request",
        # a repository that was deleted, or an event that cannot be read, may be from a fork
        "fork": not head or head != (base or facts["slug"]),
    }


def _request_numbers(event: Mapping[str, Any]) -> tuple[Any, ...]:
    return _field_at(event, "pull_request", "number"), _field_at(event, "number"), _field_at(event, "issue", "number")


def read_event(path: str) -> dict[str, Any]:
    """Return the event that started the build; empty if there is none, or it cannot be read."""
    if not path:
        return {}
    try:
        event = json.loads(read_regular_file(path, _LIMIT))
    except (OSError, ValueError, RecursionError):
        return {}
    return event if isinstance(event, dict) else {}


def _field_at(event: Any, *names: str) -> Any:
    for name in names:
        event = event.get(name) if isinstance(event, dict) else None
    return event


def _text_at(event: Any, *names: str) -> str:
    value = _field_at(event, *names)
    return value.strip() if isinstance(value, str) else ""


def _number_text(value: Any) -> str:
    text = str(value) if isinstance(value, int | str) and not isinstance(value, bool) else ""
    return text if text.isascii() and text.isdigit() and len(text) <= 18 else ""  # 18 digits fit an int64
