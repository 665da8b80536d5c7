"""The objects of the target: the last listing, and the facts of s3batch's own writes.

:mod:`s3batch.journal.current_listing` tells which rows are listed. Facts stay until the same key is written or
deleted again. All of it is a cache: losing it costs time only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from s3batch.journal import rows
from s3batch.journal.current_job import CurrentJob
from s3batch.journal.current_listing import CurrentListing
from s3batch.journal.database import Database, make_all_bindable, make_bindable
from s3batch.journal.transaction import Transaction
from s3batch.model import FILE, Comparison, KnownObject, ListedObject, Stamp

_LOOK_UP_KEYS = 500
"""Keys of one query: its text is constant, so SQLite prepares it once."""

YOUNG = 2.0
"""Seconds: the coarsest tick of a file system's clock (FAT's). No ctime tells two changes within it apart."""
_PAGE = 1000
_BEYOND_ALL = b"\xff" * 1025
"""Sorts after every key: S3's keys have at most 1,024 bytes."""

LOCAL = "local_size, local_mtime_ns, local_ctime_ns, local_device, local_inode"
"""The stamp of the file, without its kind."""
_COLUMNS = f"""key, size, etag, modified, listed,
    known_etag, known_size, {LOCAL}, written, fingerprint, checksum"""
_KEYS = ", ".join(["CAST(? AS TEXT)"] * _LOOK_UP_KEYS)
_LOOK_UP = f"SELECT {_COLUMNS} FROM object WHERE key IN ({_KEYS})"  # noqa: S608 - constants
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
_MARK_SEEN = f"UPDATE object SET seen = ? WHERE key IN ({_KEYS})"  # noqa: S608 - constants

_BELOW = "key >= CAST(? AS TEXT) AND key < CAST(? AS TEXT)"
_ORPHAN = f"{_BELOW} AND listed >= ? AND seen <> ?"

_FACTS = f"key, known_etag, known_size, {LOCAL}, written, fingerprint, checksum"
_OLD_ENOUGH = "CASE WHEN ctime_ns < ? THEN ctime_ns ELSE 0 END"
"""A file that changed as late as this may have changed again in the same tick of its file system's clock."""
_KEEP_CHECKSUM = """checksum = CASE WHEN excluded.checksum = '' AND object.known_etag = excluded.known_etag
        THEN object.checksum ELSE excluded.checksum END"""

_LEARN_WRITTEN = f"""
INSERT INTO object ({_FACTS}, writer)
SELECT key, etag, CASE WHEN bytes > 0 AND instr(etag, '-') = 0 THEN bytes ELSE size END,
    size, mtime_ns, {_OLD_ENOUGH}, device, inode, written + ?, fingerprint, checksum, job
FROM {{earlier}}operation
WHERE id > ? AND id <= ? AND +job IN ({{jobs}}) AND state = 'done'
    AND kind IN ('upload', 'transfer', 'chunk', 'redirect') AND etag <> ''
ON CONFLICT (key) DO UPDATE SET
    known_etag = excluded.known_etag, known_size = excluded.known_size, local_size = excluded.local_size,
    local_mtime_ns = excluded.local_mtime_ns, local_ctime_ns = excluded.local_ctime_ns,
    local_device = excluded.local_device, local_inode = excluded.local_inode, written = excluded.written,
    fingerprint = excluded.fingerprint, writer = excluded.writer, {_KEEP_CHECKSUM}
"""  # noqa: S608 - constants
"""A write: its size in the bucket is the size sent (gzip makes it smaller), over several parts the file's."""

_LEARN_FETCHED = f"""
INSERT INTO object ({_FACTS}, writer)
SELECT key, etag, size, size, mtime_ns, CASE WHEN mtime_ns < ctime_ns - {int(YOUNG * 1e9)} THEN ctime_ns ELSE 0 END,
    device, inode, written, fingerprint, checksum, job
FROM {{earlier}}operation
WHERE id > ? AND id <= ? AND +job IN ({{jobs}}) AND state = 'done' AND kind = 'download' AND etag <> ''
ON CONFLICT (key) DO UPDATE SET
    known_etag = excluded.known_etag, known_size = excluded.known_size, local_size = excluded.local_size,
    local_mtime_ns = excluded.local_mtime_ns, local_ctime_ns = excluded.local_ctime_ns,
    local_device = excluded.local_device, local_inode = excluded.local_inode, written = excluded.written,
    fingerprint = excluded.fingerprint, writer = excluded.writer, checksum = excluded.checksum
"""  # noqa: S608 - constants
"""A fetched object: its file has the time of the object. A change within the same tick of the clock sets it to now.

So the stamp of a file counts at once, unless the object itself is that young.
"""

_LEARN_COMPARED = f"""
INSERT INTO object ({_FACTS}, writer)
SELECT key, etag, size, CASE WHEN kind = 'copy' AND size = 0 THEN NULL ELSE size END,
    mtime_ns, {_OLD_ENOUGH}, device, inode, written, fingerprint, checksum,
    CASE state WHEN 'done' THEN job ELSE 0 END
FROM {{earlier}}operation
WHERE id > ? AND id <= ? AND +job IN ({{jobs}}) AND etag <> ''
    AND ((kind = 'copy' AND state = 'done') OR (kind = 'reconcile' AND state IN ('done', 'skipped') AND error = ''))
ON CONFLICT (key) DO UPDATE SET
    known_etag = excluded.known_etag,
    known_size = CASE WHEN object.listed >= ? THEN object.size
        WHEN excluded.local_size IS NULL THEN coalesce(object.known_size, 0) ELSE excluded.known_size END,
    local_size = coalesce(excluded.local_size, object.local_size, 0),
    local_mtime_ns = excluded.local_mtime_ns, local_ctime_ns = excluded.local_ctime_ns,
    local_device = excluded.local_device, local_inode = excluded.local_inode,
    written = CASE WHEN excluded.written > 0 THEN excluded.written
        WHEN object.known_etag = excluded.known_etag AND object.written > 0 THEN object.written
        WHEN object.listed >= ? THEN object.modified ELSE 0 END,
    fingerprint = excluded.fingerprint,
    writer = CASE WHEN excluded.writer > 0 THEN excluded.writer ELSE object.writer END, {_KEEP_CHECKSUM}
"""  # noqa: S608 - constants
"""An object found equal or copied onto itself: its content is the one listed. A copy has no size of its own."""

_LEARN_EQUAL = """
UPDATE object SET known_etag = etag, known_size = size, local_size = ?, local_mtime_ns = ?, local_ctime_ns = ?,
    local_device = ?, local_inode = ?, fingerprint = ?,
    written = CASE WHEN ? > 0 THEN ? WHEN known_etag = etag AND written > 0 THEN written ELSE modified END,
    checksum = CASE WHEN known_etag = etag THEN coalesce(checksum, '') ELSE '' END
WHERE key = CAST(? AS TEXT) AND listed >= ? AND etag = ?
"""
"""Objects that were found equal, of which no operation tells. SQLite computes all values from the row as it was."""

_FORGET_DELETED = """
DELETE FROM object WHERE key IN
    (SELECT key FROM {earlier}operation
    WHERE id > ? AND id <= ? AND +job IN ({jobs}) AND state = 'done' AND kind = 'delete')
"""

_TAKE = """
UPDATE object SET known_etag = ?, known_size = ?, local_size = ?, local_mtime_ns = ?, local_ctime_ns = ?,
    local_device = ?, local_inode = ?, written = ?, fingerprint = ?, checksum = ?
WHERE key = CAST(? AS TEXT) AND listed >= ? AND etag = ? AND (known_etag IS NULL OR known_etag <> etag)
"""
_CURRENT = f"""
SELECT {_FACTS} FROM object
WHERE {_BELOW} AND known_etag IS NOT NULL AND ((listed >= ? AND etag = known_etag) OR writer = ?)
ORDER BY key LIMIT ?
"""  # noqa: S608 - constants

_ALL = f"key, size, etag, modified, listed, seen, planned, {_FACTS.removeprefix('key, ')}, writer"
_BRING = f"INSERT OR IGNORE INTO object ({_ALL}) SELECT {_ALL} FROM original.object WHERE key IN ({_KEYS})"  # noqa: S608
"""A dry run's journal has no facts of its own: known facts of an object come with the listing."""
_BRING_CHANGED = f"""
INSERT OR IGNORE INTO object ({_ALL}) SELECT {_ALL} FROM original.object WHERE key IN
    (SELECT key FROM original.operation WHERE id > ? AND id <= ? AND +job IN ({{jobs}}))
"""  # noqa: S608 - constants

_KEPT = "CREATE TEMP TABLE IF NOT EXISTS kept (key TEXT PRIMARY KEY NOT NULL) WITHOUT ROWID"
_KEPT_AMONG = f"SELECT key FROM temp.kept WHERE key IN ({_KEYS})"  # noqa: S608 - constants

_MARK_PLANNED = """
INSERT INTO object (key, planned) SELECT key, ? FROM operation
WHERE id > ? AND id <= ? AND kind <> 'delete' AND (job = ? OR (job IN ({jobs}) AND state = 'pending'))
ON CONFLICT (key) DO UPDATE SET planned = excluded.planned
"""
_PLANNED = f"SELECT key FROM object WHERE key IN ({_KEYS}) AND planned = ?"  # noqa: S608 - constants
_WRITTEN_BY = f"SELECT key FROM object WHERE key IN ({_KEYS}) AND writer IN ({{jobs}})"  # noqa: S608 - constants

Facts = tuple[ListedObject | None, KnownObject | None]
_NOTHING: Facts = (None, None)


class Objects:
    """The table ``object``. Every method that writes commits, unless a batch is open."""

    def __init__(self, store: Database, transaction: Transaction, current: CurrentJob) -> None:
        self._store = store
        self._transaction = transaction
        self._current = current
        self._keeps = False
        self._brings = bool(store.original)
        """For a dry run: facts come along with the listing."""
        self.asked = 0
        """The number of objects whose attributes this run has learned by asking S3, and which no operation tells."""
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

    def _bring(self, keys: Sequence[str]) -> None:
        if self._brings:
            for batch in _batch_keys(keys):
                self._store.execute(_BRING, batch)

    def look_up(self, keys: Sequence[str]) -> dict[str, Facts]:
        """Return for every key its row in the listing and the facts of the last own write, or ``None``."""
        found = dict.fromkeys(keys, _NOTHING)
        if self._is_empty():
            return found
        since, new = self.listing.since_for(keys), tuple.__new__
        for batch in _batch_keys(keys):
            for row in self._store.rows(_LOOK_UP, batch):
                listed = new(ListedObject, row[:4]) if row[4] >= since else None
                known = None if row[5] is None else _decode_known_object(row[5:])
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

    def has_facts(self) -> bool:
        """Return whether anything is known of objects but what was listed."""
        return bool(self._store.value("SELECT EXISTS (SELECT 1 FROM object WHERE known_etag IS NOT NULL)"))

    def _range_of(self, keys: Sequence[str], grain: float) -> tuple[Any, ...]:
        """Return the values of a query for the rows from the first to the last of ``keys``, and not many more."""
        first, last = make_bindable(min(keys)), make_bindable(max(keys))
        return first, last, self.listing.since_for(keys), 2 * len(keys), grain

    def mark_seen(self, keys: Sequence[str]) -> None:
        """Note that the source has a file for these keys: they are no orphans."""
        with self._transaction.batch():
            if self._is_empty():
                return
            for batch in _batch_keys(keys):
                self._store.execute(_MARK_SEEN, (self.listing.number, *batch))

    def read_orphans(self, prefix: str) -> Iterator[list[ListedObject]]:
        """Yield, a page at a time by key, the listed objects below ``prefix`` that were not marked as seen."""
        (low, high), new = _compute_key_range(prefix), tuple.__new__
        while True:
            page = self._store.rows(
                f"SELECT key, size, etag, modified FROM object WHERE {_ORPHAN} ORDER BY key LIMIT ?",  # noqa: S608
                (low, high, self.listing.since, self.listing.number, _PAGE),
            )
            if not page:
                return
            yield [new(ListedObject, row) for row in page]
            low = make_bindable(page[-1][0] + "\0")

    def find_orphans_with(self, prefix: str, texts: Sequence[str]) -> Iterator[str]:
        """Yield the keys of :meth:`read_orphans` that contain one of these texts."""
        contains = " OR ".join(["instr(key, ?)"] * len(texts))
        query = f"SELECT key FROM object WHERE {_ORPHAN} AND ({contains}) ORDER BY key LIMIT ?"  # noqa: S608
        low, high = _compute_key_range(prefix)
        while page := self._store.rows(query, (low, high, self.listing.since, self.listing.number, *texts, _PAGE)):
            yield from (key for (key,) in page)
            low = make_bindable(page[-1][0] + "\0")

    def keep_keys(self, keys: Iterable[str]) -> None:
        """Note keys at or below which nothing may be deleted. They are this run's own, in a temporary table."""
        with self._transaction.batch():
            self._store.execute(_KEPT)
            self._keeps = True
            values = [(make_bindable(key),) for key in keys]
            self._store.execute_many("INSERT OR IGNORE INTO temp.kept VALUES (CAST(? AS TEXT))", values)

    def find_kept(self, keys: Sequence[str]) -> set[str]:
        """Return those of the kept keys that are one of these, or a directory of one; ``""`` is above all."""
        if not self._keeps:
            return set()
        names = list({"", *keys, *(key[:at] for key in keys for at, letter in enumerate(key) if letter == "/")})
        return {row[0] for batch in _batch_keys(names) for row in self._store.rows(_KEPT_AMONG, batch)}

    def count_listed(self) -> int:
        """Return how many objects the listing holds so far."""
        return int(self._store.value("SELECT count(*) FROM object WHERE listed >= ?", (self.listing.since,)))

    def has_listed_below(self, prefix: str) -> bool:
        """Return true if the current listing holds a key that begins with ``prefix``."""
        values = (*_compute_key_range(prefix), self.listing.since)
        return bool(self._store.value(f"SELECT EXISTS (SELECT 1 FROM object WHERE {_BELOW} AND listed >= ?)", values))  # noqa: S608

    def read_listed_below(self, prefix: str) -> list[str]:
        """Return the keys of the current listing that begin with ``prefix``. They have to be few."""
        values = (*_compute_key_range(prefix), self.listing.since)
        rows = self._store.rows(f"SELECT key FROM object WHERE {_BELOW} AND listed >= ?", values)  # noqa: S608
        return [key for (key,) in rows]

    def learn(self, jobs: Sequence[int], first: int, last: int, started: float, late: float = 0.0) -> None:
        """Turn what jobs have done, in the rows from ``first`` to ``last``, into facts. Part of a batch.

        Doing it again changes nothing. The jobs read files from ``started`` on (seconds since the epoch). The store's
        LastModified of what they wrote may be ``late`` seconds later than the Date of its answer.
        """
        settled, span = int((started - YOUNG) * 1e9), (first, last)
        names = {"jobs": ", ".join(map(str, jobs)), "earlier": self._store.earlier}
        if self._brings:
            self._store.execute(_BRING_CHANGED.format(**names), span)
        self._store.execute(_LEARN_WRITTEN.format(**names), (settled, late, *span))
        self._store.execute(_LEARN_FETCHED.format(**names), span)
        self._store.execute(_LEARN_COMPARED.format(**names), (settled, *span, self.listing.since, self.listing.since))
        self._store.execute(_FORGET_DELETED.format(**names), span)

    def learn_equal(self, files: Sequence[tuple[Comparison, float]]) -> None:
        """Record that files are equal to their listed objects.

        Each comes with LastModified of the object if S3 was asked, else 0.
        """
        settled, since = int((self._current.job.started - YOUNG) * 1e9), self.listing.since
        values = []
        plain = make_all_bindable([file.key for (file, _), _ in files])
        for ((_, key, (_, size, mtime, ctime, device, inode), etag, _), fingerprint), date in files:
            trusted, bound = ctime if ctime < settled else 0, key if plain else make_bindable(key)
            values.append((size, mtime, trusted, device, inode, fingerprint, date, date, bound, since, etag))
            self.asked += date > 0
        with self._transaction.batch():
            self._store.execute_many(_LEARN_EQUAL, values)

    def mark_planned(self, job: int, takes: Sequence[int], first: int, last: int) -> None:
        """Note that ``job`` has an operation for the keys of these rows, its own or of a job it takes. Part of a batch."""
        marks = ", ".join(map(str, takes))
        self._store.execute(_MARK_PLANNED.format(jobs=marks), (job, first, last, job))

    def find_planned_before(self, keys: Sequence[str]) -> set[str]:
        """Return those keys that the job had an operation for when it began, after :meth:`Jobs.take_over`."""
        job = self._current.job
        if not job.takes:
            return set()
        return {row[0] for batch in _batch_keys(keys) for row in self._store.rows(_PLANNED, (*batch, job.number))}

    def find_done_before(self, keys: Sequence[str]) -> set[str]:
        """Return those keys that a job wrote last which this one continues."""
        jobs = [job.number for job in self._current.list_continued()] if keys and self._current.job.continues else []
        if not jobs:
            return set()
        query = _WRITTEN_BY.format(jobs=", ".join(map(str, jobs)))
        return {row[0] for batch in _batch_keys(keys) for row in self._store.rows(query, batch)}

    def take_facts(self, facts: Sequence[tuple[str, KnownObject]]) -> None:
        """Take over another journal's facts about objects that are listed unchanged and unknown to this one."""
        since = self.listing.since
        values = [
            (
                known.etag, known.size, known.local.size, *rows.make_stamp_values(known.local), known.written,
                known.fingerprint, known.checksum, make_bindable(key), since, known.etag,
            )
            for key, known in facts
        ]  # fmt: skip
        with self._transaction.batch():
            self._store.execute_many(_TAKE, values)

    def read_facts(self, prefix: str) -> Iterator[list[tuple[str, KnownObject]]]:
        """Yield the facts of the objects below ``prefix``, a page at a time by key, after :meth:`Jobs.learn_facts`."""
        (low, high), job = _compute_key_range(prefix), self._current.job.number
        while page := self._store.rows(_CURRENT, (low, high, self.listing.since, job, _PAGE)):
            yield [(row[0], _decode_known_object(row[1:])) for row in page]
            low = make_bindable(page[-1][0] + "\0")

    def prune(self) -> None:
        """Forget rows that are neither facts nor in the last listing. Part of a batch."""
        self._store.execute("DELETE FROM object WHERE listed < ? AND known_etag IS NULL", (self.listing.since,))

    def _is_empty(self) -> bool:
        """Return whether nothing is listed or known, as in a first upload. A query per key would cost 0.6 us."""
        return not self._store.value("SELECT EXISTS (SELECT 1 FROM object)")

    def _remembered(self, name: str) -> str | None:
        value: str | None = self._store.value("SELECT value FROM remembered WHERE name = ?", (name,))
        return value

    def _remember(self, name: str, value: str) -> None:
        self._store.execute(
            "INSERT OR REPLACE INTO remembered VALUES (?, CAST(? AS TEXT))", (name, make_bindable(value))
        )


def _decode_known_object(row: tuple[Any, ...]) -> KnownObject:
    """Return the columns from ``known_etag`` to ``checksum`` as a fact."""
    etag, known_size, size, mtime, ctime, device, inode, written, fingerprint, checksum = row
    new = tuple.__new__
    stamp = new(Stamp, (FILE, size or 0, mtime, ctime, device, inode))
    return new(KnownObject, (etag, known_size, stamp, written, fingerprint, checksum))


def _batch_keys(keys: Sequence[str]) -> Iterator[list[str | bytes]]:
    """Yield the keys in lists of the size of a query; the last list is filled up with its last key."""
    plain = make_all_bindable(keys)
    for start in range(0, len(keys), _LOOK_UP_KEYS):
        batch: list[str | bytes] = list(keys[start : start + _LOOK_UP_KEYS])
        batch += batch[-1:] * (_LOOK_UP_KEYS - len(batch))
        yield batch if plain else [make_bindable(key) if isinstance(key, str) else key for key in batch]


def _compute_key_range(prefix: str) -> tuple[str | bytes, bytes]:
    """Return the lowest key that starts with ``prefix``, and the lowest beyond them all."""
    stem = prefix.encode("utf-8", "surrogateescape").rstrip(b"\xff")
    beyond = stem[:-1] + bytes([stem[-1] + 1]) if stem else _BEYOND_ALL
    return make_bindable(prefix), beyond
