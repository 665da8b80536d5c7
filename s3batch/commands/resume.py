"""``s3batch resume``: find the unfinished job, and finish it with its own settings."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from s3batch.base.errors import INTERRUPTED, JournalError, S3BatchError, SettingsError
from s3batch.base.units import format_plural
from s3batch.commands.jobs.find import RUNNING, find_jobs, format_job_target
from s3batch.coordinator import history, journal_trust
from s3batch.journal import Journal
from s3batch.model import KIN_OF_SYNC, Stage
from s3batch.reporting.json_stream import Collected
from s3batch.reporting.publish import publish_document
from s3batch.reporting.report import format_resume_command
from s3batch.reporting.text import format_date
from s3batch.settings.direction import Direction, find_direction, names_store

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from s3batch.commands.jobs.find import FoundJob
    from s3batch.journal import Job
    from s3batch.reporting.console import Output
    from s3batch.settings.table import Settings

    CarryOn = Callable[[Settings, Output], int]


def run_resume(settings: Settings, output: Output, carry_on: CarryOn) -> int:
    """Finish the unfinished job, or ``settings.job``, or all of them. The exit code is that of the job, or the worst.

    ``carry_on`` runs the command of a job, with the settings of that job.
    """
    journal_trust.require_plugin_settings(settings)
    unreadable: list[JournalError] = []
    jobs = find_jobs(settings, output, unreadable, counted=False)
    if settings.all_jobs:
        return _finish_all(_resumable_jobs(jobs, settings), settings, output, carry_on)
    found = (
        _named_jobs(settings, jobs)
        if settings.job
        else _choose_unfinished(settings, _resumable_jobs(jobs, settings), jobs, output)
    )
    if found is not None:
        return _continue_job(found, settings, output, carry_on)
    if unreadable:
        raise unreadable[0]
    return _report_nothing(settings, output)


def _report_nothing(settings: Settings, output: Output) -> int:
    words = "nothing to resume: no unfinished job"
    output.info(words)
    document = {"job": None, "command": "resume", "state": "done", "exit_code": 0, "resumed": False}
    publish_document(settings, output, document, words)
    return 0


def _continue_job(found: FoundJob, settings: Settings, output: Output, carry_on: CarryOn) -> int:
    """Begin a job that continues this one, with its settings."""
    begun = journal_trust.choose_resume_settings(found.job, found.journal, settings)
    job = found.job
    output.info(
        f"resuming job {job.id}: {job.command} of {job.source} to {format_job_target(job)} at {job.endpoint or 'AWS'}, begun "
        f"{format_date(job.started)}, {_words_left(found)}"
    )
    again = begun._replace(journal=found.journal, job=job.id, json=settings.json)
    if journal_trust.may_journal_decide(found.journal, settings) and not settings.plugin:
        again = _keep_directory(again, job)
    return carry_on(again, output)


def _keep_directory(again: Settings, job: Job) -> Settings:
    """Return the settings of a resume with the directory of its download: a link given as target may lead elsewhere now."""
    directory = history.find_local_target(job)
    is_elsewhere = find_direction(again) is Direction.DOWNLOAD and directory not in {
        "", os.path.realpath(again.at_workspace(again.target)),
    }  # fmt: skip
    return again._replace(target=directory) if is_elsewhere else again


def _finish_all(left: Sequence[FoundJob], settings: Settings, output: Output, carry_on: CarryOn) -> int:
    """Finish each, the oldest first; stop where a signal says so."""
    believed = [each for each in reversed(left) if journal_trust.may_journal_decide(each.journal, settings)]
    if not believed and left:
        raise _trust_refusal(settings, left[0])
    if not believed:
        return _report_nothing(settings, output)
    for each in left:
        if each not in believed:  # it may be another checkout's business: the others are not held up by it
            output.warn(str(_trust_refusal(settings, each)))
    worst, output.held = 0, Collected()
    for found in believed:
        try:
            code = _continue_job(found, settings, output, carry_on)
        except S3BatchError as error:
            output.error(f"job {found.job.id}: {error}")
            code = error.exit_code
        worst = max(worst, code)
        if code in INTERRUPTED:
            break
    documents, output.held = output.held, None
    told = settings._replace(report=(), build=None)  # each job has told it
    publish_document(told, output, {"command": "resume", "exit_code": worst, "jobs": documents})
    return worst


def _resumable_jobs(jobs: Sequence[FoundJob], settings: Settings) -> list[FoundJob]:
    """Return the jobs that can be resumed, the newest first: of each target only the last to begin, in any journal."""
    newest: dict[tuple[str, ...], FoundJob] = {}
    for each in jobs:
        job = each.job
        place = ("sync",) if job.command in KIN_OF_SYNC else (job.command, job.source)
        newest.setdefault((*place, job.target, job.endpoint), each)
    left = [each for each in newest.values() if each.leaves_work and not _is_overtaken_sync(each.job, settings)]
    return [each for each in left if each.state != RUNNING] or left


def _is_overtaken_sync(job: Job, settings: Settings) -> bool:
    return job.command in KIN_OF_SYNC and history.is_overtaken(job, settings)


def _named_jobs(settings: Settings, jobs: Sequence[FoundJob]) -> FoundJob:
    named = [each for each in jobs if each.job.id == settings.job]
    if not named:
        raise SettingsError(f"there is no job {settings.job}", hint="see s3batch jobs list")
    found = named[0]
    if not found.job.is_unfinished:
        raise SettingsError(f"nothing to resume: job {settings.job} is {found.job.state}")
    if not found.leaves_work:
        raise SettingsError(
            f"nothing to resume: job {settings.job} failed before anything was planned",
            hint="correct what failed and begin a new sync",
        )
    later = next((each for each in _resumable_jobs(jobs, settings) if _is_later(each.job, found.job)), None)
    if later is not None:
        raise SettingsError(f"nothing to resume: job {settings.job} is superseded by job {later.job.id}")
    return found


def _is_later(one: Job, other: Job) -> bool:
    kin = one.command in KIN_OF_SYNC and other.command in KIN_OF_SYNC
    return kin and (one.target, one.endpoint) == (other.target, other.endpoint) and one.started > other.started


def _choose_unfinished(
    settings: Settings, left: Sequence[FoundJob], jobs: Sequence[FoundJob], output: Output
) -> FoundJob | None:
    """Return the job that the settings given name; without any, the only one that a journal may decide about."""
    same = [
        each for each in left if names_store(settings) and journal_trust.is_same_job(each.job, each.journal, settings)
    ]
    believed = [each for each in left if journal_trust.may_journal_decide(each.journal, settings)]
    named = "bucket" if settings.bucket else "source"
    must_name = settings.plugin or (names_store(settings) and settings.origin(named).startswith(("--", "argument ")))
    if same and (must_name or not believed):
        return same[0]
    if believed and not must_name:
        return _only_job(believed, settings, output)
    if not left:
        return None
    if names_store(settings) and any(journal_trust.is_same_job(each.job, each.journal, settings) for each in jobs):
        return None  # the job of these settings is done; the unfinished one is of another step
    raise (
        journal_trust.describe_other_job(left[0].job, left[0].journal, settings)
        if names_store(settings)
        else _trust_refusal(settings, left[0])
    )


def _only_job(left: Sequence[FoundJob], settings: Settings, output: Output) -> FoundJob:
    """Return the one unfinished job; SettingsError with the lines to choose from if there are several."""
    if len(left) == 1:
        return left[0]
    for each in left:
        line = format_resume_command(each.job.id, each.journal, journal_trust.is_journal_found(each.journal, settings))
        output.error(
            f"{line}   # {each.job.command} of {each.job.source} to {format_job_target(each.job)}, "
            f"begun {format_date(each.job.started)}, {_words_left(each)}"
        )
    raise SettingsError(
        f"{len(left)} targets have an unfinished job; nothing was sent",
        hint="write one of these lines, or s3batch resume --all",
    )


def _words_left(found: FoundJob) -> str:
    if not found.left:
        with Journal.read_only(found.journal) as journal:
            journal.jobs.select(found.job.id)
            failed = journal.outcomes.count_failed(Stage.DELETE)
        if failed:
            return f"{format_plural(failed, 'operation')} failed"
    left = format_plural(found.left, "operation")
    return f"{left} left" if found.job.planned or found.left else "planning not finished"


def _trust_refusal(settings: Settings, found: FoundJob) -> Exception:
    journal_trust.read_job_settings(found.job, found.journal, settings)
    return journal_trust.describe_untrusted_job(found.job, found.journal, "resume")
