"""The orphans of the current listing: objects that no file of the source answers to. ``journal.orphans``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from s3batch.journal.database import make_bindable
from s3batch.journal.key_queries import BELOW, KEYS, PAGE, batch_keys, compute_key_range
from s3batch.model import ListedObject

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from s3batch.journal.database import Database
    from s3batch.journal.objects import Objects
    from s3batch.journal.transaction import Transaction

_MARK_SEEN = f"UPDATE object SET seen = ? WHERE key IN ({KEYS})"  # noqa: S608 - constants
_ORPHAN = f"{BELOW} AND listed >= ? AND seen <> ?"
_KEPT = "CREATE TEMP TABLE IF NOT EXISTS kept (key TEXT PRIMARY KEY NOT NULL) WITHOUT ROWID"
_KEPT_AMONG = f"SELECT key FROM temp.kept WHERE key IN ({KEYS})"  # noqa: S608 - constants


class Orphans:
    """The column ``seen``, and the keys that no delete may touch."""

    def __init__(self, store: Database, transaction: Transaction, objects: Objects) -> None:
        self._store = store
        self._transaction = transaction
        self._objects = objects
        self._listing = objects.listing
        self._keeps = False

    def mark_seen(self, keys: Sequence[str]) -> None:
        """Note that the source has a file for these keys: they are no orphans."""
        with self._transaction.batch():
            if self._objects.is_empty():
                return
            for batch in batch_keys(keys):
                self._store.execute(_MARK_SEEN, (self._listing.number, *batch))

    def read_orphans(self, prefix: str) -> Iterator[list[ListedObject]]:
        """Yield, a page at a time by key, the listed objects below ``prefix`` that were not marked as seen."""
        (low, high), new = compute_key_range(prefix), tuple.__new__
        while True:
            page = self._store.rows(
                f"SELECT key, size, etag, modified FROM object WHERE {_ORPHAN} ORDER BY key LIMIT ?",  # noqa: S608
                (low, high, self._listing.since, self._listing.number, PAGE),
            )
            if not page:
                return
            yield [new(ListedObject, row) for row in page]
            low = make_bindable(page[-1][0] + "\0")

    def find_orphans_with(self, prefix: str, texts: Sequence[str]) -> Iterator[str]:
        """Yield the keys of :meth:`read_orphans` that contain one of these texts."""
        contains = " OR ".join(["instr(key, ?)"] * len(texts))
        query = f"SELECT key FROM object WHERE {_ORPHAN} AND ({contains}) ORDER BY key LIMIT ?"  # noqa: S608
        low, high = compute_key_range(prefix)
        while page := self._store.rows(query, (low, high, self._listing.since, self._listing.number, *texts, PAGE)):
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
        return {row[0] for batch in batch_keys(names) for row in self._store.rows(_KEPT_AMONG, batch)}
