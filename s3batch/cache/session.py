"""One job of the cache, for restore and rebuild, with its journal, its bucket and its workers."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from s3batch.archive.validate import Limits
from s3batch.base.units import format_plural
from s3batch.cache.cached_paths import CachedPaths
from s3batch.cache.local_chunks import open_local
from s3batch.cache.object_keys import title_of_key
from s3batch.cache.state_files import StateFiles
from s3batch.cache.workers import CacheWorkers
from s3batch.model import JobState, Kind, Operation
from s3batch.s3.store_clock import elapsed_seconds

if TYPE_CHECKING:
    from s3batch.cache.local_chunks import LocalChunks
    from s3batch.cache.naming import CacheObjects
    from s3batch.coordinator.job_runner import JobRunner
    from s3batch.s3.bucket import Bucket


@dataclass
class CacheSession:
    """One run of a cache command that works on files."""

    runner: JobRunner
    names: CacheObjects
    own: str
    """The directory of s3batch's own files."""
    began: float = field(default_factory=elapsed_seconds)
    """Local seconds when the run began, before its first request."""
    plan: list[dict[str, str]] = field(default_factory=list)
    """The operations of a dry run, for its JSON document."""

    lost: frozenset[bytes] | None = None
    """Ids of chunks that the store lost; ``None`` before a rebuild has looked."""
    local: LocalChunks | None = None
    """The directory of the runner that keeps chunks, if it is set and of use."""
    _said: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.settings, self.output, self.journal = self.runner.settings, self.runner.output, self.runner.journal
        self.workspace = self.settings.at_workspace(".")
        self.listed = self.names.listed
        self.base = self.names.base
        self.paths = CachedPaths(self.settings, self.names, self.own, self.journal.path)
        self.files = StateFiles(
            self.settings, self.own, self.listed.texts, self.names.owns, self.journal.path, self.limits(), self.warn
        )

    def begin(self) -> None:
        """Begin a job in the journal. Results of an earlier one are found by a look, not by its operations."""
        self.journal.check_rows(self._admit, self._owns)
        self.runner.begin(self.workspace, f"{self.settings.bucket}/{self.base}")
        for _ in self.journal.jobs.take_over():
            pass
        self.journal.jobs.set_state(JobState.RUNNING)
        for warning in (*self.names.warnings, *self._open_local()):
            self.warn(warning)

    def _admit(self, operation: Operation) -> Operation:
        """Return the operation of a row of an earlier run; ValueError if it reads another file than the plan."""
        if operation.kind is Kind.CHUNK and operation.path != self.files.plan_path:
            raise ValueError(f"its path {operation.path!r} is not the plan of this step")
        if operation.kind is not Kind.CHUNK and os.path.basename(operation.path) != operation.path:
            raise ValueError(f"its path {operation.path!r} is no file of this step")
        return operation

    def _owns(self, key: str) -> bool:
        """Return whether a key may be one of this cache, or of the old format it writes."""
        return key.startswith(self.base) or bool(self.settings.compat)

    def warn(self, text: str) -> None:
        """Print a warning once, and keep it for the report."""
        if text not in self._said:
            self._said.add(text)
            self.output.warn(text)
            self.journal.jobs.warn(text)

    def warn_of_lost(self, odd_times: int, **counts: int) -> None:
        """Warn once of attributes that files have and no cache keeps, and of times that it keeps as the nearest ones."""
        said = [
            f"{name.replace('_', ' ')} of {format_plural(count, 'file')}" for name, count in counts.items() if count
        ]
        if said:
            self.warn(f"the cache does not keep {', '.join(said)}")
        if odd_times:
            what = format_plural(odd_times, "entry", "entries")
            self.warn(f"the cache keeps times from 1677 to 2262: {what} will be restored with the nearest of these")

    def warn_of_foreign(self, directories: list[str]) -> None:
        """Say once that directories that belong to someone else kept their mode and time."""
        if directories:
            count = format_plural(len(directories), "directory", "directories")
            self.warn(f"cannot set mode and time of {count}, such as {min(directories)}: it belongs to another user")

    def tell(self, operation: Operation) -> None:
        """Print a line of the plan of a dry run."""
        if self.settings.wants_document:
            self.plan.append({"operation": operation.kind, "key": operation.key, "reason": operation.reason})
        if not self.settings.json:
            self.output.data(f"{operation.kind} {operation.key} {operation.reason}")

    def title(self, key: str) -> str:
        """Return the name of a key object for people."""
        return title_of_key(self.base, key)

    def limits(self) -> Limits:
        """Return the limits of an archive."""
        return Limits(total=self.settings.max_size) if self.settings.max_size else Limits()

    def encryption_headers(self) -> dict[str, str]:
        """Return the headers with which the store encrypts an object."""
        settings = self.settings
        key = {"x-amz-server-side-encryption-aws-kms-key-id": settings.kms_key_id} if settings.kms_key_id else {}
        return {"x-amz-server-side-encryption": settings.encryption, **key} if settings.encryption else {}

    def _open_local(self) -> list[str]:
        """Open the directory of chunks on the runner; return its problems."""
        settings = self.settings
        if not settings.local_dir or settings.dry_run or settings.lookup_only:
            return []
        self.local, trouble = open_local(settings.at_workspace(settings.local_dir), settings.local_max)
        return [trouble] if trouble else []

    @cached_property
    def bucket(self) -> Bucket:
        """The bucket, not yet contacted."""
        return self.runner.open_bucket(self.settings.bucket, self.warn)

    @cached_property
    def workers(self) -> CacheWorkers:
        """The workers, not yet started."""
        return CacheWorkers(self.runner, self.bucket, self.workspace, self.warn)

    def close(self) -> None:
        """Let go of workers and bucket, and have its requests counted. Hold the local directory to its limit."""
        if "workers" in self.__dict__:
            self.workers.close()
        if self.local is not None:
            self.local.trim()
        if "bucket" in self.__dict__:
            self.runner.close_bucket(self.bucket)
