"""Endpoints that are written in two ways and may be one store: localhost, a slash, a default port, capital letters."""

from __future__ import annotations

from urllib.parse import urlsplit

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_AMAZON = (".amazonaws.com", ".amazonaws.com.cn")


def may_be_one_endpoint(one: str, other: str) -> bool:
    """Return whether two endpoint URLs may lead to one store; an empty one is that of AWS.

    True only forbids what would harm, so another name of this machine counts as the same. What is not known to be one
    store, such as two names of one host in DNS, counts as two.
    """
    return _normalize_endpoint(one) == _normalize_endpoint(other)


def _normalize_endpoint(url: str) -> tuple[str, int, str]:
    """Return host, port and path in one spelling; of a URL that cannot be read the text itself."""
    if not url:
        return "", 443, ""
    try:
        parts = urlsplit(url if "://" in url else f"https://{url}")
        host, port = (parts.hostname or "").rstrip("."), parts.port or (80 if parts.scheme == "http" else 443)
    except ValueError:
        return url, 0, ""
    if host in _LOOPBACK:
        host = "localhost"
    if host.endswith(_AMAZON) and host.startswith(("s3.", "s3-")):
        return "", 443, ""
    return host, port, parts.path.rstrip("/")
