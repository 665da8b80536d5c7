"""What the fault proxy sees (a request), what it can do (the faults), and when (a rule). No I/O.

Sizes are bytes, times seconds.
"""

from __future__ import annotations

import random
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(slots=True)
class Request:
    """One request as it was seen; ``status`` and what is below it is filled in while it goes on."""

    operation: str
    method: str
    bucket: str
    key: str
    query: dict[str, str]
    headers: dict[str, str]
    """Names in lower case."""
    status: int = 0
    """Of the answer the client was given; 0: none."""
    action: str = ""
    """Name of the fault applied."""
    sent: int = 0
    """Bytes of body the client sent, with the framing of chunks."""
    received: int = 0
    """Bytes of body the client was given."""
    body: bytes = b""
    """The first 64 KiB of what was sent."""
    port: int = 0
    """Of the client's end of the connection."""
    started: float = field(default_factory=time.monotonic)
    answered: float = 0.0
    """When the head of the answer was given; 0: not yet."""


@dataclass(frozen=True, slots=True)
class Delay:
    """Wait, then go on as if nothing had been."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Hold:
    """Wait until the test sets the event, then go on as if nothing had been."""

    event: threading.Event


@dataclass(frozen=True, slots=True)
class Call:
    """Call ``function`` (in a thread) before the server sees the request, or once it has answered it; then go on."""

    function: Callable[[Request], object]
    after: bool = False


@dataclass(frozen=True, slots=True)
class Refuse:
    """Answer with an error document in the server's place.

    ``after``: the server applies the request first and its answer is thrown away; with status 200
    that is the "200 OK" with an error inside that CopyObject and CompleteMultipartUpload may give.
    """

    status: int
    code: str
    after: bool = False
    read_body: bool = True
    """Else answer at once and close, as a server does that has seen enough."""
    message: str = "made by the fault proxy"


@dataclass(frozen=True, slots=True)
class Reset:
    """Break the connection (RST); ``after``: when the server has applied the request, so its reply is lost."""

    after: bool = False


@dataclass(frozen=True, slots=True)
class Stall:
    """Say nothing for so long, then break the connection; the server never sees the request."""

    seconds: float = 3600


@dataclass(frozen=True, slots=True)
class DuringRequest:
    """Pass the body on slowly (bytes per second), or break both connections after ``cut`` bytes of it."""

    cut: int | None = None
    rate: float | None = None


@dataclass(frozen=True, slots=True)
class DuringReply:
    """Spoil the reply's body: slow, one bit of byte ``flip`` turned, or ended after ``cut`` bytes by RST (or FIN)."""

    cut: int | None = None
    rate: float | None = None
    flip: int | None = None
    reset: bool = True


Fault = Delay | Hold | Call | Refuse | Reset | Stall | DuringRequest | DuringReply


@dataclass(slots=True)
class Rule:
    """Which requests meet which fault. Counts what it matched; touched by the proxy's thread only."""

    fault: Fault
    operation: str = ""
    method: str = ""
    key: str = ""
    """A regular expression, searched in the decoded key."""
    skip: int = 0
    times: int | None = None
    probability: float = 1.0
    seed: int = 0
    matched: int = 0
    applied: int = 0
    chance: random.Random = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)

    def takes(self, request: Request) -> bool:
        wanted = (self.operation, self.method)
        if any(want not in ("", has) for want, has in zip(wanted, (request.operation, request.method), strict=True)):
            return False
        if self.key and not re.search(self.key, request.key):
            return False
        self.matched += 1
        spent = self.times is not None and self.applied >= self.times
        if self.matched <= self.skip or spent or self.chance.random() >= self.probability:
            return False
        self.applied += 1
        return True
