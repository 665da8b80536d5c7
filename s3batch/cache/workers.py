"""The workers of a cache step: they make, send and fetch chunks, and send the one object of an old format."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from s3batch.base.errors import EndpointError, JobFailedError, S3BatchError
from s3batch.coordinator import stale_uploads
from s3batch.coordinator.job_setup import build_executor
from s3batch.coordinator.multipart import MultipartUploads
from s3batch.executors.local import LocalExecutor, count_usable_cpus
from s3batch.model import Kind, Operation, Reason, Stage, stamp_of
from s3batch.objects.attributes import AttributeRules
from s3batch.reporting.progress import Totals
from s3batch.s3.faults import UNREACHABLE
from s3batch.settings.table import Settings
from s3batch.worker.context import Brief

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from s3batch.coordinator.coordinator import Coordinator
    from s3batch.coordinator.job_runner import JobRunner
    from s3batch.executors import Executor
    from s3batch.model import Result
    from s3batch.reporting.progress import Progress
    from s3batch.s3.bucket import Bucket

_IN_FLIGHT_PER_WORKER = 4
"""Chunks of some MiB: enough to overlap making, sending and waiting; more would only hold memory."""


@dataclass(slots=True)
class _RoundResults:
    """The results of one round of work, and their number of files."""

    files_of: Mapping[str, int]
    progress: Progress
    totals: Totals
    results: list[Result] = field(default_factory=list)

    def take(self, operation: Operation, result: Result) -> None:
        self.results.append(result)
        self.totals.files_done += self.files_of[operation.key]
        self.totals.bytes_done += operation.size

    def update(self, totals: Totals) -> None:
        """Show files, where the coordinator counts chunks."""
        self.totals.failed = totals.failed
        self.totals.bytes_sent, self.totals.waiting = totals.bytes_sent, totals.waiting
        self.totals.bytes_settled = totals.bytes_sent  # of a cache only what is done counts as content
        self.progress.update(self.totals)

    def close(self) -> None:
        self.progress.close()


@dataclass(slots=True)
class CacheWorkers:
    """The workers of one step, in one round of work or several."""

    runner: JobRunner
    bucket: Bucket
    root: str
    """The workspace."""
    warn: Callable[[str], None]
    _early: Executor | None = None
    """Workers that are starting."""

    def executor(self, function: Callable[..., Any]) -> Executor:
        """Return the executor whose workers run ``function`` for a chunk; processes start with the first work."""
        rules = AttributeRules.from_settings(Settings(), self.root)
        brief = Brief(
            endpoint=self.bucket.endpoint, root=self.root, rules=rules, extensions=((Kind.CHUNK, function),),
            sends=not self.runner.settings.command.endswith("restore"),
        )  # fmt: skip
        return self._executor(brief)

    def start_early(self, function: Callable[..., Any]) -> None:
        """Start workers before the plan is known; :meth:`carry_out` uses them."""
        executor = self.executor(function)
        if isinstance(executor, LocalExecutor) and not self.runner.settings.dry_run:
            executor.start()
            self._early = executor

    @property
    def processes(self) -> int:
        """The number of processes that share the work on this machine."""
        return self.runner.settings.workers or count_usable_cpus()

    def _executor(self, brief: Brief) -> Executor:
        in_flight = self.runner.settings.max_concurrency or _IN_FLIGHT_PER_WORKER * self.processes
        return build_executor(self.runner.settings, brief, workers=self.processes, in_flight=in_flight)

    def carry_out(self, function: Callable[..., Any], operations: Mapping[Operation, int], phase: str) -> list[Result]:
        """Journal ``operations`` and have them done; return their results. Failures are in the journal.

        Each operation comes with its number of files.
        """
        totals = Totals(
            files_planned=sum(operations.values()), bytes_planned=sum(each.size for each in operations),
            planning=False, phase=phase, unit="files",
        )  # fmt: skip
        files_of = {operation.key: files for operation, files in operations.items()}
        heard = _RoundResults(files_of, self.runner.show_progress(), totals)
        executor, self._early = self._early or self.executor(function), None
        self._run(executor, list(operations), heard.take, progress=heard)
        return heard.results

    def failure(self, what: str, consequence: str = "") -> S3BatchError:
        """Return the error for the failed operations of this job, which ``what`` sums up.

        It is an EndpointError if no request of the job got a response: then nothing was sent.
        """
        failed = self.runner.journal.outcomes.count_failed(Stage.DELETE)
        first = next(self.runner.journal.outcomes.read_failures(1))
        more = f" (and {failed - 1} more)" if failed > 1 else ""
        words = f"{what}{more}: {first.error}{consequence}"
        done = sum(numbers["done"] for numbers in self.runner.journal.outcomes.count_by_kind().values())
        if (
            done
            or self.bucket.reached
            or any(each.code not in UNREACHABLE for each in self.runner.journal.outcomes.read_failures())
        ):
            return JobFailedError(words)
        return EndpointError(words, hint="check endpoint_url and the network")

    def upload(self, path: str, key: str, attributes: Settings) -> None:
        """Send a local file, in parts if it is large; its failure is in the journal."""
        (root, name), stamp = os.path.split(path), stamp_of(os.stat(path))
        rules = AttributeRules.from_settings(attributes, root)
        executor = self._executor(Brief(endpoint=self.bucket.endpoint, root=root, rules=rules))
        operation = Operation(Kind.UPLOAD, key, Reason.CONTENT, name, stamp.size, stamp)
        uploads = MultipartUploads(self.runner.journal, self.runner.settings.part_size, rules.fingerprint, lambda _: "")
        self._run(executor, [operation], lambda *_: None, uploads=uploads)
        stale_uploads.abort_stale_uploads(
            self.runner.journal,
            self.bucket,
            lambda: stale_uploads.find_unclaimed_uploads(self.runner.journal, self.bucket, key),
        )

    def _run(
        self, executor: Executor, operations: list[Operation], heard: Callable[[Operation, Result], None],
        *, progress: Progress | None = None, uploads: MultipartUploads | None = None,
    ) -> None:  # fmt: skip
        opened = self.runner.open_coordinator(
            executor, self.bucket.login, heard, progress=progress, uploads=uploads, warn=self.warn
        )
        with opened as coordinator:
            coordinator.run(Stage.MAIN, _add_in_batches(coordinator, operations))

    def close(self) -> None:
        """Let go of workers that were started and got no work."""
        if self._early is not None:
            self._early.close()


def _add_in_batches(coordinator: Coordinator, operations: list[Operation]) -> Iterator[None]:
    for at in range(0, len(operations), 100):
        coordinator.add(operations[at : at + 100])
        yield
