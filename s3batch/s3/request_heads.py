"""The heads of requests: the request line, headers with host, length and signature, an empty line."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from s3batch import __version__
from s3batch.base import hashes
from s3batch.s3 import clock
from s3batch.s3.sigv4 import EMPTY_SHA256, UNSIGNED, SignedForm, Signer, refuse_breaks

if TYPE_CHECKING:
    from s3batch.s3.endpoint import Endpoint
    from s3batch.s3.requests import Request

_AGENT = f"s3batch/{__version__}"
HEAD_END = f"\r\nuser-agent: {_AGENT}\r\n\r\n"
_READS = frozenset({"GET", "HEAD"})


class HeadWriter:
    """Writes the heads of requests to one endpoint."""

    def __init__(self, endpoint: Endpoint) -> None:
        """Prepare the common lines. Raises UnsafeTextError (sigv4) for credentials that break a header."""
        self._endpoint = endpoint
        self._host = endpoint.host_header
        self._access = endpoint.access_headers()
        self._adds = bool(self._access)
        self._place = (endpoint.server_name, endpoint.port)
        self._form: SignedForm | None = None
        """The form of the second at hand."""
        self.signer = Signer(endpoint.credentials, endpoint.region) if endpoint.credentials else None

    def learn_time(self, offset: float) -> None:
        """Sign by a clock that is ``offset`` seconds ahead of this machine's."""
        clock.offsets[self._place] = offset

    def of(self, request: Request) -> bytes:
        """Return the head of ``request``. Raises UnsafeTextError for a line break or NUL in one of its texts."""
        signer, query = self.signer, request.query
        further = self._adds or request.headers or query or request.body or request.valid
        if signer is not None and not further and request.method in _READS:
            return self._write_read(signer, request)
        path, size = self._endpoint.path(request.key, request.bucket), len(request.body)
        headers: dict[str, str] = {"host": self._host, **request.headers}
        if self._adds:
            self._access.complete(request.name, headers)
        if signer is not None and request.valid is None:  # which looks for breaks itself
            now = time.time() + clock.offsets.get(self._place, 0.0)
            headers = signer.sign(request.method, path, query, headers, self._payload(request, size), now)
        else:
            refuse_breaks("the request", path, query, *headers, *headers.values())
            if signer is not None and request.valid is not None:
                query = signer.presign(request.method, path, query, headers, request.valid)
        if size or request.method in ("PUT", "POST"):
            headers["content-length"] = str(size)
        headers["user-agent"] = _AGENT
        lines = "\r\n".join([f"{name}: {value}" for name, value in headers.items()])
        target = f"{path}?{query}" if query else path
        return f"{request.method} {target} HTTP/1.1\r\n{lines}\r\n\r\n".encode("utf-8", "surrogateescape")

    def _write_read(self, signer: Signer, request: Request) -> bytes:
        """Return the head of a request that says nothing but method and key: only path and signature differ in a second."""
        now, path = time.time() + clock.offsets.get(self._place, 0.0), self._endpoint.path(request.key, request.bucket)
        form = self._form
        if form is None or form.second != int(now) or form.method != request.method:
            form = self._form = self._make_form(signer, request.method, now)
        signature = signer.sign_form(form, path)
        return f"{request.method} {path}{form.lines}{signature}{HEAD_END}".encode("utf-8", "surrogateescape")

    def _make_form(self, signer: Signer, method: str, now: float) -> SignedForm:
        form = signer.make_form(method, {"host": self._host}, EMPTY_SHA256, now)
        lines = "".join([f"{name}: {value}\r\n" for name, value in form.headers.items()])
        return form._replace(lines=f" HTTP/1.1\r\n{lines}authorization: {form.authorization}")

    def _payload(self, request: Request, size: int) -> str:
        """Return the payload hash of the signature."""
        if not size:
            return EMPTY_SHA256
        if request.method == "POST" or self._endpoint.signs_body(size):
            return hashes.sha256(request.body).hexdigest()
        return UNSIGNED
