"""One bucket as the coordinator sees it: the few requests it makes itself, one after the other, with retries.

Everything that comes in numbers (uploads, copies, deletes) goes to the workers instead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from s3batch.base.errors import EndpointError
from s3batch.s3 import requests
from s3batch.s3.back_off import back_off
from s3batch.s3.calls import catch_request_error, send_request
from s3batch.s3.clock import seconds_of
from s3batch.s3.credentials import connect_to_bucket
from s3batch.s3.event_loop import sleep
from s3batch.s3.faults import (
    MALFORMED,
    MISREAD,
    TOO_LARGE,
    Fault,
    RequestError,
    explain_fault,
    fault_of,
    kms_fault,
    wants_kms,
)
from s3batch.s3.gather import capture_outcome
from s3batch.s3.lazy_boto import make_boto_sender
from s3batch.s3.listing_progress import ListingProgress
from s3batch.s3.look_up import in_listing_order, jump_to, not_shown
from s3batch.s3.store_clock import StoreClock
from s3batch.s3.stored_proof import Proofs, checks_in
from s3batch.s3.transport import Transport
from s3batch.settings.s3_limits import DELETE_BATCH

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence

    from s3batch.model import ListedObject
    from s3batch.s3.credentials import Login
    from s3batch.s3.document_values import IncompleteUpload
    from s3batch.s3.endpoint import Endpoint
    from s3batch.s3.listing import ListingPage
    from s3batch.s3.requests import Request, Response
    from s3batch.settings.bandwidth import Bandwidth
    from s3batch.settings.table import Settings

_HINTS = {
    "Connection": "check endpoint_url and the network",
    "Timeout": "check endpoint_url and the network",
    MALFORMED: "check endpoint_url: a proxy or another server answers instead of the store",
    "Untrusted": "set AWS_CA_BUNDLE to a file with the certificate of its authority",
}
_FRESH = 5.0
"""Seconds for which the response to a request that was sent ahead is as good as a new one."""


def _may_pass(response: Response) -> bool:
    """Return whether the same request may be answered otherwise at another time, or with other credentials."""
    if response.ok:
        return False
    fault = fault_of(response)
    return fault.retryable or fault.signed_out


def _tries_to_reach(fault: Fault | None) -> int:
    """Return the tries for an endpoint that never answered: few for a refused address, more for a silent one."""
    return 2 if fault is not None and fault.code == "Timeout" else 4


class Bucket:
    """Requests to one bucket, blocking, retried. Raises :class:`EndpointError` or :class:`RequestError`."""

    def __init__(self, endpoint: Endpoint, login: Login, *, tries: int = 10, bandwidth: Bandwidth = 0.0) -> None:
        self.login = login
        self.tries = tries
        self.retries = 0
        self.uploads_refused: Fault | None = None
        """Why multipart uploads in progress could not be listed."""
        self.clock = StoreClock()
        self.transport = Transport(endpoint, make_boto_sender, bandwidth=bandwidth)
        self.store_date = 0.0
        """When the store answered last, by its own clock; 0 before, and where it does not say."""
        self.warn: Callable[[str], object] = lambda _: None
        """Takes the warnings about requests of this bucket."""
        self._proofs = Proofs()
        self._reached = False
        self._welcome = False
        self._begun: tuple[Request, list[Any], float] | None = None
        """A request that was sent ahead, its outcome once it has one, and until when that counts."""

    @property
    def reached(self) -> bool:
        """True once a response came."""
        return self._reached

    @property
    def endpoint(self) -> Endpoint:
        """The endpoint as the transport knows it by now: it learns the bucket's region."""
        return self.transport.endpoint

    @classmethod
    def from_settings(cls, settings: Settings, bucket: str, *, bandwidth: Bandwidth = 0.0) -> Bucket:
        """Return the bucket of the settings, not yet contacted. ``bandwidth``: the limit, if content goes this way."""
        endpoint, login = connect_to_bucket(settings, bucket)
        return cls(endpoint, login, tries=settings.retries, bandwidth=bandwidth)

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine to its end; return what it returns, or raise what it raises."""
        value, error = self.transport.run(capture_outcome(coroutine))
        if error is not None:
            raise error
        return value

    def ask(self, request: Request, tries: int = 0) -> Response:
        """Send a call from a thread and wait, as :meth:`send` does for coroutines."""
        response: Response = self.run(self.send(request, tries))
        return response

    async def send(self, request: Request, tries: int = 0) -> Response:
        """Return the answer to ``request`` once it is no passing fault: ok, or a refusal for the caller.

        It is tried ``tries`` times at most; 0 stands for the bucket's own limit. Raises :class:`EndpointError` if the store
        cannot be reached or refuses the sign-in.
        """
        attempt = throttles = 0
        while True:
            fault, response = await self._once(request)
            if fault is not None and fault.throttled and throttles < self.tries:
                throttles += 1  # the store is there, and asks for patience: that is no try
                await self.wait_before_try(throttles, fault)
                continue
            attempt += 1
            if response is not None and (fault is None or not (fault.retryable or self._second_chance(fault))):
                self._check_sign_in(request, fault)
                return response
            most = min(tries or self.tries, self.tries if self._reached else _tries_to_reach(fault))
            if attempt >= most or (fault is not None and not (fault.retryable or fault.signed_out)):
                return self._last_answer(request, fault, response, attempt)
            await self.wait_before_try(attempt, fault)

    async def wait_before_try(self, attempt: int, fault: Fault | None = None) -> None:
        """Wait before the next try, no less than the store asks for. ``attempt``: how many there were."""
        self.retries += 1
        await sleep(max(back_off(attempt), fault.retry_after if fault else 0.0))

    def must(self, request: Request) -> Response:
        """Return the answer to ``request``, which must be ok. Raises :class:`RequestError` otherwise."""
        response = self.ask(request)
        if not response.ok:
            raise RequestError(request.name, request.key, explain_fault(fault_of(response), request.headers))
        return response

    async def _once(self, request: Request) -> tuple[Fault | None, Response | None]:
        sent = self.clock.read_local()
        try:
            response = await send_request(request)
            if response.ok and request.name == "PutObject" and not request.bucket:
                proof = await self._proofs.prove(request, response, checks_in(request))
                if proof.warning:
                    self.warn(proof.warning)
        except RequestError as error:
            return error.fault, None
        self.clock.observe(response.headers, sent)
        self._reached = True
        self._welcome = self._welcome or response.ok
        self.store_date = seconds_of(response.headers.get("date", "")) or self.store_date
        if response.ok:
            return None, response
        fault = fault_of(response)
        if fault.signed_out and self._welcome and wants_kms(request.headers):
            fault = kms_fault(fault)  # the credentials have worked: it is the key that the store cannot get
        return fault, response

    def _second_chance(self, fault: Fault) -> bool:
        """Return whether other credentials may be tried."""
        if fault.signed_out and (credentials := self.login.renewed()):
            self.transport.update_credentials(credentials)
            return True
        return False

    def _check_sign_in(self, request: Request, fault: Fault | None) -> None:
        if fault is not None and (fault.signed_out or (fault.code == MISREAD and not self._welcome)):
            raise EndpointError(
                f"{self.endpoint.name()} refuses the credentials ({request.name}: {fault})",
                hint="check access key, secret key, session token and region",
                code=fault.code,
                status=fault.status,
            )

    def _last_answer(self, request: Request, fault: Fault | None, response: Response | None, attempts: int) -> Response:
        if response is not None:
            return response
        fault = fault or Fault("Connection", "no answer")
        tried = f" (tried {attempts} times)" if attempts > 1 else ""
        hint = _HINTS.get(fault.code, "check the settings")
        words = fault.message if fault.code == MALFORMED else f"{request.name}: {fault.message}"
        if fault.code == MALFORMED and not self._reached:
            words = f"{self.endpoint.name()} does not speak S3: {words}"
        raise EndpointError(f"{words}{tried}", hint=hint, code=fault.code)

    # --- the coordinator's requests ---------------------------------------------------------

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
        progress = ListingProgress(self.endpoint.name())
        while page.token:
            progress.check(page.token, page.objects)
            request = requests.list_objects(prefix, token=page.token)
            ahead = self._fetch_ahead(request)
            yield page
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

    def close(self) -> None:
        """Close its connections."""
        self.transport.close()


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
