"""Requests that the coordinator sends itself: each is tried until its answer is no passing fault."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from s3batch.base.errors import EndpointError
from s3batch.s3.back_off import back_off
from s3batch.s3.calls import send_request
from s3batch.s3.clock import seconds_of
from s3batch.s3.event_loop import sleep
from s3batch.s3.faults import (
    MALFORMED,
    MISREAD,
    Fault,
    RequestError,
    explain_fault,
    fault_of,
    kms_fault,
    wants_kms,
)
from s3batch.s3.gather import capture_outcome
from s3batch.s3.lazy_boto import make_boto_sender
from s3batch.s3.store_clock import StoreClock
from s3batch.s3.stored_proof import Proofs, checks_in
from s3batch.s3.transport import Transport

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from s3batch.s3.credentials import Login
    from s3batch.s3.endpoint import Endpoint
    from s3batch.s3.requests import Request, Response
    from s3batch.settings.bandwidth import Bandwidth

_HINTS = {
    "Connection": "check endpoint_url and the network",
    "Timeout": "check endpoint_url and the network",
    MALFORMED: "check endpoint_url: a proxy or another server answers instead of the store",
    "Untrusted": "set AWS_CA_BUNDLE to a file with the certificate of its authority",
}


def _tries_to_reach(fault: Fault | None) -> int:
    """Return the tries for an endpoint that never answered: few for a refused address, more for a silent one."""
    return 2 if fault is not None and fault.code == "Timeout" else 4


class RetryingSender:
    """A connection to one bucket that tries again, with new credentials where the old ones have expired."""

    def __init__(self, endpoint: Endpoint, login: Login, *, tries: int = 10, bandwidth: Bandwidth = 0.0) -> None:
        self.login = login
        self.tries = tries
        self.retries = 0
        self.clock = StoreClock()
        self.transport = Transport(endpoint, make_boto_sender, bandwidth=bandwidth)
        self.store_date = 0.0
        """When the store answered last, by its own clock; 0 before, and where it does not say."""
        self.warn: Callable[[str], object] = lambda _: None
        """Takes the warnings about requests of this bucket."""
        self._proofs = Proofs()
        self._reached = False
        self._welcome = False

    @property
    def reached(self) -> bool:
        """True once a response came."""
        return self._reached

    @property
    def endpoint(self) -> Endpoint:
        """The endpoint as the transport knows it by now: it learns the bucket's region."""
        return self.transport.endpoint

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

    def close(self) -> None:
        """Close its connections."""
        self.transport.close()
