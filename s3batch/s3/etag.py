"""ETags that tell an object's content: MD5 of the whole, or of its parts."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from s3batch.base import hashes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from s3batch.s3.requests import Body

_MIB = 1024 * 1024
_USUAL_PARTS = (5, 8, 10, 15, 16, 20, 25, 32, 50, 64, 100, 128, 250, 256, 500, 512, 1000, 1024)
"""MiB: the defaults of other tools (rclone 5, aws 8, s3cmd 15, s5cmd 50, s3fs 10...) and what people set."""


def md5_of_etag(etag: str) -> str | None:
    """Return the MD5 in an ETag of that form, in lower case; ``None`` for a multipart or any other ETag."""
    etag = etag.strip('"').lower()
    return etag if re.fullmatch("[0-9a-f]{32}", etag) else None


def multipart_etag(digests: Iterable[bytes]) -> str:
    """Return S3's ETag of an object whose parts have these MD5s, without quotes."""
    parts = list(digests)
    return f"{hashes.md5(b''.join(parts)).hexdigest()}-{len(parts)}"


def part_size_candidates(size: int, parts: int, own_part_size: int) -> list[int]:
    """Return part sizes, in bytes, that make so many parts: the own size and its doublings first, then usual ones."""
    if parts < 1:
        return []
    even = -(-size // parts)
    doubled = [own_part_size << n for n in range(12)]  # 5 MiB << 11 is more than S3's largest part, 5 GiB
    usual = [mib * _MIB for mib in _USUAL_PARTS]
    candidates = dict.fromkeys([*doubled, *usual, -(-even // _MIB) * _MIB, even])
    return [candidate for candidate in candidates if candidate and max(1, -(-size // candidate)) == parts]


def hash_blocks(blocks: Iterable[Body]) -> str:
    """Return the MD5 in hex."""
    running = hashes.md5()
    for block in blocks:
        running.update(block)
    return running.hexdigest()


def multipart_digests(blocks: Iterator[Body], part_size: int) -> list[bytes]:
    """Return the MD5 of each part of ``part_size`` bytes (a whole number of MiB, or the last part is all)."""
    digests, running, filled = [], hashes.md5(), 0
    for block in blocks:
        view = memoryview(block)
        while view:
            piece = view[: part_size - filled]
            running.update(piece)
            filled += len(piece)
            view = view[len(piece) :]
            if filled == part_size:
                digests.append(running.digest())
                running, filled = hashes.md5(), 0
    return [*digests, running.digest()] if filled or not digests else digests
