"""One job of the cache, from its journal to its report: a failure becomes a warning where that is allowed.

A miss, an unreachable store, a damaged cache, a missing permission break no build unless ``fail_on_error`` (or
``fail_on_miss``) asks for it, nor does a full disk. Settings that are wrong always do, before any request; so does a
journal that is locked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from s3batch.base.errors import (
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
from s3batch.cache.naming import cache_objects_of
from s3batch.cache.session import CacheSession
from s3batch.cache.state_directory import make_writable, own_directory
from s3batch.coordinator.job_description import JobDescription
from s3batch.coordinator.job_runner import JobRunner
from s3batch.coordinator.job_setup import open_journal
from s3batch.coordinator.signals import InterruptedJobError, watch_for_stop
from s3batch.files import private
from s3batch.files.private import PrivateFileError
from s3batch.journal import Journal
from s3batch.model import JobState
from s3batch.reporting import report
from s3batch.reporting.publish import publish_document
from s3batch.reporting.report import EarlierJobs, format_resume_command

if TYPE_CHECKING:
    from s3batch.cache.naming import CacheObjects
    from s3batch.coordinator.job_description import Document
    from s3batch.reporting.console import Output
    from s3batch.reporting.report import Counts
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
    outputs: Mapping[str, str | int | bool] = field(default_factory=dict)
    """For later steps of the build."""


UseCase = Callable[[CacheSession], CacheOutcome]


def run_use_case(settings: Settings, output: Output, use_case: UseCase, *, resumed: bool = False) -> int:
    """Carry out the use case; return the exit code."""
    names = check_cache_settings(settings)
    try:
        if settings.lookup_only:  # it leaves nothing behind
            with private.make_scratch_directory() as own:
                here = settings._replace(journal="", state_directory=own)
                return _run_in_directory(here, output, use_case, names, own, resumed=False)
        own, trouble = own_directory(settings.at_workspace("."))
    except S3BatchError as error:
        return _end_without_journal(settings, output, names, error)
    if trouble:
        output.warn(f"{trouble}; this step starts without the state of earlier steps and keeps its files in {own}")
    if not settings.journal and not _is_usable(settings.journal_directory()):
        settings = settings._replace(state_directory=own)
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
            runner = JobRunner(settings, output, journal, signals)
            session = CacheSession(runner, names, own)
            session.begin()
            return runner.run(CacheJob(session, use_case))
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


def choose_step_exit_code(settings: Settings, stopped: S3BatchError | None, *, missed: bool) -> int:
    """Return the exit code for the build; 4 where the store could not be reached or refused the sign-in."""
    if isinstance(stopped, InterruptedJobError):
        return stopped.exit_code
    broken = (stopped is not None and settings.fail_on_error) or (missed and settings.fail_on_miss)
    if not broken:
        return EXIT_DONE
    return EXIT_ENDPOINT if stopped is not None and stopped.exit_code == EXIT_ENDPOINT else EXIT_FAILED


class CacheJob(JobDescription):
    """The job of a step: its failure breaks no build unless the settings ask for it."""

    def __init__(self, session: CacheSession, use_case: UseCase) -> None:
        self.runner = session.runner
        self._session = session
        self._use_case = use_case
        self._outcome = CacheOutcome(words="", cache={"key": session.names.own, "name": session.names.title})

    def carry_out(self) -> None:
        """Run the use case."""
        try:
            outcome = self._use_case(self._session)
        finally:
            self._session.close()
        self._outcome = outcome

    def stop_of(self, error: Exception) -> S3BatchError | None:
        """Return the error that ends the step. Wrong settings, locks and a journal that fails are raised."""
        if isinstance(error, (SettingsError, JournalLockedError)):  # found late, and before anything was done
            self.runner.journal.jobs.set_state(JobState.FAILED, error.exit_code)
            return None
        if isinstance(error, JournalError):
            return None
        if isinstance(error, S3BatchError):
            return error
        if isinstance(error, OSError):
            name = error.filename if isinstance(error.filename, str) else ""  # a number, where a descriptor was given
            return JobFailedError(": ".join(filter(None, [name, error.strerror or str(error)])))
        self.runner.output.trace(error)
        return wrap_unforeseen(error)  # a bug in s3batch breaks no build

    def has_failures(self) -> bool:
        """Return false: what is not done is an error of the step."""
        return False

    def choose_exit_code(self, stopped: S3BatchError | None, *, failed: bool) -> int:
        """Return the exit code for the build."""
        missed = self._outcome.missed or stopped is not None
        return choose_step_exit_code(self.runner.settings, stopped, missed=missed)

    def has_changed(self, counts: Counts) -> bool:
        """Return true if anything was written."""
        return self._outcome.changed

    def format_error(self, stopped: S3BatchError | None, code: int) -> str:
        """Return the sentence of a step that failed or missed."""
        if isinstance(stopped, InterruptedJobError):
            return str(stopped)
        if stopped is not None:
            return f"{_NOT_DONE[self.runner.settings.command]}: {stopped}"
        return f"{self._outcome.words}, and fail_on_miss is true" if code else ""

    def forgive(self, error: str) -> None:
        """Say that the build goes on."""
        self._session.warn(f"{error}; the build goes on without it")

    def earlier_jobs(self) -> EarlierJobs:
        """Return none: the same command is run again, and finds what is stored."""
        return EarlierJobs()

    def complete_document(self, document: Document) -> Document:
        """Return the document with the outcome, that of a dry run with its plan."""
        planned = {"plan": self._session.plan} if self.runner.settings.dry_run else {}
        return {**document, "cache": self._outcome.cache, **planned}

    def collect_outputs(self, document: Document) -> Mapping[str, str | int | bool]:
        """Return the outputs of the use case."""
        return self._outcome.outputs

    def format_verdict(self, document: Document) -> str:
        """Return the outcome, or why there is none."""
        return self._outcome.words or document.get("error", "") or super().format_verdict(document)

    def format_resume(self, document: Document) -> str:
        """Return the command that finishes the step, if it failed."""
        if self._outcome.words or not document["exit_code"] or self.runner.settings.dry_run:
            return ""
        found = self.runner.is_journal_found() and self.runner.settings.state_directory != self._session.own
        return format_resume_command(document["job"], self.runner.journal.path, found)

    def print_end(self, document: Document) -> None:
        """Print one line: the outcome, or the command that finishes the step."""
        output = self.runner.output
        if self._outcome.words:
            output.info(self._outcome.words)
        elif command := self.format_resume(document):
            output.error(f"to finish it: {command}")


def _end_without_journal(settings: Settings, output: Output, names: CacheObjects, error: S3BatchError) -> int:
    """End a step that has no place for a journal."""
    code = choose_step_exit_code(settings, error, missed=True)
    wrong = f"{_NOT_DONE[settings.command]}: {error}"
    (output.error if code else output.warn)(wrong if code else f"{wrong}; the build goes on without it")
    document = report.make_jobless_document(settings.command, JobState.FAILED, code, warnings=[wrong])
    publish_document(settings, output, {**document, "cache": {"key": names.own, "name": names.title}}, wrong)
    return code
