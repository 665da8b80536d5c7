"""Facts in responses: whether the call was carried out, and the values of its headers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from s3batch.s3.calls import send_request
from s3batch.s3.clock import seconds_of
from s3batch.s3.faults import RequestError, explain_fault, fault_of

if TYPE_CHECKING:
    from s3batch.s3.requests import Request, Response

__all__ = ["date_of", "etag_of", "raise_for_status", "seconds_of", "send_allowing_refusal", "send_expecting_ok"]


def raise_for_status(response: Response, request: Request) -> Response:
    """Return ``response`` if it is ok. Raises :class:`RequestError` otherwise."""
    if not response.ok:
        raise RequestError(request.name, request.key, explain_fault(fault_of(response), request.headers))
    return response


async def send_expecting_ok(request: Request) -> Response:
    """Return the answer to ``request``, which must be ok. Raises :class:`RequestError` otherwise."""
    return raise_for_status(await send_request(request), request)


async def send_allowing_refusal(request: Request) -> Response:
    """Return the answer to ``request``: ok, or a permanent refusal. Raises :class:`RequestError` for a passing fault."""
    response = await send_request(request)
    if not response.ok and (fault := fault_of(response)).retryable and response.status != 501:
        raise RequestError(request.name, request.key, fault)
    return response


def etag_of(response: Response) -> str:
    """Return the ETag without its quotes."""
    return response.headers.get("etag", "").strip('"')


def date_of(response: Response) -> float:
    """Return the time of S3's response, by S3's clock; 0 if it does not say."""
    text = response.headers.get("date", "")
    return seconds_of(text) if text else 0.0
