"""``s3batch undo JOB``: what a job has overwritten and deleted comes back, and what it has created goes.

    journal: what the job changed ─┐
    backup: what was there before ─┼─ decide ─> restore | delete | named as changed since ─> journal ─> workers
    listing: what is there now ────┘

An undo is a job of the same history: journalled, resumable, and undone like any other. Its own backup goes to the prefix
of the job's. Without a backup the versions of the bucket tell what was there.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from s3batch.base.errors import EndpointError, SettingsError
from s3batch.base.failpoints import reach_failpoint
from s3batch.commands.jobs.find import find_jobs
from s3batch.commands.jobs.show import choose_job
from s3batch.commands.plans.apply import ApplyJob, begin_again
from s3batch.commands.sync.begin import begin_job
from s3batch.commands.undo.decide import ChangedSinceError, UndoFacts, decide_undo
from s3batch.coordinator import journal_trust
from s3batch.model import KIN_OF_SYNC, Kind, Operation, Reason, RestoreSpec, Stage
from s3batch.plan import quirk_memory
from s3batch.plan.backup_spec import parse_backup
from s3batch.plan.row_check import PlannedRowCheck
from s3batch.plan.spec import SyncSpec
from s3batch.s3 import requests
from s3batch.s3.bucket import Bucket
from s3batch.s3.faults import fault_of
from s3batch.settings.direction import format_place, is_in_s3
from s3batch.worker.context import ACL_MARKS
from s3batch.worker.delete_check import DeleteCheck

if TYPE_CHECKING:
    from collections.abc import Iterator

    from s3batch.coordinator.coordinator import Coordinator
    from s3batch.coordinator.job_runner import JobRunner
    from s3batch.journal import Job
    from s3batch.journal.reversals import ChangedKey
    from s3batch.reporting.console import Output
    from s3batch.settings.table import Settings

_PLAN = "undo "
"""The plan of an undo is this and the id of the job that it takes back."""


def run_undo(settings: Settings, output: Output) -> int:
    """Undo a job, or resume an undo if the settings are those of one; return the exit code."""
    if settings.command == "undo" and settings.bucket:  # as resume has found it in the journal
        return begin_job(SyncSpec.from_settings(settings), output, UndoJob, begin_again)
    if settings.dry_run:
        raise SettingsError(
            f"undo has no dry run, but dry_run is true (from {settings.origin('dry_run')})", hint="remove it"
        )
    if not settings.job:
        raise SettingsError("no job is named", hint="write s3batch undo JOB; `s3batch jobs list` shows them")
    found = choose_job(settings.job, find_jobs(settings, output, counted=False))
    job = found.job
    if job.command not in KIN_OF_SYNC or not _is_in_bucket(job):
        raise SettingsError(f"job {job.id} cannot be undone: it is s3batch {job.command} to {format_place(job.target)}")
    begun = journal_trust.choose_resume_settings(job, found.journal, settings)
    wanted = SyncSpec.from_settings(_make_undo_settings(begun, found.journal, settings))
    if not wanted.settings.backup:
        _require_versions(wanted, job)
    output.info(
        f"undoing job {job.id}: {job.command} of {format_place(job.source)} to {format_place(job.target)} at {job.endpoint or 'AWS'}"
    )
    return begin_job(wanted, output, UndoJob, partial(_begin_undo, job))


def _is_in_bucket(job: Job) -> bool:
    return not job.target.startswith("/") and not is_in_s3(job.target)


def _make_undo_settings(begun: Settings, journal: str, given: Settings) -> Settings:
    """Return the settings of the undo: those of the job that are about the target. It reads no source."""
    return begun._replace(command="undo", job="", journal=journal, source=given.journal_directory(), strip_prefix="", delete=False,
        newest_wins="", dry_run=False, include=(), exclude=(), exclude_from=(), filter_order=(), object_manifest=False,
        files_from="", files_from0="", json=given.json,
    )  # fmt: skip


def _require_versions(wanted: SyncSpec, job: Job) -> None:
    """Raise SettingsError if the bucket keeps no versions: nothing else has what was there."""
    bucket = Bucket.from_settings(wanted.settings, wanted.target.bucket)
    try:
        answer = bucket.ask(requests.Request("GetBucketVersioning", "GET", "", "versioning="))
    finally:
        bucket.close()
    if answer.status == 403:  # a store without versions answers otherwise
        raise EndpointError(
            f"job {job.id} made no backup, and whether bucket {wanted.target.bucket} keeps versions cannot be read: "
            f"GetBucketVersioning: {fault_of(answer)}",
            hint="allow s3:GetBucketVersioning, s3:ListBucketVersions and s3:GetObjectVersion",
        )
    if not (answer.ok and b"<Status>Enabled</Status>" in bytes(answer.body)):
        raise SettingsError(
            f"job {job.id} made no backup, and bucket {wanted.target.bucket} keeps no versions: nothing can come back",
            hint="give --backup s3://BUCKET/PREFIX to the next sync",
        )


def _begin_undo(job: Job, runner: JobRunner, wanted: SyncSpec, place: str) -> None:
    runner.begin(job.source, place, plan=_PLAN + job.id)


class UndoRowCheck(PlannedRowCheck):
    """The check of rows that an undo has left."""

    def admit(self, operation: Operation) -> Operation | None:
        """Return the operation itself. Raises ValueError for one that no undo of this target makes."""
        wanted = self._wanted
        if operation.kind not in {Kind.RESTORE, Kind.DELETE} or not wanted.owns(operation.key):
            raise ValueError(f"no undo of this job has a {operation.kind.value} of {operation.key!r}")
        spec = operation.spec
        if operation.kind is Kind.RESTORE:
            if not isinstance(spec, RestoreSpec):
                raise ValueError(f"the backup of {operation.key!r} cannot be read")
            if spec.key:
                backup = parse_backup(wanted.settings, wanted.target)
                if (spec.bucket, spec.key[: len(backup.prefix)]) != (backup.bucket, backup.prefix):
                    raise ValueError(f"the backup of {operation.key!r} is not below {wanted.settings.backup}")
        return operation


class UndoJob(ApplyJob):
    """One run of an undo."""

    _undone: tuple[Job, ...] = ()
    """The job and those it continues, the oldest first."""

    def make_row_check(self, *, is_foreign: bool) -> UndoRowCheck:
        """Return the check of rows that an earlier job has left."""
        return UndoRowCheck(self.wanted, is_foreign=is_foreign)

    def make_delete_check(self) -> DeleteCheck:
        """Return a check without files: an undo reads no source."""
        return DeleteCheck(listed=self.wanted.listed)

    def run_planned_stages(self, coordinator: Coordinator) -> None:
        """Plan, unless the job that this one continues has, and carry that out."""
        if not self.journal.jobs.current.planned:
            self._plan_undo()
        super().run_planned_stages(coordinator)

    def _plan_undo(self) -> None:
        """Put all operations into the journal, in one transaction."""
        journal, changes = self.journal, self.journal.reversals
        self._undone = tuple(journal.jobs.list_chain(journal.jobs.current.plan.removeprefix(_PLAN)))
        numbers = [job.number for job in self._undone]
        changes.collect(numbers, self._list_later())
        self._collect_backups()
        for keys in changes.read_keys():
            prefix = self.wanted.listed if all(key.startswith(self.wanted.listed) for key in keys) else ""
            changes.note_listed(self.bucket.look_up(keys, prefix))
        begin, end = changes.read_window(numbers)
        bucket = parse_backup(self.settings, self.wanted.target).bucket if self.settings.backup else ""
        facts = UndoFacts(bucket, begin, end, quirk_memory.read_quirks_in_force(journal).late)
        with journal.batch():
            for page in changes.read_changes():
                self._add_operations(page, facts)
            journal.jobs.set_planned()
        reach_failpoint("planned")

    def _list_later(self) -> list[int]:
        """Return the numbers of the jobs to the target that began after those that are undone."""
        last, now = self._undone[-1].number, self.journal.jobs.current
        return [
            each.number for each in self.journal.jobs.list_all()
            if last < each.number < now.number and (each.target, each.endpoint) == (now.target, now.endpoint)
        ]  # fmt: skip

    def _collect_backups(self) -> None:
        """List the backups of all these jobs, the oldest first: that is what was there before all of them."""
        if not self.settings.backup:
            return
        spec = parse_backup(self.settings, self.wanted.target)
        bucket = Bucket.from_settings(self.settings, spec.bucket)
        try:
            for job in self._undone:
                place = spec.place(job.id)
                for page in bucket.list_objects(place.prefix):
                    keys = [each.key for each in page.objects if each.key != spec.manifest(job.id)]
                    marks = [key for key in keys if key.startswith(place.prefix + ACL_MARKS)]
                    found = [
                        (key[len(place.prefix) :], key) for key in keys if not key.startswith(place.prefix + ACL_MARKS)
                    ]
                    self.journal.reversals.note_backups(found)
                    self.journal.reversals.note_acls(_parse_acl_marks(marks, place.prefix + ACL_MARKS))
        finally:
            bucket.close()

    def _add_operations(self, changes: list[ChangedKey], facts: UndoFacts) -> None:
        """Add an operation for each change; one that cannot be taken back will be refused, and named."""
        planned = []
        for change in changes:
            try:
                operation = decide_undo(change, facts) if self.wanted.owns(change.key) else None
            except ChangedSinceError as error:
                spec = RestoreSpec(0, refused=str(error))
                operation = Operation(Kind.RESTORE, change.key, Reason.UNDO, stage=Stage.MAIN, spec=spec)
            planned += [operation] if operation is not None else []
        self.journal.operations.add(planned)


def _parse_acl_marks(marks: list[str], prefix: str) -> Iterator[tuple[str, str]]:
    """Yield key and canned ACL of each mark."""
    for mark in marks:
        acl, _, key = mark[len(prefix) :].partition("/")
        yield key, acl
