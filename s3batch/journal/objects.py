"""The objects of the target: the last listing, with the facts about its objects. ``journal.objects``.

:mod:`s3batch.journal.current_listing` tells which rows are listed, :mod:`s3batch.journal.facts` what is known of them.
All of it is a cache: losing it costs time only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from s3batch.journal.current_job import CurrentJob
from s3batch.journal.current_listing import CurrentListing
from s3batch.journal.database import Database, make_all_bindable, make_bindable
from s3batch.journal.facts import FACT, decode_known_object
from s3batch.journal.key_queries import BELOW, KEYS, batch_keys, compute_key_range
from s3batch.journal.transaction import Transaction
from s3batch.model import KnownObject, ListedObject

_LOOK_UP = f"SELECT key, size, etag, modified, listed, {FACT} FROM object WHERE key IN ({KEYS})"  # noqa: S608 - constants
_OWN = "known_etag = etag AND known_size = size AND modified < written + ?5"
"""The object is the one that the last own write made, as :func:`s3batch.objects.compare.is_own_object` has it."""
_IN_RANGE = "FROM object WHERE key >= CAST(?1 AS TEXT) AND key <= CAST(?2 AS TEXT) ORDER BY key LIMIT ?4"
_UNTOUCHED = f"""SELECT key, local_size, local_mtime_ns, local_ctime_ns, local_inode, fingerprint
FROM (SELECT key, local_size, local_mtime_ns, local_ctime_ns, local_inode, fingerprint,
    listed >= ?3 AND {_OWN} AND local_ctime_ns <> 0 AS own {_IN_RANGE}) WHERE own"""  # noqa: S608 - constants
_LISTED = f"""SELECT key, size, etag, own, local_size, fingerprint, checksum
FROM (SELECT key, size, etag, coalesce({_OWN}, 0) AS own, local_size, fingerprint, checksum,
    listed >= ?3 AS is_listed {_IN_RANGE}) WHERE is_listed"""  # noqa: S608 - constants
_FETCHED = f"""SELECT CASE WHEN own THEN local_size END, local_mtime_ns, local_ctime_ns, local_inode
FROM (SELECT key, local_size, local_mtime_ns, local_ctime_ns, local_inode, listed >= ?3 AS is_listed,
    known_etag = etag AND etag <> '' AND known_size = size AND abs(modified - written) < ?5 AND local_ctime_ns <> 0 AS own
    {_IN_RANGE}) WHERE is_listed"""  # noqa: S608 - constants
_ALL = f"key, size, etag, modified, listed, seen, planned, {FACT}, writer"
_BRING = f"INSERT OR IGNORE INTO object ({_ALL}) SELECT {_ALL} FROM original.object WHERE key IN ({KEYS})"  # noqa: S608
"""A dry run's journal has no facts of its own: known facts of an object come with the listing."""
_BRING_CHANGED = f"""
INSERT OR IGNORE INTO object ({_ALL}) SELECT {_ALL} FROM original.object WHERE key IN
    (SELECT key FROM original.operation WHERE id > ? AND id <= ? AND +job IN ({{jobs}}))
"""  # noqa: S608 - constants

_MARK_PLANNED = """
INSERT INTO object (key, planned) SELECT key, ? FROM operation
WHERE id > ? AND id <= ? AND kind <> 'delete' AND (job = ? OR (job IN ({jobs}) AND state = 'pending'))
ON CONFLICT (key) DO UPDATE SET planned = excluded.planned
"""
_PLANNED = f"SELECT key FROM object WHERE key IN ({KEYS}) AND planned = ?"  # noqa: S608 - constants

Facts = tuple[ListedObject | None, KnownObject | None]
_NOTHING: Facts = (None, None)


class Objects:
    """The table ``object``. Every method that writes commits, unless a batch is open."""

    def __init__(self, store: Database, transaction: Transaction, current: CurrentJob) -> None:
        self._store = store
        self._transaction = transaction
        self._current = current
        self._brings = bool(store.original)
        """For a dry run: facts come along with the listing."""
        self.listing = CurrentListing(store, transaction)

    def claim(self, target: str) -> None:
        """Delete all facts if they are about another target or endpoint than this one. Part of a batch."""
        if self._remembered("target") not in {None, target}:
            self._store.execute("DELETE FROM object")
            self._brings = False
            self.begin_listing()
        self._remember("target", target)

    def begin_listing(self) -> None:
        """Begin a listing; nothing counts as listed or seen any more."""
        self.listing.begin(in_order=not self._brings)

    def record_listing(self, objects: Sequence[ListedObject]) -> None:
        """Record a page of the listing."""
        with self._transaction.batch():
            self._bring([each.key for each in objects])
            self.listing.record(objects)

    def complete_listing(self) -> None:
        """End the listing, of which every page was recorded."""
        self.listing.complete()

    def record_found(self, objects: Sequence[ListedObject]) -> None:
        """Record objects that were looked up one by one; they count as listed."""
        with self._transaction.batch():
            self._bring([each.key for each in objects])
            self.listing.write(objects)

    def bring_changed(self, jobs: Sequence[int], first: int, last: int) -> None:
        """Copy the facts about the keys in these rows of the jobs, if this is a dry run. Part of a batch."""
        if self._brings:
            query = _BRING_CHANGED.format(jobs=", ".join(map(str, jobs)))
            self._store.execute(query, (first, last))

    def _bring(self, keys: Sequence[str]) -> None:
        if self._brings:
            for batch in batch_keys(keys):
                self._store.execute(_BRING, batch)

    def look_up(self, keys: Sequence[str]) -> dict[str, Facts]:
        """Return for every key its row in the listing and the facts of the last own write, or ``None``."""
        found = dict.fromkeys(keys, _NOTHING)
        if self.is_empty():
            return found
        since, new = self.listing.since_for(keys), tuple.__new__
        for batch in batch_keys(keys):
            for row in self._store.rows(_LOOK_UP, batch):
                listed = new(ListedObject, row[:4]) if row[4] >= since else None
                known = None if row[5] is None else decode_known_object(row[5:])
                found[row[0]] = (listed, known)
        return found

    def read_untouched(self, keys: Sequence[str], grain: float) -> list[tuple[str, int, int, int, int, str]]:
        """Return the facts of listed objects that are as the last own write made them, among the rows about ``keys``.

        Each is key, size, mtime, ctime and inode of the file, and the fingerprint, by key. A key that is not there may
        be unchanged all the same. A LastModified that is ``grain`` seconds later is of another write.
        """
        return self._store.rows(_UNTOUCHED, self._range_of(keys, grain))

    def read_listed(self, keys: Sequence[str], grain: float) -> dict[str, tuple[str, int, str, bool, int, str, str]]:
        """Return listed objects among the rows about ``keys``, by key; one of them may be left out.

        Each is key, size, ETag, true if it is as the last own write made it, and of that write the size of the file, the
        fingerprint and the checksum.
        """
        return {row[0]: row for row in self._store.rows(_LISTED, self._range_of(keys, grain))}

    def read_fetched(self, keys: Sequence[str], grain: float) -> list[tuple[int | None, int, int, int]]:
        """Return for each of these listed keys size, mtime, ctime and inode of the file that was fetched from the object.

        The size is ``None`` where nothing is known of a file. An object whose LastModified is ``grain`` seconds off is
        another one. The list is empty if the keys are not in their order, or the journal has too many rows between them.
        """
        if not (keys and make_all_bindable(keys) and all(map(str.__lt__, keys, keys[1:]))):  # as SQLite sorts them
            return []
        found = self._store.rows(_FETCHED, self._range_of(keys, grain))
        return found if len(found) == len(keys) else []

    def _range_of(self, keys: Sequence[str], grain: float) -> tuple[Any, ...]:
        """Return the values of a query for the rows from the first to the last of ``keys``, and not many more."""
        first, last = make_bindable(min(keys)), make_bindable(max(keys))
        return first, last, self.listing.since_for(keys), 2 * len(keys), grain

    def count_listed(self) -> int:
        """Return how many objects the listing holds so far."""
        return int(self._store.value("SELECT count(*) FROM object WHERE listed >= ?", (self.listing.since,)))

    def has_listed_below(self, prefix: str) -> bool:
        """Return true if the current listing holds a key that begins with ``prefix``."""
        values = (*compute_key_range(prefix), self.listing.since)
        return bool(self._store.value(f"SELECT EXISTS (SELECT 1 FROM object WHERE {BELOW} AND listed >= ?)", values))  # noqa: S608

    def read_listed_below(self, prefix: str) -> list[str]:
        """Return the keys of the current listing that begin with ``prefix``. They have to be few."""
        values = (*compute_key_range(prefix), self.listing.since)
        rows = self._store.rows(f"SELECT key FROM object WHERE {BELOW} AND listed >= ?", values)  # noqa: S608
        return [key for (key,) in rows]

    def mark_planned(self, job: int, takes: Sequence[int], first: int, last: int) -> None:
        """Note that ``job`` has an operation for the keys of these rows, its own or of a job it takes. Part of a batch."""
        marks = ", ".join(map(str, takes))
        self._store.execute(_MARK_PLANNED.format(jobs=marks), (job, first, last, job))

    def find_planned_before(self, keys: Sequence[str]) -> set[str]:
        """Return those keys that the job had an operation for when it began, after :meth:`Jobs.take_over`."""
        job = self._current.job
        if not job.takes:
            return set()
        return {row[0] for batch in batch_keys(keys) for row in self._store.rows(_PLANNED, (*batch, job.number))}

    def is_empty(self) -> bool:
        """Return true if nothing is listed or known, as in a first upload. A query per key would cost 0.6 us."""
        return not self._store.value("SELECT EXISTS (SELECT 1 FROM object)")

    def prune(self) -> None:
        """Forget rows that are neither facts nor in the last listing. Part of a batch."""
        self._store.execute("DELETE FROM object WHERE listed < ? AND known_etag IS NULL", (self.listing.since,))

    def _remembered(self, name: str) -> str | None:
        value: str | None = self._store.value("SELECT value FROM remembered WHERE name = ?", (name,))
        return value

    def _remember(self, name: str, value: str) -> None:
        self._store.execute(
            "INSERT OR REPLACE INTO remembered VALUES (?, CAST(? AS TEXT))", (name, make_bindable(value))
        )
