"""What an answer says: whether the call was carried out, and the facts in its headers."""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import TYPE_CHECKING

from s3batch.s3 import calls
from s3batch.s3.faults import CallError, fault_of, hides_error
from s3batch.s3.lane import ask

if TYPE_CHECKING:
    from s3batch.s3.calls import Answer


def checked(answer: Answer, call: calls.Call) -> Answer:
    """``answer`` if it is ok. Raises :class:`CallError` otherwise."""
    if not answer.ok or hides_error(answer):
        raise CallError(call.name, call.key, fault_of(answer))
    return answer


async def must(call: calls.Call) -> Answer:
    """The answer to ``call``, which has to be ok. Raises :class:`CallError`."""
    return checked(await ask(call), call)


async def settled(call: calls.Call) -> Answer:
    """The answer to ``call``: ok, or a refusal that stays. Raises :class:`CallError` for a fault that passes."""
    answer = await ask(call)
    if not answer.ok and (fault := fault_of(answer)).retryable and answer.status != 501:
        raise CallError(call.name, call.key, fault)
    return answer


def etag_of(answer: Answer) -> str:
    """The ETag without its quotes."""
    return answer.headers.get("etag", "").strip('"')


async def etag_now(key: str) -> str:
    """The ETag of ``key`` where the answer to its writing names none, as Ceph's and rclone's may not."""
    return etag_of(await must(calls.head_object(key)))


def date_of(answer: Answer) -> float:
    """When S3 answered, by its own clock; 0 when it does not say."""
    text = answer.headers.get("date", "")
    return seconds_of(text) if text else 0.0


@lru_cache(maxsize=64)
def seconds_of(date: str) -> float:
    """An HTTP date in seconds since the epoch; 0 for what is none."""
    try:
        return parsedate_to_datetime(date).timestamp()
    except ValueError:
        return 0.0
