"""``s3batch jobs prune`` and ``jobs forget``: delete jobs from journals, and abort abandoned multipart uploads.

``prune`` deletes finished jobs, and aborts the uploads of done, superseded and dead jobs. An interrupted or failed job
keeps its own uploads for ``resume``. ``forget`` deletes one job in any state.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from s3batch.base.errors import (
    EXIT_DONE,
    EXIT_FAILED,
    EXIT_SETTINGS,
    JournalError,
    JournalLockedError,
    S3BatchError,
    SettingsError,
)
from s3batch.base.named_tuple import NamedTuple
from s3batch.base.units import format_plural
from s3batch.commands.jobs.find import find_jobs, find_journals
from s3batch.commands.jobs.show import choose_job
from s3batch.coordinator import journal_trust
from s3batch.journal import Job, Journal, UploadLeft
from s3batch.model import JobState
from s3batch.reporting.publish import publish_document
from s3batch.s3 import permissions
from s3batch.settings.table import Settings

if TYPE_CHECKING:
    from s3batch.reporting.console import Output
    from s3batch.s3.bucket import Bucket

Aborted = tuple[UploadLeft, ...]
Refused = tuple[tuple[UploadLeft, str], ...]


class PrunedJournal(NamedTuple):
    """The result for one journal."""

    forgotten: int = 0
    aborted: tuple[UploadLeft, ...] = ()
    kept: tuple[UploadLeft, ...] = ()
    """Parked by an interrupted or failed job."""
    failures: tuple[tuple[UploadLeft, str], ...] = ()
    refused: tuple[tuple[UploadLeft, str], ...] = ()
    """The uploads that these credentials, or this store, may never abort, and why: no failure."""
    withheld: str = ""
    """The journal, where it has uploads to abort and may not decide where: nothing was done with it."""


def prune_jobs(settings: Settings, output: Output) -> int:
    """Forget done and superseded jobs, abort the uploads no job will finish.

    Exit code 1 if one could not be aborted; 2 if all there was to do is asked for by journals in the tree.
    """
    pruned = [_prune_journal(path, settings, output) for path in find_journals(settings, output)]
    if settings.json:
        publish_document(settings, output, _pruned_as_json(pruned, dry_run=settings.dry_run))
    for each in pruned:
        _say_pruned(each, output)
    forgotten, aborted = sum(each.forgotten for each in pruned), sum(len(each.aborted) for each in pruned)
    would = "would be " if settings.dry_run else ""
    output.info(
        f"{format_plural(forgotten, 'job')} {would}forgotten, {format_plural(aborted, 'multipart upload')} {would}aborted"
    )
    if any(each.failures for each in pruned):
        return EXIT_FAILED
    return EXIT_SETTINGS if any(each.withheld for each in pruned) and not forgotten + aborted else EXIT_DONE


def _say_pruned(pruned: PrunedJournal, output: Output) -> None:
    if pruned.withheld:
        output.warn(
            f"skipped: {pruned.withheld} is below the working directory and may have come with a checkout; "
            f"if it is yours, run {journal_trust.format_command_line('jobs', 'prune', pruned.withheld)}"
        )
    for left, error in pruned.failures:
        output.error(f"cannot abort the multipart upload of {left.key} (job {left.job_id}): {error}")
    for left, error in pruned.refused[:1]:
        more = len(pruned.refused) - 1
        others = f" and {format_plural(more, 'other')}" if more else ""
        output.warn(f"the multipart upload of {left.key} (job {left.job_id}){others} stays in the bucket: {error}")
    for left in pruned.aborted:
        output.detail(f"multipart upload of {left.key} (job {left.job_id})")
    for job in sorted({left.job_id for left in pruned.kept}):
        output.info(f"kept: job {job} has unfinished multipart uploads; s3batch resume {job} finishes them")


def _pruned_as_json(pruned: Sequence[PrunedJournal], *, dry_run: bool) -> dict[str, Any]:
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


def _prune_journal(path: str, settings: Settings, output: Output) -> PrunedJournal:
    """Prune one journal. One that is in use, or cannot be used, is named and left alone."""
    try:
        with Journal.open(path, create=False, foreign=journal_trust.is_foreign_journal(path, settings)) as journal:
            journal.lock()
            return _prune_jobs_of(journal, settings)
    except JournalLockedError as error:
        if settings.journal:
            raise
        output.info(f"skipped: {error.message}")
    except JournalError as error:
        if settings.journal:
            raise
        output.warn(str(error))
    return PrunedJournal()


def _prune_jobs_of(journal: Journal, settings: Settings) -> PrunedJournal:
    """Prune a journal that this process has locked: a job that seems to run in it is dead."""
    jobs = {job.id: job for job in journal.jobs.list_all()}
    uploads = journal.uploads.list_left(of_dead_jobs_only=False)
    parked = [left for left in uploads if _is_parked(jobs[left.job_id], jobs.values())]
    useless = [left for left in uploads if left not in parked]
    before = time.time() - settings.older_than if settings.older_than else None
    if useless and not journal_trust.may_journal_decide(journal.path, settings):
        return PrunedJournal(withheld=journal.path)
    if settings.dry_run:
        return PrunedJournal(len(journal.jobs.list_forgettable(before)), tuple(useless), tuple(parked))
    aborted, failures, refused = _abort_useless(journal, settings, useless)
    return PrunedJournal(journal.jobs.prune(before=before), aborted, tuple(parked), failures, refused)


def _abort_useless(
    journal: Journal, settings: Settings, useless: Sequence[UploadLeft]
) -> tuple[Aborted, Refused, Refused]:
    """Abort uploads that no job goes on with; return which were, which could not be, and which may never be."""
    jobs = {job.id: job for job in journal.jobs.list_all()}
    for left in useless:
        _require_own_key(jobs[left.job_id], left.key, journal.path)
    failures: list[tuple[UploadLeft, str]] = []
    refused: list[tuple[UploadLeft, str]] = []
    for job_id in dict.fromkeys(left.job_id for left in useless):
        mine = [left for left in useless if left.job_id == job_id]
        failures += _abort_all(journal, settings, jobs[job_id], mine, refused)
    left_over = [left for left, _ in (*failures, *refused)]
    return tuple(left for left in useless if left not in left_over), tuple(failures), tuple(refused)


def _require_own_key(job: Job, key: str, journal: str) -> None:
    """Raise JournalError where a job has an upload of a key that cannot be its own. A download has unfinished files."""
    if os.path.isabs(job.target):
        return
    prefix = job.target.removeprefix("s3://").partition("/")[2]
    if not f"{key}/".startswith(prefix) and not job.settings.get("compat"):
        raise JournalError(
            f"journal {journal} is damaged: it has a multipart upload of {key!r}, which is not below the target of its job",
            hint="move it away",
        )


def _is_parked(job: Job, jobs: Iterable[Job]) -> bool:
    """Return whether a job that ended by itself can be resumed and go on with the uploads of ``job``."""
    parked = [each for each in jobs if each.state in {JobState.INTERRUPTED, JobState.FAILED}]
    return any(job.number in {each.number, *each.takes} for each in parked)


# -- forget


def run_forget(settings: Settings, output: Output) -> int:
    """Delete one job and abort its uploads; return exit code 1 if an abort failed."""
    if not settings.job:
        raise SettingsError("no job is named", hint="write s3batch jobs forget JOB; `s3batch jobs list` shows them")
    found = choose_job(settings.job, find_jobs(settings, output, counted=False))
    foreign = journal_trust.is_foreign_journal(found.journal, settings)
    with Journal.open(found.journal, create=False, foreign=foreign) as journal:
        journal.lock()
        job = journal.jobs.find(found.job.id)
        taken = {number for each in journal.jobs.list_all() if each.id == job.id for number in each.takes}
        mine = {each.id for each in journal.jobs.list_all() if each.number in {job.number, *taken}}
        uploads = [left for left in journal.uploads.list_left(of_dead_jobs_only=False) if left.job_id in mine]
        if uploads and not journal_trust.may_journal_decide(journal.path, settings):
            raise journal_trust.describe_untrusted_job(job, journal.path, "jobs", "forget")
        aborted, failures, refused = _abort_useless(journal, settings, uploads)
        if not failures:
            journal.jobs.forget(job)
    pruned = PrunedJournal(int(not failures), aborted, (), failures, refused)
    if settings.json:
        publish_document(settings, output, _pruned_as_json([pruned], dry_run=False))
    _say_pruned(pruned, output)
    output.info(f"job {job.id} is {'kept: an upload of it is left' if failures else 'forgotten'}")
    return EXIT_FAILED if failures else EXIT_DONE


def _abort_all(
    journal: Journal, settings: Settings, job: Job, uploads: Sequence[UploadLeft], refused: list[tuple[UploadLeft, str]]
) -> list[tuple[UploadLeft, str]]:
    """Abort the uploads of one job; return the failed ones, each with the reason. No endpoint, no second try.

    Uploads whose abort is permanently refused are added to ``refused``.
    """
    if os.path.isabs(job.target):
        return _discard_unfinished(journal, job, uploads)
    try:
        bucket = bucket_of(settings, job, journal.path)
    except S3BatchError as error:
        return [(left, str(error)) for left in uploads]
    failures: list[tuple[UploadLeft, str]] = []
    try:
        for left in uploads:
            words, for_good = abort_left_upload(bucket, left)
            if words:
                (refused if for_good else failures).append((left, words))
            else:
                journal.uploads.forget(left.operation)
    except S3BatchError as error:
        failures += [(left, str(error)) for left in uploads[uploads.index(left) :]]
    finally:
        bucket.close()
    return failures


def _discard_unfinished(journal: Journal, job: Job, files: Sequence[UploadLeft]) -> list[tuple[UploadLeft, str]]:
    """Remove the unfinished files of a download; return those that stay, each with the reason."""
    from s3batch.files.tree import TEMPORARY, TargetTree  # noqa: PLC0415 - few journals have a download

    failures: list[tuple[UploadLeft, str]] = []
    tree = TargetTree(job.target)
    for left in files:
        try:
            if os.path.isdir(job.target) and tree.find(TEMPORARY) is not None:
                tree.discard(left.upload_id)
            journal.uploads.forget(left.operation)
        except OSError as error:
            failures.append((left, f"{left.upload_id} in {job.target}: {error.strerror}"))
    tree.close()
    return failures


def bucket_of(settings: Settings, job: Job, journal: str) -> Bucket:
    """Return the bucket of a job, with current credentials. Nothing else in this module loads S3."""
    from s3batch.objects.target import Target  # noqa: PLC0415 - as above
    from s3batch.s3.bucket import Bucket  # noqa: PLC0415 - `list` and `show` do without

    effective = journal_trust.read_job_settings(job, journal, settings)
    return Bucket.from_settings(effective, Target.from_settings(effective).bucket)


def abort_left_upload(bucket: Bucket, left: UploadLeft) -> tuple[str, bool]:
    """Abort one upload, a vanished one included; return S3's error, and whether it is permanent.

    EndpointError where it does not answer.
    """
    from s3batch.s3.faults import RequestError, refused_for_good  # noqa: PLC0415 - as above

    try:
        bucket.abort_multipart_upload(left.key, left.upload_id)
    except RequestError as error:
        needs = permissions.permission_sentence(
            permissions.missing_permissions(error.name, error.fault.code, error.fault.message)
        )
        said = f"AbortMultipartUpload is refused ({error.fault})"
        return (f"{said}; the request {needs}" if needs else said), refused_for_good(error.fault)
    return "", False
