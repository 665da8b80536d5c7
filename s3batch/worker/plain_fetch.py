"""The fetch of a small object with nothing to check: one GET, whose answer holds the content and its proof.

    row ─> s3/plain_request.py ─> proof ─> unfinished file ─> its place (landing.py) ─> Result
                  └ any answer but the usual one ─> worker/fetch.py, with what was received

Most objects are plain. It is the way of :mod:`s3batch.worker.plain_upload` in the other direction: it has no coroutine,
and decides only that nothing has to be decided.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from s3batch.model import DOWNLOAD, WHOLE
from s3batch.objects.fetched_proof import WrongContentError
from s3batch.s3.plain_get import PLAIN_SIZE, PlainGet
from s3batch.s3.requests import Response
from s3batch.worker.dispatch import carry_out
from s3batch.worker.fetch import fetch_plain, make_fetched_result, store_body
from s3batch.worker.landing import failed_write, landing_of
from s3batch.worker.object_requests import make_get_request, wrong_result
from s3batch.worker.plain_work import PlainWorks

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from s3batch.model import Stamp, Work
    from s3batch.s3.plain_get import Fetched
    from s3batch.s3.requests import Request


def may_fetch_plainly(work: Work) -> bool:
    """Return whether a work may go the short way, as far as its row tells."""
    operation = work.operation
    return operation.kind is DOWNLOAD and work.step is WHOLE and operation.size <= PLAIN_SIZE and operation.etag != ""


class PlainFetch(PlainGet):
    """The fetch of one such object."""

    __slots__ = ("fetches", "headers_told", "proof", "work")
    fetches: PlainFetches
    work: Work
    proof: str
    headers_told: dict[str, str]

    def make_request(self) -> Request:
        """Return the request as the general way sends it."""
        return make_get_request(self.work.operation)

    def finish(self, told: Fetched, seconds: float) -> None:
        """Prove the content and write it; the file gets its place with others."""
        tools, work = self.fetches.tools, self.work
        headers, body = told
        try:
            name, self.proof = store_body(Response(200, headers, body), work.operation, tools)
        except OSError as error:
            self._fail(error)
            return
        except WrongContentError as error:
            self.fetches.on_ended(self.size, self.size, 0, [wrong_result(work, error)])
            return
        self.headers_told = headers
        self.fetches.served_within = seconds
        self.fetches.plain.loop.park(partial(landing_of(tools).begin_move, name, work.operation.path), self._landed)

    def _landed(self, stamp: Stamp, error: BaseException | None) -> None:
        if error is None:
            seconds = self.fetches.clock() - self.begun
            result = make_fetched_result(self.work.operation, self.headers_told, self.proof, stamp, seconds)
            self.fetches.on_stored(result)
        elif isinstance(error, OSError):
            self._fail(error)
        else:
            raise error

    def _fail(self, error: OSError) -> None:
        """Give the result of an object whose file the local disk did not take."""
        landing_of(self.fetches.tools).tree.close()
        self.fetches.on_ended(self.size, self.size, 0, [failed_write(self.work, error)])

    def unfold(self, request: Request) -> tuple[Coroutine[Any, Any, Any], Callable[[Any], None]]:
        """Return how the fetch goes on in the general way, after the response to its request."""
        fetches = self.fetches
        return fetch_plain(self.work, fetches.tools, carry_out, (request, self.begun)), partial(
            fetches.on_ended, self.size, self.size, 0
        )


class PlainFetches(PlainWorks):
    """Begins the plain fetches of one worker."""

    def begin(self, work: Work) -> bool:
        """Begin ``work`` if it is a plain fetch; return whether it is."""
        brief = self.tools.brief
        if not may_fetch_plainly(work) or brief.exact or brief.target is None or brief.target.preserve:
            return False
        operation = work.operation
        fetch = PlainFetch(operation.id, operation.key, operation.etag, operation.size)
        fetch.fetches, fetch.work = self, work
        self.plain.send(fetch)
        return True
