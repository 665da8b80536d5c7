"""The star glob of the per-file settings."""

from __future__ import annotations

import re


def compile_star_glob(pattern: str) -> re.Pattern[str]:
    """Return a star glob as a regex for ``fullmatch``: ``*`` matches any characters, ``/`` included.

    Each piece between two stars is taken where it first occurs and not looked for again (an atomic group). The result
    is the same, and the time stays linear for patterns with many stars.
    """
    head, *pieces = pattern.split("*")
    if not pieces:
        return re.compile(re.escape(pattern))
    *middle, tail = pieces
    run = "".join(f"(?>.*?{re.escape(piece)})" for piece in middle if piece)
    return re.compile(f"{re.escape(head)}{run}.*{re.escape(tail)}", re.DOTALL)


def count_literals(pattern: str) -> int:
    """Return how many characters of a star glob are not stars: more make it more specific."""
    return len(pattern) - pattern.count("*")
