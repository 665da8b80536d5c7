"""The description of a job, which a command hands to the runner: what to carry out, and what its end says."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from s3batch.base.errors import EXIT_DONE, EXIT_FAILED, S3BatchError
from s3batch.model import Stage
from s3batch.reporting.report import (
    EarlierJobs,
    format_end_block,
    format_headline,
    format_resume_command,
    is_work_left,
)
from s3batch.reporting.run_report import RunReport, report_of_journal
from s3batch.s3 import permissions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from s3batch.coordinator.job_runner import JobRunner
    from s3batch.reporting.report import Counts

Document = dict[str, Any]
"""The document of ``--json``."""


class JobDescription(ABC):
    """One command's job. The defaults suit a job that writes objects and may be resumed."""

    __slots__ = ()
    runner: JobRunner

    @abstractmethod
    def carry_out(self) -> None:
        """Run the job; the error that stops it is raised."""

    # --- how it ended -------------------------------------------------------------------------

    def stop_of(self, error: Exception) -> S3BatchError | None:
        """Return the error that ends the job, with a report; None for one that is raised without a report."""
        return error if isinstance(error, S3BatchError) else None

    def has_failures(self) -> bool:
        """Return true if the job came to its end and something of it is not done."""
        return self.runner.journal.outcomes.count_failed(Stage.DELETE) > 0

    def choose_exit_code(self, stopped: S3BatchError | None, *, failed: bool) -> int:
        """Return the exit code, before ``fail_on``. 0 after an error forgives it."""
        if stopped is not None:
            return stopped.exit_code
        return EXIT_FAILED if failed else EXIT_DONE

    def has_changed(self, counts: Counts) -> bool:
        """Return true if the job changed anything, or would have."""
        return any(count["done"] for count in counts.values())

    def is_left_empty(self) -> bool:
        """Return true if filters have left nothing of what there was to do."""
        return False

    # --- what its end says --------------------------------------------------------------------

    def format_error(self, stopped: S3BatchError | None, code: int) -> str:
        """Return the sentence of a job that failed; empty for one that did not, or whose end block tells it."""
        if stopped is None:
            return ""
        if self.runner.settings.dry_run:  # a rehearsal, such as a verify, leaves nothing to resume
            stopped.reword_for_rehearsal()
        return str(stopped)

    def forgive(self, error: str) -> None:
        """Print the sentence of an error whose exit code is 0."""
        self.runner.output.info(error)

    def earlier_jobs(self) -> EarlierJobs:
        """Return the jobs that this one continues, whose counts the report includes."""
        return EarlierJobs.of(self.runner.journal)

    def late_warnings(self) -> Sequence[str]:
        """Return warnings that the journal does not have."""
        return ()

    def complete_document(self, document: Document) -> Document:
        """Return the document with the fields of this command."""
        return document

    def collect_outputs(self, document: Document) -> Mapping[str, str | int | bool]:
        """Return the outputs for later steps of the build."""
        return {}

    def format_verdict(self, document: Document) -> str:
        """Return the sentence that a report begins with."""
        return format_headline(document, dry_run=self.runner.settings.dry_run)

    def format_resume(self, document: Document) -> str:
        """Return the command that finishes the job; empty if it leaves nothing to finish."""
        if self.runner.settings.dry_run or not is_work_left(document):
            return ""
        return format_resume_command(document["job"], document["journal"], self.runner.is_journal_found())

    def make_report(self, document: Document) -> RunReport:
        """Return all that report files show of the job."""
        return report_of_journal(
            self.runner.journal, document, permissions.headers_of(self.runner.settings),
            verdict=self.format_verdict(document), resume=self.format_resume(document),
        )  # fmt: skip

    def print_end(self, document: Document) -> None:
        """Print the end block for people."""
        runner = self.runner
        lines = format_end_block(
            document, headers=permissions.headers_of(runner.settings), dry_run=runner.settings.dry_run,
            default_journal=runner.is_journal_found(),
        )  # fmt: skip
        (runner.output.error if document["exit_code"] else runner.output.info)(*lines)
