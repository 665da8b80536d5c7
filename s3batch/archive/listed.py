"""The listed paths: names, and patterns for which a rebuild looks on the disk.

What a pattern matched are the roots of the manifest. A restore takes those that match what is listed there, so it needs
no local tree, and a manifest gets no further than the user said. ``*``, ``?`` and ``[...]`` stay inside one component,
``**`` crosses; a path that exists as it is written is that path.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from s3batch.archive.dirfd import Directories
from s3batch.archive.exclusions import NOTHING, Exclusions
from s3batch.archive.paths import is_below, is_inside, join_path, without_nested
from s3batch.archive.scan import ScanProblem
from s3batch.base.errors import ArchiveError, SettingsError
from s3batch.base.named_tuple import NamedTuple
from s3batch.files.private import OWN_DIRECTORY
from s3batch.source.gitignore import Patterns

_WILD = re.compile(r"[*?\[]")
_ANY = "**"


class ExpandedPaths(NamedTuple):
    """The listed paths as they are on the disk."""

    roots: tuple[str, ...]
    """Names, and matches of the patterns; none lies in another one."""
    unmatched: tuple[str, ...]
    """Patterns that match nothing."""
    problems: list[ScanProblem]
    """Directories that could not be looked into."""


@dataclass(frozen=True, slots=True)
class _Pattern:
    """One pattern, compiled."""

    text: str
    segments: tuple[str, ...] = ()
    base: str = ""
    """The directory to search from: the path before the first wildcard."""
    first: int = 0
    """The segment after it."""
    of_segments: tuple[Patterns, ...] = ()
    itself: Patterns = field(default_factory=Patterns)
    below: Patterns = field(default_factory=Patterns)

    @classmethod
    def of(cls, text: str) -> _Pattern:
        segments = tuple(text.strip("/").split("/"))
        first = next(n for n, segment in enumerate(segments) if _WILD.search(segment))
        base = ("/" if text.startswith("/") else "") + "/".join(segments[:first])
        if base == "/":
            raise SettingsError(
                f"cache: {text} would search the whole file system", hint="begin the pattern with a directory"
            )
        try:
            line = "/" + text.removeprefix("/")
            of_segments = tuple(Patterns.of([f"/{segment}"]) for segment in segments)
            return cls(text, segments, base, first, of_segments, Patterns.of([line]), Patterns.of([line], below=True))
        except ValueError as error:
            raise SettingsError(f"cache: {text} is not a valid pattern: {error}", hint="mend it") from None

    def matches(self, path: str) -> bool:
        """Return True for a path that it means."""
        return self._is_like(path) and bool(self.itself.verdict(path.removeprefix("/")))

    def covers(self, path: str) -> bool:
        """Return True for a path at or below one that it means."""
        return self._is_like(path) and bool(self.below.verdict(path.removeprefix("/")))

    def may_lie_below(self, depth: int) -> bool:
        """Return True if it can match something in a directory that is ``depth`` components deep."""
        return _ANY in self.segments or depth < len(self.segments)

    def name_fits(self, name: str, depth: int) -> bool:
        """Return False where it can match nothing at or below an entry of this name, ``depth`` components deep."""
        if _ANY in self.segments[: depth + 1]:
            return True
        return depth < len(self.segments) and bool(self.of_segments[depth].verdict(name))

    def _is_like(self, path: str) -> bool:
        return path.startswith("/") == self.text.startswith("/")


class ListedPaths:
    """The paths that the user listed, as the key and the state know them: in one spelling, sorted."""

    def __init__(self, texts: Sequence[str], workspace: str) -> None:
        """Sort paths and patterns. Raises SettingsError for one that cannot be read."""
        self.texts = tuple(texts)
        self._workspace = workspace
        self._patterns = {text: _Pattern.of(text) for text in texts if _WILD.search(text)}
        self._names = frozenset(texts)

    @property
    def names(self) -> tuple[str, ...]:
        """The listed paths that are not patterns."""
        return tuple(text for text in self.texts if text not in self._patterns)

    def expand(self, exclude: Exclusions = NOTHING) -> ExpandedPaths:
        """Find the matches of the patterns on the disk. No link is followed, and no excluded directory is entered."""
        roots, unmatched = set(self.names), []
        problems: list[ScanProblem] = []
        for text, pattern in self._patterns.items():
            if os.path.lexists(os.path.join(self._workspace, text)):
                roots.add(text)
                continue
            found = list(_Search(pattern, self._workspace, exclude, problems).run())
            roots.update(found)
            if not found:
                unmatched.append(text)
        return ExpandedPaths(without_nested(roots, self._workspace), tuple(unmatched), problems)

    def covers(self, path: str) -> bool:
        """Return True for a path at or below a listed one."""
        return is_below(path, self._names) or any(pattern.covers(path) for pattern in self._patterns.values())

    def common(self, held: Sequence[str]) -> tuple[str, ...]:
        """Return the paths that are at or below both a root of a manifest and a listed path."""
        below = frozenset(held)
        mutual = {root for root in held if self.covers(root)} | {name for name in self.names if is_below(name, below)}
        return tuple(sorted(mutual))

    def lacking(self, roots: Sequence[str]) -> list[str]:
        """Return the listed paths that are not among ``roots``."""
        there = frozenset(roots)
        return [
            text
            for text in self.texts
            if text not in there
            and not (text in self._patterns and any(self._patterns[text].matches(root) for root in roots))
        ]


class _Search:
    """The walk for one pattern."""

    def __init__(self, pattern: _Pattern, workspace: str, exclude: Exclusions, problems: list[ScanProblem]) -> None:
        self._pattern, self._exclude, self._problems = pattern, exclude, problems
        self._workspace = workspace

    def run(self) -> Iterator[str]:
        """Yield its matches, and nothing below a match."""
        pattern = self._pattern
        if self._exclude.covers(pattern.base, directory=True):
            return
        anchors = [pattern.base] if pattern.base.startswith("/") else []
        with Directories(self._workspace, anchors, access=os.O_RDONLY) as directories:
            todo = [(pattern.base, pattern.first)]
            while todo:
                directory, depth = todo.pop()
                below = []
                for path, is_directory in self._entries(directories, directory, depth):
                    if pattern.matches(path):
                        yield path
                    elif is_directory and pattern.may_lie_below(depth + 1):
                        below.append((path, depth + 1))
                todo += reversed(below)

    def _entries(self, directories: Directories, directory: str, depth: int) -> list[tuple[str, bool]]:
        try:
            with os.scandir(directories.open(directory)) as listing:
                entries = sorted((entry.name, entry.is_dir(follow_symlinks=False)) for entry in listing)
        except FileNotFoundError:
            return []
        except (OSError, ArchiveError) as error:
            self._problems.append(ScanProblem(directory or ".", getattr(error, "strerror", None) or str(error)))
            return []
        found = []
        for name, is_directory in entries:
            path = join_path(directory, name)
            own = is_inside(path, OWN_DIRECTORY)
            if own or not self._pattern.name_fits(name, depth):
                continue
            if not (self._exclude and self._exclude.names(path, directory=is_directory)):
                found.append((path, is_directory))
        return found
