"""Version ids that a versioned bucket answers with: the journal keeps them, so that an undo knows which version was whose."""

from __future__ import annotations

from typing import TYPE_CHECKING

from s3batch.model import KeptAttributes, WrittenVersion

if TYPE_CHECKING:
    from s3batch.model import Operation, OperationSpec, Result
    from s3batch.s3.requests import Response

VERSION_ID = "x-amz-version-id"
_NO_VERSION = "null"
"""The id of what is written while versioning is suspended, and of what was there before it was enabled."""


def note_version(
    operation: Operation, response: Response, head: Response | None = None, spec: OperationSpec | None = None
) -> OperationSpec | WrittenVersion | None:
    """Return what the result of a change tells beside its ETag: the version ids, if there are any, and ``spec``.

    ``head`` is the HEAD that was sent right before the change. Where an earlier try may have written a version too, the
    ids would mislead an undo, and none are told.
    """
    written = response.headers.get(VERSION_ID, _NO_VERSION)
    if written == _NO_VERSION or operation.attempts or operation.recheck or _was_copied_before(operation):
        return spec
    return WrittenVersion(written, head.headers.get(VERSION_ID, "") if head is not None and head.ok else "", spec)


def with_version(result: Result, operation: Operation, version: str) -> Result:
    """Return the result of a plain upload or copy that made this version."""
    if version == _NO_VERSION or operation.attempts:
        return result
    return result._replace(spec=WrittenVersion(version))


def _was_copied_before(operation: Operation) -> bool:
    """Return whether the file is sent because a copy of this job has lost attributes."""
    return isinstance(operation.spec, KeptAttributes) and bool(operation.spec.lost)
