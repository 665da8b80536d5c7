"""The guard before each change of an object: it is as a saved plan has it, in the backup, and no newer run has begun.

    HEAD ─> as planned? (exact) ─> backup ─> fence ─> PutObject, CopyObject, CompleteMultipartUpload, DeleteObject

It stands directly before the request that changes the object. That request is conditional where the store takes
conditions, so that what is overwritten is what was looked at.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from s3batch.model import Kind, PlannedObject, RestoreSpec, SourceObject
from s3batch.s3 import requests
from s3batch.s3.calls import send_request
from s3batch.s3.responses import etag_of, raise_for_status, seconds_of
from s3batch.worker.delete_check import modified_ns
from s3batch.worker.results import RefusedChangeError

if TYPE_CHECKING:
    from s3batch.model import Operation
    from s3batch.s3.requests import Response
    from s3batch.worker.context import Tools


async def prepare_change(operation: Operation, head: Response, tools: Tools) -> None:
    """Check and save the object that ``head`` shows, where the job asks for that. Raises RefusedChangeError."""
    if tools.brief.exact:
        await require_planned(operation, head)
    if tools.brief.backup is not None:
        from s3batch.worker.backup import back_up  # noqa: PLC0415 - few jobs make a backup

        await back_up(operation.key, head, tools.brief.backup, tools)
    if tools.brief.fence is not None:  # after the HEAD: what a newer run writes from now on fails the condition
        from s3batch.worker.fence_check import require_newest  # noqa: PLC0415 - few jobs have a fence

        await require_newest(tools.brief.fence)


async def require_planned(operation: Operation, head: Response) -> None:
    """Raise RefusedChangeError if the object is not as it was when the operation was planned."""
    if head.status == 404:
        if operation.etag:
            raise RefusedChangeError("drifted: the object is gone")
        return
    raise_for_status(head, requests.head_object(operation.key))
    if not operation.etag:
        raise RefusedChangeError("drifted: there is an object of this key now")
    planned_ns = _planned_modified(operation)
    seconds = seconds_of(head.headers.get("last-modified", ""))  # whole ones; some stores round, others cut
    is_same_time = not planned_ns or abs(planned_ns - modified_ns(seconds)) < 1_000_000_000
    if etag_of(head) != operation.etag or not (is_same_time or await _is_listed_as_planned(operation, planned_ns)):
        raise RefusedChangeError("drifted: the object has changed")


async def _is_listed_as_planned(operation: Operation, planned_ns: int) -> bool:
    """Return whether a listing shows the planned time: of a copy rclone lists another one than HEAD tells."""
    response = await send_request(requests.list_objects(operation.key, limit=1))
    listed = [each for each in response.document.objects if each.key == operation.key] if response.ok else []
    return any((each.etag, modified_ns(each.modified)) == (operation.etag, planned_ns) for each in listed)


def _planned_modified(operation: Operation) -> int:
    """Return the LastModified of the object as it was planned, in nanoseconds; 0 if it is not known."""
    if operation.kind is Kind.DELETE:
        return operation.stamp.mtime_ns
    if isinstance(operation.spec, SourceObject):
        return operation.spec.target_ns
    return operation.spec.modified_ns if isinstance(operation.spec, PlannedObject | RestoreSpec) else 0
