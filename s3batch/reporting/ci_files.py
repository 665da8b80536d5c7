"""The pages of a CI about a step: the summary of GitHub, Gitea and Forgejo, and the card of Drone."""

from __future__ import annotations

import base64
import json
import os
from typing import TYPE_CHECKING, Any

from s3batch.base.units import format_count, format_duration, format_size
from s3batch.reporting.ci_outputs import append_text, replace_text
from s3batch.reporting.console import escape_line
from s3batch.reporting.forms.markdown import render_markdown
from s3batch.reporting.report_files import encode_report_text

if TYPE_CHECKING:
    from s3batch.reporting.console import Output
    from s3batch.reporting.run_report import RunReport

CARD = "https://raw.githubusercontent.com/s3batch/s3batch/main/docs/drone-card.json"
"""The Adaptive Card that shows the data."""
_STREAMS = {"/dev/stdout": 1, "/dev/stderr": 2}
_LONGEST = 300
_COLOURS = {"done": "good", "failed": "attention", "interrupted": "warning", "superseded": "default"}


def append_summary(path: str, report: RunReport, output: Output) -> None:
    """Append the Markdown form to the summary of the step. Raises OSError."""
    text = "".join(output.mask(piece) for piece in render_markdown(report))
    append_text(path, encode_report_text(text + "\n"))


def write_card(path: str, report: RunReport, output: Output) -> None:
    """Write the card to the path that Drone gives. On a stream it is a line with an escape code around it."""
    card = json.dumps({"schema": CARD, "data": _make_card_data(report)})
    card = output.mask(card)
    if path in _STREAMS:
        line = f"\x1b]1338;{base64.b64encode(card.encode()).decode()}\x1b]0m\n"
        os.write(_STREAMS[path], line.encode())
        return
    replace_text(path, card.encode())


def _make_card_data(report: RunReport) -> dict[str, Any]:
    document = report.document
    operations = document.get("operations", {})
    facts = [(kind, numbers["done"]) for kind, numbers in operations.items() if numbers["done"]]
    first = next(report.problems(), None)
    return {
        "title": _clip_text(report.title),
        "state": document.get("state", ""),
        "color": _COLOURS.get(document.get("state", ""), "default"),
        "verdict": _clip_text(report.verdict),
        "target": _clip_text(report.target),
        "duration": format_duration(document.get("seconds", 0)),
        "files": f"{format_count(document.get('files', 0))} ({format_size(document.get('bytes', 0))})",
        "operations": ", ".join(f"{format_count(count)} {kind}" for kind, count in facts) or "none",
        "failures": format_count(report.problem_count),
        "first_failure": _clip_text(f"{first.key or first.path}: {first.cause}") if first else "",
        "resume": _clip_text(report.resume),
    }


def _clip_text(text: str) -> str:
    line = escape_line(text).encode("utf-8", "backslashreplace").decode()
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}..."
