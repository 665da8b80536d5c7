"""A job that makes one side match the other: what syncs of every direction have in common, and how they end."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Protocol

from s3batch.base.errors import DeclinedError, JobFailedError, S3BatchError
from s3batch.coordinator.job_description import JobDescription
from s3batch.coordinator.job_runner import JobRunner
from s3batch.model import Kind, Operation, Reason, Result
from s3batch.plan import deletes
from s3batch.reporting import ci_outputs
from s3batch.reporting.json_stream import Spool
from s3batch.reporting.progress import Totals
from s3batch.s3.faults import RequestError
from s3batch.source.walk_record import CountedPaths

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from s3batch.coordinator.job_description import Document
    from s3batch.journal import Journal
    from s3batch.reporting import report
    from s3batch.reporting.console import Output
    from s3batch.s3.bucket import Bucket
    from s3batch.s3.listing import ListingPage
    from s3batch.settings.direction import S3Place
    from s3batch.settings.table import Settings


def refuse_one_object(place: S3Place, first: ListingPage | None, bucket: Bucket, instead: Callable[[], str]) -> None:
    """Raise JobFailedError for a source that is the key of an object and no prefix: nothing would be read of it.

    ``instead`` returns what to write.
    """
    if first is None or first.objects or first.token or place.key == place.prefix:
        return
    try:
        found = bucket.head(place.key)
    except RequestError:
        return
    if found is not None:
        raise JobFailedError(
            f"{place.url} is one object, and there is none below {place.url}/",
            hint=f"write {instead()}, or the prefix of objects",
        )


class DirectionSpec(Protocol):
    """The specification of a sync in some direction."""

    @property
    def settings(self) -> Settings:
        """The job's settings."""


class DirectionJob(JobDescription):
    """One run of such a job."""

    wanted: DirectionSpec

    def __init__(self, wanted: DirectionSpec, runner: JobRunner) -> None:
        self.wanted = wanted
        self.runner = runner
        self.totals = Totals()
        self.changed = False
        """True if this run changed the target, or would have."""
        self.wrote = False
        """True if it stored an object of its own."""
        self.plan = Spool()
        """The plan of a dry run, for its JSON document."""
        self.kept = CountedPaths()
        """Names of deletes that were skipped, because the file or the object changed meanwhile."""
        self.left_empty = False
        """True if the filters have left nothing of the source."""
        self._withheld = False
        """True if no delete was begun, because something else failed."""
        self._bucket: Bucket | None = None

    @property
    @abstractmethod
    def bucket(self) -> Bucket:
        """The target's bucket, or of a download the source's."""

    @property
    def settings(self) -> Settings:
        """The job's settings."""
        return self.wanted.settings

    @property
    def journal(self) -> Journal:
        """The job's journal."""
        return self.runner.journal

    @property
    def output(self) -> Output:
        """Where the job speaks."""
        return self.runner.output

    # --- what is done -------------------------------------------------------------------------

    def _heard(self, operation: Operation, result: Result) -> None:
        if result.already:
            if operation.kind is Kind.DELETE:
                self.kept.add(self.name_kept(operation))
            return
        self.changed = True
        self.wrote = self.wrote or operation.kind in (Kind.UPLOAD, Kind.TRANSFER)
        if self.wanted.settings.dry_run:  # for each file, so without the properties
            self.report_planned(operation)
        elif self.runner.output.verbose:
            kind, reason = result.become or operation.kind, result.reason or operation.reason
            self.output.detail(f"{kind} {operation.key} {reason}")

    def _heard_deletes(self, keys: Sequence[str]) -> None:
        self.changed = True
        if self.output.verbose:
            for key in keys:
                self.output.detail(f"{Kind.DELETE} {key} {Reason.ORPHAN}")

    def name_kept(self, operation: Operation) -> str:
        """Return the name of a delete that was skipped."""
        return operation.key

    def report_planned(self, operation: Operation) -> None:
        """Print a line of the plan of a dry run."""
        self.write_plan_line(operation.kind, operation.key, operation.reason)

    def write_plan_line(self, operation: str, key: str, reason: str) -> None:
        """Print a line of the plan, and keep it for the document."""
        if self.settings.wants_document:
            self.plan.add({"operation": operation, "key": key, "reason": reason})
        if not self.settings.json:
            self.output.data(f"{operation} {key} {reason}")

    # --- the end ------------------------------------------------------------------------------

    def stop_of(self, error: Exception) -> S3BatchError | None:
        """Return the error that ends the job with a report; a job that was declined leaves none, if no other is in it."""
        is_forgotten = isinstance(error, DeclinedError) and not self.journal.jobs.has_superseded
        return None if is_forgotten else super().stop_of(error)

    def has_changed(self, counts: report.Counts) -> bool:
        """Return true if the job changed the target, or would have."""
        return self.changed or super().has_changed(counts)

    def is_left_empty(self) -> bool:
        """Return true if the filters have left nothing of a source that has something."""
        return self.left_empty

    def late_warnings(self) -> Sequence[str]:
        """Return the warning that no delete was begun, where that is so."""
        return [deletes.WITHHELD] if self._withheld else []

    def complete_document(self, document: Document) -> Document:
        """Return the document, that of a dry run with its plan."""
        return {**document, "plan": self.plan} if self.settings.dry_run else document

    def collect_outputs(self, document: Document) -> Mapping[str, str | int | bool]:
        """Return the outputs for later steps of the build."""
        return {} if self.settings.dry_run else ci_outputs.collect_sync_outputs(document)
