"""``s3batch resume``: find the unfinished job, and go on with it as it was begun."""

from __future__ import annotations

import importlib
from dataclasses import replace
from typing import TYPE_CHECKING

from s3batch import journal_trust
from s3batch.errors import JournalError, SettingsError
from s3batch.jobs import RUNNING, find_jobs
from s3batch.model import JobState
from s3batch.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from s3batch.jobs import Found
    from s3batch.output import Output

_FINISHED = (JobState.DONE, JobState.SUPERSEDED)


def run(settings: Settings, output: Output) -> int:
    """Finish the newest unfinished job, or ``settings.job``. The exit code is that of the job."""
    journal_trust.require_settings(settings)
    found = _unfinished(settings, output)
    if found is None:
        output.info("nothing to resume: no unfinished job")
        if settings.json:
            output.document({"job": None, "command": "resume", "state": "done", "exit_code": 0, "resumed": False})
        return 0
    begun = journal_trust.settings_to_resume(found.job, found.journal, settings)
    again = replace(begun, journal=found.journal, job=found.job.id, json=settings.json)
    module, name = ("s3batch.sync", "run") if begun.command == "sync" else ("s3batch.cache", "resume")
    code: int = getattr(importlib.import_module(module), name)(again, output)
    return code


def _unfinished(settings: Settings, output: Output) -> Found | None:
    unreadable: list[JournalError] = []
    jobs = find_jobs(settings, output, unreadable)
    if settings.job:
        return _named(settings, jobs)
    left = [each for each in jobs if each.job.state not in _FINISHED]
    idle = [each for each in left if each.state != RUNNING]
    found = _choose(settings, idle or left, jobs)
    if found is None and unreadable:
        raise unreadable[0]
    return found


def _named(settings: Settings, jobs: Sequence[Found]) -> Found:
    named = [each for each in jobs if each.job.id == settings.job]
    if not named:
        raise SettingsError(f"there is no job {settings.job}", hint="see s3batch jobs list")
    if named[0].job.state in _FINISHED:
        raise SettingsError(f"nothing to resume: job {settings.job} is {named[0].job.state}")
    return named[0]


def _choose(settings: Settings, left: Sequence[Found], jobs: Sequence[Found]) -> Found | None:
    """Return the job that the settings given name; without any, the newest that a journal may decide about."""
    same = [each for each in left if settings.bucket and journal_trust.is_same_job(each.job, each.journal, settings)]
    believed = [each for each in left if journal_trust.may_decide(each.journal, settings)]
    must_name = settings.plugin or settings.origin("bucket").startswith(("--", "argument "))
    if same and (must_name or not believed):
        return same[0]
    if believed and not must_name:
        return believed[0]
    if not left:
        return None
    if settings.bucket and any(journal_trust.is_same_job(each.job, each.journal, settings) for each in jobs):
        return None  # what these settings name is done; what is left is another step's
    raise (
        journal_trust.other_job(left[0].job, left[0].journal, settings)
        if settings.bucket
        else _refusal(settings, left[0])
    )


def _refusal(settings: Settings, found: Found) -> Exception:
    journal_trust.read_settings(found.job, found.journal, settings)
    return journal_trust.refusal(found.job, found.journal)
