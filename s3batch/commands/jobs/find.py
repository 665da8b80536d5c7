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
import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, NamedTuple

from s3batch.coordinator import journal_trust
from s3batch.errors import (
    EXIT_DONE,
    JournalError,
    SettingsError,
)
from s3batch.files import private
from s3batch.files.private import OWN_DIRECTORY
from s3batch.journal import Entry, Job, Journal
from s3batch.model import JobState, State
from s3batch.plan import quirk_memory
from s3batch.reporting import report
from s3batch.s3 import permissions
from s3batch.settings.table import Settings
from s3batch.units import format_count, format_duration, format_size

if TYPE_CHECKING:
    from s3batch.reporting.console import Output

SHOWN_LEFT = 50
"""Operations that ``show`` names of those that are left, unless it is asked to be verbose."""

AT_WORK = frozenset({JobState.PLANNING, JobState.RUNNING})
"""States of a running job. They stay if its coordinator is killed."""

DEAD = "dead"
RUNNING = "running"


class Found(NamedTuple):
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


# -- list


def run_list(settings: Settings, output: Output) -> int:
    """Print every job, the newest first. Exit code 0, also when there is none."""
    found = find_jobs(settings, output)
    if settings.json:
        output.document({"jobs": [_row_as_json(each) for each in found]})
    elif found:
        head = ("job", "command", "state", "started (UTC)", "done", "left", "failed", "source -> target")
        output.data(*_table([head, *map(_row, found)]))
    else:
        output.info(f"no jobs in {' or '.join(_places(settings))}")
    return EXIT_DONE


def find_jobs(
    settings: Settings, output: Output, unreadable: list[JournalError] | None = None, *, counted: bool = True
) -> list[Found]:
    """Return every job of every journal, the newest first; unless ``counted`` only ``left`` is counted, at no cost.

    A journal that cannot be read is named and passed by; its error is added to ``unreadable``.
    """
    paths = journals(settings, output, unreadable)
    found = chain.from_iterable(_jobs_of(path, settings, output, unreadable, counted=counted) for path in paths)
    return sorted(found, key=lambda each: each.job.started, reverse=True)


def journals(settings: Settings, output: Output, unreadable: list[JournalError] | None = None) -> list[str]:
    """Return the journal that is named, else those in the directories for journals without a name."""
    if settings.journal:
        return [settings.at_workspace(settings.journal)]
    paths: list[str] = []
    for directory in _places(settings):
        try:
            paths += _databases(directory)
        except JournalError as error:
            output.warn(str(error))
            if unreadable is not None:
                unreadable.append(error)
    return list({os.path.realpath(path): path for path in paths}.values())


def _places(settings: Settings) -> list[str]:
    if settings.journal:
        return [settings.at_workspace(settings.journal)]
    return list(dict.fromkeys([settings.journal_directory(), settings.at_workspace(OWN_DIRECTORY)]))


def _databases(directory: str) -> list[str]:
    try:
        names = private.list_directory(directory)
    except OSError:
        return []
    return [os.path.join(directory, name) for name in names if name.endswith(".db")]


def _jobs_of(
    path: str, settings: Settings, output: Output, unreadable: list[JournalError] | None, *, counted: bool
) -> list[Found]:
    try:
        with Journal.read_only(path, foreign=journal_trust.is_foreign(path, settings)) as journal:
            return list(_with_states(journal, counted=counted))
    except JournalError as error:
        if settings.journal:
            raise
        output.warn(str(error))
        if unreadable is not None:
            unreadable.append(error)
        return []


def _with_states(journal: Journal, *, counted: bool) -> Iterator[Found]:
    """Yield the jobs of a journal. Its lock is one for all, so only the newest unfinished job can be running."""
    holder = journal.holder()
    tallies = journal.tallies() if counted else {}
    for job in journal.jobs():
        state = shown_state(job, running=holder is not None)
        mine, holder = (holder, None) if state == RUNNING else (None, holder)
        tally = tallies.get(job.number, {})
        left = job.left_open if job.is_unfinished else tally.get(State.PENDING, 0) + tally.get(State.LEASED, 0)
        done, failed = tally.get(State.DONE, 0), tally.get(State.FAILED, 0)
        yield Found(journal.path, job, state, mine, done, left, failed, journal.leaves_work(job))


def shown_state(job: Job, *, running: bool) -> str:
    """Return the state of a job as ``list`` shows it; ``running`` is true if a process works on its journal."""
    if job.state not in AT_WORK:
        return job.state.value
    return RUNNING if running else DEAD


def _row(found: Found) -> tuple[str, ...]:
    job = found.job
    numbers = map(format_count, (found.done, found.left, found.failed))
    return (job.id, job.command, found.state, date(job.started), *numbers, f"{job.source} -> {job.target}")


def _row_as_json(found: Found) -> dict[str, Any]:
    numbers = {"done": found.done, "left": found.left, "failed": found.failed, "unchanged": found.job.unchanged}
    return {"job": found.job.id, "command": found.job.command, **_facts(found), **numbers}


def _facts(found: Found) -> dict[str, Any]:
    """Return the facts of ``list`` and ``show`` about a job beside its numbers."""
    job = found.job
    return {
        "state": found.state,
        "exit_code": job.exit_code,
        "resumed": bool(job.resumed),
        "continues": job.continues or None,
        "journal": found.journal,
        "source": job.source,
        "target": job.target,
        "endpoint": job.endpoint,
        "started": date(job.started),
        "ended": None if job.ended is None else date(job.ended),
        "pid": found.holder and found.holder[0],
        "host": found.holder and found.holder[1],
    }


# -- show


def run_show(settings: Settings, output: Output) -> int:
    """Print one job with every failure. Raises SettingsError if it does not exist."""
    found = choose(settings.job, find_jobs(settings, output))
    with Journal.read_only(found.journal) as journal:
        job = journal.look_at(found.job.id)
        document = report.document(
            job, journal.counts(), journal.failures, journal=found.journal, now=time.time(),
            before=report.Before.of(journal),
        )  # fmt: skip
        shown = None if output.verbose else SHOWN_LEFT
        left = islice(chain(journal.operations(State.LEASED), journal.operations(State.PENDING)), shown)
        resume = _resume_line(settings, found)
        quirks = quirk_memory.recall(journal, job.endpoint)
        if settings.json:
            more = {"left": [_left_as_json(entry) for entry in left], "resume": resume}
            more |= {"quirks": [each.document() for each in quirks]}
            output.document({**document, **_facts(found), **more})
        else:
            _print_job(found, document, left, resume, output)
            for quirk in quirks:
                output.data(f"quirk of the store: {quirk.quirk.words()}")
    return EXIT_DONE


def choose(wanted: str, found: Sequence[Found]) -> Found:
    """Return the job with this id, or the only one whose id begins so; the newest for an empty id."""
    exact = [each for each in found if each.job.id == wanted]
    fitting = exact or [each for each in found if each.job.id.startswith(wanted)]
    if not fitting:
        what = f"there is no job {wanted}" if wanted else "there is no job yet"
        raise SettingsError(what, hint="`s3batch jobs list` shows all jobs; name another journal with --journal")
    if wanted and len(fitting) > 1:
        raise SettingsError(f"{len(fitting)} jobs begin with {wanted}", hint="write more of the id")
    return fitting[0]


def _resume_line(settings: Settings, found: Found) -> str | None:
    if found.state == RUNNING or not found.leaves_work:
        return None
    return report.resume_line(found.job.id, found.journal, journal_trust.is_found(found.journal, settings))


def _print_job(
    found: Found, document: dict[str, Any], left: Iterable[Entry], resume: str | None, output: Output
) -> None:
    job = found.job
    headers = permissions.headers_of(journal_trust.read_settings(job, found.journal))
    output.data(*_table([(name, value) for name, value in _lines_about(found, document) if value]))
    operations = {kind: numbers for kind, numbers in document["operations"].items() if numbers["planned"]}
    if operations:
        output.data("", *_table([_NUMBERS, *(_numbers(kind, numbers) for kind, numbers in operations.items())]))
    for warning in document["warnings"]:
        output.data(f"warning: {warning}")
    for failure in document["failures"]:
        output.data(report.failure_line(failure, headers))
    for entry in left:
        output.data(f"left: {entry.operation.kind.value} {entry.operation.key} ({entry.operation.reason.value})")
    if found.left > SHOWN_LEFT and not output.verbose:
        output.data(f"and {format_count(found.left - SHOWN_LEFT)} more are left; -v names all")
    if resume:
        output.data(f"to finish it: {resume}")


def _lines_about(found: Found, document: dict[str, Any]) -> list[tuple[str, str]]:
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
        ("started", f"{date(job.started)}{lasted}{resumed}"),
        ("source", job.source),
        ("target", job.target),
        ("endpoint", job.endpoint),
        ("journal", found.journal),
        (
            "found",
            f"{format_count(job.files)} files, {format_size(job.bytes)}, {format_count(job.unchanged)} unchanged",
        ),
        ("requests", ", ".join(f"{count} {name}" for name, count in document["requests"].items())),
        ("retries", format_count(job.retries) if job.retries else ""),
    ]


_NUMBERS = ("operations", "planned", "done", "failed", "skipped", "left", "content")


def _numbers(kind: str, numbers: dict[str, int]) -> tuple[str, ...]:
    counts = [numbers[name] for name in ("planned", "done", "failed", "skipped")]
    return (kind, *map(format_count, [*counts, report.left_of(numbers)]), format_size(numbers["bytes"]))


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


# -- words


def date(seconds: float) -> str:
    """Return UTC, as in ``2026-11-21T21:30:50Z``."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def some(number: int, noun: str) -> str:
    """Return a number with its noun, in the plural where that is due."""
    return f"{format_count(number)} {noun}{'' if number == 1 else 's'}"


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows with aligned columns, two spaces apart; the last column has no fixed width."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    widths[-1] = 0
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
