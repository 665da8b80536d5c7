"""``s3batch jobs show``: one job, its numbers, and what is left of it."""

from __future__ import annotations

import time
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from s3batch.base.errors import (
    EXIT_DONE,
    SettingsError,
)
from s3batch.base.units import format_count, format_duration, format_size
from s3batch.commands.jobs.find import (
    DEAD,
    RUNNING,
    FoundJob,
    find_jobs,
    format_job_source,
    format_job_target,
    job_facts,
)
from s3batch.coordinator import journal_trust
from s3batch.journal import Entry, Journal
from s3batch.model import State
from s3batch.plan import quirk_memory
from s3batch.reporting import report
from s3batch.reporting.publish import publish_document
from s3batch.reporting.text import format_amount, format_date, format_table
from s3batch.s3 import permissions

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from s3batch.reporting.console import Output
    from s3batch.settings.table import Settings

SHOWN_LEFT = 50
"""Operations that ``show`` names of those that are left, unless it is asked to be verbose."""


# -- show


def run_show(settings: Settings, output: Output) -> int:
    """Print one job with every failure. Raises SettingsError if it does not exist."""
    found = choose_job(settings.job, find_jobs(settings, output))
    with Journal.read_only(found.journal) as journal:
        job = journal.jobs.select(found.job.id)
        document = report.make_report_document(
            job, journal.outcomes.count_by_kind(), journal.outcomes.read_failures, journal=found.journal, now=time.time(),
            before=report.EarlierJobs.of(journal),
        )  # fmt: skip
        shown = None if output.verbose else SHOWN_LEFT
        left = islice(
            chain(journal.outcomes.read_entries(State.LEASED), journal.outcomes.read_entries(State.PENDING)), shown
        )
        resume = format_resume_line(settings, found)
        quirks = quirk_memory.recall_quirks(journal, job.endpoint)
        if settings.json:
            more = {"left": [_left_as_json(entry) for entry in left], "resume": resume}
            more |= {"quirks": [each.document() for each in quirks]}
            publish_document(settings, output, {**document, **job_facts(found), **more})
        else:
            _print_job(found, document, left, resume, output)
            for quirk in quirks:
                output.data(f"quirk of the store: {quirk.quirk.words()}")
    return EXIT_DONE


def choose_job(wanted: str, found: Sequence[FoundJob]) -> FoundJob:
    """Return the job with this id, or the only one whose id begins so; the newest for an empty id."""
    exact = [each for each in found if each.job.id == wanted]
    fitting = exact or [each for each in found if each.job.id.startswith(wanted)]
    if not fitting:
        what = f"there is no job {wanted}" if wanted else "there is no job yet"
        raise SettingsError(what, hint="`s3batch jobs list` shows those there are; name their journal with --journal")
    if wanted and len(fitting) > 1:
        raise SettingsError(f"{len(fitting)} jobs begin with {wanted}", hint="write more of the id")
    return fitting[0]


def format_resume_line(settings: Settings, found: FoundJob) -> str | None:
    """Return the command that finishes a job; ``None`` if it runs or leaves nothing to finish."""
    if found.state == RUNNING or not found.leaves_work:
        return None
    return report.format_resume_command(
        found.job.id, found.journal, journal_trust.is_journal_found(found.journal, settings)
    )


def _print_job(
    found: FoundJob, document: dict[str, Any], left: Iterable[Entry], resume: str | None, output: Output
) -> None:
    job = found.job
    headers = permissions.headers_of(journal_trust.read_job_settings(job, found.journal))
    output.data(*format_table([(name, value) for name, value in _lines_about(found, document) if value]))
    operations = {kind: numbers for kind, numbers in document["operations"].items() if numbers["planned"]}
    if operations:
        output.data(
            "", *format_table([_NUMBERS, *(_format_counts(kind, numbers) for kind, numbers in operations.items())])
        )
    for warning in document["warnings"]:
        output.data(f"warning: {warning}")
    for failure in document["failures"]:
        output.data(report.format_failure_line(failure, headers))
    for entry in left:
        output.data(f"left: {entry.operation.kind.value} {entry.operation.key} ({entry.operation.reason.value})")
    if found.left > SHOWN_LEFT and not output.verbose:
        output.data(f"and {format_count(found.left - SHOWN_LEFT)} more are left; -v names all")
    if resume:
        output.data(f"to finish it: {resume}")


def _lines_about(found: FoundJob, document: dict[str, Any]) -> list[tuple[str, str]]:
    job, holder = found.job, found.holder
    state = f"{found.state}, pid {holder[0]} on {holder[1]}" if holder else found.state
    code = "" if job.exit_code is None else f", exit code {job.exit_code}"
    resumed = f", resumed {job.resumed} times" if job.resumed > 1 else ", resumed once" if job.resumed else ""
    lasted = f", {format_duration(document['seconds'])}" if found.state != DEAD else ""
    return [
        ("job", job.id),
        ("continues", job.continues),
        ("command", f"{job.command} (s3batch {job.version})"),
        ("state", state + code),
        ("started", f"{format_date(job.started)}{lasted}{resumed}"),
        ("source", format_job_source(job)),
        ("target", format_job_target(job)),
        ("endpoint", job.endpoint),
        ("journal", found.journal),
        (
            "found",
            f"{format_amount(job.files, job.bytes)}, {format_count(job.unchanged)} unchanged",
        ),
        ("requests", ", ".join(f"{count} {name}" for name, count in document["requests"].items())),
        ("retries", format_count(job.retries) if job.retries else ""),
    ]


_NUMBERS = ("operations", "planned", "done", "failed", "skipped", "left", "content")


def _format_counts(kind: str, numbers: dict[str, int]) -> tuple[str, ...]:
    counts = [numbers[name] for name in ("planned", "done", "failed", "skipped")]
    return (kind, *map(format_count, [*counts, report.count_operations_left(numbers)]), format_size(numbers["bytes"]))


def _left_as_json(entry: Entry) -> dict[str, Any]:
    operation = entry.operation
    return {
        "operation": operation.kind.value,
        "key": operation.key,
        "path": operation.path,
        "reason": operation.reason.value,
        "size": operation.size,
        "attempts": operation.attempts,
    }
