"""A change that counts only while the object is as a HEAD has shown it.

A request may be under way for long. What another run writes meanwhile is not overwritten, and not deleted, where the
store honours the condition. S3 takes If-Match and If-None-Match for PutObject, CopyObject and DeleteObject:
https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-requests.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from s3batch.s3 import requests
from s3batch.s3.calls import send_request
from s3batch.s3.responses import etag_of, send_allowing_refusal
from s3batch.worker.results import RefusedChangeError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from s3batch.s3.requests import Request, Response


_UNCONDITIONAL = frozenset({400, 405, 501})
"""Error codes of stores without conditional writes."""
OVERTAKEN = frozenset({409, 412})
"""The error code of a conditional write when another one came between."""


async def misjudges_condition(response: Response, request: Request, condition: dict[str, str]) -> bool:
    """Return True if the store does not know conditions, or refuses one that holds: Ceph Pacific does for If-Match."""
    if response.status != 412:
        return response.status in _UNCONDITIONAL
    return unchanged_since(await send_allowing_refusal(requests.head_object(request.key))) == condition


def unchanged_since(head: Response) -> dict[str, str]:
    """Return the condition that the object is as it was seen: a dead run's request may land any moment."""
    if head.status == 404:
        return {"if-none-match": "*"}
    etag = etag_of(head) if head.ok else ""
    return {"if-match": f'"{etag}"'} if etag else {}


async def send_while_unchanged(request: Request, condition: dict[str, str]) -> Response:
    """Send a change under the condition of :func:`unchanged_since`; an empty one is none.

    A store that knows no such condition gets the request without. Raises RefusedChangeError where the object has changed.
    """
    if not condition:
        return await send_request(request)
    response = await send_request(request._replace(headers={**request.headers, **condition}))
    if response.ok:
        return response
    if await misjudges_condition(response, request, condition):
        return await send_request(request)
    if response.status in OVERTAKEN:
        raise RefusedChangeError(f"{request.key!r} has changed meanwhile", retryable=True)
    return response


async def copy_self_while_unchanged(request: Request, condition: Mapping[str, str]) -> Response:
    """Send a copy of an object onto itself while it is unchanged: its source is the same object, and can be pinned too.

    Stores that ignore a condition of the target mostly honour that of the source.
    """
    etag = condition.get("if-match", "")
    pinned = {"x-amz-copy-source-if-match": etag} if etag else {}
    response = await send_while_unchanged(request._replace(headers={**request.headers, **pinned}), dict(condition))
    if pinned and response.status == 412:  # only the condition of the source was sent at last
        raise RefusedChangeError(f"{request.key!r} has changed meanwhile", retryable=True)
    return response
