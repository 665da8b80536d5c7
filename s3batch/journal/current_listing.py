"""The listing of the target, as the rows of ``object`` hold it: one that shows what the last one showed writes nothing.

    remembered "listing"        number of the newest listing, complete or not
    remembered "listing since"  a row with ``listed`` from this number on is in the listing; any other row is not

A listing in progress has a "since" of its own number. So after a kill only rows that it has written itself are in the
listing. Its end puts back the "since" of the listing before, and so all the rows count that it has found as they were.

    page in key order: rows up to its last key ─ the same ──────────────────> nothing
                                               └ others, new or missing ones ─> written with its number; or with 0
    page in another order: rows found so far get its number, and from now on each row does
"""

from __future__ import annotations

from operator import lt
from typing import TYPE_CHECKING

from s3batch.journal.database import make_all_bindable, make_bindable
from s3batch.settings.s3_limits import LISTING_PAGE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from s3batch.journal.database import Database
    from s3batch.journal.transaction import Transaction
    from s3batch.model import ListedObject

_NUMBER, _SINCE = "listing", "listing since"

_RECORD = "INSERT INTO object (key, size, etag, modified, listed)"
_RECORD_OVER = """
ON CONFLICT (key) DO UPDATE SET
    size = excluded.size, etag = excluded.etag, modified = excluded.modified, listed = excluded.listed
"""
_RECORD_KNOWN = """
INSERT INTO object (key, size, etag, modified, listed, known_etag, known_size, written, fingerprint, local_size, checksum,
    local_mtime_ns, local_inode)
VALUES (CAST(? AS TEXT), ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, 0)
"""
_IS_NEW = "SELECT NOT EXISTS (SELECT 1 FROM object WHERE key > CAST(? AS TEXT) AND key <= CAST(? AS TEXT))"
_BETWEEN = "key > CAST(? AS TEXT) AND key <= CAST(? AS TEXT) AND listed >= ?"
_RECORDED = f"SELECT key, size, etag, modified FROM object WHERE {_BETWEEN} ORDER BY key LIMIT ?"  # noqa: S608 - constants
_PAGE_END = "SELECT key FROM object WHERE key > CAST(? AS TEXT) AND listed >= ? ORDER BY key LIMIT 2 OFFSET ?"
_UNLIST = "UPDATE object SET listed = 0 WHERE key = CAST(? AS TEXT)"
_UNLIST_BETWEEN = f"UPDATE object SET listed = 0 WHERE {_BETWEEN}"  # noqa: S608 - constants
_UNLIST_BEYOND = "UPDATE object SET listed = 0 WHERE key > CAST(? AS TEXT) AND listed >= ?"
_NUMBER_UP_TO = "UPDATE object SET listed = ? WHERE key <= CAST(? AS TEXT) AND listed >= ?"


class CurrentListing:
    """The newest listing of one journal."""

    def __init__(self, store: Database, transaction: Transaction) -> None:
        self._store = store
        self._transaction = transaction
        self.number = self._recall(_NUMBER, 0)
        """The number of the newest listing."""
        self.since = max(1, self._recall(_SINCE, self.number))
        """A row is in the listing if its ``listed`` is no lower. While it goes on, a row that was found the same is not."""
        self._before = self.since
        """The "since" of the listing before."""
        self._reached = b""
        """Every row up to this key is as the listing in progress has shown it."""
        self._in_order = False
        self.shown = 0
        """Objects that the listing in progress has shown so far."""

    def begin(self, *, in_order: bool = True) -> int:
        """Begin a listing; nothing counts as listed any more. Return its number. ``in_order``: pages may be."""
        with self._transaction.batch():
            self.number += 1
            self._before, self.since = self.since, self.number
            self._reached, self._in_order, self.shown = b"", in_order, 0
            self._keep()
        return self.number

    def record(self, objects: Sequence[ListedObject]) -> None:
        """Record the next page."""
        if not objects:
            return
        self.shown += len(objects)
        with self._transaction.batch():
            if not (self._in_order and self._record_in_order(objects)):
                self._give_up_order()
                self.write(objects)

    def record_first(self, objects: Sequence[ListedObject], facts: Mapping[str, tuple[Any, ...]]) -> bool:
        """Record the next page where the journal has no row about its keys, each row with its fact if it has one.

        ``facts`` has by key the columns from ``key`` to ``checksum`` of :data:`s3batch.journal.facts.FactRow`. Return
        false, with nothing recorded, for any other page. Part of a batch.
        """
        if not (self._in_order and self._continues(objects)):
            return False
        last = _encode_for_order(objects[-1].key)
        if not self._store.value(_IS_NEW, (self._reached, last)):
            return False
        known, others, number = [], [], self.number
        for key, each in zip(_bind_keys(objects), objects, strict=True):
            fact = facts.get(each.key)
            if fact is not None and fact[1] == each.etag:
                known.append((key, each.size, each.etag, each.modified, number, *fact[1:]))
            else:
                others.append(each)
        self._store.execute_many(_RECORD_KNOWN, known)
        self.write(others)
        self.shown, self._reached = self.shown + len(objects), last
        return True

    def complete(self) -> None:
        """End the listing: what it has not shown is not in the bucket."""
        if not self._in_order:
            return
        with self._transaction.batch():
            self._store.execute(_UNLIST_BEYOND, (self._reached, self._before))
            self.since, self._in_order = self._before, False
            self._keep()

    def write(self, objects: Sequence[ListedObject]) -> None:
        """Write objects that are in the bucket, whatever the journal has of them. Part of a batch."""
        rows = [(key, *each[1:]) for key, each in zip(_bind_keys(objects), objects, strict=True)]
        self._store.insert_many(_RECORD, f"(CAST(? AS TEXT), ?, ?, ?, {self.number})", rows, _RECORD_OVER)

    def guess_page_end(self, start: str) -> str | None:
        """Return the last key of the page after the key ``start``, if all is as in the last listing; ``None``: it is the last."""
        since = self._before if self._in_order else self.since
        rows = self._store.rows(_PAGE_END, (make_bindable(start), since, LISTING_PAGE - 1))
        key: str = rows[0][0] if len(rows) == 2 else ""  # else it is the last page
        return key if key and make_all_bindable([key]) else None

    def since_for(self, keys: Sequence[str]) -> int:
        """Return what :attr:`since` is for the rows of these keys."""
        return self._before if self.covers(keys) else self.since

    def covers(self, keys: Sequence[str]) -> bool:
        """Return true if the listing goes on, and no further page changes the row of one of these keys."""
        return self._in_order and find_last_key(keys) <= self._reached

    def has_reached(self, last: bytes) -> bool:
        """Return the same for keys of which :func:`find_last_key` returns ``last``."""
        return self._in_order and last <= self._reached

    def _record_in_order(self, objects: Sequence[ListedObject]) -> bool:
        """Write what differs from the rows. Return false, with nothing written, for a page that is not in order."""
        last = _encode_for_order(objects[-1].key)
        if last <= self._reached:
            return False
        span = (self._reached, last, self._before)
        rows = self._store.rows(_RECORDED, (*span, len(objects) * 2))
        if rows != objects:
            if not self._continues(objects):
                return False
            if len(rows) < len(objects) * 2:
                found, shown = set(rows), {each.key for each in objects} if rows else ()
                gone = [(make_bindable(row[0]),) for row in rows if row[0] not in shown]
                self._store.execute_many(_UNLIST, gone)
                self.write([each for each in objects if each not in found] if rows else objects)
            else:  # many objects have gone, and not all rows of them were read
                self._store.execute(_UNLIST_BETWEEN, span)
                self.write(objects)
        self._reached = last
        return True

    def _continues(self, objects: Sequence[ListedObject]) -> bool:
        """Return whether the keys of a page are in their order, and all beyond those of the pages before."""
        keys: list[Any] = [each.key for each in objects]
        if not make_all_bindable(keys):  # else code points sort as their UTF-8 does
            keys = list(map(_encode_for_order, keys))
        return self._reached < _encode_for_order(objects[0].key) and all(map(lt, keys, keys[1:]))

    def _give_up_order(self) -> None:
        """Give the rows that were found so far the number of this listing, as each row gets it from now on."""
        if self._in_order:
            self._in_order = False
            self._store.execute(_NUMBER_UP_TO, (self.number, self._reached, self._before))

    def _keep(self) -> None:
        values = [(_NUMBER, str(self.number)), (_SINCE, str(self.since))]
        self._store.execute_many("INSERT OR REPLACE INTO remembered VALUES (?, ?)", values)

    def _recall(self, name: str, otherwise: int) -> int:
        found = self._store.value("SELECT value FROM remembered WHERE name = ?", (name,))
        try:
            return otherwise if found is None else int(found)
        except ValueError:
            self._store.refuse(f"its entry {name!r} is not a number")


def _bind_keys(objects: Sequence[ListedObject]) -> Sequence[str | bytes]:
    keys = [each.key for each in objects]
    return keys if make_all_bindable(keys) else list(map(make_bindable, keys))


def find_last_key(keys: Sequence[str]) -> bytes:
    """Return the key that SQLite, and S3's listings, sort last."""
    if make_all_bindable(keys):
        return max(keys, default="").encode()  # code points sort as their UTF-8 does
    return max(map(_encode_for_order, keys))


def _encode_for_order(key: str) -> bytes:
    """Return a key as SQLite sorts it, which is the order of S3's listings."""
    return key.encode("utf-8", "surrogateescape")
