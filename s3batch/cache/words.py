"""Amounts in the lines people read."""

from __future__ import annotations

from s3batch.units import format_count, format_size


def plural(count: int, noun: str) -> str:
    """``1 chunk``, ``3 chunks``."""
    return f"{format_count(count)} {noun}{'' if count == 1 else 's'}"


def amount(files: int, size: int) -> str:
    """``63,267 files, 617 MiB``."""
    return f"{plural(files, 'file')}, {format_size(size)}"
