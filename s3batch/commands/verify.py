"""``s3batch verify``: compare the target with the source. It believes no journal and writes nothing.

It is a rehearsal of a sync with delete, in a journal of its own: each operation in its plan is a difference.

    upload of a key that is not there    missing
    upload, copy or redirect otherwise   different
    delete                               extra

Where a sync would send a file again because nothing proves that the object holds it, the object is read. What a sync
leaves alone (excluded files, ``.s3batch/``, keys of files that could not be read) is not extra. Every difference is
named, also after a file that could not be compared; that one is a failure, and either makes the exit code 1.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from s3batch.base.errors import JournalError
from s3batch.base.units import format_count, format_plural
from s3batch.commands.sync.cluster import open_source_cluster
from s3batch.commands.sync.job import SyncJob
from s3batch.coordinator.job_description import JobDescription
from s3batch.coordinator.job_runner import JobRunner
from s3batch.coordinator.signals import StoppedError, watch_for_stop
from s3batch.files import private
from s3batch.journal import Journal
from s3batch.model import Kind, Operation, Reason, Stage
from s3batch.plan import quirk_memory
from s3batch.plan.file_list import open_file_list
from s3batch.plan.spec import SyncSpec
from s3batch.quirks import NO_QUIRKS, Quirks
from s3batch.reporting import report
from s3batch.reporting.json_stream import Rows, Spool
from s3batch.reporting.run_report import RunReport
from s3batch.s3 import permissions
from s3batch.source.locate import require_listable_source
from s3batch.worker.verify import EXTENSIONS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from s3batch.base.errors import S3BatchError
    from s3batch.coordinator.coordinator import Coordinator
    from s3batch.coordinator.job_description import Document
    from s3batch.executors.dask.cluster import Cluster
    from s3batch.plan.planner import Planner
    from s3batch.reporting.console import Output
    from s3batch.settings.table import Settings
    from s3batch.source.path_list import PathList
    from s3batch.worker.context import Brief


NOTHING_COMPARED = "nothing compared: there is no file and no object, or the filters hide all of them"


@dataclass(frozen=True, slots=True)
class KeyDifference:
    """One key that is not as it should be."""

    what: str
    """``missing``, ``different`` or ``extra``."""
    key: str
    path: str
    """Empty if there is no file: for extra objects and redirects."""
    reason: str
    """The difference: ``content``, ``metadata``, ``acl`` or ``redirect``."""


class ComparingJob(JobDescription):
    """What a verify says in the place of a sync, in any direction."""

    differences: Spool

    def report_planned(self, operation: Operation) -> None:
        """Name the difference that an operation would end."""
        difference = _describe_difference(operation)
        self.differences.add(asdict(difference))
        if not self.runner.settings.json:
            self.runner.output.data(f"{difference.what} {difference.key} {difference.reason}".rstrip())

    def stop_of(self, error: Exception) -> S3BatchError | None:
        """Return an error that ends the job with differences to report; others came before there was any."""
        return error if isinstance(error, StoppedError) else None

    def has_failures(self) -> bool:
        """Return true if there is a difference, a file that could not be compared, or nothing to compare."""
        return bool(self.differences) or super().has_failures() or self._compared_nothing()

    def _compared_nothing(self) -> bool:
        return not (self.runner.journal.jobs.current.files or self.differences)

    def _compared_everything(self) -> bool:
        """Return true if the job came to its end: also where a file could not be compared, which is named."""
        return self.runner.journal.jobs.current.planned and not self.runner.journal.jobs.current.left_open

    def format_error(self, stopped: S3BatchError | None, code: int) -> str:
        """Return the sentence of a job that stopped, or had nothing to compare."""
        if stopped is None and not super().has_failures() and self._compared_nothing():
            return NOTHING_COMPARED
        return super().format_error(stopped, code)

    def complete_document(self, document: Document) -> Document:
        """Return the document with the differences in the place of the operations."""
        kept = {name: value for name, value in document.items() if name not in _OF_A_SYNC}
        kept["compared"] = _count_compared_files(document)
        found = document["failures"]
        failures = Rows(lambda: ({**failure, "operation": "compare"} for failure in found), len(found))
        return {**kept, "failures": failures, "differences": self.differences, "dry_run": False}

    def format_verdict(self, document: Document) -> str:
        """Return the end line."""
        return _format_end_line(document, is_whole=self._compared_everything())

    def make_report(self, document: Document) -> RunReport:
        """Return the report: it lists differences, where that of a sync lists operations."""
        verdict = self.format_verdict(document)
        return RunReport(document=document, headers=permissions.headers_of(self.runner.settings), verdict=verdict)

    def print_end(self, document: Document) -> None:
        """Print the end line on stderr; the differences are on stdout already."""
        settings, output = self.runner.settings, self.runner.output
        if settings.json:
            return
        for warning in document["warnings"]:
            output.warn(warning)
        for failure in document["failures"]:
            output.error(report.format_failure_line(failure, permissions.headers_of(settings)))
        if document.get("error") != NOTHING_COMPARED:
            output.info(self.format_verdict(document))


@contextmanager
def open_verify(settings: Settings, output: Output) -> Iterator[JobRunner]:
    """Open the runner of a verify, with a journal of its own that is gone afterwards."""
    with (
        private.make_scratch_directory() as folder,
        Journal.open(os.path.join(folder, "verify.db")) as journal,
        watch_for_stop(max_duration=settings.max_duration) as signals,
    ):
        yield JobRunner(settings, output, journal, signals)


def run_verify(settings: Settings, output: Output) -> int:
    """Compare, name each difference, and say whether there was any."""
    settings, paths = open_file_list(settings)
    wanted = SyncSpec.from_settings(make_verify_settings(settings))
    if not settings.list_digest:
        require_listable_source(wanted.source, settings)
    place = f"{wanted.target.bucket}/{wanted.prefix}"
    with open_source_cluster(wanted, place) as cluster, open_verify(wanted.settings, output) as runner:
        runner.begin(wanted.source.root, place)
        for warning in wanted.target.warnings:
            runner.journal.jobs.warn(warning)
        return runner.run(VerifyJob(wanted, runner, cluster=cluster, paths=paths, known=_known_quirks(settings, place)))


class ComparingSync(ComparingJob, SyncJob):
    """A rehearsal that goes on after failures, since it changes nothing. The target is in S3."""

    def __init__(self, wanted: SyncSpec, runner: JobRunner, *, cluster: Cluster | None, paths: PathList | None) -> None:
        super().__init__(wanted, runner, cluster=cluster, paths=paths)
        self.differences = Spool()

    def watch_blocked_uploads(self) -> None:
        """Have no object wait for another one."""

    def run_later_stages(self, coordinator: Coordinator, planning: Planner) -> None:
        """Compare everything else."""
        for stage in (Stage.PUBLISH_LAST, Stage.REDIRECT):
            coordinator.run(stage)
        planned = planning.plan_deletes(coordinator.add_deletes)
        self.journal.jobs.set_stage(Stage.DELETE)
        coordinator.run(Stage.DELETE, planned)


class VerifyJob(ComparingSync):
    """A comparison of files with objects."""

    def __init__(
        self, wanted: SyncSpec, runner: JobRunner, *, cluster: Cluster | None, paths: PathList | None, known: Quirks
    ) -> None:
        super().__init__(wanted, runner, cluster=cluster, paths=paths)
        self.known = known
        """The quirks of the store that syncs have found."""

    def find_renames(self) -> None:
        """Have a missing object be missing, whatever else there is."""

    def may_compare_in_bulk(self) -> bool:
        """Return false: each comparison of a verify has its row, and its own words."""
        return False

    def make_brief(self) -> Brief:
        """Return what the workers have to know: they read objects where nothing else proves the content."""
        brief = super().make_brief()
        return brief._replace(extensions=EXTENSIONS, quirks=self.known.with_all(brief.quirks))

    def _compared_nothing(self) -> bool:
        return super()._compared_nothing() and not self.wanted.redirects


def _known_quirks(settings: Settings, target: str) -> Quirks:
    """Return the quirks found by syncs to this target: an attribute that a store does not return is no difference.

    Nothing else is believed, and no journal that a checkout may have brought.
    """
    if settings.journal or settings.plugin:
        return NO_QUIRKS
    try:
        with Journal.read_only(settings.journal_path(target)) as journal:
            return quirk_memory.recall_quirks_in_force(journal, settings.endpoint_url)
    except JournalError:
        return NO_QUIRKS


def make_verify_settings(settings: Settings) -> Settings:
    """Return the settings of a dry run that believes no journal, and deletes all orphans: with a list there is none."""
    return settings._replace(dry_run=True, trust_journal=False, delete=not settings.list_digest, allow_empty_source=True, max_delete="",
        object_manifest=False, cloudfront_distribution="", fail_on=(),
    )  # fmt: skip


def _describe_difference(operation: Operation) -> KeyDifference:
    if operation.kind is Kind.DELETE:
        return KeyDifference("extra", operation.key, "", "")
    if operation.reason is Reason.MISSING:
        return KeyDifference("missing", operation.key, operation.path, "")
    return KeyDifference("different", operation.key, operation.path, operation.reason.value)


_OF_A_SYNC = frozenset({"job", "journal", "operations", "resumed", "seconds_total", "sent_now", "sent_before"})


def _count_compared_files(document: Document) -> int:
    """Return the files that were compared, or found to have no object."""
    counts = document["operations"].get(str(Kind.RECONCILE))
    return int(document["files"] - (report.count_operations_left(counts) + counts["failed"] if counts else 0))


def _format_end_line(document: Document, *, is_whole: bool) -> str:
    found, failed = len(document["differences"]), len(document["failures"])
    words = [format_plural(found, "difference")] if found else []
    words += [f"{format_count(failed)} could not be compared"] if failed else []
    words += [] if is_whole else ["not everything was compared"]
    return f"{format_plural(document['compared'], 'file')} compared: {', '.join(words) or 'no difference'}"
