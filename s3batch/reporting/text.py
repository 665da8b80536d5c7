"""Tables and dates as people read them."""

from __future__ import annotations

import time
from collections.abc import Sequence

from s3batch.base.units import format_plural, format_size


def format_date(seconds: float) -> str:
    """Return UTC, as in ``2026-11-21T21:30:50Z``."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def format_timestamp(seconds: float) -> str:
    """Return UTC with milliseconds, as in ``2026-11-21T21:30:50.123Z``."""
    milliseconds = round(seconds * 1000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(milliseconds // 1000))}.{milliseconds % 1000:03d}Z"


def format_amount(files: int, size: int) -> str:
    """Return files and bytes in words: ``63,267 files, 617 MiB``."""
    return f"{format_plural(files, 'file')}, {format_size(size)}"


def format_table(rows: Sequence[Sequence[str]], widest: int = 1000) -> list[str]:
    """Return rows with aligned columns, two spaces apart. A cell longer than ``widest`` moves the rest of its row."""
    widths = [min(widest, max(map(len, column))) for column in zip(*rows, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
