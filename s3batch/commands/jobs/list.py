"""``s3batch jobs list``: every job, the newest first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from s3batch.commands.jobs.find import FoundJob, find_jobs, format_job_target, job_facts, journal_places
from s3batch.errors import (
    EXIT_DONE,
)
from s3batch.reporting.publish import publish_document
from s3batch.reporting.text import format_table
from s3batch.units import format_count

if TYPE_CHECKING:
    from s3batch.reporting.console import Output
    from s3batch.settings.table import Settings

# -- list


def list_jobs(settings: Settings, output: Output) -> int:
    """Print every job, the newest first. Exit code 0, also when there is none."""
    found = find_jobs(settings, output)
    if settings.json:
        publish_document(settings, output, {"jobs": [_row_as_json(each) for each in found]})
    elif found:
        head = ("job", "command", "state", "done", "left", "failed", "source -> target")
        output.data(*format_table([head, *map(_job_row, found)]))
    else:
        output.info(f"no jobs in {' or '.join(journal_places(settings))}")
    return EXIT_DONE


def _job_row(found: FoundJob) -> tuple[str, ...]:
    job = found.job
    numbers = map(format_count, (found.done, found.left, found.failed))
    # no column for the start: the id begins with its date and time
    return (job.id, job.command, found.state, *numbers, f"{job.source} -> {format_job_target(job)}")


def _row_as_json(found: FoundJob) -> dict[str, Any]:
    numbers = {"done": found.done, "left": found.left, "failed": found.failed, "unchanged": found.job.unchanged}
    return {"job": found.job.id, "command": found.job.command, **job_facts(found), **numbers}
