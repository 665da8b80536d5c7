"""The journal: every operation of a job, and how far each has come, in one SQLite file.

    pending --lease--> leased --settle--> done | failed | skipped
       ^                  |
       +------------------+      (a fault worth retrying, or the run that had it leased is dead)

Only the coordinator opens it to write, from one thread, so there is one writer and no waiting. A row moves
to ``done`` after S3 has answered and never before: a crash can repeat an operation, not lose one.
Operations are idempotent, so repeating costs time and nothing else. ``jobs list`` may read meanwhile.

Sizes are bytes, times are UTC seconds since the epoch. docs/journal.md describes the tables.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from s3batch.files import private
from s3batch.journal.current_job import CurrentJob
from s3batch.journal.database import Database, do_nothing, make_bindable, open_database, open_read_only
from s3batch.journal.doubts import Doubts
from s3batch.journal.facts import ObjectFacts
from s3batch.journal.job_table import JobTable
from s3batch.journal.jobs import Jobs
from s3batch.journal.limits import DEFAULT_LIMITS, JournalLimits
from s3batch.journal.lock import JournalLock
from s3batch.journal.objects import Objects
from s3batch.journal.operations import Operations
from s3batch.journal.orphans import Orphans
from s3batch.journal.outcomes import Outcomes
from s3batch.journal.samples import Samples
from s3batch.journal.statistics import Statistics
from s3batch.journal.transaction import Transaction
from s3batch.journal.uploads import Uploads
from s3batch.model import Operation

if TYPE_CHECKING:
    from s3batch.journal.endings import Endings
    from s3batch.journal.file_lists import FileLists
    from s3batch.journal.moved_objects import MovedObjects
    from s3batch.journal.reversals import Reversals

# ruff: noqa: PLC0415 - a plain upload does not pay for the parts of other jobs


class Journal:
    """One journal file. Every method of its parts that writes has committed when it returns, except inside a batch.

    Any trouble with the file or its disk is a JournalError, and then nothing of the open transaction counts.
    """

    def __init__(
        self, store: Database, lock: JournalLock, stands_for: str = "", limits: JournalLimits = DEFAULT_LIMITS
    ) -> None:
        self._store = store
        self._lock = lock
        self._stands_for = stands_for
        """For a dry run: the name of the job's own journal. This one is temporary, in a directory of its own."""
        table = JobTable(store)
        current = CurrentJob(store, table)
        self._current = current
        self._transaction = Transaction(store, current.complete_commit)
        parts = store, self._transaction, current
        self.operations = Operations(*parts, limits.fresh)
        self.outcomes = Outcomes(store, current, limits)
        self.statistics = Statistics(store, current, limits.page)
        self.samples = Samples(*parts, most=limits.samples, every=limits.sample_every)
        self.uploads = Uploads(*parts)
        self.doubts = Doubts(*parts)
        self.objects = Objects(*parts)
        self.facts = ObjectFacts(*parts, self.objects)
        self.orphans = Orphans(store, self._transaction, self.objects)
        self.jobs = Jobs(
            *parts, table, self.operations, self.objects, self.facts,
            is_rehearsal=bool(stands_for), at_once=limits.taken_at_once,
        )  # fmt: skip

    @cached_property
    def moved(self) -> MovedObjects:
        """Objects that a renamed file may have left."""
        from s3batch.journal.moved_objects import MovedObjects

        return MovedObjects(self._store, self._transaction, self.objects)

    @cached_property
    def endings(self) -> Endings:
        """What the ends of jobs said beyond their counts."""
        from s3batch.journal.endings import Endings

        return Endings(self._store, self._transaction, self._current)

    @cached_property
    def file_lists(self) -> FileLists:
        """The lists of ``files_from``."""
        from s3batch.journal.file_lists import FileLists

        return FileLists(self._store, self._transaction)

    @cached_property
    def reversals(self) -> Reversals:
        """What an undo takes back."""
        from s3batch.journal.reversals import Reversals

        return Reversals(self._store)

    @classmethod
    def open(
        cls, path: str, *, create: bool = True, foreign: bool = False, limits: JournalLimits = DEFAULT_LIMITS
    ) -> Self:
        """Open the journal for work, creating it if needed; a damaged one is set aside and named.

        ``foreign``: another program may have written it, so its rows are checked.
        """
        lock = JournalLock(path)
        held = lock.refuse_if_held
        store = open_database(path, create=create, refuse_if_held=held, foreign=foreign, limits=limits)
        return cls(store, lock, limits=limits)

    @classmethod
    def read_only(cls, path: str, *, foreign: bool = False) -> Self:
        """Open a journal to look at, also while its job runs; takes no lock. ``foreign``: see :meth:`open`."""
        return cls(open_read_only(path, foreign=foreign), JournalLock(path))

    @classmethod
    def rehearse(cls, path: str, *, foreign: bool = False) -> Self:
        """Open a temporary journal for a dry run of a job with the journal at ``path``, which is only read.

        JournalLockedError if a job is at work with it. ``foreign``: see :meth:`open`.
        """
        from s3batch.journal.rehearsal import open_rehearsal

        lock = JournalLock(path)
        lock.refuse_if_held()
        folder = private.make_temporary_directory()
        try:
            return cls(open_rehearsal(path, folder, foreign=foreign), lock, path)
        except BaseException:
            private.remove_tree(folder)
            raise

    def check_rows(self, admit: Callable[[Operation], Operation | None], owns: Callable[[str], bool]) -> None:
        """Have rows that were there before this run looked at, before anything is read or sent for them.

        ``admit`` gives the operation to carry out, or ``None`` to skip it; a ValueError means that the journal is
        damaged. So does an upload of a key that the job does not own. Changed keys it does not own are passed over.
        """
        self.operations.admit = admit
        self.outcomes.owns = self.uploads.owns = self.doubts.owns = owns

    @property
    def path(self) -> str:
        """The file's name as given; a dry run's journal tells that of the job's own."""
        return self._stands_for or self._store.path

    def heed(self, stopped: Callable[[], BaseException], check: Callable[[], None] = do_nothing) -> None:
        """Let a signal interrupt a long statement; ``stopped`` returns the exception of its handler, or of ``check``."""
        self._store.heed(stopped, check)

    def lock(self) -> None:
        """Be the one coordinator of this journal until :meth:`close`; JournalLockedError names another."""
        self._lock.take()

    def holder(self) -> tuple[int, str] | None:
        """Return pid and host of the coordinator at work, if there is one."""
        return self._lock.holder()

    def close(self) -> None:
        """Close the file and let go of the lock."""
        try:
            self._store.close()
        finally:
            self._lock.release()
            if self._stands_for:
                private.remove_tree(os.path.dirname(self._store.path))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def batch(self) -> AbstractContextManager[None]:
        """Commit once, at the end of the block (and where lease, settle or uploads do); undo it if it fails."""
        return self._transaction.batch()

    def commit(self) -> None:
        """Make everything so far lasting. Free when nothing was written."""
        self._transaction.commit()

    def shrink(self) -> None:
        """Give back memory that is quicker to fill again than to keep."""
        self._store.shrink()

    def remember(self, name: str, value: Any) -> None:
        """Keep a fact about the endpoint."""
        with self._transaction.batch():
            self._store.execute(
                "INSERT OR REPLACE INTO remembered VALUES (?, CAST(? AS TEXT))",
                (f"endpoint {name}", make_bindable(json.dumps(value))),
            )

    def recall(self, name: str) -> Any:
        """Return the fact kept under this name, or ``None``."""
        text = self._store.value("SELECT value FROM remembered WHERE name = ?", (f"endpoint {name}",))
        try:
            return None if text is None else json.loads(text)
        except (ValueError, RecursionError):
            self._store.refuse(f"its entry {name!r} cannot be read")
