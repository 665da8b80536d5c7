"""The decision for one file: nothing, compare, or send. Pure: no clock, no disk, no client."""

from __future__ import annotations

from typing import TYPE_CHECKING

from s3batch.model import (
    COMPRESSED,
    MISSING,
    UPLOAD,
    AttributesChanged,
    Kind,
    KnownAttributes,
    KnownContent,
    KnownWhole,
    Operation,
    Reason,
)
from s3batch.objects import compare
from s3batch.settings.s3_limits import PARTS_LIMIT

if TYPE_CHECKING:
    from s3batch.model import KnownObject, ListedObject, LocalFile, OperationSpec


def decide_operation(
    file: LocalFile,
    key: str,
    listed: ListedObject | None,
    known: KnownObject | None,
    fingerprint: str,
    *,
    stage: int,
    gzip: bool,
    preserves: bool = False,
) -> Operation | None:
    """Return the operation that ``file`` needs, or ``None`` if the object under ``key`` is right.

    ``known`` are the journal's facts of the last own write, or ``None`` if they are not trusted. ``fingerprint`` is of
    the attributes wanted. With ``gzip`` the stored size says nothing about the file's. With ``preserves`` another stamp
    means other attributes.
    """
    if listed is None:  # all of a first upload
        stamp = file.stamp
        return _new(
            Operation,
            (UPLOAD, key, MISSING, file.path, stamp.size, stamp, stage, "", None, 0, 0, False, ""),
        )

    def operation(kind: Kind, reason: Reason, spec: OperationSpec | None = None) -> Operation:
        return Operation(kind, key, reason, file.path, file.stamp.size, file.stamp, stage, listed.etag, spec)

    if known is not None and compare.is_own_object(listed, known):
        if compare.is_file_untouched(file, known) and known.fingerprint == fingerprint:
            return None
        if compare.is_file_untouched(file, known) and known.fingerprint.endswith(COMPRESSED) == gzip:
            return operation(Kind.RECONCILE, Reason.UNKNOWN, KnownContent())
        if known.fingerprint == fingerprint and known.local.size == file.stamp.size and not preserves:
            return operation(Kind.RECONCILE, Reason.UNKNOWN, KnownAttributes(known.checksum))
    if listed.size != file.stamp.size and not gzip:
        return operation(Kind.UPLOAD, Reason.CONTENT)
    if known is None or not compare.is_own_object(listed, known):
        return operation(Kind.RECONCILE, Reason.UNKNOWN)
    touched = preserves and known.local.mtime_ns != file.stamp.mtime_ns
    changed = known.fingerprint != fingerprint or touched
    return operation(Kind.RECONCILE, Reason.UNKNOWN, AttributesChanged() if changed else None)


def decide_unlisted(
    file: LocalFile, key: str, known: KnownObject | None, fingerprint: str, *, stage: int, gzip: bool
) -> Operation:
    """Return the operation for a file whose key was not listed: a worker looks at the object."""
    spec: OperationSpec | None = None
    if known is not None and compare.is_file_untouched(file, known):
        if known.fingerprint == fingerprint:
            spec = KnownWhole(known.written)
        elif known.fingerprint.endswith(COMPRESSED) == gzip:
            spec = KnownContent()
    etag = known.etag if known is not None and spec is not None else ""  # else it would count as listed
    if spec is None and known is not None and known.fingerprint != fingerprint:
        spec = AttributesChanged()
    return Operation(Kind.RECONCILE, key, Reason.UNKNOWN, file.path, file.stamp.size, file.stamp, stage, etag, spec)


_new = tuple.__new__


def choose_part_size(size: int, wanted: int) -> int:
    """Return the part size ``wanted``, doubled until ``size`` fits S3's 10,000 parts."""
    while size > wanted * PARTS_LIMIT:
        wanted *= 2
    return wanted


def split_into_parts(size: int, part_size: int) -> list[tuple[int, int, int]]:
    """Return number, offset and size of each part."""
    return [
        (number, offset, min(part_size, size - offset))
        for number, offset in enumerate(range(0, size, part_size), start=1)
    ]
