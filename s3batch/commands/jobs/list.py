"""``s3batch jobs list``: every job, the newest first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from s3batch.base.errors import (
    EXIT_DONE,
)
from s3batch.base.units import format_count
from s3batch.commands.jobs.find import (
    FoundJob,
    find_jobs,
    format_job_source,
    format_job_target,
    job_facts,
    journal_places,
)
from s3batch.reporting.publish import publish_document
from s3batch.reporting.text import format_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from s3batch.reporting.console import Output
    from s3batch.settings.table import Settings

_LEAST = 12
"""Characters of a source that are always shown."""


def list_jobs(settings: Settings, output: Output) -> int:
    """Print every job, the newest first. Exit code 0, also when there is none."""
    found = find_jobs(settings, output)
    if settings.json:
        publish_document(settings, output, {"jobs": [_row_as_json(each) for each in found]})
    elif found:
        output.data(*_format_jobs(found, output.width))
    else:
        output.info(f"no jobs in {' or '.join(journal_places(settings))}")
    return EXIT_DONE


def _format_jobs(found: Sequence[FoundJob], width: int) -> list[str]:
    """Return a line for each job, or two where source and target do not fit into ``width`` columns."""
    head = ("job", "command", "state", "done", "left", "failed")
    rows = format_table([head, *map(_job_row, found)])
    places = [
        "source -> target",
        *(f"{format_job_source(each.job)} -> {format_job_target(each.job)}" for each in found),
    ]
    longest = max(map(len, rows))
    if longest + 2 + max(map(len, places)) <= width:
        return [f"{row:{longest}}  {place}" for row, place in zip(rows, places, strict=True)]
    lines = [rows[0]]
    for row, each in zip(rows[1:], found, strict=True):
        lines += [row, _format_places(format_job_source(each.job), format_job_target(each.job), width)]
    return lines


def _format_places(source: str, target: str, width: int) -> str:
    """Return the second line of a job. The source loses its beginning where it must, the target nothing."""
    room = max(_LEAST, width - len(f"  -> {target}") - 1)
    shown = source if len(source) <= room else f"...{source[3 - room :]}"
    return f"  {shown} -> {target}"


def _job_row(found: FoundJob) -> tuple[str, ...]:
    numbers = map(format_count, (found.done, found.left, found.failed))
    # no column for the start: the id begins with its date and time
    return (found.job.id, found.job.command, found.state, *numbers)


def _row_as_json(found: FoundJob) -> dict[str, Any]:
    numbers = {"done": found.done, "left": found.left, "failed": found.failed, "unchanged": found.job.unchanged}
    return {"job": found.job.id, "command": found.job.command, **job_facts(found), **numbers}
