"""The facts about objects: what s3batch wrote, fetched, or found equal to a file. ``journal.facts``.

A fact stays until the same key is written or deleted again. All of it is a cache: losing it costs time only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from s3batch.journal import rows
from s3batch.journal.database import make_all_bindable, make_bindable
from s3batch.journal.key_queries import BELOW, KEYS, PAGE, batch_keys, compute_key_range
from s3batch.model import FILE, KnownObject, Stamp

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from s3batch.journal.current_job import CurrentJob
    from s3batch.journal.database import Database
    from s3batch.journal.objects import Objects
    from s3batch.journal.transaction import Transaction
    from s3batch.model import Comparison, ListedObject

_YOUNG = 2.0
"""Seconds: the coarsest tick of a file system's clock (FAT's). No ctime tells two changes within it apart."""
FACT = """known_etag, known_size, local_size, local_mtime_ns, local_ctime_ns, local_device, local_inode,
    written, fingerprint, checksum"""
"""The columns of a fact, as :func:`decode_known_object` reads them."""
_OLD_ENOUGH = "CASE WHEN ctime_ns < ? THEN ctime_ns ELSE 0 END"
"""A file that changed as late as this may have changed again in the same tick of its file system's clock."""
_KEEP_CHECKSUM = """checksum = CASE WHEN excluded.checksum = '' AND object.known_etag = excluded.known_etag
        THEN object.checksum ELSE excluded.checksum END"""

_LEARN_WRITTEN = f"""
INSERT INTO object (key, {FACT}, writer)
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
INSERT INTO object (key, {FACT}, writer)
SELECT key, etag, size, size, mtime_ns, CASE WHEN mtime_ns < ctime_ns - {int(_YOUNG * 1e9)} THEN ctime_ns ELSE 0 END,
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
INSERT INTO object (key, {FACT}, writer)
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
SELECT key, {FACT} FROM object
WHERE {BELOW} AND known_etag IS NOT NULL AND ((listed >= ? AND etag = known_etag) OR writer = ?)
ORDER BY key LIMIT ?
"""  # noqa: S608 - constants
_WRITTEN_BY = f"SELECT key FROM object WHERE key IN ({KEYS}) AND writer IN ({{jobs}})"  # noqa: S608 - constants


FactRow = tuple[str, str, int, float, str, int, str]
"""A fact about an object's content: key, ETag, size, written, fingerprint, size of the file, checksum."""


class ObjectFacts:
    """The columns of a fact. Every method that writes commits, unless a batch is open."""

    def __init__(self, store: Database, transaction: Transaction, current: CurrentJob, objects: Objects) -> None:
        self._store = store
        self._transaction = transaction
        self._current = current
        self._objects = objects
        self._listing = objects.listing
        self.asked = 0
        """The number of objects whose attributes this run has learned by asking S3, and which no operation tells."""

    def has_facts(self) -> bool:
        """Return true if anything is known of objects but what was listed."""
        return bool(self._store.value("SELECT EXISTS (SELECT 1 FROM object WHERE known_etag IS NOT NULL)"))

    def learn(self, jobs: Sequence[int], first: int, last: int, started: float, late: float = 0.0) -> None:
        """Turn what jobs have done, in the rows from ``first`` to ``last``, into facts. Part of a batch.

        Doing it again changes nothing. The jobs read files from ``started`` on (seconds since the epoch). The store's
        LastModified of what they wrote may be ``late`` seconds later than the Date of its answer.
        """
        settled, span, since = int((started - _YOUNG) * 1e9), (first, last), self._listing.since
        names = {"jobs": ", ".join(map(str, jobs)), "earlier": self._store.earlier}
        self._objects.bring_changed(jobs, first, last)
        self._store.execute(_LEARN_WRITTEN.format(**names), (settled, late, *span))
        self._store.execute(_LEARN_FETCHED.format(**names), span)
        self._store.execute(_LEARN_COMPARED.format(**names), (settled, *span, since, since))
        self._forget(jobs, first, last)

    def forget_deleted(self, jobs: Sequence[int], first: int, last: int) -> None:
        """Do what :meth:`learn` does where all these rows are deletes: three looks at each row less. Part of a batch."""
        self._objects.bring_changed(jobs, first, last)
        self._forget(jobs, first, last)

    def _forget(self, jobs: Sequence[int], first: int, last: int) -> None:
        statement = _FORGET_DELETED.format(jobs=", ".join(map(str, jobs)), earlier=self._store.earlier)
        self._store.execute(statement, (first, last))

    def learn_equal(self, files: Sequence[tuple[Comparison, float]]) -> None:
        """Record that files are equal to their listed objects.

        Each comes with LastModified of the object if S3 was asked, else 0.
        """
        keys = [file.key for (file, _), _ in files]
        settled, since = int((self._current.job.started - _YOUNG) * 1e9), self._listing.since_for(keys)
        values = []
        plain = make_all_bindable(keys)
        for ((_, key, (_, size, mtime, ctime, device, inode), etag, _), fingerprint), date in files:
            trusted, bound = ctime if ctime < settled else 0, key if plain else make_bindable(key)
            values.append((size, mtime, trusted, device, inode, fingerprint, date, date, bound, since, etag))
            self.asked += date > 0
        with self._transaction.batch():
            self._store.execute_many(_LEARN_EQUAL, values)

    def find_done_before(self, keys: Sequence[str]) -> set[str]:
        """Return those keys that a job wrote last which this one continues."""
        jobs = [job.number for job in self._current.list_continued()] if keys and self._current.job.continues else []
        if not jobs:
            return set()
        query = _WRITTEN_BY.format(jobs=", ".join(map(str, jobs)))
        return {row[0] for batch in batch_keys(keys) for row in self._store.rows(query, batch)}

    def record_known(self, objects: Sequence[ListedObject], facts: Sequence[FactRow]) -> None:
        """Record a page of the listing with another journal's facts about its objects, as far as they are the same ones."""
        with self._transaction.batch():
            if facts and self._listing.record_first(objects, {row[0]: row for row in facts}):
                return
            self._objects.record_listing(objects)
            self.take_rows(facts)

    def take_rows(self, facts: Sequence[FactRow]) -> None:
        """Take over facts as :meth:`take_facts` does."""
        self.take_facts([(row[0], make_known_object(row)) for row in facts])

    def take_facts(self, facts: Sequence[tuple[str, KnownObject]]) -> None:
        """Take over another journal's facts about objects that are listed unchanged and unknown to this one."""
        since = self._listing.since_for([key for key, _ in facts])
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
        (low, high), job = compute_key_range(prefix), self._current.job.number
        while page := self._store.rows(_CURRENT, (low, high, self._listing.since, job, PAGE)):
            yield [(row[0], decode_known_object(row[1:])) for row in page]
            low = make_bindable(page[-1][0] + "\0")


def make_known_object(row: FactRow) -> KnownObject:
    """Return the fact of a row. It tells of no file of this machine: only its content is known."""
    _, etag, size, written, fingerprint, local_size, checksum = row
    return KnownObject(etag, size, Stamp(FILE, local_size), written, fingerprint, checksum)


def decode_known_object(row: tuple[Any, ...]) -> KnownObject:
    """Return the columns from ``known_etag`` to ``checksum`` as a fact."""
    etag, known_size, size, mtime, ctime, device, inode, written, fingerprint, checksum = row
    new = tuple.__new__
    stamp = new(Stamp, (FILE, size or 0, mtime, ctime, device, inode))
    return new(KnownObject, (etag, known_size, stamp, written, fingerprint, checksum))
