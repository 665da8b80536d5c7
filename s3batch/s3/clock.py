"""The times in responses: the store's clock, and how long to wait."""

from __future__ import annotations

import time
from functools import lru_cache
from typing import TYPE_CHECKING

from s3batch.settings.texts import parse_http_date

if TYPE_CHECKING:
    from collections.abc import Mapping

offsets: dict[tuple[str, int], float] = {}
"""Seconds by which a store's clock, by host and port, is ahead of this machine's, as learned from refusals.
"""
RETRY_AFTER_LIMIT = 120.0
"""Seconds: a store that names more counts as one that names this."""
_LATEST = 7_258_118_400.0
"""The year 2200. No clock that is right shows a later one, and a signature cannot hold any."""


@lru_cache(maxsize=64)
def seconds_of(date: str) -> float:
    """Return an HTTP date in seconds since the epoch; 0 for a malformed one."""
    try:
        seconds = parse_http_date(date).timestamp()
    except (ValueError, OverflowError):
        return 0.0
    return seconds if 0 <= seconds < _LATEST else 0.0


def offset_of(headers: Mapping[str, str]) -> float | None:
    """Return the seconds by which the store's clock is ahead of this machine's; ``None`` if it does not say."""
    told = seconds_of(headers.get("date", ""))
    return told - time.time() if told else None


def retry_after(headers: Mapping[str, str]) -> float:
    """Return the seconds that ``Retry-After`` asks to wait, by the store's own clock; 0 where it does not ask."""
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return min(RETRY_AFTER_LIMIT, float(text[:9]))  # nine digits are beyond the limit, and quick to convert
    until = seconds_of(text) if text else 0.0
    if not until:
        return 0.0
    now = seconds_of(headers.get("date", "")) or time.time()
    return min(RETRY_AFTER_LIMIT, max(0.0, until - now))
