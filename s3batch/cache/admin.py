"""The bucket access of commands without a job: clear, list, inspect, prune."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from s3batch.base.errors import EXIT_DONE
from s3batch.cache.object_keys import base_of
from s3batch.model import JobState
from s3batch.reporting import report
from s3batch.reporting.publish import publish_document
from s3batch.s3.bucket import Bucket

if TYPE_CHECKING:
    from collections.abc import Iterator

    from s3batch.reporting.console import Output
    from s3batch.settings.table import Settings


@dataclass(slots=True)
class AdminRun:
    """One run of such a command."""

    settings: Settings
    output: Output
    bucket: Bucket
    base: str
    """The prefix of every key of the cache."""
    started: float
    warnings: list[str] = field(default_factory=list)

    def warn(self, text: str) -> None:
        """Print a warning, and keep it for the document."""
        self.output.warn(text)
        self.warnings.append(text)

    def publish(self, cache: dict[str, Any], code: int = EXIT_DONE, error: str = "", verdict: str = "") -> None:
        """Publish the document: the keys of a sync's, and the result of this command. ``verdict`` is for people."""
        state = JobState.FAILED if error else JobState.DONE
        document = report.make_jobless_document(
            self.settings.command, state, code, seconds=time.time() - self.started,
            requests=self.bucket.transport.requests, retries=self.bucket.retries, warnings=self.warnings,
        )  # fmt: skip
        document |= {"error": error} if error else {}
        publish_document(self.settings, self.output, {**document, "cache": cache}, verdict)


@contextmanager
def open_admin_run(settings: Settings, output: Output) -> Iterator[AdminRun]:
    """Open a look at the bucket and close it at the end."""
    bucket = Bucket.from_settings(settings, settings.bucket)
    look = AdminRun(settings, output, bucket, base_of(settings.prefix), time.time())
    bucket.warn = look.warn
    try:
        yield look
    finally:
        bucket.close()
