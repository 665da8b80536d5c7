"""Renamed files: a new file may have the content of an object whose file is gone. Then the object is copied in the store.

    new file ─ an object of its size, listed, whose path is gone ─> comparison with that object as its spec
    worker: equal content ─CopyObject─> done; anything else ─> an upload as of any new file

The object that was copied is an orphan, and goes with the other orphans, after all else has succeeded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from s3batch.model import Kind, MovedObject, Operation, Reason, Stage
from s3batch.settings.s3_limits import COPY_LIMIT

if TYPE_CHECKING:
    from s3batch.journal import Journal
    from s3batch.plan.spec import SyncSpec

MOST_ORIGINS = 4
"""Objects that one file is compared with, by digests that are known."""


@dataclass(slots=True)
class RenameFinder:
    """Finds the objects that new files may have been renamed from."""

    wanted: SyncSpec
    journal: Journal

    @classmethod
    def for_job(cls, wanted: SyncSpec, journal: Journal) -> RenameFinder | None:
        """Return a finder for a job that deletes orphans; ``None`` for any other."""
        settings = wanted.settings
        deletes = settings.delete and not (wanted.single or settings.list_digest or settings.sse_c_key or settings.plan)
        return cls(wanted, journal) if deletes else None

    def place(self, operations: list[Operation]) -> list[Operation]:
        """Return the operations, uploads of files that may have been renamed as comparisons."""
        return [self._compare(each) if each.reason is Reason.MISSING else each for each in operations]

    def _compare(self, operation: Operation) -> Operation:
        fitting = operation.kind is Kind.UPLOAD and operation.stage == Stage.MAIN and 0 < operation.size <= COPY_LIMIT
        if not fitting or self.wanted.rules.attributes(operation.path).gzip:
            return operation
        origins = self._find_origins(operation)
        if not origins:
            return operation
        return operation._replace(kind=Kind.RECONCILE, reason=Reason.UNKNOWN, spec=MovedObject(origins))

    def _find_origins(self, operation: Operation) -> tuple[tuple[str, str, str], ...]:
        """Return key, ETag and checksum of objects without a file, those of the same name first."""
        name, wanted = f"/{operation.path.rpartition('/')[2]}", self.wanted
        found = self.journal.moved.find(operation.size, wanted.prefix)
        origins: list[tuple[str, str, str]] = []
        for each in sorted(found, key=lambda each: not f"/{each.key}".endswith(name)):
            if wanted.selects(each.key) and wanted.paths(each.key) and not wanted.key_paths.has_file(each.key):
                origins.append((each.key, each.etag, each.checksum))
            if len(origins) == MOST_ORIGINS:
                break
        return tuple(origins)
