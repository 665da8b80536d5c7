"""MD5, SHA-256 and BLAKE2b: Python's own functions first, for a process that hashes little. Imports nothing of s3batch.

To load OpenSSL takes 5 ms, and saves 2 to 8 ns for each byte that is hashed. ``random`` of the standard library takes
Python's own SHA-512 for the same reason. Call ``hashes.sha256``, and do not import it by its name: it is OpenSSL's later.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import hashlib

FEW = 128 * 1024
"""Bytes that a process hashes by itself."""
_OWN_MODULES = {"md5": ("_md5",), "sha256": ("_sha2", "_sha256"), "blake2b": ("_blake2",)}
"""Where CPython has each function; Python 3.11 has ``_sha256``."""


@cache
def _find_function(name: str) -> Callable[..., hashlib._Hash]:
    for module in (*_OWN_MODULES[name], "hashlib"):
        try:
            return getattr(import_module(module), name)  # type: ignore[no-any-return]
        except ImportError:  # an interpreter may be built without them
            continue
    raise ImportError(name)


class _FirstHashes:
    """Hashes the first bytes of a process, then has OpenSSL hash."""

    def __init__(self) -> None:
        self._left = FEW

    def start(self, name: str, data: bytes | bytearray | memoryview | None = None) -> hashlib._Hash:
        """Return a hash that is begun with ``data``. Without data it is one of a stream, which may be long."""
        self._left -= FEW + 1 if data is None else len(data)
        if self._left >= 0:
            return _find_function(name)(data)
        load_openssl()
        return {"md5": md5, "sha256": sha256}[name](data or b"")


def load_openssl() -> None:
    """Have OpenSSL compute MD5 and SHA-256 from now on."""
    global md5, sha256
    import hashlib  # noqa: PLC0415 - see above

    md5, sha256 = partial(hashlib.md5, usedforsecurity=False), hashlib.sha256


_first = _FirstHashes()
md5: Callable[..., hashlib._Hash] = partial(_first.start, "md5")
sha256: Callable[..., hashlib._Hash] = partial(_first.start, "sha256")
blake2b: Callable[..., hashlib._Hash] = _find_function("blake2b")
"""Python's own in ``hashlib`` too."""
