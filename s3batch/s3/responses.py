"""Facts in responses: whether the call was carried out, and the values of its headers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from s3batch.s3.clock import seconds_of
from s3batch.s3.errors import RequestError, explain_fault, fault_of
from s3batch.s3.transport import send_request

if TYPE_CHECKING:
    from s3batch.s3.requests import Request, Response

__all__ = ["date_of", "etag_of", "raise_for_status", "seconds_of", "send_allowing_refusal", "send_expecting_ok"]


def raise_for_status(answer: Response, call: Request) -> Response:
    """Return ``answer`` if it is ok. Raises :class:`RequestError` otherwise."""
    if not answer.ok:
        raise RequestError(call.name, call.key, explain_fault(fault_of(answer), call.headers))
    return answer


async def send_expecting_ok(call: Request) -> Response:
    """Return the answer to ``call``, which must be ok. Raises :class:`RequestError` otherwise."""
    return raise_for_status(await send_request(call), call)


async def send_allowing_refusal(call: Request) -> Response:
    """Return the answer to ``call``: ok, or a permanent refusal. Raises :class:`RequestError` for a passing fault."""
    answer = await send_request(call)
    if not answer.ok and (fault := fault_of(answer)).retryable and answer.status != 501:
        raise RequestError(call.name, call.key, fault)
    return answer


def etag_of(answer: Response) -> str:
    """Return the ETag without its quotes."""
    return answer.headers.get("etag", "").strip('"')


def date_of(answer: Response) -> float:
    """Return the time of S3's response, by S3's clock; 0 if it does not say."""
    text = answer.headers.get("date", "")
    return seconds_of(text) if text else 0.0
