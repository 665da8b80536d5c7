"""``s3batch jobs``: what ran, what is left, what failed and why; and tidying up after it.

``list`` and ``show`` only read, also while a job runs, and load neither the AWS libraries nor sqlite-utils.
They look into the journals of the state directory and of ``.s3batch`` in the workspace, or into the one named.

    state in the journal      someone holds its lock     shown as
    planning, running         yes, and it is the newest  running
    planning, running         no                         dead: killed, or its machine went down
    done, failed, interrupted, superseded                as it is

``prune`` forgets what is done, and aborts the multipart uploads that no job will ever finish: those of done,
superseded and dead jobs. An interrupted or failed job has parked its own for ``resume``, so they stay.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, NamedTuple

from s3batch import journal_trust, permissions, private_files, quirk_memory, report
from s3batch.errors import (
    EXIT_DONE,
    EXIT_FAILED,
    EXIT_SETTINGS,
    JournalError,
    JournalLockedError,
    S3BatchError,
    SettingsError,
)
from s3batch.journal import Entry, Job, Journal, UploadLeft
from s3batch.model import JobState, State
from s3batch.private_files import OWN_DIRECTORY
from s3batch.settings import Settings
from s3batch.units import format_count, format_duration, format_size

if TYPE_CHECKING:
    from s3batch.output import Output
    from s3batch.s3.bucket import Bucket

SHOWN_LEFT = 50
"""Operations that ``show`` names of those that are left, unless it is asked to be verbose."""

AT_WORK = frozenset({JobState.PLANNING, JobState.RUNNING})
"""What a coordinator writes when it begins, and changes when it ends, unless it is killed."""

DEAD = "dead"
RUNNING = "running"


class Found(NamedTuple):
    """A job, where it was found, and how it stands."""

    journal: str
    job: Job
    state: str
    """``running``, ``dead``, or as the journal has it."""
    holder: tuple[int, str] | None
    """Pid and host of the coordinator that runs it."""
    done: int
    left: int
    failed: int


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


def find_jobs(settings: Settings, output: Output, unreadable: list[JournalError] | None = None) -> list[Found]:
    """Return every job of every journal, the newest first.

    A journal that cannot be read is named and passed by; its error is added to ``unreadable``.
    """
    paths = journals(settings, output, unreadable)
    found = chain.from_iterable(_jobs_of(path, settings, output, unreadable) for path in paths)
    return sorted(found, key=lambda each: each.job.started, reverse=True)


def journals(settings: Settings, output: Output, unreadable: list[JournalError] | None = None) -> list[str]:
    """The journal that was named, or those that are where journals without a name are."""
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
        names = private_files.list_directory(directory)
    except OSError:
        return []
    return [os.path.join(directory, name) for name in names if name.endswith(".db")]


def _jobs_of(
    path: str, settings: Settings, output: Output, unreadable: list[JournalError] | None = None
) -> list[Found]:
    try:
        with Journal.read_only(path) as journal:
            return list(_with_states(journal))
    except JournalError as error:
        if settings.journal:
            raise
        output.warn(str(error))
        if unreadable is not None:
            unreadable.append(error)
        return []


def _with_states(journal: Journal) -> Iterator[Found]:
    """The jobs of a journal. Its lock is one for all of them, so only the newest at work can be the one that runs."""
    holder = journal.holder()
    tallies = journal.tallies()
    for job in journal.jobs():
        state = shown_state(job, running=holder is not None)
        mine, holder = (holder, None) if state == RUNNING else (None, holder)
        tally = tallies[job.number]
        left = tally[State.PENDING] + tally[State.LEASED]
        yield Found(journal.path, job, state, mine, tally[State.DONE], left, tally[State.FAILED])


def shown_state(job: Job, *, running: bool) -> str:
    """The state of a job in the words of ``list``; ``running`` says that someone works on its journal."""
    if job.state not in AT_WORK:
        return job.state.value
    return RUNNING if running else DEAD


def _row(found: Found) -> tuple[str, ...]:
    job = found.job
    numbers = map(format_count, (found.done, found.left, found.failed))
    return (job.id, job.command, found.state, _date(job.started), *numbers, f"{job.source} -> {job.target}")


def _row_as_json(found: Found) -> dict[str, Any]:
    numbers = {"done": found.done, "left": found.left, "failed": found.failed, "unchanged": found.job.unchanged}
    return {"job": found.job.id, "command": found.job.command, **_facts(found), **numbers}


def _facts(found: Found) -> dict[str, Any]:
    """What ``list`` and ``show`` tell of a job beside its numbers."""
    job = found.job
    return {
        "state": found.state,
        "exit_code": job.exit_code,
        "resumed": bool(job.resumed),
        "journal": found.journal,
        "source": job.source,
        "target": job.target,
        "endpoint": job.endpoint,
        "started": _date(job.started),
        "ended": None if job.ended is None else _date(job.ended),
        "pid": found.holder and found.holder[0],
        "host": found.holder and found.holder[1],
    }


# -- show


def run_show(settings: Settings, output: Output) -> int:
    """Print one job with every failure. SettingsError where there is no such job."""
    found = choose(settings.job, find_jobs(settings, output))
    with Journal.read_only(found.journal) as journal:
        job = journal.look_at(found.job.id)
        document = report.document(job, journal.counts(), journal.failures(), journal=found.journal, now=time.time())
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
    """The job with this id, or whose id alone begins so; the newest for an empty one."""
    exact = [each for each in found if each.job.id == wanted]
    fitting = exact or [each for each in found if each.job.id.startswith(wanted)]
    if not fitting:
        what = f"there is no job {wanted}" if wanted else "there is no job yet"
        raise SettingsError(what, hint="`s3batch jobs list` shows those there are; name their journal with --journal")
    if wanted and len(fitting) > 1:
        raise SettingsError(f"{len(fitting)} jobs begin with {wanted}", hint="write more of the id")
    return fitting[0]


def _resume_line(settings: Settings, found: Found) -> str | None:
    if found.state == RUNNING or found.job.state in {JobState.DONE, JobState.SUPERSEDED}:
        return None
    return report.resume_line(found.job.id, found.journal, journal_trust.is_found(found.journal, settings))


def _print_job(
    found: Found, document: dict[str, Any], left: Iterable[Entry], resume: str | None, output: Output
) -> None:
    job = found.job
    headers = permissions.headers_of(Settings.from_public(job.settings))
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
        ("command", f"{job.command} (s3batch {job.version})"),
        ("state", state + code),
        ("started", f"{_date(job.started)}{lasted}{resumed}"),
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


# -- prune


class Pruned(NamedTuple):
    """What became of one journal."""

    forgotten: int = 0
    aborted: tuple[UploadLeft, ...] = ()
    kept: tuple[UploadLeft, ...] = ()
    """Parked by an interrupted or failed job."""
    failures: tuple[tuple[UploadLeft, str], ...] = ()
    refused: tuple[tuple[UploadLeft, str], ...] = ()
    """Those that these credentials, or this store, may never abort, and why: no failure."""
    withheld: str = ""
    """The journal, where it has uploads to abort and may not decide where: nothing was done with it."""


def run_prune(settings: Settings, output: Output) -> int:
    """Forget done and superseded jobs, abort the uploads no job will finish.

    Exit code 1 if one could not be aborted; 2 if all there was to do is asked for by journals in the tree.
    """
    pruned = [_prune_journal(path, settings, output) for path in journals(settings, output)]
    if settings.json:
        output.document(_pruned_as_json(pruned, dry_run=settings.dry_run))
    for each in pruned:
        _say_pruned(each, output)
    forgotten, aborted = sum(each.forgotten for each in pruned), sum(len(each.aborted) for each in pruned)
    would = "would be " if settings.dry_run else ""
    output.info(f"{_some(forgotten, 'job')} {would}forgotten, {_some(aborted, 'multipart upload')} {would}aborted")
    if any(each.failures for each in pruned):
        return EXIT_FAILED
    return EXIT_SETTINGS if any(each.withheld for each in pruned) and not forgotten + aborted else EXIT_DONE


def _say_pruned(pruned: Pruned, output: Output) -> None:
    if pruned.withheld:
        output.warn(
            f"left alone: {pruned.withheld} lies below the working directory, and a checkout may have brought "
            f"it; if it is yours, write {journal_trust.command_line('jobs', 'prune', pruned.withheld)}"
        )
    for left, error in pruned.failures:
        output.error(f"cannot abort the multipart upload of {left.key} (job {left.job_id}): {error}")
    for left, error in pruned.refused[:1]:
        more = len(pruned.refused) - 1
        others = f" and {_some(more, 'other')}" if more else ""
        output.warn(f"the multipart upload of {left.key} (job {left.job_id}){others} stays in the bucket: {error}")
    for left in pruned.aborted:
        output.detail(f"multipart upload of {left.key} (job {left.job_id})")
    for job in sorted({left.job_id for left in pruned.kept}):
        output.info(f"job {job} has multipart uploads to go on with; s3batch resume {job} does")


def _pruned_as_json(pruned: Sequence[Pruned], *, dry_run: bool) -> dict[str, Any]:
    def listed(uploads: Iterable[UploadLeft]) -> list[dict[str, str]]:
        return [{"job": left.job_id, "key": left.key, "upload_id": left.upload_id} for left in uploads]

    def with_errors(found: list[tuple[UploadLeft, str]]) -> list[dict[str, str]]:
        return [{**row, "error": error} for row, (_, error) in zip(listed(f[0] for f in found), found, strict=True)]

    failures = [(left, error) for each in pruned for left, error in each.failures]
    refused = [(left, error) for each in pruned for left, error in each.refused]
    return {
        "dry_run": dry_run,
        "forgotten": sum(each.forgotten for each in pruned),
        "aborted": listed(left for each in pruned for left in each.aborted),
        "kept": listed(left for each in pruned for left in each.kept),
        "failures": with_errors(failures),
        "refused": with_errors(refused),
    }


def _prune_journal(path: str, settings: Settings, output: Output) -> Pruned:
    """A journal that is in use, or cannot be used, is named and left alone."""
    try:
        with Journal.open(path, create=False) as journal:
            journal.lock()
            return _prune(journal, settings)
    except JournalLockedError as error:
        if settings.journal:
            raise
        output.info(f"left alone: {error.message}")
    except JournalError as error:
        if settings.journal:
            raise
        output.warn(str(error))
    return Pruned()


def _prune(journal: Journal, settings: Settings) -> Pruned:
    """Nobody else works on this journal: whatever was at work is dead."""
    jobs = {job.id: job for job in journal.jobs()}
    uploads = journal.uploads_left(False)
    parked = [left for left in uploads if _is_parked(jobs[left.job_id], left)]
    useless = [left for left in uploads if left not in parked]
    if useless and not journal_trust.may_decide(journal.path, settings):
        return Pruned(withheld=journal.path)
    if settings.dry_run:
        finished = sum(job.state in {JobState.DONE, JobState.SUPERSEDED} for job in jobs.values())
        return Pruned(finished, tuple(useless), tuple(parked))
    failures: list[tuple[UploadLeft, str]] = []
    refused: list[tuple[UploadLeft, str]] = []
    for job_id in dict.fromkeys(left.job_id for left in useless):
        mine = [left for left in useless if left.job_id == job_id]
        failures += _abort_all(journal, settings, jobs[job_id], mine, refused)
    left_over = [left for left, _ in (*failures, *refused)]
    aborted = tuple(left for left in useless if left not in left_over)
    return Pruned(journal.prune(), aborted, tuple(parked), tuple(failures), tuple(refused))


def _is_parked(job: Job, left: UploadLeft) -> bool:
    """Whether ``resume`` can go on with an upload; not with that of a file that has changed since (no row)."""
    return job.state in {JobState.INTERRUPTED, JobState.FAILED} and left.operation > 0


def _abort_all(
    journal: Journal, settings: Settings, job: Job, uploads: Sequence[UploadLeft], refused: list[tuple[UploadLeft, str]]
) -> list[tuple[UploadLeft, str]]:
    """Abort the uploads of one job; return those that could not be, and why. No endpoint, no second try.

    Those whose abort is refused for good are added to ``refused``.
    """
    try:
        bucket = bucket_of(settings, job, journal.path)
    except S3BatchError as error:
        return [(left, str(error)) for left in uploads]
    failures: list[tuple[UploadLeft, str]] = []
    try:
        for left in uploads:
            words, for_good = abort_upload(bucket, left)
            if words:
                (refused if for_good else failures).append((left, words))
            else:
                journal.forget_upload(left.operation)
    except S3BatchError as error:
        failures += [(left, str(error)) for left in uploads[uploads.index(left) :]]
    finally:
        bucket.close()
    return failures


def bucket_of(settings: Settings, job: Job, journal: str) -> Bucket:
    """The bucket of a job, with today's credentials. The only place here that loads S3."""
    from s3batch.s3.bucket import Bucket  # noqa: PLC0415 - `list` and `show` do without
    from s3batch.target import Target  # noqa: PLC0415 - as above

    effective = journal_trust.read_settings(job, journal, settings)
    return Bucket.from_settings(effective, Target.from_settings(effective).bucket)


def abort_upload(bucket: Bucket, left: UploadLeft) -> tuple[str, bool]:
    """Abort one upload, gone ones included; return what S3 had against it, and whether that will stay so.

    EndpointError where it does not answer.
    """
    from s3batch.s3.faults import CallError, refused_for_good  # noqa: PLC0415 - as above

    try:
        bucket.abort_multipart_upload(left.key, left.upload_id)
    except CallError as error:
        needs = permissions.sentence(permissions.missing(error.name, error.fault.code, error.fault.message))
        said = f"AbortMultipartUpload is refused ({error.fault})"
        return (f"{said}; the request {needs}" if needs else said), refused_for_good(error.fault)
    return "", False


# -- words


def _date(seconds: float) -> str:
    """UTC, as in ``2026-11-21T21:30:50Z``."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def _some(number: int, noun: str) -> str:
    return f"{format_count(number)} {noun}{'' if number == 1 else 's'}"


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows with aligned columns, two spaces apart; the last column is as wide as it likes."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    widths[-1] = 0
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
