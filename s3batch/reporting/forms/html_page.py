"""The HTML form: one page that needs no other file and asks for none. The only door to Jinja.

Everything from outside (keys, paths, words of the store) is escaped by the template, stands in ``bdi``, and shows its
control and bidirectional characters as escapes. The page has no script. Its size is bounded: texts are clipped, and
each list ends where its share of the page is used up.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any

from s3batch.base.named_tuple import NamedTuple
from s3batch.base.units import format_count, format_duration, format_size
from s3batch.model import JobState
from s3batch.reporting import plots
from s3batch.reporting.console import escape_line
from s3batch.reporting.problems import Problem

if TYPE_CHECKING:
    from s3batch.journal import OperationRow
    from s3batch.reporting.run_report import RunReport

_FAILURES, _SLOWEST, _CHANGES, _WARNINGS = 500, 50, 100, 100
"""Rows of each list."""
_FAILURE_BYTES, _OTHER_BYTES = 3 * 1024 * 1024 // 2, 384 * 1024
"""Bytes of each list: 1.5 MiB and thrice 384 KiB. With the rest it stays below 3 MiB."""
_LONGEST = 1200
"""Characters of one text. A key has 1,024 bytes at most."""
_ROW_MARKUP = 600
"""Bytes of markup around the texts of a row."""
_DONE_WORDS = {
    "upload": "uploaded",
    "copy": "updated or renamed in the store",
    "delete": "deleted",
    "redirect": "redirects set",
    "chunk": "chunks stored",
    "reconcile": "compared",
    "download": "downloaded",
    "transfer": "transferred",
    "restore": "restored",
}
_HERE = os.path.dirname(__file__)


class Tile(NamedTuple):
    """A number at the top of the page."""

    number: str
    words: str
    detail: str = ""
    tone: str = ""


class ShownList(NamedTuple):
    """The rows of a list that the page shows, and how many there are."""

    rows: list[Any]
    total: int

    @property
    def more(self) -> str:
        """The number of rows that are not shown; empty if all are."""
        left = self.total - len(self.rows)
        return format_count(left) if left else ""


def render_html(report: RunReport) -> Iterator[str]:
    """Yield the report as a page."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # noqa: PLC0415 - 60 ms that few runs pay

    pages = Environment(
        loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    pages.filters |= {"shown": show_text, "count": format_count, "size": format_size, "duration": format_duration}
    with open(os.path.join(_HERE, "page.css"), encoding="utf-8") as file:
        style = file.read()
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    yield from pages.get_template("page.html").generate(style=style, style_digest=digest, **_collect_page(report))


def show_text(text: object) -> str:
    r"""Return ``text`` for the page: one line, clipped, with ``\u202e`` in the place of what would hide or turn it."""
    line = escape_line(str(text)).encode("utf-8", "backslashreplace").decode()
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…"


def _collect_page(report: RunReport) -> dict[str, Any]:
    document = report.document
    problems = _limit_list(report.problems(), _FAILURES, _FAILURE_BYTES, report.problem_count)
    warnings = document.get("warnings", ())
    return {
        "document": document,
        "title": report.title,
        "verdict": report.verdict or document.get("state", ""),
        "tone": _choose_tone(document),
        "state_words": _describe_state(document),
        "facts": _list_page_facts(document),
        "tiles": _make_tiles(document),
        "operations": {kind: numbers for kind, numbers in document.get("operations", {}).items() if numbers["planned"]},
        "problems": problems,
        "problem_sql": _make_failure_sql(document),
        "warnings": _limit_list(iter(warnings), _WARNINGS, _OTHER_BYTES, len(warnings)),
        "resume": report.resume,
        **_collect_statistics(report),
    }


def _collect_statistics(report: RunReport) -> dict[str, Any]:
    """Return what the journal knows of the run; nothing for a run without a job in a journal."""
    found = report.statistics
    if found is None:
        nothing = ShownList([], 0)
        return {"curves": [], "durations": [], "sizes": [], "slowest": nothing, "slowest_top": 0.0, "changes": nothing}
    slowest = found.find_slowest(_SLOWEST)
    done = sum(numbers["done"] for numbers in report.document.get("operations", {}).values())
    return {
        "curves": plots.make_curves(report.read_samples(), report.started),
        "durations": plots.make_histogram(found.count_durations(), plots.name_milliseconds, "below 1 ms"),
        "sizes": plots.make_histogram(found.count_sizes(), format_size, "empty"),
        "slowest": _limit_list(iter(slowest), _SLOWEST, _OTHER_BYTES, len(slowest)),
        "slowest_top": slowest[0].seconds if slowest else 0.0,
        "changes": _limit_list(found.read_rows("state = 'done'"), _CHANGES, _OTHER_BYTES, done),
    }


def _limit_list(rows: Iterator[Any], most: int, size: int, count: int) -> ShownList:
    """Return the first ``most`` rows, or fewer if they would need more than ``size`` bytes of the page."""
    shown: list[Any] = []
    for row in islice(rows, most):
        size -= _measure_row(row)
        if size < 0:
            break
        shown.append(row)
    return ShownList(shown, max(count, len(shown)))


def _measure_row(row: Problem | OperationRow | str) -> int:
    """Return how many bytes of the page a row needs at most."""
    texts = {row} if isinstance(row, str) else {text for text in row if isinstance(text, str)}
    return _ROW_MARKUP + sum(map(_measure_text, texts))


def _measure_text(text: str) -> int:
    shown = show_text(text)
    return len(shown.encode()) + 5 * sum(map(shown.count, "&<>\"'"))


def _choose_tone(document: Mapping[str, Any]) -> str:
    """Return the class of the verdict: ``good``, ``bad`` or ``open`` for a job that stopped or still runs."""
    code, state = document.get("exit_code"), document.get("state")
    if state == JobState.INTERRUPTED or code is None:
        return "open"
    return "bad" if code else "good"


def _describe_state(document: Mapping[str, Any]) -> str:
    state, code = document.get("state", ""), document.get("exit_code")
    words = {"done": "Done", "failed": "Failed", "interrupted": "Interrupted", "superseded": "Superseded"}
    dry = "Dry run: " if document.get("dry_run") else ""
    return f"{dry}{words.get(state, state)}, exit code {code}" if code else f"{dry}{words.get(state, state)}"


def _list_page_facts(document: Mapping[str, Any]) -> list[tuple[str, list[str]]]:
    source = document.get("source")
    facts: list[tuple[str, list[Any]]] = [
        ("Source", source if isinstance(source, list) else [source]),
        ("Target", [document.get("target")]),
        ("Endpoint", [document.get("endpoint")]),
        ("Began", [document.get("started")]),
        ("Ended", [document.get("ended")]),
        ("Lasted", [_describe_duration(document)]),
        ("Job", [document.get("job")]),
        ("Journal", [document.get("journal")]),
        ("Requests", [", ".join(f"{format_count(n)} {name}" for name, n in document.get("requests", {}).items())]),
        ("Tried again", [format_count(document["retries"]) if document.get("retries") else ""]),
        ("Version", [f"s3batch {document['version']}" if document.get("version") else ""]),
    ]
    return [(name, [str(value) for value in values if value]) for name, values in facts if any(values)]


def _describe_duration(document: Mapping[str, Any]) -> str:
    seconds, total = document.get("seconds", 0.0), document.get("seconds_total", 0.0)
    return format_duration(seconds) + (f" ({format_duration(total)} in all)" if document.get("sent_before") else "")


def _make_tiles(document: Mapping[str, Any]) -> list[Tile]:
    """Return the numbers at the top: what was done, what needed nothing, what failed, what is left."""
    operations: Mapping[str, Mapping[str, int]] = document.get("operations", {})
    counted = "planned" if document.get("dry_run") else "done"
    tiles = [
        Tile(
            format_count(numbers[counted]),
            "chunks fetched"
            if (document.get("command"), kind) == ("cache restore", "chunk")
            else _DONE_WORDS.get(kind, kind),
            format_size(numbers["bytes"]) if numbers["bytes"] else "",
        )
        for kind, numbers in operations.items()
        if numbers[counted]
    ]
    if document.get("differences") is not None:
        found = len(document["differences"])
        tiles.append(
            Tile(format_count(found), "difference" if found == 1 else "differences", tone="bad" if found else "")
        )
    if document.get("unchanged"):
        tiles.append(Tile(format_count(document["unchanged"]), "unchanged"))
    if failed := len(document.get("failures", ())):
        tiles.append(Tile(format_count(failed), "failed", tone="bad"))
    left = sum(each["planned"] - each["done"] - each["failed"] - each["skipped"] for each in operations.values())
    if left and not document.get("dry_run"):
        tiles.append(Tile(format_count(left), "left", tone="open"))
    if document.get("files"):
        tiles.append(
            Tile(
                format_count(document["files"]),
                "file in the source" if document["files"] == 1 else "files in the source",
                format_size(document["bytes"]),
            )
        )
    return tiles


def _make_failure_sql(document: Mapping[str, Any]) -> str:
    job = document.get("job")
    return f"SELECT * FROM failures WHERE job = '{job}'" if job and document.get("journal") else ""  # noqa: S608 - shown only
