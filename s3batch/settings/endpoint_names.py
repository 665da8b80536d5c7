"""Endpoints that are written in two ways and may be one store: localhost, a slash, a default port, capital letters."""

from __future__ import annotations

import socket
from contextlib import suppress
from urllib.parse import urlsplit

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1", "0.0.0.0", "::"})  # noqa: S104 - the last two lead here too
_MAPPED = bytes(10) + b"\xff\xff"
"""The first bytes of an IPv6 address that stands for an IPv4 one (RFC 4291, 2.5.5.2)."""
_AMAZON = (".amazonaws.com", ".amazonaws.com.cn")


def may_be_one_endpoint(one: str, other: str) -> bool:
    """Return whether two endpoint URLs may lead to one store; an empty one is that of AWS.

    True only forbids what would harm, so another name of this machine counts as the same. What is not known to be one
    store, such as two names of one host in DNS, counts as two.
    """
    return _normalize_endpoint(one) == _normalize_endpoint(other)


def name_endpoint(url: str) -> str:
    """Return one name for all URLs that may lead to one store; empty for AWS."""
    host, port, path = _normalize_endpoint(url)
    return f"{host}:{port}{path}" if host else ""


def _normalize_endpoint(url: str) -> tuple[str, int, str]:
    """Return host, port and path in one spelling; of a URL that cannot be read the text itself."""
    if not url:
        return "", 443, ""
    try:
        parts = urlsplit(url if "://" in url else f"https://{url}")
        host, port = (parts.hostname or "").rstrip("."), parts.port or (80 if parts.scheme == "http" else 443)
    except ValueError:
        return url, 0, ""
    host = _normalize_address(host)
    if host in _LOOPBACK:
        host = "localhost"
    if host.endswith(_AMAZON) and host.startswith(("s3.", "s3-")):
        return "", 443, ""
    return host, port, parts.path.rstrip("/")


def _normalize_address(host: str) -> str:
    """Return an address in its usual spelling, such as 127.0.0.1 for 127.1; a name as it is."""
    with suppress(OSError, ValueError):
        return socket.inet_ntoa(socket.inet_aton(host))  # the C library's own reading, which connects
    with suppress(OSError, ValueError):
        address = socket.inet_pton(socket.AF_INET6, host)
        is_mapped = address.startswith(_MAPPED)
        return socket.inet_ntoa(address[12:]) if is_mapped else socket.inet_ntop(socket.AF_INET6, address)
    return host
