"""The end of a run for programs: its document goes to stdout, to report files, to the CI, and to those who asked.

    document ─→ --json │ --json-lines │ --report FILE... │ summary of the step │ Drone's card │ --on-done

Nothing here changes the exit code: what cannot be written is a warning.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from s3batch.base.errors import S3BatchError
from s3batch.reporting.head import complete_document
from s3batch.reporting.run_report import RunReport
from s3batch.settings.direction import STREAM
from s3batch.settings.schema import REPORTING_COMMANDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from s3batch.reporting.console import Output
    from s3batch.settings.table import Settings


def publish_document(settings: Settings | None, output: Output, document: Mapping[str, Any], verdict: str = "") -> None:
    """Publish the end of a run without a job in a journal. ``settings`` is ``None`` if they are wrong."""
    publish_run(settings, output, RunReport(document=document, verdict=verdict))


def publish_run(settings: Settings | None, output: Output, report: RunReport) -> None:
    """Publish the end of a run, whatever command it was."""
    report = report._replace(document=complete_document(settings, output, report.document))
    if (settings.json and not settings.json_lines) if settings else not output.events:
        output.document(report.document)
    output.published = True
    if settings is not None and settings.command in REPORTING_COMMANDS:
        _write_files(settings, output, report)
    if output.events and output.held is None:
        output.events.ended(report.document)  # last, because it is the last event


def _write_files(settings: Settings, output: Output, report: RunReport) -> None:
    for path in settings.report:
        write_one_report(settings, output, _choose_path(path, settings, output, report), report)
    _write_ci_files(settings, output, report)
    if settings.on_done:
        _attempt(output, "the document for on_done", lambda: output.keep_document(report.document))


def write_one_report(settings: Settings, output: Output, path: str, report: RunReport) -> bool:
    """Write one report file; return whether it is written. The error is a warning."""
    from s3batch.reporting.report_files import write_report_file  # noqa: PLC0415 - few runs write any

    whole = settings.at_workspace(path)
    return _attempt(output, f"the report {path}", lambda: write_report_file(whole, report, output))


def _choose_path(path: str, settings: Settings, output: Output, report: RunReport) -> str:
    """Return the file for a report; ``resume --all`` has one for each job, whose id is put before the ending."""
    if output.held is None:
        return path
    stem, ending = os.path.splitext(path)
    return f"{stem}-{report.document['job']}{ending}" if report.document.get("job") else path


def _write_ci_files(settings: Settings, output: Output, report: RunReport) -> None:
    build = settings.build
    if build is None or not (build.step_summary or build.card_path):
        return
    from s3batch.reporting import ci_files  # noqa: PLC0415 - outside a CI there are none

    if build.step_summary:
        _attempt(
            output, "the summary of this step", lambda: ci_files.append_summary(build.step_summary, report, output)
        )
    if build.card_path and settings.target != STREAM:  # the card may be a line on stdout
        _attempt(output, "the card of this step", lambda: ci_files.write_card(build.card_path, report, output))


def _attempt(output: Output, what: str, write: Callable[[], None]) -> bool:
    try:
        write()
    except (OSError, S3BatchError) as error:
        output.warn(f"{what} cannot be written: {getattr(error, 'strerror', None) or error}")
    except Exception as error:  # noqa: BLE001 - a bug in a form of the report must not make a good run a bad one
        output.warn(f"{what} cannot be written, which is a bug in s3batch: {type(error).__name__}: {error}")
        output.trace(error)
    else:
        return True
    return False
