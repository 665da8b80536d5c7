"""Uploads of a body that prove that S3 has stored exactly that body.

    checksum header ─> the store verifies it, and returns it
                    └> or its ETag is the MD5 of what it stored, which is compared with the sent one's
                    └> or it proves nothing: then the object is looked at (s3/stored_proof.py)

If a store does not accept the checksum, a worker uses the next kind for all its uploads, with one warning.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from s3batch.base.named_tuple import NamedTuple
from s3batch.s3 import requests
from s3batch.s3.calls import send_request
from s3batch.s3.checksums import WHOLE_OBJECT, checksum_of
from s3batch.s3.event_loop import run_in_thread
from s3batch.s3.faults import RequestError, fault_of
from s3batch.s3.stored_proof import Proofs
from s3batch.source.reader import BLOCK

if TYPE_CHECKING:
    from s3batch.s3.endpoint import Endpoint
    from s3batch.s3.requests import Body, Request, Response

CHECKSUM_WARNING = "the store does not accept {} checksums ({}); uploads carry {} instead"
_DID_NOT_MATCH = frozenset({"BadDigest", "InvalidDigest", "XAmzContentChecksumMismatch", "XAmzContentSHA256Mismatch"})


class Checks:
    """The checksum that one worker sends, and the store's proofs that it has seen."""

    def __init__(self, ladder: tuple[str, ...]) -> None:
        self.ladder = ladder
        """The checksum in use and those to fall back to; ``md5`` is Content-MD5, an empty name none at all."""
        self.proofs = Proofs()
        """The proofs, for a store whose answers prove nothing."""

    @classmethod
    def from_endpoint(cls, endpoint: Endpoint) -> Checks:
        """Return the checks that the settings want."""
        return cls((endpoint.checksum, *endpoint.checksum_fallbacks))

    @property
    def name(self) -> str:
        """The checksum in use."""
        return self.ladder[0]

    def weaken(self, used: str) -> bool:
        """Give up ``used``, which the store refused; return whether there is another to try."""
        if self.name == used and len(self.ladder) > 1:
            self.ladder = self.ladder[1:]
        return self.name != used


class BodyChecksum(NamedTuple):
    """A checksum that was computed while the body was read."""

    name: str
    """The name of the checksum, as in :class:`Checks`."""
    value: str
    """The checksum in base64."""


class FirstAttempt(NamedTuple):
    """The request that was made already, and its answer."""

    call: Request
    """The request with its checksum."""
    outcome: Response | RequestError

    def require_response(self) -> Response:
        """Return the answer. Raises the :class:`RequestError` in its place."""
        if isinstance(self.outcome, RequestError):
            raise self.outcome
        return self.outcome


class SentUpload(NamedTuple):
    """The outcome of an upload."""

    answer: Response
    """Refused, perhaps."""
    checksum: str = ""
    """The checksum of the body that the store confirmed; empty if it confirmed none."""
    computed: str = ""
    """The checksum that s3batch computed, if S3 keeps such a one."""
    warning: str = ""


def checksum_header(name: str, body: Body) -> dict[str, str]:
    """Return the header by which S3 verifies ``body``."""
    return dict([checksum_line(name, body)]) if name else {}


def checksum_line(name: str, body: Body) -> tuple[str, str]:
    """Return name and value of that header."""
    return _name_header(name), requests.md5_header(body) if name == "md5" else checksum_of(name, body)


def _name_header(name: str) -> str:
    return "content-md5" if name == "md5" else f"x-amz-checksum-{name}"


async def send_checked(
    request: Request, checks: Checks, asked: FirstAttempt | None = None, computed: BodyChecksum | None = None
) -> SentUpload:
    """Send ``request``, which stores its body, with a checksum that the store accepts, and verify the stored content.

    An equal request in ``asked`` is not sent again, nor is a checksum in ``computed`` computed again. Raises
    :class:`RequestError` if other content is stored; a refusal is in the answer.
    """
    warning = ""
    while True:
        used = checks.name
        if computed is not None and computed.name == used:
            header = {_name_header(used): computed.value}
        else:
            reckon = partial(checksum_header, used, request.body)
            header = reckon() if len(request.body) <= BLOCK else await run_in_thread(reckon)
        response = await _first_response(request._replace(headers={**request.headers, **header}), asked)
        if response.ok or not refuses_checksum(response, used) or not checks.weaken(used):
            break
        warning = CHECKSUM_WARNING.format(used, fault_of(response).code, checks.name or "none")
    if not response.ok:
        return SentUpload(response, warning=warning)
    proof = await checks.proofs.prove(request, response, header)
    return SentUpload(
        response, proof.checksum or "", header.get(f"x-amz-checksum-{used}", ""), warning or proof.warning
    )


async def _first_response(request: Request, asked: FirstAttempt | None) -> Response:
    if asked is None or asked.call != request:
        return await send_request(request)
    return asked.require_response()


async def begin_upload(request: Request, checks: Checks) -> Response:
    """Ask ``request``, which begins a multipart upload, for one that keeps a checksum of the whole object."""
    while True:
        used, headers = checks.name, dict(request.headers)
        if used in WHOLE_OBJECT:
            headers |= {"x-amz-checksum-algorithm": used.upper(), "x-amz-checksum-type": "FULL_OBJECT"}
        response = await send_request(request._replace(headers=headers))
        if response.ok or not refuses_checksum(response, used) or not checks.weaken(used):
            return response


def refuses_checksum(response: Response, used: str) -> bool:
    """Return whether a refusal is about the kind of checksum, not about its value."""
    if response.status not in (400, 501) or not used:
        return False
    fault = fault_of(response)
    words = fault.message.lower()
    if fault.code in _DID_NOT_MATCH:
        return False
    return "checksum" in words or used in words.replace("-", "") or (response.status == 501 and "header" in words)
