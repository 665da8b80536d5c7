"""The CSV form: a row for each operation, for spreadsheets and databases. RFC 4180, UTF-8, keys as they are."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING

from s3batch.base.shown_bytes import show_bytes
from s3batch.journal import OperationRow

if TYPE_CHECKING:
    from s3batch.reporting.run_report import RunReport

_ROWS = 500
"""Rows in one piece of text."""


def render_csv(report: RunReport) -> Iterator[str]:
    """Yield the header, then a row for each operation; for each difference of a verify."""
    yield _format_csv([OperationRow._fields])
    rows = report.rows() if report.statistics else _list_problem_rows(report)
    while some := list(islice(rows, _ROWS)):
        yield _format_csv(some)


def _list_problem_rows(report: RunReport) -> Iterator[OperationRow]:
    """Yield the problems of a run without operations in a journal."""
    for problem in report.problems():
        yield OperationRow(
            report.document.get("job") or "", problem.operation, problem.key, problem.path, "failed", "", 0, 0, 0.0, 0,
            problem.code, 0, problem.cause, "",
        )  # fmt: skip


def _show_cell(value: object) -> object:
    return show_bytes(value) if isinstance(value, str) else value


def _format_csv(rows: Iterable[Iterable[object]]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text).writerows([_show_cell(value) for value in row] for row in rows)
    return text.getvalue()
