"""``s3batch report``: write the report of a job from its journal, also long after its end.

It only reads, also while the job runs, and loads no AWS library.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from s3batch.base.errors import EXIT_DONE, EXIT_FAILED, SettingsError
from s3batch.commands.jobs.find import find_jobs
from s3batch.commands.jobs.show import choose_job, format_resume_line
from s3batch.coordinator import journal_trust
from s3batch.journal import Journal
from s3batch.objects.fetched_proof import ContentProof
from s3batch.reporting.head import complete_document
from s3batch.reporting.publish import write_one_report
from s3batch.reporting.report import EarlierJobs, format_headline, make_report_document
from s3batch.reporting.run_report import report_of_journal
from s3batch.s3 import permissions
from s3batch.settings.direction import find_direction

if TYPE_CHECKING:
    from s3batch.reporting.console import Output
    from s3batch.settings.table import Settings

_READERS = frozenset({"sync", "apply"})
"""The commands whose jobs tell the proofs of what they read, if their source is in S3."""


def write_reports(settings: Settings, output: Output) -> int:
    """Write each report of the job; return 1 if one cannot be written. Raises SettingsError if there is no such job."""
    if not settings.report and not settings.json:
        raise SettingsError("report is missing", hint="name the file with --report, such as --report job.html")
    found = choose_job(settings.job, find_jobs(settings, output))
    with Journal.read_only(found.journal) as journal:
        job = journal.jobs.select(found.job.id)
        settings_of_job = journal_trust.read_job_settings(job, found.journal)
        document = make_report_document(
            job, journal.outcomes.count_by_kind(), journal.outcomes.read_failures, journal=found.journal, now=time.time(),
            before=EarlierJobs.of(journal),
        )  # fmt: skip
        told = dict(journal.endings.read())
        verdict, resume = told.pop("verdict", ""), told.pop("resume", None)
        reads_objects = job.command in _READERS and find_direction(settings_of_job).reads_s3
        if reads_objects and "proved" not in told:  # a killed job told nothing
            told["proved"] = dict.fromkeys(ContentProof, 0) | journal.outcomes.count_proofs()
        told["warnings"] = [*document["warnings"], *told.get("warnings", ())]
        document = complete_document(settings, output, document) | {"state": found.state} | told
        report = report_of_journal(
            journal, document, permissions.headers_of(settings_of_job),
            verdict=verdict or format_headline(document),
            resume="" if resume == "" else format_resume_line(settings, found) or "",
        )  # fmt: skip
        written = [write_one_report(settings, output, path, report) for path in settings.report]
        if settings.json:
            output.document(document)
    return EXIT_DONE if all(written) else EXIT_FAILED
