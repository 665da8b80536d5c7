"""The JUnit form: a case for each failed operation and one for all others, as every CI shows them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from s3batch.base.shown_bytes import show_bytes
from s3batch.reporting.problems import Problem

if TYPE_CHECKING:
    from s3batch.reporting.run_report import RunReport

ALL_OTHERS = "all other operations"
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that no XML document can hold (XML 1.0, production 2)."""
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "\t": "&#9;", "\n": "&#10;", "\r": "&#13;"}
"""White space is written as a reference, because a parser makes blanks of it in an attribute."""
_TEXT_ENTITIES = {character: entity for character, entity in _ENTITIES.items() if character not in '"\t\n'}


def render_junit(report: RunReport) -> Iterator[str]:
    """Yield the report as JUnit XML."""
    document = report.document
    stopped = _find_stop(document)
    failed = report.problem_count
    counts = f'tests="{failed + 1}" failures="{failed + bool(stopped)}" errors="0" skipped="0"'
    seconds = f'time="{document.get("seconds", 0):.3f}"'
    began = f' timestamp="{document["started"].removesuffix("Z")}"' if document.get("started") else ""
    yield '<?xml version="1.0" encoding="UTF-8"?>\n'
    yield f"<testsuites {counts} {seconds}>\n"
    yield f"  <testsuite name={_quote_attribute(report.title)} {counts} {seconds}{began}>\n"
    classname = _quote_attribute(f"s3batch.{document.get('command') or 'run'}")
    for problem in report.problems():
        yield _format_failed_case(problem, classname)
    yield _format_rest(report, classname, stopped)
    yield "  </testsuite>\n</testsuites>\n"


def _find_stop(document: Any) -> str:
    """Return why the run as a whole failed; empty if only single operations did."""
    error: str = document.get("error", "")
    return error if document.get("exit_code") else ""


def _format_failed_case(problem: Problem, classname: str) -> str:
    name = _quote_attribute(f"{problem.operation} {problem.key or problem.path}")
    text = "\n".join(filter(None, [problem.cause, problem.facts, f"next step: {problem.step}" if problem.step else ""]))
    return (
        f"    <testcase name={name} classname={classname}>\n"
        f"      <failure message={_quote_attribute(problem.code)} type={_quote_attribute(problem.operation)}>"
        f"{_escape_text(text)}</failure>\n"
        "    </testcase>\n"
    )


def _format_rest(report: RunReport, classname: str, stopped: str) -> str:
    document = report.document
    lines = [report.verdict, *(f"warning: {warning}" for warning in document.get("warnings", ()))]
    lines += [f"to finish it: {report.resume}"] if report.resume else []
    code = f"exit code {document.get('exit_code')}"
    failure = (
        f"      <failure message={_quote_attribute(code)} type={_quote_attribute(document.get('command') or 'run')}>"
        f"{_escape_text(stopped)}</failure>\n"
        if stopped
        else ""
    )
    said = _escape_text("\n".join(filter(None, lines)))
    return (
        f"    <testcase name={_quote_attribute(ALL_OTHERS)} classname={classname}>\n"
        f"{failure}"
        f"      <system-out>{said}</system-out>\n"
        "    </testcase>\n"
    )


def _show_unprintable(text: str) -> str:
    r"""Return ``text`` with ``\x01`` in the place of each character that XML cannot hold."""
    return _NOT_XML.sub(lambda found: _format_escape(ord(found[0])), show_bytes(text))


def _format_escape(code: int) -> str:
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def _quote_attribute(text: str) -> str:
    return '"' + "".join(_ENTITIES.get(character, character) for character in _show_unprintable(text)) + '"'


def _escape_text(text: str) -> str:
    return "".join(_TEXT_ENTITIES.get(character, character) for character in _show_unprintable(text))
