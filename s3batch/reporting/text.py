"""Tables and dates as people read them."""

from __future__ import annotations

import time
from collections.abc import Sequence

from s3batch.units import format_count

# -- words


def format_date(seconds: float) -> str:
    """Return UTC, as in ``2026-11-21T21:30:50Z``."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def count_of(number: int, noun: str) -> str:
    """Return a number with its noun, in the plural where that is due."""
    return f"{format_count(number)} {noun}{'' if number == 1 else 's'}"


def format_table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows with aligned columns, two spaces apart; the last column has no fixed width."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    widths[-1] = 0
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
