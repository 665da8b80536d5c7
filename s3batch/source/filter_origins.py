"""Tells which pattern takes a path or leaves it out, and where that pattern was written."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from s3batch.base.named_tuple import NamedTuple
from s3batch.files import bounded
from s3batch.source.filters import order_filters, read_pattern_file
from s3batch.source.gitignore import Patterns, split_ignore_lines
from s3batch.source.ignore_files import IGNORE_FILE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from s3batch.settings.table import Settings

_LARGEST = 1 << 20
"""Bytes of an ignore file."""


class WrittenFilter(NamedTuple):
    """One pattern as it was written."""

    pattern: str
    origin: str
    includes: bool = False
    below: str = ""
    """The directory, with its slash, that the pattern is relative to."""

    def takes(self) -> bool:
        """Return whether a match takes a path: ``!`` turns the meaning round."""
        return self.includes is not self.pattern.startswith("!")

    def matches(self, path: str) -> bool:
        """Return whether the pattern matches the path, or a directory above it."""
        patterns = Patterns.of_lines([self.pattern.removeprefix("!")], below=True)
        return bool(patterns.verdict(path.removeprefix(self.below)))


def find_deciding_filter(settings: Settings, base: str | None, path: str, *, taken: bool) -> tuple[str, str]:
    """Return the pattern that decides about a path below *base*, and its origin; both empty if none does.

    ``None``: there is no directory whose ignore files count.
    """
    for each in reversed(list(_list_filters(settings, base, path))):
        if each.takes() is taken and each.matches(path):
            return each.pattern, each.origin
    return "", ""


def _list_filters(settings: Settings, base: str | None, path: str) -> Iterator[WrittenFilter]:
    """Yield all patterns in the order in which they count, the strongest last."""
    for end in [0, *(at + 1 for at, letter in enumerate(path) if letter == "/")]:
        name = path[:end] + IGNORE_FILE
        for line in [] if base is None else _read_ignore_file(os.path.join(base, name)):
            yield WrittenFilter(line, name, below=path[:end])
    for name in settings.exclude_from:
        for line in read_pattern_file(settings, name):
            yield WrittenFilter(line, f"{name} ({settings.origin('exclude_from')})")
    left = {"include": iter(settings.include), "exclude": iter(settings.exclude)}
    for kind in order_filters(settings):
        yield WrittenFilter(next(left[kind]).strip(), settings.origin(kind), includes=kind == "include")


def _read_ignore_file(name: str) -> list[str]:
    """Return the patterns of an ignore file that the selection has read already; none where it does not exist."""
    try:
        return split_ignore_lines(bounded.read_regular_file(name, _LARGEST).decode("utf-8", "surrogateescape"))
    except (OSError, ValueError):
        return []
