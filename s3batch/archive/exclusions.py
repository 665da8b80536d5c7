"""Patterns of ``exclude``: entries that stay out of a cache, in gitignore syntax. Pure text.

Patterns are relative to the workspace, the last one that matches counts, ``!`` takes an entry back, and nothing comes
back from inside an excluded directory. Below an absolute listed path a pattern counts if it has no slash but a last one
(``*.log``, ``tmp/``), or if it is written as an absolute path itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from s3batch.archive.paths import is_inside_any, join_path
from s3batch.archive.tree import DIR, Tree
from s3batch.source.gitignore import Patterns

_FROM_WILDCARD = re.compile(r"/[^/]*[*?\[].*", re.DOTALL)


class Exclusions:
    """Tells if a path is excluded. Picklable; false without patterns."""

    def __init__(self, patterns: Iterable[str] = (), roots: Sequence[str] = ()) -> None:
        """Compile the patterns. Raises ValueError for one that cannot be read."""
        lines = [line.strip() for line in patterns]
        tops = [_FROM_WILDCARD.sub("", root) for root in roots if root.startswith("/")]
        absolute = [line for line in lines if is_inside_any(line.removeprefix("!"), tops)]
        floating = [line for line in lines if "/" not in line.removeprefix("!").removesuffix("/")]
        self._below = Patterns.of(line for line in lines if line not in absolute)
        self._absolute = Patterns.of(line for line in lines if line in absolute or line in floating)

    def __bool__(self) -> bool:
        return bool(self._below.groups or self._absolute.groups)

    def names(self, path: str, *, directory: bool) -> bool:
        """Return True if the last pattern that matches says so; that no directory above is excluded is known."""
        end = "/" if directory else ""
        if path.startswith("/"):
            return bool(self._absolute.verdict(f"{path[1:]}{end}"))
        return bool(self._below.verdict(f"{path}{end}"))

    def covers(self, path: str, *, directory: bool) -> bool:
        """Return True if the path, or a directory above it, is excluded."""
        if not self or path in {"", ".", "/"}:
            return False
        at = path.find("/", 1)
        while at > 0:
            if self.names(path[:at], directory=True):
                return True
            at = path.find("/", at + 1)
        return self.names(path, directory=directory)

    def rows(self, tree: Tree) -> Iterable[int]:
        """Yield the rows that are excluded."""
        gone: set[str] = set()
        for path, first, last in tree.spans():
            known = path in gone or self.covers(path, directory=True)
            for row in range(first, last):
                whole, is_directory = join_path(path, tree.names[row]), tree.kinds[row] == DIR
                if known or self.names(whole, directory=is_directory):
                    yield row
                    if is_directory:
                        gone.add(whole)


NOTHING = Exclusions()
