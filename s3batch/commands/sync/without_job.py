"""The end of a sync that leaves no job in the journal: a newer run has begun, or someone has said no."""

from __future__ import annotations

from typing import TYPE_CHECKING

from s3batch.model import JobState
from s3batch.reporting import ci_outputs, report
from s3batch.reporting.head import find_source_of_sync
from s3batch.reporting.publish import publish_document

if TYPE_CHECKING:
    from s3batch.base.errors import S3BatchError
    from s3batch.journal import Journal
    from s3batch.reporting.console import Output
    from s3batch.settings.table import Settings


def report_without_job(settings: Settings, output: Output, state: JobState, why: S3BatchError) -> int:
    """Report that nothing was done, and why; return the exit code."""
    document = report.make_jobless_document(settings.command, state, why.exit_code)
    document["source"] = find_source_of_sync(settings)
    if not settings.dry_run:
        ci_outputs.write_outputs(settings, output, ci_outputs.collect_sync_outputs(document))
    say = output.info if state is JobState.SUPERSEDED else output.error
    say(str(why))
    publish_document(settings, output, {**document, "error": str(why)}, str(why))
    return why.exit_code


def forget_job(journal: Journal, settings: Settings, output: Output, why: S3BatchError) -> int:
    """Forget the job at work, which has sent nothing and is not to be resumed, and report that."""
    job = journal.jobs.current  # which writes its totals first
    journal.jobs.forget(job)
    return report_without_job(settings, output, JobState.FAILED, why)
