"""Decides which requests go through boto3, and what its responses teach about the native client.

    refusal of the native client ──is it clear?──> it counts
                 │ unclear
                 └──> boto3 sends the request again, and its response counts
                          ├─ success: the native client was wrong; after OVERRULED of them boto3 sends everything
                          └─ refusal: both agree; after 3 of one code boto3 is not asked about that code again

It sends nothing by itself, and reads no clock.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from s3batch.quirks import OVERRULED
from s3batch.s3.faults import fault_of, needs_fallback

if TYPE_CHECKING:
    from collections.abc import Callable

    from s3batch.s3.endpoint import Endpoint
    from s3batch.s3.requests import Request, Response

    Send = Callable[[Request], Response]

_AGREED = 3
"""After so many refusals of one code that boto3 met too, boto3 is not asked about that code again."""


class BotoFallback:
    """The requests that boto3 sends for one transport, and the lessons from them."""

    def __init__(self, make_send: Callable[[Endpoint], Send], endpoint: Endpoint) -> None:
        """``make_send`` makes the function that sends through boto3; that function is called on threads."""
        self.overruled: Counter[str] = Counter()
        """Refusals of the native client that boto3 overruled, by S3's code; the transport's tally clears it."""
        self.send = make_send(endpoint)
        self._make_send = make_send
        self._endpoint = endpoint
        self._overruled = 0
        self._agreed: Counter[str] = Counter()

    def use(self, endpoint: Endpoint) -> None:
        """Take a changed endpoint. A changed lane alone needs no new client."""
        if endpoint.through(self._endpoint.lane) != self._endpoint:
            self.send = self._make_send(endpoint)
        self._endpoint = endpoint

    def doubts(self, refusal: Response) -> bool:
        """Return whether boto3 should send the request again: the refusal may be the native client's own fault."""
        return needs_fallback(refusal) and self._agreed[fault_of(refusal).code] < _AGREED

    def settle(self, refusal: Response, second: Response | None) -> Response:
        """Return the response that counts: boto3's, unless it got none, and learn from both."""
        if second is None:
            return refusal
        code = fault_of(refusal).code
        if second.ok:
            self.overruled[code] += 1
            self._overruled += 1
        else:
            self._agreed[code] += 1
        return second

    @property
    def takes_all(self) -> bool:
        """True if boto3 has overruled so many refusals that it should send everything."""
        return self._overruled >= OVERRULED
