"""The report of a job: the document of ``--json``, and the lines for people at the end.

    journal ─document→ dict, exactly as docs/cli.md shows it ─end_block→ the end block on stderr

Computed from the journal alone, so that a resumed job reports as a whole. Pure: it reads no clock and
writes nowhere. Hiding secrets and control characters is the business of :mod:`s3batch.reporting.console`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from types import MappingProxyType
from typing import Any, Self

from s3batch.base.errors import EXIT_JOURNAL
from s3batch.base.named_tuple import NamedTuple
from s3batch.base.shown_bytes import show_bytes
from s3batch.base.units import format_count, format_duration, format_plural, format_size
from s3batch.journal import Failure, Job, Journal
from s3batch.model import JobState, Kind
from s3batch.reporting.head import list_cache_paths
from s3batch.reporting.json_stream import Rows
from s3batch.reporting.text import format_timestamp
from s3batch.s3 import permissions
from s3batch.settings.direction import format_place, is_in_s3
from s3batch.settings.schema import ARCHIVE_COMMANDS

SHOWN = 50
"""Failures, and warnings, that people see of a job; the rest is in the journal."""

REPORTED = (Kind.UPLOAD, Kind.DOWNLOAD, Kind.COPY, Kind.DELETE, Kind.REDIRECT, Kind.CHUNK)
"""Always in the document; others only when there are any."""

_WORDS = {
    Kind.UPLOAD: ("uploaded", "to upload"),
    Kind.DOWNLOAD: ("downloaded", "to download"),
    Kind.COPY: ("updated or renamed in the store", "to update or rename in the store"),
    Kind.DELETE: ("deleted", "to delete"),
    Kind.REDIRECT: ("redirect set", "redirect to set"),
    Kind.CHUNK: ("chunk stored", "chunk to store"),
    Kind.RECONCILE: ("compared", "to compare"),
    Kind.TRANSFER: ("transferred", "to transfer"),
    Kind.RESTORE: ("restored", "to restore"),
}
"""The words for an operation that is done, and for one that a dry run found."""
_FETCHED = ("chunk fetched", "chunk to fetch")
"""The same words for a chunk of a cache that is restored."""
_NOUNS = frozenset({Kind.REDIRECT, Kind.CHUNK})
"""Kinds whose words begin with a noun, which is in the plural for any count but one."""

_NOTHING: Mapping[str, int] = {"planned": 0, "done": 0, "failed": 0, "skipped": 0, "bytes": 0}


Counts = Mapping[Kind, Mapping[str, int]]


class EarlierJobs(NamedTuple):
    """The jobs that a job continues, and their counts."""

    jobs: Sequence[Job] = ()
    counts: Counts = MappingProxyType({})

    @classmethod
    def of(cls, journal: Journal) -> Self:
        """Return those of the job at work."""
        jobs = journal.jobs.list_continued()
        return cls(jobs, journal.outcomes.count_done_before() if jobs else {})

    @property
    def seconds(self) -> float:
        """The seconds they were at work, without the pauses between them."""
        return sum(max((job.seen if job.ended is None else job.ended) - job.started, 0.0) for job in self.jobs)

    def files_and_bytes(self, job: Job) -> tuple[int, int]:
        """Return how much the source holds: as ``job`` found it, or as far as any of them came."""
        return (job.files, job.bytes) if job.planned else max((each.files, each.bytes) for each in (*self.jobs, job))

    def requests(self, job: Job) -> dict[str, int]:
        """Return the requests of all of them and of ``job``."""
        total: Counter[str] = Counter()
        for each in (*self.jobs, job):
            total.update(each.requests)
        return dict(sorted(total.items()))


def make_report_document(
    job: Job,
    counts: Counts,
    failures: Callable[[], Iterator[Failure]],
    *,
    journal: str,
    now: float,
    warnings: Iterable[str] = (),
    before: EarlierJobs | None = None,
) -> dict[str, Any]:
    """Return the JSON document. ``warnings`` are further ones that the journal does not have.

    ``failures`` reads those that ``counts`` counts. It is called when the document's list is read.

    ``now`` (seconds since the epoch) ends a job that still runs, whose exit code is null. The counts are the sums of
    the job and of the jobs ``before`` it that it continues.
    """
    before = before or EarlierJobs()
    seconds = max((now if job.ended is None else job.ended) - job.started, 0.0)
    files, size = before.files_and_bytes(job)
    operations = _sum_counts_by_kind(counts, before.counts)
    return {
        "job": job.id,
        "command": job.command,
        "state": str(job.state),
        "exit_code": job.exit_code,
        "seconds": round(seconds, 3),
        "seconds_total": round(seconds + before.seconds, 3),
        "resumed": bool(job.resumed),
        "source": _find_job_source(job),
        "target": format_place(job.target),
        "endpoint": job.endpoint or None,
        "started": format_timestamp(job.started),
        "ended": None if job.ended is None else format_timestamp(job.ended),
        "journal": journal,
        "files": files,
        "bytes": size,
        "unchanged": job.unchanged,
        "operations": {
            str(kind): numbers for kind, numbers in operations.items() if kind in REPORTED or numbers["planned"]
        },
        "sent_now": _count_done_operations(counts),
        "sent_before": _count_done_operations(before.counts),
        "requests": before.requests(job),
        "retries": sum(each.retries for each in (*before.jobs, job)),
        "failures": Rows(lambda: map(_make_failure_row, failures()), sum(each["failed"] for each in counts.values())),
        "warnings": [show_bytes(each) for each in dict.fromkeys((*job.warnings, *warnings))],
    }


def _find_job_source(job: Job) -> str | list[str]:
    """Return the source of a job: a path or a place in S3; of a cache the list of its paths."""
    if job.command in ARCHIVE_COMMANDS:
        return list_cache_paths(job.source, job.settings.get("cache"))
    return format_place(job.source) if is_in_s3(job.source) else job.source


def _make_failure_row(failure: Failure) -> dict[str, Any]:
    return {**failure._asdict(), "operation": str(failure.operation), "error": show_bytes(failure.error)}


def _sum_counts_by_kind(now: Counts, before: Counts) -> dict[Kind, dict[str, int]]:
    return {
        kind: {name: now.get(kind, _NOTHING)[name] + before.get(kind, _NOTHING)[name] for name in _NOTHING}
        for kind in Kind
    }


def _count_done_operations(counts: Counts) -> int:
    return sum(numbers["done"] for numbers in counts.values())


def make_jobless_document(
    command: str,
    state: JobState,
    exit_code: int,
    *,
    seconds: float = 0.0,
    requests: Mapping[str, int] | None = None,
    retries: int = 0,
    warnings: Iterable[str] = (),
) -> dict[str, Any]:
    """Return the same document for a run without a job in any journal."""
    return {
        "job": None,
        "command": command,
        "state": str(state),
        "exit_code": exit_code,
        "seconds": round(seconds, 3),
        "seconds_total": round(seconds, 3),
        "resumed": False,
        "journal": None,
        "files": 0,
        "bytes": 0,
        "unchanged": 0,
        "operations": {str(kind): dict(_NOTHING) for kind in REPORTED},
        "sent_now": 0,
        "sent_before": 0,
        "requests": dict(sorted((requests or {}).items())),
        "retries": retries,
        "failures": [],
        "warnings": list(warnings),
    }


def format_end_block(
    document: Mapping[str, Any],
    *,
    headers: Mapping[str, str] | None = None,
    default_journal: bool = False,
    dry_run: bool = False,
) -> list[str]:
    """Return the end block for people.

    ``headers`` are :func:`s3batch.s3.permissions.headers_of` the job's settings, ``default_journal`` says that
    ``resume`` finds the journal by itself.
    """
    failures = document["failures"]
    block = [format_headline(document, dry_run=dry_run)]
    block += _format_listed_lines(
        [f"warning: {warning}" for warning in document["warnings"][:SHOWN]], "warnings", document
    )
    block += _format_listed_lines(
        [format_failure_line(failure, headers) for failure in islice(failures, SHOWN)], "failures", document
    )
    if is_work_left(document) and not dry_run:
        block.append(f"to finish it: {format_resume_command(document['job'], document['journal'], default_journal)}")
    return block


def format_resume_command(job: str, journal: str, default_journal: bool) -> str:
    """Return the exact command that finishes the job, ready for a POSIX shell."""
    words = ("s3batch", "resume", job)
    from s3batch.settings.shell_lines import format_shell_line  # noqa: PLC0415 - only for a command to be typed

    return format_shell_line(*words if default_journal else (*words, "--journal", journal))


def is_work_left(document: Mapping[str, Any]) -> bool:
    """Return whether ``s3batch resume`` has something to do: not after a failure before anything was planned."""
    planned = document["files"] or any(numbers["planned"] for numbers in document["operations"].values())
    unfinished = document["state"] not in {JobState.DONE, JobState.SUPERSEDED}
    is_unwritten = document.get("exit_code") == EXIT_JOURNAL  # then the journal does not tell that it has failed
    return unfinished and (bool(planned) or document["state"] != JobState.FAILED or is_unwritten)


def format_failure_line(failure: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> str:
    """Return the line of a failed operation: action, path, key, S3's error, number of tries, missing permission."""
    path, key = failure["path"], failure["key"]
    way = f"{key} to {path}" if failure["operation"] == Kind.DOWNLOAD else f"{path} to {key}"
    what = way if path and key and path != key else key or path
    tried = f"tried {failure['attempts']} times" if failure["attempts"] > 1 else ""
    request = f"request {failure['request_id']}" if failure["request_id"] else ""
    status = f"HTTP {failure['status']}" if failure["status"] else ""
    facts = ", ".join(filter(None, [status, request, tried]))
    needs = permissions.of_failure(failure["operation"], failure["error"], failure["code"], headers)
    line = f"failed: {failure['operation']} {what}: {_format_failure_cause(failure)}"
    return line + (f" ({facts})" if facts else "") + (f"; {permissions.permission_sentence(needs)}" if needs else "")


def _format_failure_cause(failure: Mapping[str, Any]) -> str:
    code, error = failure["code"], failure["error"]
    is_said = not code or code in error or error.startswith(f"{code.lower()}:")
    return error if is_said else f"{code}: {error}" if error else code


def format_headline(document: Mapping[str, Any], *, dry_run: bool = False) -> str:
    """Return the first line of the end block: how the job ended, and what it did."""
    operations = document["operations"]
    counted = "planned" if dry_run else "done"
    parts = [
        _format_kind_counts(describe_operation(document, Kind(kind)), numbers, counted, has_noun=Kind(kind) in _NOUNS)
        for kind, numbers in operations.items()
        if numbers[counted]
    ]
    if document["sent_before"]:
        now, before = format_count(document["sent_now"]), format_count(document["sent_before"])
        parts.append(f"{now} sent now, {before} before")
    parts += [f"{format_count(document['unchanged'])} unchanged"] if document["unchanged"] else []
    failed = sum(numbers["failed"] for numbers in operations.values())
    parts += [f"{format_count(failed)} failed"] if failed else []
    left = sum(count_operations_left(numbers) for numbers in operations.values())
    parts += [f"{format_count(left)} left"] if left and not dry_run else []
    state, nothing = document["state"], "nothing to do" if document["state"] == JobState.DONE else "nothing was done"
    if dry_run:  # one that was cut short does not know what there is to do
        is_cut = state in {JobState.FAILED, JobState.INTERRUPTED}
        state, nothing = (f"dry run {state}", "nothing was planned") if is_cut else ("dry run", "nothing to do")
    seconds, total = document["seconds"], document["seconds_total"]
    lasted = format_duration(seconds) + (f" ({format_duration(total)} in all)" if document["sent_before"] else "")
    return f"{state} in {lasted}: {', '.join(parts) or nothing}"


def count_operations_left(numbers: Mapping[str, int]) -> int:
    """Return the operations that have not been tried to the end."""
    return int(numbers["planned"] - numbers["done"] - numbers["failed"] - numbers["skipped"])


def describe_operation(document: Mapping[str, Any], kind: Kind) -> tuple[str, str]:
    """Return the words for an operation that is done, and for one that a dry run found."""
    return _FETCHED if kind is Kind.CHUNK and document["command"] == "cache restore" else _WORDS[kind]


def _format_kind_counts(words_of: tuple[str, str], numbers: Mapping[str, int], counted: str, *, has_noun: bool) -> str:
    sent = f" ({format_size(numbers['bytes'])})" if numbers["bytes"] else ""
    count, words = numbers[counted], words_of[counted == "planned"]
    noun, _, verb = words.partition(" ")
    counted_words = f"{format_plural(count, noun)} {verb}" if has_noun else f"{format_count(count)} {words}"
    return f"{counted_words}{sent}"


def _format_listed_lines(shown: list[str], what: str, document: Mapping[str, Any]) -> list[str]:
    more = len(document[what]) - len(shown)
    return [*shown, f"and {format_count(more)} more: s3batch jobs show {document['job']}"] if more else shown


def find_fail_on_reason(fail_on: Sequence[str], *, warned: bool, changed: bool, empty: bool) -> str:
    """Return why ``fail_on`` makes the exit code of a successful run 1; empty if it does not."""
    seen = {"warnings": warned, "changes": changed, "nothing": not changed, "empty": empty}
    words = {
        "warnings": "there are warnings",
        "changes": "something changed",
        "nothing": "nothing changed",
        "empty": "the filters left no file",
    }
    found = [name for name in fail_on if seen[name]]
    return f"{words[found[0]]}, and fail_on says {', '.join(fail_on)}" if found else ""
