"""Decisions for many files at once, where nearly all are as their objects are.

    a batch of files ─ as the journal knows file and object ───────> unchanged
                     ├ listed, with the file's size ───────────────> compared in bulk, by workers
                     └ anything else ──────────────────────────────> decided one by one, see :mod:`s3batch.plan.decide`

It decides nothing that the decision for one file would not decide alike. SQLite reads one range of the journal's rows
for a batch and does what needs only the rows. What needs the files is set operations on tuples. A look-up of each key,
with its facts as objects, costs three times as much.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from s3batch.model import Comparison, FileToCompare, Stage
from s3batch.objects.compare import LISTING_GRAIN
from s3batch.source.file_batch import NO_FILES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from s3batch.journal import Journal
    from s3batch.model import Attributes
    from s3batch.plan.spec import SyncSpec
    from s3batch.source.file_batch import FileBatch

BULK_SIZE = 1024 * 1024
"""Bytes: larger files are compared on threads."""
_MD5 = re.compile("[0-9a-f]{32}")


class BulkDecision:
    """Decides what it can of each batch of one job, and leaves the rest."""

    def __init__(
        self, wanted: SyncSpec, journal: Journal, compare: Callable[[list[Comparison]], None] | None = None
    ) -> None:
        """``compare`` takes the files that are probably equal to their objects; ``None``: those are left too."""
        self._wanted = wanted
        self._objects = journal.objects
        self._compare = compare
        self._comparable: dict[str, tuple[bool, bool]] = {}

    def take_unchanged(self, batch: FileBatch, keys: Sequence[str]) -> tuple[FileBatch, FileBatch]:
        """Return the files that are as the journal knows them, as their objects are, and the other files.

        No key may be of an operation that a dead job has planned.
        """
        settings = self._wanted.settings
        if settings.list_digest or not settings.trust_journal or not len(batch):
            return NO_FILES, batch
        known = self._objects.read_untouched(keys, LISTING_GRAIN)
        if not known:
            return NO_FILES, batch
        rows = list(batch.make_rows(keys))
        if rows == known:
            return batch, NO_FILES
        found = set(known)
        quiet = [row in found for row in rows]
        return batch.select(quiet), batch.select([not each for each in quiet])

    def have_compared(self, batch: FileBatch, keys: Sequence[str]) -> FileBatch:
        """Have those files compared that a read and one HEAD may show to be equal; return the others."""
        if self._compare is None or self._wanted.settings.list_digest or not len(batch):
            return batch
        alike = self._find_alike(batch, keys)
        if found := list(filter(None, alike)):
            self._compare(found)
        return NO_FILES if len(found) == len(batch) else batch.select([each is None for each in alike])

    def _find_alike(self, batch: FileBatch, keys: Sequence[str]) -> list[Comparison | None]:
        """Return for each file its comparison, if a read and one HEAD at most may show that it is equal to its object."""
        listed = self._objects.read_listed(keys, LISTING_GRAIN)
        alike: list[Comparison | None] = []
        last, trusts, new = self._wanted.last, self._wanted.settings.trust_journal, tuple.__new__
        for path, key, stamp, fingerprint in zip(
            batch.paths, keys, batch.make_stamps(), batch.fingerprints, strict=True
        ):
            found = listed.get(key)
            file_size = stamp[1]
            if found is None or file_size > BULK_SIZE or (last.groups and self._wanted.stage(path) != Stage.MAIN):
                alike.append(None)
                continue
            _, size, etag, is_own, local_size, own_print, checksum = found
            may_read, may_ask = self._comparable.get(fingerprint) or self._find_comparable(path, fingerprint)
            known = None  # so S3 is asked for the attributes
            if trusts and is_own:
                known = checksum if own_print == fingerprint and local_size == file_size else _UNLIKE
            if known is None:
                may = may_ask and size == file_size and _MD5.fullmatch(etag) is not None
            else:
                may = may_read and known is not _UNLIKE and bool(known or _MD5.fullmatch(etag))
            file = (path, key, stamp, etag, known)
            alike.append(new(Comparison, (new(FileToCompare, file), fingerprint)) if may else None)
        return alike

    def _find_comparable(self, path: str, fingerprint: str) -> tuple[bool, bool]:
        attributes = self._wanted.rules.attributes(path)
        found = self._comparable[fingerprint] = (may_be_read(attributes), may_be_asked(attributes))
        return found


_UNLIKE = "unlike"
"""The word in the place of a checksum: the object is as it was written, and its attributes or the file's size are not."""


def may_be_read(attributes: Attributes) -> bool:
    """Return whether an object with these attributes holds the file's own bytes, and nothing that changes with its stamp."""
    return not (attributes.gzip or attributes.preserve)


def may_be_asked(attributes: Attributes) -> bool:
    """Return whether one HEAD shows these attributes, and the ETag may be the MD5: ACL and tags take further requests."""
    further = attributes.acl or attributes.tags or attributes.encryption.startswith("aws:kms")
    return may_be_read(attributes) and not further
