"""Patterns of per-file settings that match no file: most often a slip of the pen, so the job warns of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from s3batch.base.units import format_count
from s3batch.objects.attributes import PatternChoice
from s3batch.objects.star_glob import count_literals

if TYPE_CHECKING:
    from collections.abc import Sequence

    from s3batch.objects.attributes import AttributeRules

_SHOWN = 20
"""Patterns that the warning names."""


class UnmatchedPatterns:
    """The patterns of a job that no file has matched so far. False once all have been matched."""

    def __init__(self, rules: AttributeRules) -> None:
        self._root = rules.root
        self._left = {
            (name, pattern): PatternChoice.of({pattern: True}, rules.root, otherwise=False)
            for name, choice in rules.choices.items()
            for pattern in choice.exact
            if count_literals(pattern) or not pattern  # "*" matches any file
        }

    def __bool__(self) -> bool:
        return bool(self._left)

    def see(self, paths: Sequence[str], *, only: str = "") -> None:
        """Take note of these files; of a name that one setting alone is for, name that setting."""
        root = self._root
        for (name, pattern), choice in list(self._left.items()):
            if only in ("", name) and any(choice.get(path, root + path) for path in paths):
                del self._left[name, pattern]

    def warning(self) -> str:
        """Return one sentence about all of them; empty if there are none."""
        left = [f"{name} {pattern!r}" for name, pattern in self._left]
        if not left:
            return ""
        more = f" and {format_count(len(left) - _SHOWN)} more" if len(left) > _SHOWN else ""
        which = "this pattern" if len(left) == 1 else "these patterns"
        return f"no file matches {which}: {', '.join(left[:_SHOWN])}{more}"
