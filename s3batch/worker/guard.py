"""The guard before each change of an object: it is as a saved plan has it, and it is in the backup.

    HEAD ─> as planned? (exact) ─> backup ─> PutObject, CopyObject, CompleteMultipartUpload, DeleteObject

It stands directly before the request that changes the object. That request is conditional where the store takes
conditions, so that what is overwritten is what was looked at.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from s3batch.model import Kind, PlannedObject, RestoreSpec
from s3batch.s3 import requests
from s3batch.s3.responses import etag_of, raise_for_status, seconds_of
from s3batch.worker.backup import back_up
from s3batch.worker.results import RefusedChangeError

if TYPE_CHECKING:
    from s3batch.model import Operation
    from s3batch.s3.requests import Response
    from s3batch.worker.context import Tools


async def prepare_change(operation: Operation, head: Response, tools: Tools) -> None:
    """Check and save the object that ``head`` shows, where the job asks for that. Raises RefusedChangeError."""
    if tools.brief.exact:
        require_planned(operation, head)
    if tools.brief.backup is not None:
        await back_up(operation.key, head, tools.brief.backup, tools)


def require_planned(operation: Operation, head: Response) -> None:
    """Raise RefusedChangeError if the object is not as it was when the operation was planned."""
    if head.status == 404:
        if operation.etag:
            raise RefusedChangeError("drifted: the object is gone")
        return
    raise_for_status(head, requests.head_object(operation.key))
    if not operation.etag:
        raise RefusedChangeError("drifted: there is an object of this key now")
    modified_ns = _planned_modified(operation)
    seconds = int(seconds_of(head.headers.get("last-modified", "")))
    if etag_of(head) != operation.etag or (modified_ns and modified_ns // 1_000_000_000 != seconds):
        raise RefusedChangeError("drifted: the object has changed")


def _planned_modified(operation: Operation) -> int:
    """Return the LastModified of the object as it was planned, in nanoseconds; 0 if it is not known."""
    if operation.kind is Kind.DELETE:
        return operation.stamp.mtime_ns
    return operation.spec.modified_ns if isinstance(operation.spec, PlannedObject | RestoreSpec) else 0
