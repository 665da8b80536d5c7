"""Doubts: keys that a dead run, or a dead worker, was working on.

Its requests may still land, or have begun an unrecorded upload. A row exists from the moment a lease is void, or a
worker is lost, until both questions are answered. ``until`` is 0 when no request can be
under way any more and the key was checked. ``upload`` is 0 when uploads that may have been begun are aborted.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from s3batch.journal.database import Database, bindable
from s3batch.model import Kind

_PARTS_FROM = 5 << 20
"""Bytes, S3's least part: who sends a smaller file in parts has to look for what is left of it."""
_MARGIN = 7.0
"""Seconds: a sign of life may be one second old, and workers whose coordinator stands still go on for five."""

_END = "coalesce(nullif(job.seen_there, 0), job.seen) + job.timeout + ?"
_NOTE = f"""
INSERT INTO doubt (key, path, kind, upload, since, until)
SELECT operation.key, path, kind, kind = 'upload' AND upload_id = '' AND size >= ?, job.store_date,
    CASE job.command WHEN 'sync' THEN {_END} ELSE 0 END
FROM operation JOIN job ON job.number = operation.job
WHERE operation.id > ? AND operation.id <= ? AND +operation.job IN ({{jobs}}) AND operation.state = 'leased'
    AND (job.command = 'sync' OR kind = 'upload')
ON CONFLICT (key) DO UPDATE SET path = excluded.path, kind = excluded.kind, upload = max(upload, excluded.upload),
    since = min(since, excluded.since), until = max(until, excluded.until)
"""  # noqa: S608 - constants
_NOTE_UPLOAD = f"""
INSERT INTO doubt (key, path, kind, upload, since, until)
SELECT CAST(? AS TEXT), CAST(? AS TEXT), 'upload', 1, store_date, CASE command WHEN 'sync' THEN {_END} ELSE 0 END
FROM job WHERE number = ?
ON CONFLICT (key) DO UPDATE SET upload = 1, until = max(until, excluded.until)
"""  # noqa: S608 - constants
_NOTE_LOST = f"""
INSERT INTO doubt (key, path, kind, upload, since, until)
SELECT operation.key, path, kind, 0, job.store_date, {_END}
FROM operation JOIN job ON job.number = ? WHERE operation.id = ? AND job.command = 'sync'
ON CONFLICT (key) DO UPDATE SET path = excluded.path, kind = excluded.kind, since = min(since, excluded.since),
    until = max(until, excluded.until)
"""  # noqa: S608 - constants
_ANSWERED = "DELETE FROM doubt WHERE upload = 0 AND until = 0"


class Doubt(NamedTuple):
    """A key that a dead run, or a dead worker, was working on."""

    key: str
    path: str
    """Of its file; empty where the operation had none."""
    kind: Kind
    upload: bool
    """True if a multipart upload may have been begun without a recorded id."""
    since: float
    """When the store first answered that run, by the store's clock; 0 if it never did."""
    until: float
    """From when on no request of that run is under way, by the store's clock; 0: looked at since."""


def note(store: Database, first: int, last: int, jobs: str) -> None:
    """Note the keys of leased rows from ``first`` to ``last`` before their leases are void."""
    store.execute(_NOTE.format(jobs=jobs), (_PARTS_FROM, _MARGIN, first, last))


def note_upload(store: Database, job: int, key: str, path: str) -> None:
    """Note that the job may have begun an upload of ``key`` whose id was not received."""
    store.execute(_NOTE_UPLOAD, (bindable(key), bindable(path), _MARGIN, job))


def note_lost(store: Database, job: int, rows: Iterable[int]) -> None:
    """Note the keys of rows that a worker of the job had begun when it died."""
    store.execute_many(_NOTE_LOST, [(_MARGIN, job, row) for row in rows])


def all_of(store: Database) -> list[Doubt]:
    """Return the keys in doubt, in their order."""
    rows = store.rows("SELECT key, path, kind, upload, since, until FROM doubt ORDER BY key")
    return [Doubt(key, path, Kind(kind), bool(upload), *times) for key, path, kind, upload, *times in rows]


def looked_at(store: Database, keys: Iterable[str]) -> None:
    """Record that these keys are as they should be, and that nothing is under way to them any more."""
    _answer(store, "until", keys)


def uploads_aborted(store: Database, keys: Iterable[str]) -> None:
    """Record that no upload of these keys is left that a dead run began."""
    _answer(store, "upload", keys)


def _answer(store: Database, question: str, keys: Iterable[str]) -> None:
    rows = [(bindable(key),) for key in keys]
    store.execute_many(f"UPDATE doubt SET {question} = 0 WHERE key = CAST(? AS TEXT)", rows)  # noqa: S608 - constants
    store.execute(_ANSWERED)
