"""A check of the rows that an earlier run left, before anything is read or sent for them.

A journal may have been written by another program. So a row counts only if this job's own plan could have made it:

    upload, copy, reconcile   a plain path below the source, that the job selects, with the key it gives that path
    redirect                  one of the job's redirects
    delete                    a key below the target that no rule protects, and only with ``delete``

Further facts (``spec``) are computed again, except those of a trusted journal: tags to put back, origins of renames.
Rows that this run has planned itself are not checked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from s3batch.files.private import OWN_DIRECTORY
from s3batch.model import KeptTags, Kind, MovedObject, Operation, Reason, RedirectSpec, UnreadableSpec
from s3batch.objects.redirects import collect_protected_keys
from s3batch.plan.spec import KEPT

if TYPE_CHECKING:
    from s3batch.plan.spec import SyncSpec

_OF_FILES = frozenset({Kind.UPLOAD, Kind.COPY, Kind.RECONCILE})
_UNREADABLE_SOURCE = "./"
"""The path of the operation that names a source that could not be read."""


class RowCheck:
    """Tells rows that a plan of this job could have made from others."""

    def __init__(self, wanted: SyncSpec, *, is_foreign: bool = False) -> None:
        """``is_foreign``: another program may have written the journal."""
        self._wanted = wanted
        self._is_foreign = is_foreign
        self._redirects = {(each.key, each.location) for each in wanted.redirects}
        self._protected = collect_protected_keys(wanted.redirects)

    def admit(self, operation: Operation) -> Operation | None:
        """Return the operation to carry out for a row of an earlier run. Raises ValueError if there is none.

        ``None``: an ignore file leaves its file or its object out since then.
        """
        if operation.kind in _OF_FILES:
            self._require_file(operation)
            if self._wanted.selection.is_hidden(operation.path):
                return None
            if operation.upload_id and isinstance(operation.spec, UnreadableSpec):
                raise ValueError(f"the attributes to keep of {operation.key!r} cannot be read")
            if operation.spec is not None and not operation.upload_id:
                spec = self._tags_of(operation) or self._origins_of(operation)
                return operation._replace(kind=Kind.RECONCILE, reason=Reason.UNKNOWN, spec=spec, recheck=True)
        elif operation.kind is Kind.REDIRECT:
            location = operation.spec.location if isinstance(operation.spec, RedirectSpec) else ""
            if (operation.key, location) not in self._redirects:
                raise ValueError(f"no redirect of the job leads from {operation.key!r} to {location!r}")
        elif operation.kind is Kind.DELETE:
            self._require_orphan(operation.key)
            if self._wanted.hides(operation.key):
                return None
        else:
            raise ValueError(f"a sync has no operation {operation.kind.value}")
        return operation

    def _origins_of(self, operation: Operation) -> MovedObject | None:
        """Return the objects that the file may have been renamed from, whose digests only an own journal knows."""
        if self._is_foreign or not isinstance(operation.spec, MovedObject):
            return None
        return operation.spec if all(self._wanted.owns(key) for key, _, _ in operation.spec.origins) else None

    def _tags_of(self, operation: Operation) -> KeptTags | None:
        """Return the tags that a killed run may not have put back; ``None`` if there are none."""
        if self._is_foreign or not isinstance(operation.spec, KeptTags):
            return None
        return operation.spec._replace(before=None)

    def _require_file(self, operation: Operation) -> None:
        path, wanted = operation.path, self._wanted
        if path == _UNREADABLE_SOURCE and operation.key == wanted.key(KEPT):
            return
        if not is_plain_path(path.removesuffix("/")) or OWN_DIRECTORY in path.split("/"):
            raise ValueError(f"its path {path!r} is not below the source")
        if wanted.single and path != wanted.source.name:
            raise ValueError(f"its path {path!r} is not the source")
        if operation.key != wanted.key(path):
            raise ValueError(f"the key of {path!r} is not {operation.key!r}")
        if not path.endswith("/") and not wanted.selection.wants(path) and not wanted.selection.is_hidden(path):
            raise ValueError(f"the job does not select {path!r}")

    def _require_orphan(self, key: str) -> None:
        wanted = self._wanted
        below = key[len(wanted.prefix) :]
        if not wanted.settings.delete or wanted.is_one_key or not key.startswith(wanted.prefix):
            raise ValueError(f"the job does not delete {key!r}")
        if (
            not below
            or below.startswith(KEPT)
            or key in self._protected
            or not (wanted.selects(key) or wanted.hides(key))
        ):
            raise ValueError(f"the job keeps {key!r}")


class PlannedRowCheck(RowCheck):
    """The same for the operations of a saved plan, which are carried out as they are."""

    def admit(self, operation: Operation) -> Operation | None:
        """Return the operation itself. Raises ValueError for one that this job could not have planned."""
        if operation.kind in {Kind.UPLOAD, Kind.COPY}:
            self._require_file(operation)
            if isinstance(operation.spec, UnreadableSpec):
                raise ValueError(f"the spec of {operation.key!r} cannot be read")
            return operation
        if operation.kind is Kind.RECONCILE:
            raise ValueError(f"a plan has no operation {operation.kind.value}")
        return super().admit(operation) or operation  # what an ignore file hides by now is named as drifted


def is_plain_path(path: str) -> bool:
    """Return whether a path leads to something below where it begins, by its text."""
    return "\0" not in path and not any(part in ("", ".", "..") for part in path.split("/"))
