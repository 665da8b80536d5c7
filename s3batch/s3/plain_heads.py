"""The heads of plain requests: all that requests of one second with the same attributes have in common is written once.

    PUT {path} HTTP/1.1 ... x-amz-checksum-...: {checksum} ... x-amz-content-sha256: {payload} ... Signature={signature} ...
    GET {path} HTTP/1.1 ... if-match: {etag} ... Signature={signature} ...
    PUT {path} HTTP/1.1 ... x-amz-copy-source: {source} ... x-amz-copy-source-if-match: {etag} ... Signature={signature} ...

A head costs two digests and two joins of texts then. :mod:`s3batch.s3.request_heads` writes all others, and the same.
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

from s3batch.base import hashes
from s3batch.base.named_tuple import NamedTuple
from s3batch.s3 import clock
from s3batch.s3.request_heads import HEAD_END
from s3batch.s3.requests import percent_encode
from s3batch.s3.sigv4 import EMPTY_SHA256, UNSIGNED, Signer, UnsafeTextError, refuse_breaks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from s3batch.s3.endpoint import Endpoint
    from s3batch.s3.plain_request import PlainRequest

_PLACE = "\1%d\1"
"""It stands in a form where each request has a value of its own, by the number of that."""
_PAYLOAD = "\1payload\1"
_FORMS_KEPT = 4096


class _PlainForm(NamedTuple):
    names: tuple[str, ...]
    """The names of the headers with values of their own."""
    canonical: str
    """The canonical request, with places for path and values, and for the payload's hash twice if there is a body."""
    lines: str
    """The head, with places for path and values, the payload's hash if there is a body, signature, and length of a PUT."""
    breaks: int
    """Line breaks of the canonical request."""


class PlainHeadWriter:
    """Writes the heads of plain requests to one endpoint, signed with its credentials."""

    def __init__(self, endpoint: Endpoint, signer: Signer) -> None:
        self._endpoint = endpoint
        self._signer = signer
        self._place = (endpoint.server_name, endpoint.port)
        self._front = endpoint.path("k")[:-1]
        """The path before each key."""
        self._second = -1
        self._forms: dict[str, _PlainForm] = {}
        """The forms of that second, by the fingerprint of the attributes."""

    def of(self, request: PlainRequest) -> bytes:
        """Return the head of ``request``. Raises UnsafeTextError where its texts cannot go into a form."""
        second = int(time.time() + clock.offsets.get(self._place, 0.0))
        if second != self._second or len(self._forms) > _FORMS_KEPT:
            self._forms.clear()
            self._second = second
        form = self._forms.get(request.fingerprint)
        if form is None or form.names != request.names:
            form = self._forms[request.fingerprint] = self._make_form(request)
        path, body = self._front + percent_encode(request.key, "/"), request.body
        payload: tuple[str, ...] = ()
        if request.sends_body:
            signed = not body or self._endpoint.signs_body(len(body))
            payload = ((hashes.sha256(body).hexdigest() if body else EMPTY_SHA256) if signed else UNSIGNED,)
        canonical = form.canonical % (path, *request.values, *payload, *payload)
        if canonical.count("\n") != form.breaks or "\r" in canonical or "\0" in canonical:
            raise UnsafeTextError("the request holds a line break or NUL")
        signature = self._signer.sign_text(canonical, second)
        length = (len(body),) if request.method == "PUT" else ()
        return (form.lines % (path, *request.values, *payload, signature, *length)).encode("utf-8", "surrogateescape")

    def _make_form(self, request: PlainRequest) -> _PlainForm:
        refuse_breaks("the path", self._front)  # keys are encoded
        places = [_PLACE % number for number in range(len(request.names))]
        headers = {
            "host": self._endpoint.host_header,
            **request.headers,
            **dict(zip(request.names, places, strict=True)),
        }
        self._endpoint.access_headers().complete(request.request_name, headers)
        form = self._signer.make_form(
            request.method, headers, _PAYLOAD if request.sends_body else EMPTY_SHA256, self._second
        )
        lines = "".join([f"{name}: {value}\r\n" for name, value in form.headers.items()])
        payloads = [_PAYLOAD] if request.sends_body else []
        canonical = _make_template(form.canonical, [*places, *payloads, *payloads])
        head = _make_template(f" HTTP/1.1\r\n{lines}authorization: {form.authorization}", [*places, *payloads])
        breaks = canonical.count("\n") + 1
        length = "\r\ncontent-length: %d" if request.method == "PUT" else ""
        return _PlainForm(
            request.names, f"{request.method}\n%s{canonical}", f"{request.method} %s{head}%s{length}{HEAD_END}", breaks
        )


def _make_template(text: str, places: Sequence[str]) -> str:
    """Return a text with ``%s`` where it has these places. Raises UnsafeTextError unless it has each once, in this order."""
    if re.findall("\1[^\1]*\1", text) != list(places) or text.count("\1") != 2 * len(places):
        raise UnsafeTextError("a header holds a control character")
    return re.sub("\1[^\1]*\1", "%s", text.replace("%", "%%"))
