"""What restore and rebuild share: one job of the cache, with its journal, its bucket and its workers.

Everything local that belongs to a cache lies in ``.s3batch/`` of the workspace: the state (what the last restore or
rebuild left on disk), the plan files workers map, and what a restore needs to be undone.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections import deque
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from s3batch import __version__, report
from s3batch.archive.check import Limits
from s3batch.archive.paths import OWN, parse_roots
from s3batch.archive.signing import sign
from s3batch.archive.tree import files_of
from s3batch.cache.layout import SIGNATURE, base_of
from s3batch.coordinator import Coordinator, InterruptedJobError, Parts
from s3batch.errors import EXIT_DONE, JobFailedError, S3BatchError
from s3batch.executors.inline import InlineExecutor
from s3batch.executors.local import LocalExecutor, usable_cpus
from s3batch.journal import Journal
from s3batch.model import JobState, Kind, Operation, Reason, Result, Stage, Work
from s3batch.multipart import Uploads
from s3batch.progress import Totals, make
from s3batch.rules import Rules
from s3batch.s3.bucket import Bucket
from s3batch.settings import Settings
from s3batch.worker import Brief

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from s3batch.archive.manifest import Manifest
    from s3batch.coordinator import Signals
    from s3batch.executors import Executor
    from s3batch.output import Output

_IN_FLIGHT_PER_WORKER = 4
"""Chunks of some MiB: enough to overlap making, sending and waiting; more would only hold memory."""
_QUEUED = 2
_TRIES = 3


@dataclass(slots=True)
class _Heard:
    """The results of one round of work, by operation."""

    results: list[Result] = field(default_factory=list)

    def take(self, _: Operation, result: Result) -> None:
        self.results.append(result)


@dataclass
class Session:
    """One run of a cache command that works on files."""

    settings: Settings
    output: Output
    journal: Journal
    signals: Signals
    totals: Totals = field(default_factory=Totals)
    started: float = field(default_factory=time.time)

    def __post_init__(self) -> None:
        self.workspace = self.settings.at_workspace(".")
        self.roots = parse_roots(self.settings.cache, self.workspace)
        if not self.roots:
            raise self.settings.bad("cache", "list the directories and files to cache")
        self.base = base_of(self.settings.prefix)
        self.own = os.path.join(self.workspace, OWN)
        os.makedirs(self.own, mode=0o700, exist_ok=True)
        digest = hashlib.blake2b("\0".join(self.roots).encode("utf-8", "surrogateescape"), digest_size=6).hexdigest()
        self.state_path = os.path.join(self.own, f"cache-{digest}.state")
        self.plan_path = os.path.join(self.own, f"cache-{digest}.plan")
        self.undo_path = os.path.join(self.own, f"cache-{digest}.undo")
        self.distrust_path = os.path.join(self.own, f"cache-{digest}.distrust")

    def begin(self) -> None:
        """Begin a job in the journal."""
        target = f"{self.settings.bucket}/{self.base}"
        self.journal.begin_job(
            self.settings.command, self.workspace, target, self.settings.endpoint_url, self.settings.public(),
            __version__,
        )  # fmt: skip
        self.journal.set_state(JobState.RUNNING)

    def warn(self, text: str) -> None:
        """Say what is not as it should be, and keep it for the report."""
        self.output.warn(text)
        self.journal.warn(text)

    def tally(self, manifest: Manifest) -> None:
        """Count what the cache holds for the report."""
        self.journal.add_tally(files=files_of(manifest.tree), bytes=manifest.raw_size())

    def limits(self) -> Limits:
        """What an archive may ask of us."""
        return Limits(total=self.settings.max_size) if self.settings.max_size else Limits()

    def distrust(self) -> None:
        """Note that the store lost or damaged a chunk: the next rebuild takes nothing there for stored."""
        with open(self.distrust_path, "w", encoding="utf-8") as file:
            file.write("a chunk could not be had\n")

    @property
    def distrusted(self) -> bool:
        """Whether there is such a note."""
        return os.path.exists(self.distrust_path)

    def trust_again(self) -> None:
        """Everything has been stored anew, or was all there."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.distrust_path)

    def remove_plan(self) -> None:
        """The plan file has served."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.plan_path)

    def encryption_headers(self) -> dict[str, str]:
        """How the store shall encrypt what we put."""
        settings = self.settings
        key = {"x-amz-server-side-encryption-aws-kms-key-id": settings.kms_key_id} if settings.kms_key_id else {}
        return {"x-amz-server-side-encryption": settings.encryption, **key} if settings.encryption else {}

    def manifest_headers(self, key: str, stored: bytes, manifest: Manifest) -> dict[str, str]:
        """What a manifest's object carries: enough to list caches without reading them, and its signature."""
        secret = self.settings.cache_secret
        signature = {SIGNATURE: sign(secret, key, stored)} if secret else {}
        return {
            "content-type": "application/zstd",
            "x-amz-meta-s3b-tree": manifest.tree_id(),
            "x-amz-meta-s3b-raw": str(manifest.raw_size()),
            "x-amz-meta-s3b-files": str(len(manifest.tree)),
            "x-amz-meta-s3b-chunks": str(len(manifest.chunks.raws)),
            **signature,
            **self.encryption_headers(),
        }

    @cached_property
    def bucket(self) -> Bucket:
        """The bucket, not yet contacted."""
        return Bucket.from_settings(self.settings, self.settings.bucket)

    # --- workers ----------------------------------------------------------------------------

    def executor(self, function: Callable[..., Any]) -> Executor:
        """Workers whose chunks ``function`` carries out; processes start with the first work."""
        count = self.settings.workers or usable_cpus()
        in_flight = self.settings.max_concurrency or _IN_FLIGHT_PER_WORKER * count
        count = min(count, in_flight)
        brief = Brief(
            endpoint=self.bucket.endpoint, root=self.workspace, rules=Rules.from_settings(Settings(), self.workspace),
            limit=max(1, in_flight // count), bandwidth=(self.settings.bandwidth or 0) / count,
            extensions=((Kind.CHUNK, function),),
        )  # fmt: skip
        return InlineExecutor(brief) if self.settings.executor == "inline" else LocalExecutor(brief, count, _QUEUED)

    def compute(self, function: Callable[..., Any], details: Iterable[str]) -> list[Result]:
        """What ``function`` makes of each recipe: work that reads local files only and needs no journal."""
        waiting = deque(
            Work(Operation(Kind.CHUNK, "", Reason.UNKNOWN, self.plan_path, detail=detail, id=number))
            for number, detail in enumerate(details, 1)
        )
        if not waiting:
            return []
        executor = self.executor(function)
        try:
            return self._computed(executor, waiting)
        finally:
            executor.close()

    def _computed(self, executor: Executor, waiting: deque[Work]) -> list[Result]:
        results: list[Result] = []
        lost = 0
        while waiting or executor.outstanding():
            room = executor.room()
            if waiting and room > 0:
                executor.submit([waiting.popleft() for _ in range(min(room, len(waiting)))])
            news = executor.poll(0.1)
            results += news.results
            waiting.extend(news.lost)
            lost += len(news.lost)
            if lost > _TRIES or any(result.error for result in news.results):
                words = next((result.error for result in news.results if result.error), "workers keep dying")
                raise JobFailedError(f"cannot look at the files: {words}")
        return sorted(results, key=lambda result: result.id)

    def carry_out(self, function: Callable[..., Any], operations: Iterable[Operation], phase: str) -> list[Result]:
        """Journal ``operations`` and have them done, all of them; their results. Failures are in the journal."""
        heard = _Heard()
        progress = make(self._progress_kind(), self.output.stderr)
        executor = self.executor(function)
        self.totals.phase = phase
        try:
            coordinator = self._coordinator(executor, progress, heard)
            coordinator.run(Stage.MAIN, _added(coordinator, list(operations)))
        finally:
            progress.close()
            executor.close()
        return heard.results

    def _coordinator(self, executor: Executor, progress: Any, heard: _Heard) -> Coordinator:
        never = Uploads(self.journal, 1, lambda _: "", lambda _: "")
        return Coordinator(
            Parts(
                journal=self.journal, executor=executor, uploads=never, login=self.bucket.login,
                signals=self.signals, totals=self.totals, progress=progress, tries=self.settings.retries,
                multipart_threshold=1, whole=lambda _: True, replan=lambda _: None, heard=heard.take,
            )
        )  # fmt: skip

    def _progress_kind(self) -> str:
        quiet = self.settings.quiet or (self.settings.json and self.settings.progress == "auto")
        return "none" if quiet else self.settings.progress

    # --- the end ----------------------------------------------------------------------------

    def end(self, code: int, stopped: S3BatchError | None = None) -> dict[str, Any]:
        """Close the job with ``code``; its document."""
        if "bucket" in self.__dict__:
            self.journal.add_tally(requests=self.bucket.lane.requests, retries=self.bucket.retries)
            self.bucket.close()
        interrupted = isinstance(stopped, InterruptedJobError)
        failed = code != EXIT_DONE or stopped is not None
        state = JobState.INTERRUPTED if interrupted else JobState.FAILED if failed else JobState.DONE
        self.journal.set_state(state, code)
        return report.document(
            self.journal.job, self.journal.counts(), self.journal.failures(), journal=self.journal.path, now=time.time()
        )


def _added(coordinator: Coordinator, operations: list[Operation]) -> Iterator[None]:
    for at in range(0, len(operations), 100):
        coordinator.add(operations[at : at + 100])
        yield
