"""One bucket as the coordinator sees it: the few requests it makes itself, one after the other, with retries.

Everything that comes in numbers (uploads, copies, deletes) goes to the workers instead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from s3batch.base.errors import EndpointError
from s3batch.s3 import requests
from s3batch.s3.calls import catch_request_error, send_request
from s3batch.s3.credentials import connect_to_bucket
from s3batch.s3.faults import (
    TOO_LARGE,
    Fault,
    RequestError,
    fault_of,
)
from s3batch.s3.gather import capture_outcome
from s3batch.s3.listing_progress import ListingProgress
from s3batch.s3.look_up import in_listing_order, jump_to, not_shown
from s3batch.s3.retrying_sender import RetryingSender
from s3batch.settings.s3_limits import DELETE_BATCH

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence

    from s3batch.model import ListedObject
    from s3batch.s3.credentials import Login
    from s3batch.s3.document_values import IncompleteUpload
    from s3batch.s3.endpoint import Endpoint
    from s3batch.s3.listing import ListingPage
    from s3batch.s3.requests import Request, Response
    from s3batch.settings.bandwidth import Bandwidth
    from s3batch.settings.table import Settings

_WAY_GIVEN = 0.004
"""Seconds to wait for a page before the caller may do something else."""
_FRESH = 5.0
"""Seconds for which the response to a request that was sent ahead is as good as a new one."""


def _may_pass(response: Response) -> bool:
    """Return whether the same request may be answered otherwise at another time, or with other credentials."""
    if response.ok:
        return False
    fault = fault_of(response)
    return fault.retryable or fault.signed_out


class Bucket(RetryingSender):
    """Requests to one bucket, blocking, retried. Raises :class:`EndpointError` or :class:`RequestError`."""

    def __init__(self, endpoint: Endpoint, login: Login, *, tries: int = 10, bandwidth: Bandwidth = 0.0) -> None:
        super().__init__(endpoint, login, tries=tries, bandwidth=bandwidth)
        self.uploads_refused: Fault | None = None
        """Why multipart uploads in progress could not be listed."""
        self._begun: tuple[Request, list[Any], float] | None = None
        """A request that was sent ahead, its outcome once it has one, and until when that counts."""

    @classmethod
    def from_settings(
        cls, settings: Settings, bucket: str, *, bandwidth: Bandwidth = 0.0, check: Callable[[], None] | None = None
    ) -> Bucket:
        """Return the bucket of the settings, not yet contacted. ``bandwidth``: the limit, if content goes this way.

        ``check`` raises if the run is to stop. It is called while the bucket waits.
        """
        endpoint, login = connect_to_bucket(settings, bucket, check=check)
        made = cls(endpoint, login, tries=settings.retries, bandwidth=bandwidth)
        if check is not None:
            made.transport.check = check
        return made

    # --- listings ---------------------------------------------------------------------------

    def begin_listing(self, prefix: str, fresh: float = _FRESH) -> None:
        """Ask for the first page below ``prefix``. Listing it within ``fresh`` seconds only waits for the response."""
        request, outcome = requests.list_objects(prefix), list[Any]()
        self._begun = request, outcome, self.transport.loop.clock() + fresh
        self.transport.loop.start(capture_outcome(self.send(request)), outcome.append)

    def list_objects(
        self, prefix: str, start_after: str = "", guess_end: Callable[[str], str | None] | None = None
    ) -> Iterator[ListingPage]:
        """Yield the listing below ``prefix``, page by page; the next page is requested meanwhile.

        ``guess_end`` returns at which key the page after a key probably ends: then several are requested. Raises
        :class:`EndpointError` if the bucket cannot be listed.
        """
        page: ListingPage = self._listed(requests.list_objects(prefix, start_after=start_after)).document
        if guess_end is not None and page.token:
            from s3batch.s3.listing_ahead import ListingAhead  # noqa: PLC0415 - a short listing has no use for it

            ahead_of_tokens = ListingAhead(prefix, page, self._ask_for_page, guess_end)
            yield from ahead_of_tokens.pages()
            page = ahead_of_tokens.last
            if ahead_of_tokens.is_given:
                page = self._listed(requests.list_objects(prefix, token=page.token)).document
        yield from filter(None, self._follow_tokens(prefix, page, gives_way=False))

    def list_beside(self, prefix: str) -> Iterator[ListingPage | None]:
        """Yield the same listing, and ``None`` while the next page is on its way, for a caller with else to do."""
        first: ListingPage = self._listed(requests.list_objects(prefix)).document
        yield from self._follow_tokens(prefix, first, gives_way=True)

    def _follow_tokens(self, prefix: str, page: ListingPage, *, gives_way: bool) -> Iterator[ListingPage | None]:
        """Yield a page and those that follow it."""
        progress = ListingProgress(self.endpoint.name())
        while page.token:
            progress.check(page.token, page.objects)
            request = requests.list_objects(prefix, token=page.token)
            ahead = self._fetch_ahead(request)
            yield page
            while gives_way and not ahead:
                self.transport.wait_a_moment(_WAY_GIVEN)
                yield None
            page = self._arrived(ahead, request).document
        yield page

    def look_up(self, keys: Sequence[str], prefix: str) -> list[ListedObject]:
        """List those of ``keys``, all below ``prefix``, that are there. Raises :class:`EndpointError` as above."""
        found: dict[str, ListedObject] = {}
        left = in_listing_order(keys)
        wanted = frozenset(left)
        while left:
            page: ListingPage = self._listed(jump_to(left, prefix)).document
            found.update((each.key, each) for each in page.objects if each.key in wanted)
            further = not_shown(left, page) if page.token else []
            if len(further) == len(left):
                pages = (self._listed(requests.list_objects(key, limit=1)).document for key in left)
                found.update((each.key, each) for page in pages for each in page.objects if each.key in wanted)
                break
            left = further
        return list(found.values())

    async def pages(self, prefix: str) -> AsyncIterator[ListingPage]:
        """Yield the pages of :meth:`list_objects`, for coroutines."""
        progress = ListingProgress(self.endpoint.name())
        request = requests.list_objects(prefix)
        while True:
            response = await self.send(request)
            if not response.ok:
                raise bucket_refused_error(self.endpoint, request.name, fault_of(response))
            page: ListingPage = response.document
            yield page
            if not page.token:
                return
            progress.check(page.token, page.objects)
            request = requests.list_objects(prefix, token=page.token)

    def _fetch_ahead(self, request: Request) -> list[Any]:
        ahead: list[Any] = []
        self.transport.loop.start(catch_request_error(send_request(request)), ahead.append)
        return ahead

    def _arrived(self, ahead: list[Any], request: Request) -> Response:
        response: Response | RequestError = self._wait_for(ahead)
        return self._listed(request) if isinstance(response, RequestError) or not response.ok else response

    def _wait_for(self, ahead: list[Any]) -> Any:
        while not ahead:
            self.transport.wait_a_moment()
        return ahead[0]

    def _ask_for_page(self, request: Request) -> Callable[[], ListingPage | None]:
        """Send a request for a page; return what waits for it, and returns ``None`` where the store refuses it for good."""
        ahead = self._fetch_ahead(request)

        def wait() -> ListingPage | None:
            response = self._wait_for(ahead)
            if isinstance(response, RequestError) or _may_pass(response):
                try:
                    response = self.ask(request)
                except EndpointError:
                    return None  # the request by token, which comes next, tells why
            return response.document if response.ok else None

        return wait

    def _listed(self, request: Request) -> Response:
        begun, self._begun = self._begun, None
        response: Response
        if begun is not None and begun[0] == request and self.transport.loop.clock() < begun[2]:
            response, error = self._wait_for(begun[1])
            if error is not None:
                raise error
        else:
            response = self.ask(request)
        if not response.ok:
            raise bucket_refused_error(self.endpoint, request.name, fault_of(response))
        return response

    # --- objects ----------------------------------------------------------------------------

    def head(self, key: str) -> Response | None:
        """Send a HEAD of ``key``; return ``None`` if there is no such object. Raises :class:`RequestError` on a refusal."""
        request = requests.head_object(key)
        response = self.ask(request)
        if response.status == 404:
            return None
        if not response.ok:
            raise RequestError(request.name, key, fault_of(response))
        return response

    def require_bucket(self, key: str) -> None:
        """Raise EndpointError if the bucket does not exist: a HEAD of a missing ``key`` does not tell that.

        A HEAD has no body with a code, and a proxy may know no HeadBucket. So a listing has the last word. A credential
        that may do neither learns nothing, and no error is raised.
        """
        if self.ask(requests.Request("HeadBucket", "HEAD")).status != 404:
            return
        request = requests.list_objects(key, limit=1)
        response = self.ask(request)
        if not response.ok and (fault := fault_of(response)).code == "NoSuchBucket":
            raise bucket_refused_error(self.endpoint, request.name, fault)

    def get(self, key: str, size: int = -1) -> Response | None:
        """Return the object ``key``; ``None`` if it does not exist. Raises :class:`RequestError` on a refusal.

        ``size`` is the size in a listing. Without it, a HEAD asks for the size of an unusually large object.
        """
        response: Response | None = self.run(self.fetch(key, size))
        return response

    async def fetch(self, key: str, size: int = -1) -> Response | None:
        """Return the object ``key`` to a coroutine, as :meth:`get` does to its caller."""
        request = requests.get_object(key, size=size)
        try:
            response = await self.send(request)
        except EndpointError as error:
            if error.code != TOO_LARGE or size >= 0 or not (head := await self.send(requests.head_object(key))).ok:
                raise
            response = await self.send(requests.get_object(key, size=int(head.headers.get("content-length", 0))))
        return self._found(request, response)

    def get_range(self, key: str, first: int, last: int, etag: str = "") -> Response | None:
        """Return the bytes ``first`` to ``last`` inclusive, of the object with this ``etag`` if one is given."""
        request = requests.get_object(key, first, last)
        if etag:
            request = request._replace(headers={**request.headers, "if-match": f'"{etag}"'})
        return self._found(request, self.ask(request))

    def _found(self, request: Request, response: Response) -> Response | None:
        """Return the answer to a GET, ``None`` for a missing object. A missing bucket raises."""
        if response.ok:
            return response
        fault = fault_of(response)
        if fault.code == "NoSuchBucket":
            raise bucket_refused_error(self.endpoint, request.name, fault)
        if response.status == 404:
            return None
        raise RequestError(request.name, request.key, fault)

    def put(self, key: str, body: bytes, headers: Mapping[str, str] | None = None) -> Response:
        """Store ``body`` under ``key``, with a checksum the store verifies."""
        checked = {"content-md5": requests.md5_header(body), **(headers or {})}
        return self.must(requests.put_object(key, body, checked))

    def delete(self, key: str) -> None:
        """Delete ``key``; no object of that name is fine."""
        response = self.ask(requests.delete_object(key))
        if not response.ok and response.status != 404:
            raise RequestError("DeleteObject", key, fault_of(response))

    def delete_many(self, keys: list[str]) -> None:
        """Delete ``keys``, up to 1,000 in a request. Raises :class:`RequestError` for the first that stays."""
        for key in (key for key in keys if not requests.fits_xml(key)):
            self.delete(key)
        plain = [key for key in keys if requests.fits_xml(key)]
        for at in range(0, len(plain), DELETE_BATCH):
            batch = plain[at : at + DELETE_BATCH]
            response = self.ask(requests.delete_objects(batch))
            if response.status in (400, 405, 501):  # a store without DeleteObjects
                for key in batch:
                    self.delete(key)
                continue
            if not response.ok:
                raise RequestError("DeleteObjects", batch[0], fault_of(response))
            for error in response.document:
                fault = Fault(error.get("Code", ""), error.get("Message", ""), response.status)
                raise RequestError("DeleteObjects", error.get("Key", ""), fault)

    def list_uploads(self, prefix: str) -> Iterator[IncompleteUpload]:
        """Yield the multipart uploads in progress below ``prefix``; none if the store cannot list them."""
        markers = ("", "")
        progress = ListingProgress(self.endpoint.name())
        while True:
            response = self.ask(requests.list_multipart_uploads(prefix, *markers))
            if not response.ok:
                self.uploads_refused = fault_of(response)
                return
            uploads, markers = response.document
            yield from uploads
            if markers == ("", ""):
                return
            progress.check(markers, uploads)

    def abort_multipart_upload(self, key: str, upload_id: str) -> None:
        """Give up an upload; one that is gone already is fine."""
        response = self.ask(requests.abort_multipart_upload(key, upload_id))
        if not response.ok and response.status != 404:
            raise RequestError("AbortMultipartUpload", key, fault_of(response))


def bucket_refused_error(endpoint: Endpoint, request: str, fault: Fault) -> EndpointError:
    """Return the error for a bucket that refuses every request, with its cause and a hint."""
    hints = {
        "NoSuchBucket": "create it, or correct the bucket's name",
        "NotFound": "create it, or correct the bucket's name",
        "AccessDenied": "these credentials need s3:ListBucket on it",
        "PermanentRedirect": "it is in another region: set region",
    }
    words = "does not exist" if fault.code == "NoSuchBucket" else "cannot be listed"
    return EndpointError(
        f"bucket {endpoint.bucket!r} at {endpoint.name()} {words} ({request}: {fault})",
        hint=hints.get(fault.code, "check endpoint_url, region and bucket"),
        code=fault.code,
        status=fault.status,
    )
