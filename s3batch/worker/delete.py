"""Deletes keys, up to 1,000 in one request."""

from __future__ import annotations

from typing import TYPE_CHECKING

from s3batch.model import (
    Kind,
    Operation,
    Reason,
    Result,
    Work,
    make_deleted_result,
)
from s3batch.s3 import requests
from s3batch.s3.calls import send_request
from s3batch.s3.faults import Fault, RequestError, fault_of
from s3batch.s3.responses import raise_for_status
from s3batch.worker.conditional import send_while_unchanged, unchanged_since
from s3batch.worker.guard import prepare_change
from s3batch.worker.results import RefusedChangeError, failed_result, result_for_each
from s3batch.worker.versions import note_version

if TYPE_CHECKING:
    from s3batch.s3.requests import Response
    from s3batch.worker.context import Tools


async def delete_one(operation: Operation, tools: Tools) -> Result:
    """Delete a key by itself: one that DeleteObjects cannot name, or where each object is looked at first."""
    if tools.brief.is_guarded:
        return await _delete_guarded(operation, tools)
    if await _is_changed(operation, tools):
        return Result(operation.id, already=True)
    return await _delete_key(operation)


async def _is_changed(operation: Operation, tools: Tools) -> bool:
    planned = {operation.key: (operation.etag, operation.stamp.mtime_ns)}
    return bool(await tools.brief.delete_check.find_changed(planned, tools))


async def _delete_guarded(operation: Operation, tools: Tools) -> Result:
    """Delete a key whose object is as it was planned, after its backup."""
    request, exact = requests.head_object(operation.key), tools.brief.exact
    if exact and await tools.brief.delete_check.has_source(operation.key, tools):
        raise RefusedChangeError("drifted: the source has something for this key now")
    if not exact and await _is_changed(operation, tools):
        return Result(operation.id, already=True)
    head = await send_request(request)
    if head.status == 404:
        return Result(operation.id)
    await prepare_change(operation, head, tools)
    result = await _delete_key(operation, head)
    if exact and result.already:
        raise RefusedChangeError("drifted: the object has changed")
    return result


async def _delete_key(operation: Operation, head: Response | None = None) -> Result:
    """Delete a key; on the condition that it is still the object of ``head``, or the one that a dead run planned."""
    request = requests.delete_object(operation.key)
    condition = {"if-match": f'"{operation.etag}"'} if operation.is_in_doubt and operation.etag else {}
    if head is not None:
        condition = unchanged_since(head)
    try:
        response = await send_while_unchanged(request, condition)
    except RefusedChangeError:
        return Result(operation.id, already=True)
    if response.status != 404 or fault_of(response).code == "NoSuchBucket":
        raise_for_status(response, request)
    return Result(operation.id, spec=note_version(operation, response, head))


async def delete_batch(work: Work, tools: Tools) -> list[Result]:
    """Delete up to 1,000 keys in one request, but those that changed since they were planned."""
    if work.etags:
        planned = dict(zip(work.keys, zip(work.etags, work.times, strict=True), strict=True))
    else:
        planned = dict.fromkeys(work.keys, ("", 0))
    kept = await tools.brief.delete_check.find_changed(planned, tools)
    if not kept:
        return await _delete_together(work, tools)
    results = [Result(row, already=True) for row, key in zip(work.rows, work.keys, strict=True) if key in kept]
    going = [(row, key) for row, key in zip(work.rows, work.keys, strict=True) if key not in kept]
    if not going:
        return results
    rows, keys = zip(*going, strict=True)
    return results + await _delete_together(work._replace(rows=rows, keys=keys, etags=(), times=()), tools)


async def _delete_together(work: Work, tools: Tools) -> list[Result]:
    """Delete in one request. Errors come inside the answer, and each is named."""
    request = requests.delete_objects(work.keys)
    response = await send_request(request)
    if response.status in (400, 405, 501):  # a store without DeleteObjects, or one that cannot read this key
        return await _delete_singly(work, tools)
    if not response.ok:
        return result_for_each(work, failed_result(work, fault_of(response), request.name))
    errors = {error.get("Key", ""): error for error in response.document}
    if not errors:
        return [make_deleted_result(work.rows)]
    if not errors.keys() <= set(work.keys):  # some key stays, and who knows which
        return await _delete_singly(work, tools)
    row_of = dict(zip(work.keys, work.rows, strict=True))
    results = [_delete_result(row_of.pop(key), error, response) for key, error in errors.items()]
    return ([make_deleted_result(list(row_of.values()))] if row_of else []) + results


async def _delete_singly(work: Work, tools: Tools) -> list[Result]:
    """Delete each key by itself."""
    return [await _delete_row(row, key, tools) for row, key in zip(work.rows, work.keys, strict=True)]


async def _delete_row(row: int, key: str, tools: Tools) -> Result:
    operation = Operation(Kind.DELETE, key, Reason.ORPHAN, id=row)
    if tools.brief.delete_check.has_file(key):  # those before it took their time
        return Result(row, already=True)
    try:
        return await _delete_key(operation)
    except RequestError as error:
        return failed_result(Work(operation), error.fault, error.name)


def _delete_result(row: int, error: dict[str, str], response: Response) -> Result:
    if error.get("Code") == "NoSuchKey":
        return Result(row)
    request_id = response.headers.get("x-amz-request-id", "")
    fault = Fault(error.get("Code", ""), error.get("Message", ""), response.status, request_id)
    return Result(
        row, error=f"DeleteObjects: {fault}", code=fault.code, status=fault.status, request_id=request_id,
        retryable=fault.retryable, throttled=fault.throttled,
    )  # fmt: skip
