"""Where the bucket is and how to talk to it: one picklable value, made once by the coordinator.

Workers get it over their pipe, so the secrets in it are in memory only and its repr shows none.
"""

from __future__ import annotations

from typing import Literal
from urllib.parse import urlsplit

from s3batch.base.named_tuple import NamedTuple
from s3batch.s3.access_headers import AccessHeaders
from s3batch.s3.bounds import RESPONSE_BOUNDS, ResponseBounds
from s3batch.s3.requests import percent_encode
from s3batch.s3.sigv4 import Credentials

Signing = Literal["auto", "always", "never"]

SIGN_UP_TO = 64 * 1024
"""Bytes. Over plain HTTP, bodies up to this size are signed (SHA-256) beside their checksum.

Larger ones carry the checksum alone, because hashing them would be most of the CPU. ``sign_payload: always`` signs all.
"""

AMAZON = (".amazonaws.com", ".amazonaws.com.cn")
"""The ends of S3's own host names."""


class Endpoint(NamedTuple):
    """One bucket on one store, as the lanes need it."""

    bucket: str
    region: str
    host: str
    port: int
    tls: bool
    path_style: bool
    credentials: Credentials | None
    """``None``: requests are not signed (a public bucket)."""
    base_path: str = ""
    url: str = ""
    """The endpoint URL as given; empty for AWS itself."""
    ca_bundle: str = ""
    sign_payload: Signing = "auto"
    checksum: str = "crc64nvme"
    checksum_fallbacks: tuple[str, ...] = ()
    """The checksums for a store that does not take it; empty where the user chose it."""
    lane: Literal["lean", "reference"] = "lean"
    variants: tuple[str, ...] = ()
    """Other names of Amazon's S3 that are wanted: ``fips``, ``dualstack``, ``accelerate``; only boto3 knows those."""
    timeout: float = 60.0
    """Seconds without any progress on a connection."""
    bounds: ResponseBounds = RESPONSE_BOUNDS
    customer_key: str = ""
    """The key of SSE-C in base64."""
    request_payer: bool = False

    def __repr__(self) -> str:
        return f"Endpoint({self.name()!r}, {self.bucket!r})"  # shows no key

    @property
    def server_name(self) -> str:
        """The host to resolve and to expect in the certificate, the bucket included where it is part of it."""
        return self.host.strip("[]") if self.path_style else f"{self.bucket}.{self.host}"

    @property
    def host_header(self) -> str:
        """The value of the ``Host`` header."""
        name = self.host if self.path_style else self.server_name
        return name if self.port == (443 if self.tls else 80) else f"{name}:{self.port}"

    def path(self, key: str, bucket: str = "") -> str:
        """Return the request path of ``key``, or of the bucket for an empty one. Path style reaches another ``bucket``."""
        if self.path_style:
            place = f"{self.base_path}/{bucket or self.bucket}"
            return f"{place}/{percent_encode(key, '/')}" if key else place
        return f"{self.base_path}/{percent_encode(key, '/')}"

    def signs_body(self, size: int) -> bool:
        """Return whether a body of ``size`` bytes is hashed into the signature."""
        if self.sign_payload == "auto":
            return not self.tls and size <= SIGN_UP_TO
        return self.sign_payload == "always"

    def access_headers(self) -> AccessHeaders:
        """Return the headers that every request carries."""
        return AccessHeaders(self.customer_key, request_payer=self.request_payer)

    def through(self, lane: Literal["lean", "reference"]) -> Endpoint:
        """Return the same bucket with that lane."""
        return self._replace(lane=lane)

    def name(self) -> str:
        """Return the URL for messages."""
        return self.url or f"{'https' if self.tls else 'http'}://{self.host}"

    def moved_to(self, region: str) -> Endpoint:
        """Return the same bucket in the region that the store named."""
        amazon = self.host.endswith(AMAZON)
        return self._replace(region=region, host=self.host.replace(self.region, region) if amazon else self.host)


def is_one_store(source: Endpoint, target: Endpoint) -> bool:
    """Return whether one server has both buckets, so that it can copy between them."""
    if not source.url and not target.url:
        return _partition_of(source) == _partition_of(target)
    one, other = ((each.tls, each.host, each.port, each.base_path) for each in (source, target))
    return one == other


def _partition_of(endpoint: Endpoint) -> str:
    """Return the end of Amazon's host name: no copy leads from one partition into another."""
    return next((end for end in sorted(AMAZON, key=len, reverse=True) if endpoint.host.endswith(end)), endpoint.host)


def split_url(url: str) -> tuple[str, int, bool, str]:
    """Return host, port, TLS or not, and base path of an endpoint URL; without a scheme it is https.

    Raises ValueError with the reason.
    """
    parts = urlsplit(url if "://" in url else f"https://{url}")
    if parts.scheme not in ("http", "https"):
        raise ValueError(f"scheme {parts.scheme!r} is neither http nor https")
    if not parts.hostname:
        raise ValueError("it names no host")
    if parts.query or parts.fragment or parts.username:
        raise ValueError("it must hold no query, fragment or user name")
    tls = parts.scheme == "https"
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    if not host.isascii():
        host = host.encode("idna").decode()
    return host, parts.port or (443 if tls else 80), tls, parts.path.rstrip("/")
