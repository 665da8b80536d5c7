"""The exceptions that end a run on purpose, each with its exit code.

    S3BatchError
    ├── SettingsError          2   settings or usage; nothing was sent
    ├── JournalError           3   damaged, or not writable
    │   ├── JournalLockedError 3   another coordinator has it
    │   └── JournalTooNewError 3   written by a later s3batch
    ├── EndpointError          4   cannot reach the endpoint or sign in; nothing was sent
    ├── ArchiveError           1   a cache archive is damaged, hostile or beyond a limit
    ├── JobFailedError         1   stopped by a rule (a guard of --delete, an unreadable source)
    └── SupersededError        0   a newer run has begun (``newest_wins``): this one ends, which is no failure

A message says what failed and why, with the server's words; the hint says what to do next.
A failure of a single key is not an exception but a :class:`s3batch.model.Result`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

EXIT_DONE = 0
EXIT_FAILED = 1
EXIT_SETTINGS = 2
EXIT_JOURNAL = 3
EXIT_ENDPOINT = 4
EXIT_BUG = 70  # EX_SOFTWARE of sysexits.h
EXIT_TIME_IS_UP = 124  # as timeout(1) ends
EXIT_SIGHUP = 129  # 128 + the number of the signal, as shells report it
EXIT_SIGINT = 130
EXIT_SIGTERM = 143
INTERRUPTED = frozenset({EXIT_TIME_IS_UP, EXIT_SIGHUP, EXIT_SIGINT, EXIT_SIGTERM})


class S3BatchError(Exception):
    """One clear sentence, and what to do next."""

    exit_code = EXIT_FAILED

    def __init__(self, message: str, *, hint: str = "", remedy: str = "") -> None:
        """``remedy``, in the place of a hint: what to do before the job is resumed."""
        super().__init__(message)
        self.message = message
        self.hint = f"{remedy}, then resume" if remedy else hint
        self._remedy = remedy
        self.document: Mapping[str, Any] | None = None
        """The report of the run that ended with it, in the Python API; ``None`` if no job had begun."""

    def __str__(self) -> str:
        return f"{self.message}; {self.hint}" if self.hint else self.message

    def reword_for_rehearsal(self) -> None:
        """Word the hint for a run that leaves nothing to resume: a dry run, or a verify."""
        if self._remedy:
            self.hint = f"{self._remedy}, then run it again"


class JobFailedError(S3BatchError):
    """A rule stopped the job before it could do harm."""


class DeclinedError(JobFailedError):
    """Someone at the terminal has said no, before anything was sent."""


class SupersededError(S3BatchError):
    """A run with a higher number has begun at the target, so this one sends nothing more. That is no failure."""

    exit_code = EXIT_DONE


class ArchiveError(S3BatchError):
    """A cache archive is damaged, hostile or beyond a limit. It counts as a miss, and nothing of it stays."""


def wrap_unforeseen(error: Exception) -> JobFailedError:
    """Return the error that a step reports for an exception that is a bug in s3batch."""
    return JobFailedError(f"this is a bug in s3batch: {type(error).__name__}: {error}", hint="please report it")


class SettingsError(S3BatchError):
    """A setting is missing, unknown or wrong; nothing was sent."""

    exit_code = EXIT_SETTINGS


class JournalError(S3BatchError):
    """The journal cannot be used."""

    exit_code = EXIT_JOURNAL


class JournalLockedError(JournalError):
    """Another process works on this journal, on this target, or on this cached path."""

    def __init__(self, what: str, *, holder: str) -> None:
        super().__init__(f"{what} is in use by {holder}", hint="wait for it to end")


class JournalTooNewError(JournalError):
    """The journal was written by a later s3batch than this one."""

    def __init__(self, path: str, *, found: int, supported: int) -> None:
        super().__init__(
            f"journal {path} has schema {found}, this s3batch reads up to {supported}",
            hint="upgrade s3batch, or start a new job with --journal elsewhere",
        )


class EndpointError(S3BatchError):
    """The endpoint cannot be reached, or it refuses the credentials."""

    exit_code = EXIT_ENDPOINT

    def __init__(self, message: str, *, hint: str = "", code: str = "", status: int = 0) -> None:
        super().__init__(message, hint=hint)
        self.code = code
        self.status = status
