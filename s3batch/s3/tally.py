"""What a transport tells beside its answers: counts, and the keys of writes that no answer came to.

A write without an answer may still land, also after the job and over what a later job has written: a proxy holds it,
or the store is slow. The coordinator notes its key as a doubt: see :mod:`s3batch.journal.doubts`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from s3batch.base.error_codes import Trait, select_statuses
from s3batch.base.named_tuple import NamedTuple
from s3batch.s3.documents import decode_references
from s3batch.s3.faults import MALFORMED, TOO_LARGE, UNREACHABLE, RequestError

if TYPE_CHECKING:
    from s3batch.s3.requests import Request, Response

_WRITES = frozenset({"PutObject", "CopyObject", "CompleteMultipartUpload", "DeleteObject"})
"""Calls that replace or remove the object of their key. A part that lands late belongs to an upload that is over."""
GATEWAY_STATUSES = select_statuses(Trait.NO_ANSWER)
"""Bad gateway, gateway timeout: a proxy answers, and the store may have the request (RFC 9110, section 15.6)."""
_UNANSWERED = UNREACHABLE | {MALFORMED, TOO_LARGE}
"""The codes of requests that the store itself has not answered."""
_KEY = rb"<Key>([^<]*)</Key>"


class Tally(NamedTuple):
    """What a transport has told since the last time."""

    requests: dict[str, int]
    """Requests sent, by S3's name."""
    overruled: dict[str, int]
    """Refusals of the native client that boto3 overruled, by S3's code."""
    unheard: list[str]
    """Keys of writes that were sent and not answered."""


EMPTY_TALLY = Tally({}, {}, [])


def list_written_keys(request: Request) -> list[str]:
    """Return the keys in the endpoint's bucket whose objects a call replaces or removes."""
    if request.bucket:
        return []
    if request.name == "DeleteObjects":
        return [decode_references(key.decode()) for key in re.findall(_KEY, bytes(request.body))]
    return [request.key] if request.name in _WRITES else []


def leaves_in_doubt(response: Response | None, error: BaseException | None) -> bool:
    """Return whether the store itself has not answered: a request that was sent may still land."""
    if response is not None:
        return response.status in GATEWAY_STATUSES
    return isinstance(error, RequestError) and error.fault.code in _UNANSWERED
