"""Runs a job from its row in the journal to its exit code. Every command that has a job goes through here.

    begin ─> carry_out ─> open_coordinator ─> stages ─> end: state, exit code, document, outputs, end block

A command gives its :class:`s3batch.coordinator.job_description.JobDescription`; the end is in
:mod:`s3batch.coordinator.job_end`.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from s3batch import __version__
from s3batch.coordinator import journal_trust
from s3batch.coordinator.coordinator import Coordinator
from s3batch.coordinator.deps import CHANGES, CoordinatorDeps
from s3batch.coordinator.job_end import end_job
from s3batch.coordinator.multipart import MultipartUploads
from s3batch.reporting.head import describe_run
from s3batch.reporting.progress import Totals, choose_progress_kind, make_progress
from s3batch.reporting.report import make_report_document
from s3batch.s3.bucket import Bucket

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from s3batch.coordinator.job_description import JobDescription
    from s3batch.coordinator.signals import Signals
    from s3batch.executors import Executor
    from s3batch.journal import Journal
    from s3batch.model import Operation, Result
    from s3batch.reporting.console import Output
    from s3batch.reporting.progress import Progress
    from s3batch.s3.credentials import Login
    from s3batch.settings.bandwidth import Bandwidth
    from s3batch.settings.table import Settings


_BEGUN = ("job", "command", "resumed", "source", "target", "endpoint", "started", "journal")
"""The fields of the document that are known when a job begins."""


class JobRunner:
    """The surroundings of one job, which its command has opened: journal and signals are held by that command."""

    def __init__(self, settings: Settings, output: Output, journal: Journal, signals: Signals) -> None:
        self.settings = settings
        self.output = output
        self.journal = journal
        self.signals = signals
        self.journal.heed(self.signals.error, self.signals.check)
        self.journal.jobs.listen(self.output.events.warning)

    def begin(
        self, source: str, target: str, *, endpoint: str | None = None, plan: str = "", deletes_anew: bool = False,
        facts_of: str = "",
    ) -> None:  # fmt: skip
        """Begin the job in the journal; see :meth:`s3batch.journal.jobs.Jobs.begin`. ``endpoint``: else the target's."""
        settings, self.signals.gentle = self.settings, True  # a job that has begun ends in run, with a report
        self.journal.jobs.begin(
            settings.command, source, target, settings.endpoint_url if endpoint is None else endpoint, settings.public(),
            __version__, continues=settings.job, plan=plan, deletes_anew=deletes_anew, facts_of=facts_of,
        )  # fmt: skip
        if self.output.events:
            self._tell_begin()

    def _tell_begin(self) -> None:
        """Tell those who listen what begins; the end tells the same and more."""
        job, journal = self.journal.jobs.current, self.journal.path
        document = make_report_document(job, {}, lambda: iter(()), journal=journal, now=job.started)
        facts = {name: document[name] for name in _BEGUN}
        self.output.events.begun({**describe_run(self.settings, self.output), **facts})

    def run(self, job: JobDescription) -> int:
        """Carry out the job and report its end; return the exit code."""
        stopped = None
        try:
            self.signals.raise_noted()
            job.carry_out()
        except Exception as error:  # the description decides which errors are an end
            stopped = job.stop_of(error)
            if stopped is None:
                raise
        return end_job(job, stopped)

    def show_progress(self) -> Progress:
        """Return the progress that the settings ask for."""
        return make_progress(choose_progress_kind(self.settings), self.output.progress_stream)

    @contextmanager
    def open_coordinator(  # noqa: PLR0913 - the decisions of a job
        self, executor: Executor, login: Login, heard: Callable[[Operation, Result], None], *,
        totals: Totals | None = None, progress: Progress | None = None, uploads: MultipartUploads | None = None,
        whole: Callable[[Operation], bool] = lambda _: False,
        replan: Callable[[Operation], Operation | Result | None] = lambda _: None,
        has_file: Callable[[str], bool] | None = None, deletes_alone: bool = False,
        warn: Callable[[str], None] | None = None, clock: Callable[[], float] = time.monotonic, changes: int = CHANGES,
        source_login: Login | None = None, look: Callable[[], None] | None = None,
        heard_deletes: Callable[[Sequence[str]], None] | None = None,
    ) -> Iterator[Coordinator]:  # fmt: skip
        """Yield a coordinator that runs the job's stages; close progress and executor at the end.

        The decisions are those of :class:`CoordinatorDeps`. Without ``uploads`` nothing goes in parts.
        """
        settings, progress = self.settings, progress or self.show_progress()
        try:
            yield Coordinator(
                CoordinatorDeps(
                    journal=self.journal, executor=executor, login=login, signals=self.signals, heard=heard,
                    totals=totals or Totals(), progress=progress,
                    uploads=uploads or MultipartUploads(self.journal, 1, _no_words, _no_words),
                    tries=settings.retries, multipart_threshold=settings.multipart_threshold, dry_run=settings.dry_run,
                    whole=whole, replan=replan, has_file=has_file, deletes_alone=deletes_alone, clock=clock,
                    say=self.output.info, warn=warn,
                    events=self.output.events, changes=changes,
                    source_login=source_login, look=look, heard_deletes=heard_deletes,
                )
            )  # fmt: skip
        finally:
            progress.close()
            executor.close()

    def open_bucket(
        self, name: str, warn: Callable[[str], None], settings: Settings | None = None, *, bandwidth: Bandwidth = 0.0
    ) -> Bucket:
        """Return a bucket that stops with the job, not yet contacted; ``settings`` are those of another side.

        ``bandwidth``: see :meth:`Bucket.from_settings`.
        """
        bucket = Bucket.from_settings(settings or self.settings, name, bandwidth=bandwidth, check=self.signals.check)
        bucket.warn = warn
        return bucket

    def close_bucket(self, bucket: Bucket) -> None:
        """Close a bucket; its requests count as the job's."""
        self.journal.jobs.add_tally(requests=bucket.transport.requests, retries=bucket.retries)
        bucket.close()

    def is_journal_found(self) -> bool:
        """Return true if ``resume`` finds the journal by itself."""
        return journal_trust.is_journal_found(self.journal.path, self.settings)


def _no_words(_: str) -> str:
    return ""
