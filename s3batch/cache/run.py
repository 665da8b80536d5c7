"""One job of the cache, from its journal to its report: a failure becomes a warning where that is allowed.

A miss, an unreachable store, a damaged cache, a missing permission break no build unless ``fail_on_error`` (or
``fail_on_miss``) asks for it, nor does a full disk. Settings that are wrong always do, before any request; so does a
journal that is locked.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from s3batch.cache.naming import cache_objects_of
from s3batch.cache.session import CacheSession
from s3batch.cache.state_directory import make_writable, own_directory
from s3batch.coordinator import journal_trust
from s3batch.coordinator.job_setup import open_journal
from s3batch.coordinator.signals import InterruptedJobError, watch_for_stop
from s3batch.errors import (
    EXIT_DONE,
    EXIT_ENDPOINT,
    EXIT_FAILED,
    JobFailedError,
    JournalError,
    JournalLockedError,
    JournalTooNewError,
    S3BatchError,
    SettingsError,
    wrap_unforeseen,
)
from s3batch.files import private
from s3batch.files.private import PrivateFileError
from s3batch.journal import Journal
from s3batch.model import JobState
from s3batch.reporting import report

if TYPE_CHECKING:
    from s3batch.cache.naming import CacheObjects
    from s3batch.reporting.console import Output
    from s3batch.settings.table import Settings

_DEADLINES = {"cache restore": 600.0, "cache rebuild": 1200.0}
_NOT_DONE = {"cache restore": "the cache was not restored", "cache rebuild": "the cache was not stored"}


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheOutcome:
    """The outcome of a use case."""

    words: str
    """For people, one line."""
    cache: dict[str, Any] = field(default_factory=dict)
    """For the document of ``--json``."""
    missed: bool = False
    """There was nothing to restore."""
    changed: bool = False
    """True if anything was written, locally or in the bucket."""


UseCase = Callable[[CacheSession], CacheOutcome]


def run_use_case(settings: Settings, output: Output, use_case: UseCase, *, resumed: bool = False) -> int:
    """Carry out the use case; return the exit code."""
    names = check_cache_settings(settings)
    try:
        if settings.lookup_only:  # it leaves nothing behind
            with private.make_scratch_directory() as own:
                here = replace(settings, journal="", state_directory=own)
                return _run_in_directory(here, output, use_case, names, own, resumed=False)
        own, trouble = own_directory(settings.at_workspace("."))
    except S3BatchError as error:
        return _end_without_journal(settings, output, names, error)
    if trouble:
        output.warn(f"{trouble}; this step starts without the state of earlier steps and keeps its files in {own}")
    if not settings.journal and not _is_usable(settings.journal_directory()):
        settings = replace(settings, state_directory=own)
    return _run_in_directory(settings, output, use_case, names, own, resumed=resumed)


def _run_in_directory(
    settings: Settings, output: Output, use_case: UseCase, names: CacheObjects, own: str, *, resumed: bool
) -> int:
    """Carry out the use case with s3batch's own files in ``own``; return the exit code."""
    try:
        with (
            _open_cache_journal(settings, resumed=resumed) as journal,
            watch_for_stop(_step_deadline(settings)) as signals,
        ):
            session = CacheSession(settings, output, journal, signals, names, own)
            session.begin()
            outcome, stopped = _carried_out(session, use_case)
            return _JobEnd(session, outcome, stopped).code()
    except (JournalLockedError, JournalTooNewError):
        raise
    except JournalError as error:  # its disk is full, or fails
        if resumed:
            raise
        return _end_without_journal(settings, output, names, error)


def _step_deadline(settings: Settings) -> float:
    """Return the seconds that the step may take; 0 for no limit."""
    return _DEADLINES[settings.command] if settings.deadline is None else settings.deadline


def check_cache_settings(settings: Settings) -> CacheObjects:
    """Return the names of this build's cache. Raises SettingsError for any wrong setting."""
    if settings.executor == "dask":
        raise settings.bad("executor", "write local: the files of a cache are on this machine")
    return cache_objects_of(settings)


def _open_cache_journal(settings: Settings, *, resumed: bool) -> Journal:
    """Open the job's journal and lock it; for a dry run a temporary one. A damaged one is replaced."""
    try:
        return open_journal(settings, settings.journal_path())
    except (JournalLockedError, JournalTooNewError):
        raise
    except JournalError:
        if resumed:
            raise
        return open_journal(settings, settings.journal_path())  # a damaged one has been moved aside


def _is_usable(directory: str) -> bool:
    try:
        return make_writable(directory)
    except PrivateFileError:
        return False


def _carried_out(session: CacheSession, use_case: UseCase) -> tuple[CacheOutcome, S3BatchError | None]:
    """Run the use case; return its outcome, and the error that stopped it."""
    nothing = CacheOutcome(words="", cache={"key": session.names.own, "name": session.names.title})
    try:
        return use_case(session), None
    except (SettingsError, JournalLockedError) as error:  # found late, and before anything was done
        session.journal.jobs.set_state(JobState.FAILED, error.exit_code)
        raise
    except JournalError:
        raise
    except S3BatchError as error:
        return nothing, error
    except OSError as error:
        name = error.filename if isinstance(error.filename, str) else ""  # a number, where a descriptor was given
        return nothing, JobFailedError(": ".join(filter(None, [name, error.strerror or str(error)])))
    except Exception as error:  # noqa: BLE001 - a bug in s3batch breaks no build
        session.output.trace(error)
        return nothing, wrap_unforeseen(error)
    finally:
        session.close()


def exit_code(settings: Settings, stopped: S3BatchError | None, *, missed: bool) -> int:
    """Return the exit code for the build; 4 where the store could not be reached or refused the sign-in."""
    if isinstance(stopped, InterruptedJobError):
        return stopped.exit_code
    broken = (stopped is not None and settings.fail_on_error) or (missed and settings.fail_on_miss)
    if not broken:
        return EXIT_DONE
    return EXIT_ENDPOINT if stopped is not None and stopped.exit_code == EXIT_ENDPOINT else EXIT_FAILED


class _JobEnd:
    """Closes the job and reports its end."""

    def __init__(self, session: CacheSession, outcome: CacheOutcome, stopped: S3BatchError | None) -> None:
        self._session = session
        self._outcome = outcome
        self._stopped = stopped

    def code(self) -> int:
        """Print the end of the step; return its exit code."""
        self._session.signals.work_is_over()
        settings, journal, output = self._session.settings, self._session.journal, self._session.output
        stopped, interrupted = self._stopped, isinstance(self._stopped, InterruptedJobError)
        missed = self._outcome.missed or stopped is not None
        code = exit_code(settings, stopped, missed=missed)
        wrong = self._wrong(code)
        if stopped is not None and not code:
            self._session.warn(f"{wrong}; the build goes on without it")
        warned, changed = bool(journal.jobs.current.warnings), self._outcome.changed
        wants = () if code or stopped else settings.fail_on
        frowned_upon = report.find_fail_on_reason(wants, warned=warned, changed=changed)
        code = EXIT_FAILED if frowned_upon else code
        state = JobState.INTERRUPTED if interrupted else JobState.FAILED if stopped else JobState.DONE
        journal.jobs.set_state(state, code)
        if code:
            output.error(wrong or frowned_upon)
        document = self._document(wrong or frowned_upon if code else "")
        if settings.json:
            output.document(document)
        if not stopped:
            output.info(self._outcome.words)
        elif code and not settings.dry_run:
            output.error(
                f"to finish it: {report.format_resume_command(document['job'], journal.path, self._is_found())}"
            )
        return code

    def _wrong(self, code: int) -> str:
        if isinstance(self._stopped, InterruptedJobError):
            return str(self._stopped)
        if self._stopped is not None:
            return f"{_NOT_DONE[self._session.settings.command]}: {self._stopped}"
        return f"{self._outcome.words}, and fail_on_miss is true" if code else ""

    def _document(self, wrong: str) -> dict[str, Any]:
        journal = self._session.journal
        document = report.make_report_document(
            journal.jobs.current,
            journal.outcomes.count_by_kind(),
            journal.outcomes.read_failures,
            journal=journal.path,
            now=time.time(),
        )
        planned = {"plan": self._session.plan} if self._session.settings.dry_run else {}
        return {**document, **({"error": wrong} if wrong else {}), "cache": self._outcome.cache, **planned}

    def _is_found(self) -> bool:
        """Return whether ``resume`` finds the journal by itself."""
        settings = self._session.settings
        found = journal_trust.is_journal_found(self._session.journal.path, settings)
        return found and settings.state_directory != self._session.own


def _end_without_journal(settings: Settings, output: Output, names: CacheObjects, error: S3BatchError) -> int:
    """End a step that has no place for a journal."""
    code = exit_code(settings, error, missed=True)
    wrong = f"{_NOT_DONE[settings.command]}: {error}"
    (output.error if code else output.warn)(wrong if code else f"{wrong}; the build goes on without it")
    if settings.json:
        document = report.make_jobless_document(settings.command, JobState.FAILED, code, warnings=[wrong])
        output.document({**document, "cache": {"key": names.own, "name": names.title}})
    return code
