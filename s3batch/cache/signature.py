"""Signatures of manifests, so that only builds with the secret can write a cache that others accept.

HMAC-SHA256 over the full key of the object and the stored bytes: a manifest copied to another key, scope or
repository is not believed there. Chunks need none: the manifest names them by their hash.
"""

from __future__ import annotations

import hashlib
import hmac
import os


def sign_manifest(secret: str, key: str, stored: bytes) -> str:
    """Return 64 hex digits for the object's metadata."""
    location = os.fsencode(key)
    message = len(location).to_bytes(4, "big") + location + stored
    return hmac.new(os.fsencode(secret), message, hashlib.sha256).hexdigest()


def is_signed(secret: str, key: str, stored: bytes, signature: str) -> bool:
    """Return whether ``signature`` is that of :func:`sign_manifest`. Compares in constant time."""
    return hmac.compare_digest(sign_manifest(secret, key, stored).encode(), os.fsencode(signature.strip().lower()))
