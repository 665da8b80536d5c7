"""The look at the fence of ``newest_wins`` right before an object is changed.

    HEAD of the object ─> GET of the fence ─> a write on the condition that the object is still the one seen

A newer run raises the fence before it writes anything. So what it wrote before the HEAD shows in the fence, and what it
writes later fails the condition.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from s3batch.s3 import requests
from s3batch.s3.calls import send_request
from s3batch.s3.responses import raise_for_status
from s3batch.worker.results import RefusedChangeError

if TYPE_CHECKING:
    from s3batch.worker.context import FenceMark

NUMBER = re.compile(r"[0-9]{1,18}")


def read_fence_text(body: bytes | bytearray | memoryview) -> str:
    """Return what the object of a fence holds, without white space at its ends."""
    return bytes(body[:100]).decode("latin-1").strip()


async def require_newest(fence: FenceMark) -> None:
    """Raise RefusedChangeError if a newer run has begun; it is retryable, since the coordinator stops the job soon."""
    request = requests.get_object(fence.key)
    answer = await send_request(request)
    if answer.status == 404:
        return  # deleted since: the coordinator writes it again
    text = read_fence_text(raise_for_status(answer, request).body)
    if not NUMBER.fullmatch(text):
        raise RefusedChangeError(f"newest_wins: the fence {fence.key} holds {text[:40]!r}, which is no number")
    if int(text) > fence.number:
        raise RefusedChangeError(f"superseded: run {text} has begun, and this is run {fence.number}", retryable=True)
