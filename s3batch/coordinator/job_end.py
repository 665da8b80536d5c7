"""The end of every job, in one place: state, exit code, ``fail_on``, document, CI outputs, end block.

What a command says of its own is in its :class:`s3batch.coordinator.job_description.JobDescription`. What all of them
do with a finished document is done in :func:`end_job`.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING

from s3batch.base.errors import EXIT_FAILED, JournalError, SupersededError
from s3batch.base.shown_bytes import show_bytes
from s3batch.coordinator.signals import InterruptedJobError
from s3batch.model import JobState
from s3batch.reporting.ci_outputs import write_outputs
from s3batch.reporting.publish import publish_run
from s3batch.reporting.report import find_fail_on_reason, format_headline, make_report_document

if TYPE_CHECKING:
    from s3batch.base.errors import S3BatchError
    from s3batch.coordinator.job_description import Document, JobDescription
    from s3batch.coordinator.job_runner import JobRunner
    from s3batch.reporting.report import Counts
    from s3batch.reporting.run_report import RunReport


def end_job(job: JobDescription, stopped: S3BatchError | None) -> int:
    """End the job in the journal and report it; return the exit code. ``stopped`` is the error that ended it early."""
    runner = job.runner
    runner.signals.work_is_over()
    failed = stopped is None and job.has_failures()
    code = job.choose_exit_code(stopped, failed=failed)
    error = job.format_error(stopped, code)
    if error and code:
        runner.output.error(error)  # at once: the sums of a million operations take seconds
    elif error:
        job.forgive(error)
    counts = runner.journal.outcomes.count_by_kind()
    reason = "" if code or stopped is not None else _find_fail_on_reason_of(job, counts)
    code = EXIT_FAILED if reason else code
    state = _choose_end_state(stopped, failed=failed)
    _note_end(runner, state, code, stopped)
    document = _make_document(job, counts, state, code)
    if why := (error or reason) if code or state is JobState.SUPERSEDED else "":
        document["error"] = show_bytes(why)
    outputs = job.collect_outputs(document)
    if outputs:
        write_outputs(runner.settings, runner.output, outputs)
    if reason:
        runner.output.error(reason)
    shown = job.make_report(document)
    publish_run(runner.settings, runner.output, shown)
    if not runner.settings.dry_run:
        _keep_ending(job, shown)
    job.print_end(document)
    return code


def _keep_ending(job: JobDescription, shown: RunReport) -> None:
    """Keep what only this end knows, so that a report written later is the same."""
    journal, document = job.runner.journal, shown.document
    told = {name: document[name] for name in ("proved", "cache", "error") if name in document}
    told |= {"warnings": list(late)} if (late := job.late_warnings()) else {}
    told |= {"resume": shown.resume} if document["state"] != JobState.DONE else {}
    if document.get("operations") and shown.verdict != format_headline(document):
        told["verdict"] = shown.verdict
    if told:
        import json  # noqa: PLC0415 - a plain upload has nothing to keep

        with suppress(JournalError):  # the job has ended, and its disk may be full
            journal.endings.keep(job.runner.output.mask(json.dumps(told)))


def _find_fail_on_reason_of(job: JobDescription, counts: Counts) -> str:
    warned = bool(job.runner.journal.jobs.current.warnings)
    return find_fail_on_reason(
        job.runner.settings.fail_on, warned=warned, changed=job.has_changed(counts), empty=job.is_left_empty()
    )


def _choose_end_state(stopped: S3BatchError | None, *, failed: bool) -> JobState:
    if isinstance(stopped, InterruptedJobError):
        return JobState.INTERRUPTED
    if isinstance(stopped, SupersededError):
        return JobState.SUPERSEDED
    return JobState.FAILED if failed or stopped is not None else JobState.DONE


def _note_end(runner: JobRunner, state: JobState, code: int, stopped: S3BatchError | None) -> None:
    try:
        runner.journal.jobs.set_state(state, code)
    except JournalError:
        if not isinstance(stopped, JournalError):
            raise  # else its disk is full, as was just found: the job's rows tell that it has not ended


def _make_document(job: JobDescription, counts: Counts, state: JobState, code: int) -> Document:
    journal = job.runner.journal
    document = make_report_document(
        journal.jobs.current, counts, journal.outcomes.read_failures,
        journal=journal.path, now=time.time(), warnings=job.late_warnings(), before=job.earlier_jobs(),
    ) | {"state": str(state), "exit_code": code}  # fmt: skip
    return job.complete_document(document)
