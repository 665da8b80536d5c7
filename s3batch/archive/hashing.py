"""The only door to BLAKE3, and the hashes of chunks, files and trees.

    chunk id       BLAKE3-256 of the raw bytes: proves a chunk before any byte of it is written
    content hash   the first 16 bytes: says whether a file changed, within one trust domain

The content hash of a file below 8 MiB is that of its bytes. A larger one is hashed window by window (8 MiB each, the
last one shorter). Its content hash is that of the windows' hashes in a row, so several processes can hash its windows.
Holes count as the zeros they read as.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from blake3 import blake3

from s3batch.archive.columns import Bytes

ALGORITHM = "b3"
WINDOW = 8 << 20
"""Bytes; files of this size or more are stored in pieces of it."""
ID_SIZE = 32
HASH_SIZE = 16


def chunk_id(raw: Bytes) -> bytes:
    """Return the 32 bytes that name a chunk."""
    return blake3(raw).digest()


def content_hash(content: Bytes) -> bytes:
    """Return 16 bytes: the hash of a whole small file, or of one window of a large one."""
    return blake3(content).digest(HASH_SIZE)


def joined_hash(windows: Iterable[bytes]) -> bytes:
    """Return the content hash of a large file from the hashes of its windows, in order."""
    return blake3(b"".join(windows)).digest(HASH_SIZE)


@cache
def zeros_hash(length: int) -> bytes:
    """Return the hash of a window that is one hole."""
    return blake3(bytes(length)).digest(HASH_SIZE)


def tree_hash(parts: Iterable[Bytes]) -> bytes:
    """Return 32 bytes over ``parts``, each preceded by its length, so that different lists never give the same input."""
    hasher = blake3()
    for part in parts:
        hasher.update(len(part).to_bytes(8, "little"))
        hasher.update(part)
    return hasher.digest()
