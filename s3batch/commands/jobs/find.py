"""``s3batch jobs``: list and show jobs with their state, what is left, what failed and why.

``list`` and ``show`` only read, also while a job runs, and load neither the AWS libraries nor sqlite-utils.
They look into the journals of the state directory and of ``.s3batch`` in the workspace, or into the one named.

    state in the journal      someone holds its lock     shown as
    planning, running         yes, and it is the newest  running
    planning, running         no                         dead: killed, or its machine went down
    done, failed, interrupted, superseded                as it is

Tidying up after them is :mod:`s3batch.commands.jobs.prune`.
"""

from __future__ import annotations

import os
from itertools import chain
from typing import TYPE_CHECKING, Any

from s3batch.base.errors import (
    JournalError,
)
from s3batch.base.named_tuple import NamedTuple
from s3batch.coordinator import journal_trust
from s3batch.files import private
from s3batch.files.private import OWN_DIRECTORY
from s3batch.journal import Job, Journal
from s3batch.model import JobState, State
from s3batch.reporting.text import format_timestamp
from s3batch.settings.direction import format_place

if TYPE_CHECKING:
    from collections.abc import Iterator

    from s3batch.reporting.console import Output
    from s3batch.settings.table import Settings

AT_WORK = frozenset({JobState.PLANNING, JobState.RUNNING})
"""States of a running job. They stay if its coordinator is killed."""

DEAD = "dead"
RUNNING = "running"


class FoundJob(NamedTuple):
    """A job, its journal and its progress."""

    journal: str
    job: Job
    state: str
    """``running``, ``dead``, or as the journal has it."""
    holder: tuple[int, str] | None
    """Pid and host of the coordinator that runs it."""
    done: int
    left: int
    failed: int
    leaves_work: bool = True
    """True if there is something to resume."""


def find_jobs(
    settings: Settings, output: Output, unreadable: list[JournalError] | None = None, *, counted: bool = True
) -> list[FoundJob]:
    """Return every job of every journal, the newest first; unless ``counted`` only ``left`` is counted, at no cost.

    A journal that cannot be read is named and passed by; its error is added to ``unreadable``.
    """
    paths = find_journals(settings, output, unreadable)
    found = chain.from_iterable(_jobs_of(path, settings, output, unreadable, counted=counted) for path in paths)
    return sorted(found, key=lambda each: each.job.started, reverse=True)


def find_journals(settings: Settings, output: Output, unreadable: list[JournalError] | None = None) -> list[str]:
    """Return the journal that is named, else those in the directories for journals without a name."""
    if settings.journal:
        return [settings.at_workspace(settings.journal)]
    paths: list[str] = []
    for directory in journal_places(settings):
        try:
            paths += _list_databases(directory)
        except JournalError as error:
            output.warn(str(error))
            if unreadable is not None:
                unreadable.append(error)
    return list({os.path.realpath(path): path for path in paths}.values())


def journal_places(settings: Settings) -> list[str]:
    """Return the files and directories in which to look for journals."""
    if settings.journal:
        return [settings.at_workspace(settings.journal)]
    return list(dict.fromkeys([settings.journal_directory(), settings.at_workspace(OWN_DIRECTORY)]))


def _list_databases(directory: str) -> list[str]:
    try:
        names = private.list_directory(directory)
    except OSError:
        return []
    return [os.path.join(directory, name) for name in names if name.endswith(".db")]


def _jobs_of(
    path: str, settings: Settings, output: Output, unreadable: list[JournalError] | None, *, counted: bool
) -> list[FoundJob]:
    try:
        with Journal.read_only(path, foreign=journal_trust.is_foreign_journal(path, settings)) as journal:
            return list(_with_states(journal, counted=counted))
    except JournalError as error:
        if settings.journal:
            raise
        output.warn(str(error))
        if unreadable is not None:
            unreadable.append(error)
        return []


def _with_states(journal: Journal, *, counted: bool) -> Iterator[FoundJob]:
    """Yield the jobs of a journal. Its lock is one for all, so only the newest unfinished job can be running."""
    holder = journal.holder()
    tallies = journal.outcomes.count_by_job() if counted else {}
    for job in journal.jobs.list_all():
        state = shown_state(job, running=holder is not None)
        mine, holder = (holder, None) if state == RUNNING else (None, holder)
        tally = tallies.get(job.number, {})
        left = job.left_open if job.is_unfinished else tally.get(State.PENDING, 0) + tally.get(State.LEASED, 0)
        done, failed = tally.get(State.DONE, 0), tally.get(State.FAILED, 0)
        yield FoundJob(journal.path, job, state, mine, done, left, failed, journal.jobs.leaves_work(job))


def shown_state(job: Job, *, running: bool) -> str:
    """Return the state of a job as ``list`` shows it; ``running`` is true if a process works on its journal."""
    if job.state not in AT_WORK:
        return job.state.value
    return RUNNING if running else DEAD


def format_job_source(job: Job) -> str:
    """Return the source in the form of reports: ``s3://BUCKET/PREFIX``, or a path."""
    return format_place(job.source)


def format_job_target(job: Job) -> str:
    """Return the target as a person writes it: ``s3://BUCKET/PREFIX``, or the path of a local one."""
    return format_place(job.target)


def job_facts(found: FoundJob) -> dict[str, Any]:
    """Return the facts of ``list`` and ``show`` about a job beside its numbers."""
    job = found.job
    return {
        "state": found.state,
        "exit_code": job.exit_code,
        "resumed": bool(job.resumed),
        "continues": job.continues or None,
        "journal": found.journal,
        "source": format_job_source(job),
        "target": format_job_target(job),
        "endpoint": job.endpoint or None,
        "started": format_timestamp(job.started),
        "ended": None if job.ended is None else format_timestamp(job.ended),
        "pid": found.holder and found.holder[0],
        "host": found.holder and found.holder[1],
    }
