"""What plain work shares: who takes its results, and the headers of the attributes of what is written."""

from __future__ import annotations

import types
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from s3batch.objects.headers import make_put_headers
from s3batch.s3.calls import send_request
from s3batch.s3.checked_upload import FirstAttempt
from s3batch.s3.faults import RequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

    from s3batch.model import Attributes, Result, Work
    from s3batch.s3.plain_request import PlainRequests
    from s3batch.s3.requests import Request, Response
    from s3batch.worker.context import Tools

_HEADERS_KEPT = 4096
"""Attributes whose headers are kept ready."""


class PlainWorks(ABC):
    """Begins the plain work of one worker."""

    def __init__(
        self, tools: Tools, plain: PlainRequests, clock: Callable[[], float], on_stored: Callable[[Result], None],
        on_ended: Callable[[int, int, int, list[Result]], None],
    ) -> None:  # fmt: skip
        """``on_ended`` takes the results of work that went the general way, after what it held."""
        self.tools = tools
        self.plain = plain
        self.clock = clock
        self.on_stored = on_stored
        self.on_ended = on_ended
        self.served_within = 0.0
        """The seconds in which the store did such work last, whose result may wait for the disk or a probe; 0: not yet."""

    @abstractmethod
    def begin(self, work: Work) -> bool:
        """Begin ``work`` if it is plain; return whether it is."""


class PlainWrites(PlainWorks, ABC):
    """Begins plain uploads or copies."""

    def __init__(
        self, tools: Tools, plain: PlainRequests, clock: Callable[[], float], on_stored: Callable[[Result], None],
        on_ended: Callable[[int, int, int, list[Result]], None],
    ) -> None:  # fmt: skip
        """See :class:`PlainWorks`."""
        super().__init__(tools, plain, clock, on_stored, on_ended)
        self.applies = not (tools.brief.extensions or tools.brief.is_guarded)
        """False if no work of this job is plain."""
        self._headers: dict[str, Mapping[str, str] | None] = {}
        """The headers by the fingerprint of the attributes, which is quicker to look up than they are."""

    @abstractmethod
    def is_plain(self, attributes: Attributes) -> bool:
        """Return whether objects with these attributes may be plain."""

    def find_headers(self, attributes: Attributes, fingerprint: str) -> Mapping[str, str] | None:
        """Return the headers of all objects with these attributes; ``None`` if they go the general way."""
        if attributes.acl and self.tools.acl_refused:
            return None
        if fingerprint not in self._headers:
            if len(self._headers) >= _HEADERS_KEPT:
                self._headers.clear()
            self._headers[fingerprint] = make_put_headers(attributes) if self.is_plain(attributes) else None
        return self._headers[fingerprint]

    @types.coroutine
    def go_on_generally(
        self, work: Work, request: Request, begun: float, judge: Callable[[Response], list[Result] | None] | None = None
    ) -> Generator[Any, Any, list[Result]]:
        """Carry out ``work`` in the general way from the response to ``request`` on, which was sent when it was ``begun``.

        ``judge`` returns the results where the response decides them, or ``None``. It may raise RequestError.
        """
        try:
            response: Response = yield from send_request(request)
            results = judge(response) if judge is not None else None
            if results is not None:
                return results
            asked = FirstAttempt(request, response)
        except RequestError as error:
            asked = FirstAttempt(request, error)
        from s3batch.worker.dispatch import carry_out  # noqa: PLC0415 - most work is plain

        results = yield from carry_out(work, self.tools, asked)
        return [each._replace(seconds=self.clock() - begun) for each in results]
