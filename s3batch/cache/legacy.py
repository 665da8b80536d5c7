"""Caches of older plugins: restored completely or not at all, if there is no cache of s3batch."""

from __future__ import annotations

import re
from contextlib import closing
from typing import TYPE_CHECKING

from s3batch.archive.legacy_tar import Extracted, extract_legacy
from s3batch.archive.undo_log import UndoLog
from s3batch.base.errors import ArchiveError
from s3batch.base.units import format_plural, format_size
from s3batch.cache.lookup import is_denied
from s3batch.cache.run import CacheOutcome
from s3batch.s3.faults import RequestError
from s3batch.s3.responses import etag_of

if TYPE_CHECKING:
    from s3batch.cache.object_keys import LegacyObject
    from s3batch.cache.session import CacheSession
    from s3batch.s3.bucket import Bucket

_BLOCK = 8 << 20
"""Bytes of one request: an archive may be larger than the memory."""
_TOTAL = re.compile(r"/(\d+)$")


class ObjectReader:
    """An object as a stream, some MiB at a time, all of them of one and the same object."""

    def __init__(self, bucket: Bucket, key: str, first: bytes, size: int, etag: str) -> None:
        self._bucket = bucket
        self._key = key
        self._ahead = memoryview(first)
        self._at = len(first)
        self._etag = etag
        self.size = size
        """Bytes."""

    @classmethod
    def of(cls, bucket: Bucket, key: str) -> ObjectReader | None:
        """Return a reader with the first bytes in it; ``None`` if the object does not exist."""
        try:
            answer = bucket.get_range(key, 0, _BLOCK - 1)
        except RequestError as error:
            if error.fault.status == 416:  # it is empty
                return cls(bucket, key, b"", 0, "")
            raise
        if answer is None:
            return None
        total = _TOTAL.search(answer.headers.get("content-range", ""))
        return cls(bucket, key, bytes(answer.body), int(total[1]) if total else len(answer.body), etag_of(answer))

    def read(self, size: int = -1, /) -> bytes:
        """Return up to ``size`` bytes; empty at the end."""
        if not self._ahead and self._at < self.size:
            self._ahead = memoryview(self._next())
        data = self._ahead[:size] if size >= 0 else self._ahead
        self._ahead = self._ahead[len(data) :]
        return bytes(data)

    def _next(self) -> bytes:
        last = min(self._at + _BLOCK, self.size) - 1
        try:
            answer = self._bucket.get_range(self._key, self._at, last, self._etag)
        except RequestError as error:
            if error.fault.status != 412:
                raise
            answer = None
        if answer is None or len(answer.body) != last + 1 - self._at:
            raise ArchiveError(f"{self._key} changed while it was read")
        self._at = last + 1
        return bytes(answer.body)


def restore_old(session: CacheSession) -> CacheOutcome | None:
    """Restore the cache of an older plugin; ``None`` if there is none. After an error the caller undoes it.

    Objects that may not be read count as absent.
    """
    if session.settings.dry_run:
        taken = _take_objects(session, None)
    else:
        label = f"older caches, by job {session.journal.jobs.current_id}"
        roots = session.paths.look_at_links(restoring=True).places.anchored(session.listed.names)
        within = session.paths.within()
        with closing(UndoLog(session.files.undo_path, session.workspace, roots, label, within=within)) as undo:
            taken = _take_objects(session, undo)
            undo.commit()
    if taken and session.settings.exact:
        session.warn("exact removes nothing, because the cache is from an older plugin")
    return _legacy_outcome(session, taken) if taken else None


def _take_objects(session: CacheSession, undo: UndoLog | None) -> list[tuple[LegacyObject, Extracted]]:
    """Restore objects until every path is covered. That of drone-s3cache often holds the last path only."""
    covered: set[str] = set()
    taken = []
    for old in session.names.legacy:
        reader = None if covered.issuperset(old.roots) else _open_reader(session, old)
        if reader is not None:
            done = _extract_object(session, old, reader, undo)
            covered |= done.roots
            taken.append((old, done))
    return taken


def _open_reader(session: CacheSession, old: LegacyObject) -> ObjectReader | None:
    try:
        return ObjectReader.of(session.bucket, old.key)
    except RequestError as error:
        if not is_denied(error):
            raise
        return None


def _extract_object(session: CacheSession, old: LegacyObject, reader: ObjectReader, undo: UndoLog | None) -> Extracted:
    session.output.info(f"found {old.key} of an older plugin: {format_size(reader.size)}")
    if undo is None:
        return Extracted(roots=set(old.roots))
    places, stuck = session.paths.look_at_links(restoring=True)
    for root in sorted(set(stuck) & set(old.roots)):
        session.warn(f"{root} is a symbolic link that is not followed, and is left alone: {stuck[root]}")
    roots = tuple(root for root in old.roots if root not in stuck)
    try:
        done = extract_legacy(
            reader, session.workspace, roots, undo, places=places.without(set(places.moves) - set(roots)), limits=session.limits(),
            symlinks=session.settings.cache_symlinks, exclude=session.names.exclude,
        )  # fmt: skip
    except ArchiveError as error:
        raise ArchiveError(f"{old.key}: {error.message}", hint=error.hint) from error
    for problem in done.left_out:
        session.warn(f"{problem.path} in {old.key} is not restored: {problem.error}")
    session.warn_of_foreign(done.foreign)
    return done


def _legacy_outcome(session: CacheSession, taken: list[tuple[LegacyObject, Extracted]]) -> CacheOutcome:
    missing = sorted(set(session.listed.texts).difference(*(done.roots for _, done in taken)))
    for root in missing:
        session.warn(f"older plugins left no cache of {root}")
    made = sum(done.files for _, done in taken)
    files = made + sum(done.right for _, done in taken)
    size = sum(done.size for _, done in taken)
    session.journal.jobs.add_tally(files=files, bytes=size, unchanged=files - made)
    keys = ", ".join(old.key for old, _ in taken)
    words = f"restored {keys} (of an older plugin): {format_plural(made, 'file')} made, {format_size(size)}"
    words = f"dry run: would restore {keys} (of an older plugin)" if session.settings.dry_run else words
    first = taken[0][0].key
    return CacheOutcome(
        words=words,
        cache={
            "hit": True, "key": first, "name": first, "exact": False, "files": files, "bytes": size, "made": made,
            "chunks": 0, "fetched": 0, "missing": missing,
        },
        changed=made > 0,
    )  # fmt: skip
