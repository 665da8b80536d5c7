"""The Markdown form: the summary of a job as CI services and merge requests show it.

Keys, paths and words of the store stand in code spans, which no markup inside them can end. Nothing else of the page
comes from outside.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any

from s3batch.base.units import format_count, format_duration, format_plural, format_size
from s3batch.model import JobState
from s3batch.reporting.console import escape_line
from s3batch.reporting.problems import Problem

if TYPE_CHECKING:
    from s3batch.reporting.run_report import RunReport

SHOWN = 100
"""Failures, and warnings, on the page."""
LARGEST = 1 << 20
"""Bytes of the page: GitHub shows no larger summary of a step."""
_END = 64 * 1024
"""Bytes kept free for what follows a list."""
_LONGEST = 2000
"""Characters of one text. A key has 1,024 bytes at most."""
_BACKTICKS = re.compile("`+")
_COUNTS = ("planned", "done", "failed", "skipped")


def render_markdown(report: RunReport) -> Iterator[str]:
    """Yield the report as GitHub Flavored Markdown."""
    size = 0
    for piece in _format_head(report):
        size += len(piece.encode("utf-8", "surrogatepass"))
        yield piece
    for lines in (_format_failures(report), _format_warnings(report)):
        for piece, is_optional in lines:
            length = len(piece.encode("utf-8", "surrogatepass"))
            if not is_optional or size + length < LARGEST - _END:
                size += length
                yield piece
    if report.resume:
        yield f"\nTo finish it:\n\n{_format_block(report.resume)}\n"


def _format_head(report: RunReport) -> Iterator[str]:
    document = report.document
    state = document.get("state", "")
    planned = document.get("dry_run") and state == JobState.DONE
    yield f"### s3batch {document.get('command') or ''}: {'dry run' if planned else state}\n\n"
    if report.verdict:
        yield f"{format_code_span(report.verdict)}\n\n"
    if document.get("error"):
        yield f"**error:** {format_code_span(document['error'])}\n\n"
    yield from _format_operations(document.get("operations", {}))
    for name, value in _list_summary_facts(document):
        yield f"- {name}: {value}\n"


def _format_operations(operations: Mapping[str, Mapping[str, int]]) -> Iterator[str]:
    planned = {kind: numbers for kind, numbers in operations.items() if numbers["planned"]}
    if not planned:
        return
    yield "| operation | planned | done | failed | skipped | content |\n| --- | ---: | ---: | ---: | ---: | ---: |\n"
    for kind, numbers in planned.items():
        counts = " | ".join(format_count(numbers[name]) for name in _COUNTS)
        yield f"| {kind} | {counts} | {format_size(numbers['bytes'])} |\n"
    yield "\n"


def _list_summary_facts(document: Mapping[str, Any]) -> list[tuple[str, str]]:
    source = document.get("source")
    sources = source if isinstance(source, list) else [source] if source else []
    files = f"{format_plural(document.get('files', 0), 'file')}, {format_size(document.get('bytes', 0))}"
    facts = [
        ("source", ", ".join(map(format_code_span, sources))),
        ("target", format_code_span(document["target"]) if document.get("target") else ""),
        ("endpoint", format_code_span(document["endpoint"]) if document.get("endpoint") else ""),
        ("files", f"{files}, {format_count(document.get('unchanged', 0))} unchanged" if document.get("files") else ""),
        ("requests", ", ".join(f"{format_count(n)} {name}" for name, n in document.get("requests", {}).items())),
        ("retries", format_count(document["retries"]) if document.get("retries") else ""),
        ("duration", format_duration(document.get("seconds", 0))),
        ("job", format_code_span(document["job"]) if document.get("job") else ""),
    ]
    return [(name, value) for name, value in facts if value]


def _format_failures(report: RunReport) -> Iterator[tuple[str, bool]]:
    """Yield the lines of the failures; the second value is true for a line that may be left out."""
    count = report.problem_count
    if not count:
        return
    yield f"\n#### {format_plural(count, 'failure')}\n\n", False
    for problem in islice(report.problems(), SHOWN):
        yield _format_problem(problem), True
    if count > SHOWN:
        where = (
            f": {format_code_span('s3batch jobs show ' + report.document['job'])}" if report.document.get("job") else ""
        )
        yield f"\nOf {format_count(count)} failures the first {SHOWN} are shown{where}\n", False


def _format_problem(problem: Problem) -> str:
    name = format_code_span(problem.key or problem.path)
    lines = [f"- {problem.operation} {name}", f"  - {format_code_span(problem.cause)}"]
    lines += [f"  - {format_code_span(problem.facts)}"] if problem.facts else []
    lines += [f"  - next step: {format_code_span(problem.step)}"] if problem.step else []
    return "\n".join(lines) + "\n"


def _format_warnings(report: RunReport) -> Iterator[tuple[str, bool]]:
    warnings = report.document.get("warnings", ())
    if not warnings:
        return
    yield f"\n#### {format_plural(len(warnings), 'warning')}\n\n", False
    for warning in warnings[:SHOWN]:
        yield f"- {format_code_span(warning)}\n", True
    if len(warnings) > SHOWN:
        yield f"\nand {format_count(len(warnings) - SHOWN)} more\n", False


def format_code_span(text: str) -> str:
    """Return ``text`` as a code span that shows it as it is, whatever it holds."""
    line = _clip_line(text)
    longest = max(map(len, _BACKTICKS.findall(line)), default=0)
    marks = "`" * (longest + 1)
    edge = " " if not line or line[0] in " `" or line[-1] in " `" else ""  # a parser takes one blank from each end
    return f"{marks}{edge}{line}{edge}{marks}"


def _format_block(text: str) -> str:
    """Return a block of code of one line."""
    longest = max(map(len, _BACKTICKS.findall(text)), default=0)
    marks = "`" * max(3, longest + 1)
    return f"{marks}sh\n{_clip_line(text)}\n{marks}"


def _clip_line(text: str) -> str:
    line = escape_line(text)
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}..."
