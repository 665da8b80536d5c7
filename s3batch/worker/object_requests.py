"""Requests for the objects of a download, pinned to the listed ETag, and the results of their answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from s3batch.model import Result
from s3batch.s3.faults import fault_of
from s3batch.s3.requests import Request
from s3batch.s3.responses import etag_of, raise_for_status
from s3batch.worker.results import failed_result, part_number

if TYPE_CHECKING:
    from s3batch.model import Operation, Work
    from s3batch.objects.fetched_proof import WrongContentError
    from s3batch.s3.requests import Response

_CHANGED = frozenset({412, 416})
"""If-Match does not hold, or the object ends before the range begins."""


class ObjectChangedError(Exception):
    """The object is not the one that was listed."""


def pin_request(request: Request, etag: str) -> Request:
    """Return a GET or HEAD that asks for checksums, and is refused if the object has another ETag by now."""
    headers = {**request.headers, "x-amz-checksum-mode": "ENABLED"}
    return request._replace(headers={**headers, "if-match": f'"{etag}"'} if etag else headers)


def make_get_request(operation: Operation) -> Request:
    """Return the GET of a whole object, pinned to the listed ETag."""
    headers = {"x-amz-checksum-mode": "ENABLED"}
    if operation.etag:
        headers["if-match"] = f'"{operation.etag}"'
    return Request("GetObject", "GET", operation.key, "", headers, b"", operation.size)


def refused_object(work: Work, response: Response, request: Request) -> Result:
    """Return the result of a refused request for an object. Raises RequestError for most refusals."""
    fault = fault_of(response)
    if response.status in _CHANGED:
        return changed_result(work)
    if response.status == 404 and fault.code != "NoSuchBucket":
        gone = "the object was deleted after it was listed"
        return failed_result(work, fault, request.name)._replace(error=gone, code="Vanished", retryable=False)
    if fault.code == "InvalidObjectState":
        return failed_result(work, fault, request.name)._replace(error="archived; restore it first", retryable=False)
    raise_for_status(response, request)
    raise ValueError(response.status)


def require_same_object(response: Response, operation: Operation) -> None:
    """Raise ObjectChangedError if the answer is of another object than was listed: some stores ignore If-Match."""
    if operation.etag and etag_of(response) != operation.etag:
        raise ObjectChangedError


def changed_result(work: Work) -> Result:
    """Return the result of work whose object is another one by now: it is planned again."""
    said = "the object changed after it was listed"
    return Result(work.operation.id, work.step, part_number(work), error=said, code="Changed", retryable=True)


def wrong_result(work: Work, error: WrongContentError) -> Result:
    """Return the result of work to which the store sent other bytes than the object's."""
    said = f"GetObject: {error}"
    return Result(work.operation.id, work.step, part_number(work), error=said, code="BadDigest", retryable=True)
