"""Report files: the form is told by the ending, and each file is replaced as a whole."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from s3batch.base.errors import SettingsError
from s3batch.reporting.json_stream import iterate_document_text

if TYPE_CHECKING:
    from s3batch.reporting.console import Output
    from s3batch.reporting.run_report import RunReport
    from s3batch.settings.table import Settings

# ruff: noqa: PLC0415 - a run pays for the forms that it writes

Render = Callable[["RunReport"], Iterator[str]]
_TEMPORARY = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)


def _json_form() -> Render:
    def render(report: RunReport) -> Iterator[str]:
        yield from iterate_document_text(report.document)
        yield "\n"

    return render


def _csv_form() -> Render:
    from s3batch.reporting.forms.csv_rows import render_csv

    return render_csv


def _prometheus_form() -> Render:
    from s3batch.reporting.forms.prometheus import render_prometheus

    return render_prometheus


def _junit_form() -> Render:
    from s3batch.reporting.forms.junit import render_junit

    return render_junit


def _html_form() -> Render:
    from s3batch.reporting.forms.html_page import render_html

    return render_html


def _markdown_form() -> Render:
    from s3batch.reporting.forms.markdown import render_markdown

    return render_markdown


_FORMS: dict[str, Callable[[], Render]] = {
    ".html": _html_form,
    ".md": _markdown_form,
    ".xml": _junit_form,
    ".prom": _prometheus_form,
    ".json": _json_form,
    ".csv": _csv_form,
}
"""The forms by the ending of the file."""


def require_known_forms(settings: Settings) -> None:
    """Raise SettingsError for a report whose ending names no form."""
    for path in settings.report:
        if _ending_of(path) not in _FORMS:
            raise SettingsError(
                f"report cannot be {path!r} (from {settings.origin('report')})",
                hint=f"write a file that ends with one of {', '.join(_FORMS)}",
            )


def write_report_file(path: str, report: RunReport, output: Output) -> None:
    """Write the report to ``path``, in the form of its ending. Raises OSError.

    It appears whole: a reader sees the old file or the new one. A missing directory is made.
    """
    import secrets

    render = _FORMS[_ending_of(path)]()
    directory, name = os.path.split(path)
    os.makedirs(directory, exist_ok=True)
    temporary = os.path.join(directory, f".{name}.{secrets.token_hex(4)}.tmp")
    try:
        with open(os.open(temporary, _TEMPORARY, 0o666), "wb") as file:
            for piece in render(report):
                file.write(encode_report_text(output.mask(piece)))
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def encode_report_text(text: str) -> bytes:
    """Return ``text`` in UTF-8; what is no character of it, as in a name of other bytes, is an escape."""
    return text.encode("utf-8", "backslashreplace")


def _ending_of(path: str) -> str:
    return os.path.splitext(path)[1].lower()
