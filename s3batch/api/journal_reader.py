"""A journal for reading: the jobs, their operations and their failures, also while a job runs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

from s3batch.base.errors import JournalError, SettingsError
from s3batch.base.named_tuple import NamedTuple
from s3batch.journal import Failure, Job
from s3batch.journal import Journal as JournalFile


@dataclass(frozen=True, slots=True)
class JournalJob:
    """A job of a journal."""

    id: str
    command: str
    state: str
    """``planning``, ``running``, ``done``, ``failed``, ``interrupted`` or ``superseded``.

    A job whose process was killed stays in the state it had.
    """
    source: str
    target: str
    endpoint: str
    """Its URL; empty for AWS's own."""
    started: datetime
    ended: datetime | None
    exit_code: int | None
    files: int
    bytes: int
    unchanged: int
    continues: str
    """Id of the job that it resumed; empty if it resumed none."""
    warnings: tuple[str, ...]


class JournalOperation(NamedTuple):
    """An operation of a job."""

    operation: str
    """``upload``, ``copy``, ``delete``, ``redirect``..."""
    key: str
    path: str
    """The file, relative to the source; empty where no file is read."""
    state: str
    """``pending``, ``leased``, ``done``, ``failed`` or ``skipped``."""
    reason: str
    size: int
    attempts: int
    error: str
    code: str
    status: int
    request_id: str


class JournalReader:
    """A journal, opened to read. It changes nothing, and no job waits for it. Use it in the thread that opened it."""

    def __init__(self, file: JournalFile) -> None:
        self._file = file

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Self:
        """Open the journal at ``path``. Raises :class:`s3batch.JournalError` if there is none, or it is damaged."""
        return cls(JournalFile.read_only(os.path.abspath(os.fspath(path))))

    @property
    def path(self) -> str:
        """Path of the file."""
        return self._file.path

    def jobs(self) -> list[JournalJob]:
        """Return all jobs, the newest first."""
        return [_describe_job(job) for job in self._file.jobs.list_all()]

    def failures(self, job: str | JournalJob | None = None) -> Iterator[Failure]:
        """Yield the failed operations of a job, its id or its beginning; of the newest job if none is named."""
        self._select(job)
        yield from self._file.outcomes.read_failures()

    def operations(self, job: str | JournalJob | None = None) -> Iterator[JournalOperation]:
        """Yield all operations of a job, in the order they were planned."""
        self._select(job)
        for entry in self._file.outcomes.read_entries():
            operation = entry.operation
            yield JournalOperation(
                operation.kind.value, operation.key, operation.path, entry.state.value, operation.reason.value,
                operation.size, operation.attempts, entry.error, entry.code, entry.status, entry.request_id,
            )  # fmt: skip

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _select(self, job: str | JournalJob | None) -> None:
        wanted = job.id if isinstance(job, JournalJob) else job or ""
        fitting = [each.id for each in self._file.jobs.list_all() if each.id.startswith(wanted)]
        if not fitting or (wanted and len(fitting) > 1 and wanted not in fitting):
            what = f"{len(fitting)} jobs begin with {wanted}" if fitting else f"there is no job {wanted}".rstrip()
            raise SettingsError(f"{what} in {self.path}", hint="jobs() lists those there are")
        self._file.jobs.select(wanted if wanted in fitting else fitting[0])


def _describe_job(job: Job) -> JournalJob:
    return JournalJob(
        id=job.id, command=job.command, state=job.state.value, source=job.source, target=job.target,
        endpoint=job.endpoint, started=_utc_time(job.started), ended=None if job.ended is None else _utc_time(job.ended),
        exit_code=job.exit_code, files=job.files, bytes=job.bytes, unchanged=job.unchanged, continues=job.continues,
        warnings=tuple(job.warnings),
    )  # fmt: skip


def _utc_time(seconds: float) -> datetime:
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise JournalError(f"the journal has an impossible time: {seconds}") from error
