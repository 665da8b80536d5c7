"""The decision of an undo for one key: restore, delete, nothing, or named as changed since. Pure: no request, no clock.

left as the job left it?   had an object before    the key gets
yes                        yes                     its old object
yes                        no                      no object
no                                                 nothing, and is named
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from s3batch.base.named_tuple import NamedTuple
from s3batch.model import Kind, Operation, Reason, RestoreSpec, Stage, Stamp
from s3batch.objects.compare import LISTING_GRAIN
from s3batch.worker.delete_check import modified_ns

if TYPE_CHECKING:
    from s3batch.journal.reversals import ChangedKey
    from s3batch.model import ListedObject


class UndoFacts(NamedTuple):
    """What is known of the jobs that are undone."""

    bucket: str
    """The bucket of the backups; empty: the bucket's versions are used."""
    begin: float
    """When the store first answered the jobs, by its clock."""
    end: float
    """The time until which a request of theirs may have landed."""
    late: float = 0.0
    """Seconds by which LastModified of a write may be later than the Date of its response."""


class ChangedSinceError(Exception):
    """The key is not as the job left it."""


def decide_undo(change: ChangedKey, facts: UndoFacts) -> Operation | None:
    """Return the operation that takes a change back; ``None`` if there is nothing to do. Raises ChangedSinceError."""
    now = change.now
    if not _may_have_changed(change, facts):
        return None
    _require_as_left(change, now, facts)
    seen_ns = 0 if now is None else modified_ns(now.modified)
    etag = "" if now is None else now.etag
    if change.backup or not facts.bucket:
        spec = RestoreSpec(
            seen_ns, facts.bucket if change.backup else "", change.backup, change.acl, change.listed_etag, facts.begin,
            first=change.first, before=change.before, last=change.last if change.settled else "",
        )  # fmt: skip
        if not change.backup and now is None and not change.listed_etag:
            return None  # it was created, and is gone
        return Operation(Kind.RESTORE, change.key, Reason.UNDO, stage=Stage.MAIN, etag=etag, spec=spec)
    if now is None:
        if change.kind == Kind.DELETE and change.settled:
            raise ChangedSinceError("there is no backup of it")
        return None
    if change.listed_etag and change.settled:
        raise ChangedSinceError("there is no backup of it")
    if change.listed_etag:
        return None  # a backup comes before each change, so there was none
    return Operation(Kind.DELETE, change.key, Reason.UNDO, stamp=Stamp(mtime_ns=seen_ns), stage=Stage.MAIN, etag=etag)


def _may_have_changed(change: ChangedKey, facts: UndoFacts) -> bool:
    """Return whether the job may have changed this key: a change without an answer shows in LastModified."""
    if change.settled:
        return True
    if change.now is None:
        return bool(change.backup or change.listed_etag)
    return change.now.modified >= facts.begin - LISTING_GRAIN


def _may_be_same_etag(listed: str, written: str) -> bool:
    """Return whether two ETags may be of one object: rclone lists an MD5 where it has told an ETag of parts."""
    return listed == written or ("-" in listed) is not ("-" in written)


def _require_as_left(change: ChangedKey, now: ListedObject | None, facts: UndoFacts) -> None:
    """Raise ChangedSinceError if someone has changed the key since the job."""
    if change.later:
        raise ChangedSinceError("a later job changed it")
    if not change.settled:
        if now is not None and now.modified > facts.end:
            raise ChangedSinceError("it was changed since")
        return
    if change.kind == Kind.DELETE:
        if now is not None:
            raise ChangedSinceError("it was written since")
        return
    if now is None:
        if change.etag:  # a restore that removed an object has none
            raise ChangedSinceError("it was deleted since")
        return
    if not _may_be_same_etag(now.etag, change.etag) or now.modified >= change.written + facts.late + LISTING_GRAIN:
        raise ChangedSinceError("it was changed since")
