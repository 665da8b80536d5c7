"""AWS Signature Version 4 for S3 requests: about 9 µs where botocore takes 230.

Proved equal to botocore's by a property test over random keys, queries and headers.
Headers are signed as given, names in lower case; the path is signed as it is sent.
"""

from __future__ import annotations

import time
from operator import itemgetter
from typing import TYPE_CHECKING
from urllib.parse import quote

from s3batch.base import hashes
from s3batch.base.named_tuple import NamedTuple

if TYPE_CHECKING:
    import hashlib
    from collections.abc import Callable, Mapping

UNSIGNED = "UNSIGNED-PAYLOAD"
EMPTY_SHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


class Credentials(NamedTuple):
    """A key pair and, for temporary ones, its session token. Never printed: the repr shows nothing."""

    access_key: str
    secret_key: str
    token: str = ""

    def __repr__(self) -> str:
        return "Credentials()"


class UnsafeTextError(ValueError):
    """A line break or NUL in a place where it would break the request."""


def refuse_breaks(what: str, *texts: str) -> None:
    """Raise :class:`UnsafeTextError` if one of these parts of a request holds CR, LF or NUL."""
    joined = "".join(texts)
    if "\n" in joined or "\r" in joined or "\0" in joined:
        raise UnsafeTextError(f"{what} holds a line break or NUL")


class _Layout(NamedTuple):
    """The common part of canonical requests with the same header names."""

    names: str
    """Sorted, with semicolons between."""
    values: Callable[[Mapping[str, str]], tuple[str, ...]]
    """Takes the values out of the headers, in that order."""
    form: str
    """The form with places for method, path, query, the values and the payload's hash."""
    breaks: int
    """Line breaks that it has itself, where the names hold none."""

    @classmethod
    def of(cls, headers: Mapping[str, str]) -> _Layout:
        names = sorted(headers)
        joined = ";".join(names)
        lines = "".join([f"{name}:%s\n" for name in map(_escape_percent, names)])
        return cls(joined, itemgetter(*names), f"%s\n%s\n%s\n{lines}\n{_escape_percent(joined)}\n%s", len(names) + 5)


class SignedForm(NamedTuple):
    """The common text of requests of one second with the same method and headers, and no query or body."""

    second: int
    method: str
    headers: Mapping[str, str]
    """All but the authorization."""
    canonical: str
    """The canonical request after the path."""
    authorization: str
    """The value of the header, up to the signature."""
    lines: str = ""
    """Text of the caller."""


_HMAC_BLOCK = 64
_HMAC_PADS = tuple(bytes(byte ^ pad for byte in range(256)) for pad in (0x36, 0x5C))
_LAYOUTS_KEPT = 256  # sets of header names; a job has a few, but user metadata may name any


class Signer:
    """Signs for one region with one set of credentials. Replace it when the credentials change."""

    def __init__(self, credentials: Credentials, region: str, service: str = "s3") -> None:
        """Prepare the signing key. Raises :class:`UnsafeTextError` for texts that would break a header."""
        refuse_breaks("the region", region)
        refuse_breaks("the access key or session token", credentials.access_key, credentials.token)
        self._credentials = credentials
        self._region = region
        self._service = service
        self._second = -1
        self._timestamp = ""
        self._scope = ""
        self._begun_by = hashes.sha256
        self._inner, self._outer = _begin_hmac(b"")
        """The two hashes of HMAC, begun with the day's key; a copy of them costs a third of a new HMAC."""
        self._layouts: dict[tuple[str, ...], _Layout] = {}
        """The layouts by the names of the headers, in the order they come."""

    def sign(
        self, method: str, path: str, query: str, headers: Mapping[str, str], payload: str, now: float | None = None
    ) -> dict[str, str]:
        """Return ``headers`` plus date, payload hash, token and authorization.

        ``path`` and ``query`` are encoded and canonical; ``payload`` is the body's SHA-256 in hex or ``UNSIGNED``;
        ``now`` in seconds since the epoch. Raises :class:`UnsafeTextError`.
        """
        self._set_clock(int(time.time() if now is None else now))
        signed = {**headers, "x-amz-content-sha256": payload, "x-amz-date": self._timestamp}
        if self._credentials.token:
            signed["x-amz-security-token"] = self._credentials.token
        layout = self._layout_of(signed)
        values = layout.values(signed)
        canonical = layout.form % (method, path, query, *values, payload)
        if canonical.count("\n") != layout.breaks or "\r" in canonical or "\0" in canonical:
            raise UnsafeTextError("the request holds a line break or NUL")
        if _has_odd_spaces(canonical):
            canonical = layout.form % (method, path, query, *map(_fold_spaces, values), payload)
        signed["authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={self._credentials.access_key}/{self._scope}, "
            f"SignedHeaders={layout.names}, Signature={self._signature_of(canonical)}"
        )
        return signed

    def make_form(self, method: str, headers: Mapping[str, str], payload: str, now: float) -> SignedForm:
        """Return the form of requests with these headers. Raises :class:`UnsafeTextError`."""
        signed = self.sign(method, "", "", headers, payload, now)
        authorization = signed.pop("authorization").rpartition("Signature=")
        layout = self._layout_of(signed)
        canonical = layout.form % (method, "", "", *map(_fold_spaces, layout.values(signed)), payload)
        rest = canonical.removeprefix(f"{method}\n")
        return SignedForm(int(now), method, signed, rest, authorization[0] + authorization[1])

    def sign_form(self, form: SignedForm, path: str) -> str:
        """Return the signature of the request for ``path``. Raises :class:`UnsafeTextError`."""
        if "\n" in path or "\r" in path or "\0" in path:
            raise UnsafeTextError("the request holds a line break or NUL")
        return self.sign_text(f"{form.method}\n{path}{form.canonical}", form.second)

    def sign_text(self, canonical: str, second: int) -> str:
        """Return the signature of a canonical request of that second."""
        self._set_clock(second)
        return self._signature_of(canonical)

    def _layout_of(self, headers: Mapping[str, str]) -> _Layout:
        names = tuple(headers)
        layout = self._layouts.get(names)
        if layout is None:
            if len(self._layouts) >= _LAYOUTS_KEPT:
                self._layouts.clear()
            layout = self._layouts[names] = _Layout.of(headers)
        return layout

    def presign(self, method: str, path: str, query: str, headers: Mapping[str, str], valid: tuple[float, int]) -> str:
        """Return the query that signs a request: the store refuses it so many seconds after that time.

        The body is not signed; ``headers`` are, and one of them should be its digest.
        https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html
        """
        now, seconds = valid
        self._set_clock(int(now))
        names = sorted(headers)
        pairs = {
            "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
            "X-Amz-Credential": f"{self._credentials.access_key}/{self._scope}",
            "X-Amz-Date": self._timestamp,
            "X-Amz-Expires": str(seconds),
            "X-Amz-SignedHeaders": ";".join(names),
        }
        if self._credentials.token:
            pairs["X-Amz-Security-Token"] = self._credentials.token
        added = [f"{name}={quote(value, safe='-_.~')}" for name, value in pairs.items()]
        whole = "&".join(sorted([*filter(None, query.split("&")), *added]))
        lines = "\n".join([f"{name}:{_fold_spaces(headers[name])}" for name in names])
        canonical = f"{method}\n{path}\n{whole}\n{lines}\n\n{';'.join(names)}\n{UNSIGNED}"
        return f"{whole}&X-Amz-Signature={self._signature_of(canonical)}"

    def _signature_of(self, canonical: str) -> str:
        digest = hashes.sha256(canonical.encode("utf-8", "surrogateescape")).hexdigest()
        text = f"AWS4-HMAC-SHA256\n{self._timestamp}\n{self._scope}\n{digest}".encode()
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(text)
        outer.update(inner.digest())
        return outer.hexdigest()

    def _set_clock(self, second: int) -> None:
        if second == self._second:
            return
        self._second = second
        self._timestamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(second))
        scope = f"{self._timestamp[:8]}/{self._region}/{self._service}/aws4_request"
        if scope != self._scope or self._begun_by is not hashes.sha256:
            self._scope = scope
            self._begun_by = hashes.sha256
            self._inner, self._outer = _begin_hmac(self._day_key(self._timestamp[:8]))

    def _day_key(self, day: str) -> bytes:
        key = f"AWS4{self._credentials.secret_key}".encode()
        for text in (day, self._region, self._service, "aws4_request"):
            inner, outer = _begin_hmac(key)
            inner.update(text.encode())
            outer.update(inner.digest())
            key = outer.digest()
        return key


def _begin_hmac(key: bytes) -> tuple[hashlib._Hash, hashlib._Hash]:
    """Return the inner and the outer hash of HMAC with SHA-256 (RFC 2104, section 2)."""
    block = (hashes.sha256(key).digest() if len(key) > _HMAC_BLOCK else key).ljust(_HMAC_BLOCK, b"\0")
    inner, outer = (hashes.sha256(block.translate(pad)) for pad in _HMAC_PADS)
    return inner, outer


def _escape_percent(name: str) -> str:
    return name.replace("%", "%%")


def _has_odd_spaces(canonical: str) -> bool:
    """Return whether some header's value may have to be folded: one look for all of them."""
    return "  " in canonical or "\t" in canonical or ": " in canonical or " \n" in canonical


def _fold_spaces(value: str) -> str:
    """Return a header's value in SigV4's form: trimmed, runs of spaces made one."""
    odd = "  " in value or "\t" in value or value[:1] == " " or value[-1:] == " "
    return " ".join(value.split()) if odd else value
