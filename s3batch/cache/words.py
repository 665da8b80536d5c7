"""Amounts in the lines people read."""

from __future__ import annotations

from s3batch.units import format_size, plural


def amount(files: int, size: int) -> str:
    """Return files and bytes in words: ``63,267 files, 617 MiB``."""
    return f"{plural(files, 'file')}, {format_size(size)}"
