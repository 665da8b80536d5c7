"""The changes of a chain of jobs, key by key, for an undo: what each job did last, and what is listed now.

They are collected into temporary tables, so that memory does not grow with them. Nothing here is kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from s3batch.base.named_tuple import NamedTuple
from s3batch.journal.database import Database, Row, make_bindable
from s3batch.model import ListedObject

_PAGE = 1000
_TABLES = (
    "DROP TABLE IF EXISTS temp.change",
    """CREATE TEMP TABLE change (
        key TEXT PRIMARY KEY NOT NULL, kind TEXT NOT NULL, etag TEXT NOT NULL, written REAL NOT NULL,
        listed_etag TEXT NOT NULL, settled INTEGER NOT NULL, backup TEXT NOT NULL DEFAULT '', acl TEXT NOT NULL DEFAULT '',
        now_size INTEGER, now_etag TEXT, now_modified REAL, row INTEGER NOT NULL DEFAULT 0,
        first TEXT NOT NULL DEFAULT '', before TEXT NOT NULL DEFAULT '', last TEXT NOT NULL DEFAULT '',
        later INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID""",
)
_KINDS = "('upload', 'transfer', 'copy', 'redirect', 'delete', 'restore')"
_SETTLED = f"""
INSERT INTO temp.change (key, kind, etag, written, listed_etag, settled, row, first, before, last)
SELECT key, kind, etag, written, listed_etag, 1, id,
    coalesce(version_id, ''), coalesce(previous_version_id, ''), coalesce(version_id, '') FROM operation
WHERE job IN ({{jobs}}) AND state = 'done' AND kind IN {_KINDS} ORDER BY id
ON CONFLICT (key) DO UPDATE SET kind = excluded.kind, etag = excluded.etag, written = excluded.written,
    row = excluded.row, last = excluded.last
"""  # noqa: S608 - constants
"""The last change of a key counts for what it is now, the first for what it was before."""
_UNSETTLED = f"""
INSERT INTO temp.change (key, kind, etag, written, listed_etag, settled, row)
SELECT key, kind, '', 0, listed_etag, 0, id FROM operation
WHERE job IN ({{jobs}}) AND (state IN ('leased', 'failed') OR (state IN ('pending', 'skipped') AND recheck))
    AND kind IN ('reconcile', {_KINDS[1:-1]}) ORDER BY id
ON CONFLICT (key) DO UPDATE SET settled = settled AND excluded.row < row,
    listed_etag = CASE WHEN excluded.row < row THEN excluded.listed_etag ELSE listed_etag END,
    first = CASE WHEN excluded.row < row THEN '' ELSE first END,
    before = CASE WHEN excluded.row < row THEN '' ELSE before END
"""  # noqa: S608 - constants
"""Requests of these may have been carried out, although no answer came. One that was found right may be so by them."""
_LATER = f"""
UPDATE temp.change SET later = 1 WHERE key IN
    (SELECT key FROM operation WHERE job IN ({{jobs}}) AND state = 'done' AND kind IN {_KINDS})
"""  # noqa: S608 - constants
"""LastModified does not tell two changes within a second apart, and a copy keeps the ETag."""
_BACKUP = """
INSERT INTO temp.change (key, kind, etag, written, listed_etag, settled, backup)
VALUES (CAST(? AS TEXT), '', '', 0, '', 0, CAST(? AS TEXT))
ON CONFLICT (key) DO UPDATE SET backup = CASE backup WHEN '' THEN excluded.backup ELSE backup END
"""


class ChangedKey(NamedTuple):
    """A key that a job has changed, or may have changed."""

    key: str
    kind: str
    """The kind of its last operation; empty if only a backup tells of it."""
    etag: str
    """The ETag of what the job wrote."""
    written: float
    listed_etag: str
    """The ETag in the listing before the first change; empty: there was no object."""
    settled: bool
    """True if the journal has the store's answer to the last change."""
    backup: str
    """The key of its backup; empty if there is none."""
    acl: str
    now: ListedObject | None
    """The object as it is listed now."""
    first: str = ""
    """The id of the version that the first change wrote; empty if the journal has none."""
    before: str = ""
    """The version before it, if a HEAD told it."""
    last: str = ""
    """The version that the last change wrote."""
    later: bool = False
    """True if a later job has changed the key, as the journal knows."""


class Reversals:
    """Collects the changes of jobs. One undo uses it at a time."""

    def __init__(self, store: Database) -> None:
        self._store = store

    def collect(self, jobs: Sequence[int], later: Sequence[int]) -> None:
        """Begin anew with the operations of these jobs. ``later`` are those of the target that began after them."""
        numbers = ", ".join(map(str, jobs))
        for statement in _TABLES:
            self._store.execute(statement)
        self._store.execute(_SETTLED.format(jobs=numbers))
        self._store.execute(_UNSETTLED.format(jobs=numbers))
        self._store.execute(_LATER.format(jobs=", ".join(map(str, later))))

    def note_backups(self, found: Iterable[tuple[str, str]]) -> None:
        """Note keys and the keys of their backups. Of several backups the first that is noted counts."""
        rows = [(make_bindable(key), make_bindable(backup)) for key, backup in found]
        self._store.execute_many(_BACKUP, rows)

    def note_acls(self, found: Iterable[tuple[str, str]]) -> None:
        """Note keys and the canned ACLs that their objects had."""
        rows = [(acl, make_bindable(key)) for key, acl in found]
        self._store.execute_many("UPDATE temp.change SET acl = ? WHERE key = CAST(? AS TEXT) AND acl = ''", rows)

    def read_keys(self) -> Iterator[list[str]]:
        """Yield the keys, a page at a time."""
        for page in self.read_changes():
            yield [each.key for each in page]

    def note_listed(self, found: Iterable[ListedObject]) -> None:
        """Note what is listed now."""
        rows = [(each.size, each.etag, each.modified, make_bindable(each.key)) for each in found]
        self._store.execute_many(
            "UPDATE temp.change SET now_size = ?, now_etag = ?, now_modified = ? WHERE key = CAST(? AS TEXT)", rows
        )

    def read_changes(self) -> Iterator[list[ChangedKey]]:
        """Yield the changes, a page at a time by key."""
        after: str | bytes = ""
        while True:
            rows = self._store.rows(
                """SELECT key, kind, etag, written, listed_etag, settled, backup, acl, now_size, now_etag, now_modified,
                first, before, last, later FROM temp.change WHERE key > CAST(? AS TEXT) ORDER BY key LIMIT ?""",
                (after, _PAGE),
            )
            if not rows:
                return
            yield [_decode_change(row) for row in rows]
            after = make_bindable(rows[-1][0])

    def read_window(self, jobs: Sequence[int]) -> tuple[float, float]:
        """Return when the store first answered these jobs, and until when their requests may have landed: its clock."""
        numbers = ", ".join(map(str, jobs))
        row = self._store.rows(
            f"""SELECT coalesce(min(nullif(store_date, 0)), 0),
            max(coalesce(nullif(seen_there, 0), seen) + timeout) FROM job WHERE number IN ({numbers})"""  # noqa: S608
        )[0]
        return float(row[0]), float(row[1])


def _decode_change(row: Row) -> ChangedKey:
    key, kind, etag, written, listed_etag, settled, backup, acl, size, now_etag, modified, *versions, later = row
    now = None if size is None else ListedObject(key, size, now_etag, modified)
    return ChangedKey(key, kind, etag, written, listed_etag, bool(settled), backup, acl, now, *versions)._replace(
        later=bool(later)
    )
