"""Objects that a renamed file may have left: listed, without a file so far, found by their size. ``journal.moved``."""

from __future__ import annotations

from s3batch.base.named_tuple import NamedTuple
from s3batch.journal.database import Database, make_bindable
from s3batch.journal.objects import Objects
from s3batch.journal.transaction import Transaction

_MOST = 200
"""Objects of one size that are looked at."""
_TABLE = """
CREATE TEMP TABLE IF NOT EXISTS moved
    (size INTEGER, key TEXT, etag TEXT, checksum TEXT, PRIMARY KEY (size, key)) WITHOUT ROWID
"""
_FILL = """
INSERT OR IGNORE INTO temp.moved
SELECT size, key, etag,
    CASE WHEN known_etag = etag AND known_size = size AND modified < written + 1 THEN coalesce(checksum, '') ELSE '' END
FROM object WHERE key >= CAST(? AS TEXT) AND listed >= ? AND seen <> ? AND size > 0 AND etag <> ''
"""
"""A checksum counts if the object is the one that the last own write made."""


class UnclaimedObject(NamedTuple):
    """An object that no file answers to so far."""

    key: str
    etag: str
    checksum: str
    """The checksum of the last own write; empty if that is not known."""


class MovedObjects:
    """The objects that files may have been renamed from. They are this run's own, in a temporary table."""

    def __init__(self, store: Database, transaction: Transaction, objects: Objects) -> None:
        self._store = store
        self._transaction = transaction
        self._objects = objects
        self._there: bool | None = None

    def find(self, size: int, prefix: str) -> list[UnclaimedObject]:
        """Return objects below ``prefix`` of this size, after a complete listing. The first call takes 2 us an object."""
        if self._there is None:
            self._there = self._fill(prefix)
        if not self._there:
            return []
        rows = self._store.rows("SELECT key, etag, checksum FROM temp.moved WHERE size = ? LIMIT ?", (size, _MOST))
        return [UnclaimedObject._make(row) for row in rows if row[0].startswith(prefix)]

    def _fill(self, prefix: str) -> bool:
        listing = self._objects.listing
        with self._transaction.batch():
            self._store.execute(_TABLE)
            return self._store.execute(_FILL, (make_bindable(prefix), listing.since, listing.number)) > 0
