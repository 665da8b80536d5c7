"""The history of a target: one journal and one lock for endpoint, bucket and prefix, or a local path, with every source.

--journal FILE, or STATE/sync-DIGEST.db      the history: every job to the target
STATE/target-DIGEST.lock                     one job at a time, also where --journal names other files
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from s3batch.base.errors import JournalError, JournalLockedError, SettingsError
from s3batch.coordinator.job_setup import open_journal
from s3batch.files import private
from s3batch.files.private import PrivateFileError
from s3batch.journal import Journal, TargetLock
from s3batch.settings.direction import format_place

if TYPE_CHECKING:
    from collections.abc import Iterator

    from s3batch.journal import Job
    from s3batch.journal.target_lock import LastJob
    from s3batch.objects.target import Target
    from s3batch.settings.table import Settings


def format_target_place(target: Target) -> str:
    """Return the one spelling of a target: the bucket and the prefix in it."""
    return f"{target.bucket}/{target.prefix}"


@contextmanager
def open_history(settings: Settings, place: str) -> Iterator[tuple[Journal, TargetLock]]:
    """Yield the journal of a sync and the lock of its target, both held; a dry run's journal is a temporary one."""
    if not settings.journal:
        private.require_directory(settings.journal_directory())
    lock = TargetLock(settings.lock_directories(), settings.endpoint_of_target(place), place)
    try:
        lock.take()
    except (JournalLockedError, PrivateFileError):
        raise
    except JournalError:
        if not settings.journal:
            raise
        # no directory of this user can be written: the journal's own lock has to do
    try:
        with _open_journal_of(settings, place) as journal:
            yield journal, lock
    finally:
        lock.release()


def _open_journal_of(settings: Settings, place: str) -> Journal:
    old, path = settings.old_journal_path(), settings.journal_path(place)
    if settings.dry_run:
        path = old if old and not private.file_exists(path) and private.file_exists(old) else path
    elif old:
        _rename_old_journal(old, path)
    return open_journal(settings, path)


def _rename_old_journal(old: str, path: str) -> None:
    """Give a journal of the time when each source had one its new name; it stays where it cannot be used."""
    if old == path or private.file_exists(path) or not private.file_exists(old):
        return
    try:
        with Journal.open(old, create=False) as journal:  # which leaves nothing beside it
            journal.lock()
    except JournalError:
        return
    if not os.path.exists(f"{old}-wal"):
        private.rename_file(old, path)


def find_local_target(job: Job) -> str:
    """Return the directory to which the target of a download leads now; empty for a target in a bucket.

    Since the job began, the directory may have moved and a link may stand in its place.
    """
    try:
        return os.path.realpath(job.target) if os.path.isabs(job.target) else ""
    except ValueError:  # a journal that another program wrote may hold a text that is no path
        return ""


def is_overtaken(job: Job, settings: Settings) -> bool:
    """Return whether a later job to the target of a sync has begun since, in any journal."""
    place = find_local_target(job)
    try:
        lock = TargetLock(settings.lock_directories(), "" if place else job.endpoint, place or job.target)
    except ValueError:  # as above: no endpoint
        return False
    return _find_overtaking(job, lock) is not None


def _find_overtaking(job: Job, lock: TargetLock) -> LastJob | None:
    last = lock.last()
    if last is None or last.id == job.id:
        return None
    return last if job.id in last.earlier or last.began > job.started else None


def refuse_overtaken(job: str, journal: Journal, lock: TargetLock) -> None:
    """Raise SettingsError if a later job to its target has begun since, in any journal."""
    if not job:
        return
    found = journal.jobs.find(job)
    last = _find_overtaking(found, lock)
    if last is not None:
        raise SettingsError(
            f"nothing to resume: job {found.id} is superseded by job {last.id}, which began later at the same target "
            f"(journal {last.journal})",
            hint="begin a new sync",
        )


def format_overlap_warnings(lock: TargetLock) -> list[str]:
    """Return a warning for each job at work whose target overlaps."""
    try:
        others = lock.overlapping()
    except JournalError:
        return []
    return [
        f"job {other.id} is at work below {format_place(other.target)}, which overlaps this target: both may write and delete the "
        "same objects"
        for other in others
    ]
