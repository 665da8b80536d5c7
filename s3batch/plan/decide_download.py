"""The decision for one object of a download: nothing, compare, or fetch. Pure: no clock, no disk, no client."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

from s3batch.model import Kind, Operation, Reason, has_stamp, stamp_of

if TYPE_CHECKING:
    import os

    from s3batch.model import KnownObject, ListedObject

SAME_SECOND = 1.0
"""Seconds: a listing tells milliseconds of LastModified, a response whole seconds."""


def decide_download(
    listed: ListedObject, known: KnownObject | None, path: str, found: os.stat_result | None
) -> Operation | None:
    """Return the operation for an object, or ``None`` if the file at ``path`` is right.

    ``known`` are the journal's facts of the last fetch, or ``None`` if they are not trusted; ``found`` is what is there.
    """
    if found is None:
        return _make_operation(Kind.DOWNLOAD, Reason.MISSING, listed, path)
    if not stat.S_ISREG(found.st_mode):
        return _make_operation(Kind.DOWNLOAD, Reason.CONTENT, listed, path)._replace(stamp=stamp_of(found))
    if known is not None and is_fetched_object(listed, known) and has_stamp(found, known.local):
        return None
    if found.st_size != listed.size:
        return _make_operation(Kind.DOWNLOAD, Reason.CONTENT, listed, path)._replace(stamp=stamp_of(found))
    return _make_operation(Kind.RECONCILE, Reason.UNKNOWN, listed, path)._replace(stamp=stamp_of(found))


def name_blocked(listed: ListedObject, path: str) -> Operation:
    """Return the operation of a saved plan for an object that a file or a link keeps from its place."""
    return _make_operation(Kind.DOWNLOAD, Reason.BLOCKED, listed, path)


def is_fetched_object(listed: ListedObject, known: KnownObject) -> bool:
    """Return whether a listed object is the one that was fetched."""
    return (
        listed.etag == known.etag != ""
        and listed.size == known.size
        and abs(listed.modified - known.written) < SAME_SECOND
    )


def _make_operation(kind: Kind, reason: Reason, listed: ListedObject, path: str) -> Operation:
    return Operation(kind, listed.key, reason, path, listed.size, etag=listed.etag)
