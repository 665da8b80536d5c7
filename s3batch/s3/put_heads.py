"""The heads of plain PUTs: all that requests of one second with the same attributes have in common is written once.

    PUT {path} HTTP/1.1 ... x-amz-checksum-...: {checksum} ... x-amz-content-sha256: {payload} ... Signature={signature} ...

A head costs two digests and two joins of texts then. :mod:`s3batch.s3.request_heads` writes all others, and the same.
"""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING, NamedTuple

from s3batch.s3 import clock
from s3batch.s3.request_heads import HEAD_END
from s3batch.s3.requests import percent_encode
from s3batch.s3.sigv4 import EMPTY_SHA256, UNSIGNED, Signer, UnsafeTextError, refuse_breaks

if TYPE_CHECKING:
    from s3batch.s3.endpoint import Endpoint
    from s3batch.s3.plain_put import PlainPut

_CHECKSUM, _PAYLOAD = "\1checksum\1", "\1payload\1"
"""They stand in a form where each request has a value of its own."""
_FORMS_KEPT = 4096


class _PutForm(NamedTuple):
    checksum: str
    """The name of the header with the checksum."""
    canonical: list[str]
    """The canonical request after the path, in pieces: a checksum, the payload's hash, and that once more at the end."""
    lines: list[str]
    """The head after the path, in pieces: a checksum, the payload's hash, and the signature at the end."""


class PutHeadWriter:
    """Writes the heads of plain PUTs to one endpoint, signed with its credentials."""

    def __init__(self, endpoint: Endpoint, signer: Signer) -> None:
        self._endpoint = endpoint
        self._signer = signer
        self._place = (endpoint.server_name, endpoint.port)
        self._front = endpoint.path("k")[:-1]
        """The path before each key."""
        self._second = -1
        self._forms: dict[str, _PutForm] = {}
        """Of that second, by the fingerprint of the attributes."""

    def of(self, put: PlainPut) -> bytes:
        """Return the head of ``put``. Raises UnsafeTextError where its attributes cannot go into a form."""
        body, (name, checksum) = put.body, put.checksum
        second = int(time.time() + clock.offsets.get(self._place, 0.0))
        if second != self._second or len(self._forms) > _FORMS_KEPT:
            self._forms.clear()
            self._second = second
        form = self._forms.get(put.fingerprint)
        if form is None or form.checksum != name:
            form = self._forms[put.fingerprint] = self._make_form(put, name)
        path, payload = self._front + percent_encode(put.key, "/"), EMPTY_SHA256
        if body:
            payload = hashlib.sha256(body).hexdigest() if self._endpoint.signs_body(len(body)) else UNSIGNED
        one, two, three = form.canonical
        signature = self._signer.sign_text(f"PUT\n{path}{one}{checksum}{two}{payload}{three}{payload}", second)
        one, two, three = form.lines
        text = f"PUT {path}{one}{checksum}{two}{payload}{three}{signature}\r\ncontent-length: {len(body)}{HEAD_END}"
        return text.encode("utf-8", "surrogateescape")

    def _make_form(self, put: PlainPut, name: str) -> _PutForm:
        refuse_breaks("the path", self._front)  # keys are encoded
        headers = {"host": self._endpoint.host_header, **put.headers, name: _CHECKSUM}
        self._endpoint.access_headers().complete("PutObject", headers)
        form = self._signer.make_form("PUT", headers, _PAYLOAD, self._second)
        lines = "".join([f"{name}: {value}\r\n" for name, value in form.headers.items()])
        canonical = _split_form(form.canonical.removesuffix(_PAYLOAD))
        return _PutForm(name, canonical, _split_form(f" HTTP/1.1\r\n{lines}authorization: {form.authorization}"))


def _split_form(text: str) -> list[str]:
    """Return a text that has a checksum and then a payload in three pieces."""
    pieces = [piece for part in text.split(_CHECKSUM) for piece in part.split(_PAYLOAD)]
    if len(pieces) != 3:
        raise UnsafeTextError("a header holds a control character")
    return pieces
