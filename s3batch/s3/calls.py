"""One S3 call, as a coroutine has it: it hands the request to the transport that drives it, and gets the response."""

from __future__ import annotations

import types
from typing import TYPE_CHECKING, Any

from s3batch.s3 import validation
from s3batch.s3.faults import RequestError
from s3batch.s3.requests import Request, Response, get_object, head_object

if TYPE_CHECKING:
    from collections.abc import Generator

_TELL_ETAG = frozenset({"CopyObject", "CompleteMultipartUpload"})
"""Calls whose document names the new ETag; rclone and Ceph leave it out, and then HEAD has to show the object."""


@types.coroutine
def send_request(request: Request) -> Generator[Request, Response, Response]:
    """Return S3's answer to ``request``, with any status. Raises :class:`RequestError` if none came.

    HEAD errors have no body, so an expired token looks like a missing permission. A GET then learns the error code.
    """
    response = yield request
    # an expired token is a 400, a missing permission a 403
    if request.method == "HEAD" and response.status in (400, 403) and request.key:
        words = yield get_object(request.key, 0, 0)._replace(bucket=request.bucket)
        response = (yield request) if words.ok or words.status == 404 else words
    elif request.name in _TELL_ETAG and response.ok and not validation.etag_in(response):
        response = validation.proved_by(
            request, response, (yield head_object(request.key)._replace(bucket=request.bucket))
        )
    return response


def may_repeat(request: Request) -> bool:
    """Return true if a repeated call, after a lost answer, does and answers the same as the first."""
    return "if-none-match" not in request.headers and request.name != "CreateMultipartUpload"


async def catch_request_error(coroutine: Any) -> Any:
    """Return the result of ``coroutine``, or the RequestError it raised: the loop must go on either way."""
    try:
        return await coroutine
    except RequestError as error:
        return error
