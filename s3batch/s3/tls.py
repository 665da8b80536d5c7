"""What the native client has to know of TLS. ``ssl`` is imported with the first socket that speaks it: it takes 3 ms."""

from __future__ import annotations

import sys

_PLAIN = (BlockingIOError,)


def list_waits() -> tuple[type[OSError], ...]:
    """Return the errors of a socket that is not ready: the same call is made again when it is."""
    ssl = sys.modules.get("ssl")
    return _PLAIN if ssl is None else (ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError)


def wants_read(error: OSError) -> bool:
    """Return whether TLS has to read before it goes on."""
    ssl = sys.modules.get("ssl")
    return ssl is not None and isinstance(error, ssl.SSLWantReadError)


def explain_distrust(error: Exception) -> str:
    """Return why the store's certificate is not trusted; empty for any other error."""
    ssl = sys.modules.get("ssl")
    if ssl is None or not isinstance(error, ssl.SSLCertVerificationError):
        return ""
    return str(error.verify_message)
