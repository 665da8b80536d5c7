"""``s3batch resume``: find the unfinished job, and go on with it as it was begun."""

from __future__ import annotations

import importlib
from dataclasses import replace
from typing import TYPE_CHECKING

from s3batch.errors import SettingsError
from s3batch.jobs import RUNNING, find_jobs
from s3batch.model import JobState
from s3batch.settings import Settings

if TYPE_CHECKING:
    from s3batch.jobs import Found
    from s3batch.output import Output

_FINISHED = (JobState.DONE, JobState.SUPERSEDED)


def run(settings: Settings, output: Output) -> int:
    """Finish the newest unfinished job, or ``settings.job``. The exit code is that of the job."""
    found = _unfinished(settings, output)
    if found is None:
        output.info("nothing to resume: no unfinished job")
        if settings.json:
            output.document({"job": None, "command": "resume", "state": "done", "exit_code": 0, "resumed": False})
        return 0
    begun = Settings.from_public(found.job.settings, settings)
    again = replace(begun, journal=found.journal, job=found.job.id, json=settings.json)
    module = "s3batch.sync" if begun.command == "sync" else "s3batch.cache"
    code: int = importlib.import_module(module).resume(again, output)
    return code


def _unfinished(settings: Settings, output: Output) -> Found | None:
    jobs = find_jobs(settings, output)
    if settings.job:
        named = [each for each in jobs if each.job.id == settings.job]
        if not named:
            raise SettingsError(f"there is no job {settings.job}", hint="see s3batch jobs list")
        if named[0].job.state in _FINISHED:
            raise SettingsError(f"nothing to resume: job {settings.job} is {named[0].job.state}")
        return named[0]
    left = [each for each in jobs if each.job.state not in _FINISHED]
    idle = [each for each in left if each.state != RUNNING]
    return next(iter(idle or left), None)
