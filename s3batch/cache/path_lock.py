"""The lock of cached paths: one restore at a time writes below a path, whatever its key and journal.

OWN/paths-DIGEST.lock is the lock file. The digest is of the workspace; the paths are written in the file.
"""

from __future__ import annotations

import json
import os
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from s3batch.archive.listed import ListedPaths
from s3batch.base.errors import JournalError, JournalLockedError, SettingsError
from s3batch.files import private
from s3batch.journal.lock import JournalLock

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_NAME = re.compile(r"paths-[0-9a-f]+\.lock")


class PathLock:
    """The lock of some paths of a workspace, in the directory of s3batch's own files."""

    def __init__(self, directory: str, digest: str, roots: Sequence[str]) -> None:
        """``digest`` names the workspace and the paths ``roots``, which are relative to it or absolute."""
        self._directory, self._roots = directory, tuple(roots)
        self._name = f"paths-{digest}"
        self._lock = JournalLock(os.path.join(directory, self._name), _paths_in_words(self._roots))
        self._is_held = False

    def take(self) -> None:
        """Take the lock. Raises JournalLockedError if another restore writes to one of the paths."""
        with private.locked_directory(os.path.join(self._directory, self._name)):
            self._lock.take(roots=list(self._roots))
            self._is_held = True
            try:
                self.refuse_if_held()
            except BaseException:
                self.release()
                raise

    def refuse_if_held(self) -> None:
        """Raise JournalLockedError if another restore writes to one of the paths."""
        for path, roots in self._others():
            shared = _overlapping_paths(self._roots, roots)
            if shared and (holder := JournalLock(path).holder()) is not None:
                raise JournalLockedError(_paths_in_words(shared), holder=f"pid {holder[0]} on host {holder[1]}")

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the lock within the block; see :meth:`take`."""
        self.take()
        try:
            yield
        finally:
            self.release()

    def release(self) -> None:
        """Let go of the lock, if held."""
        self._lock.release()
        self._is_held = False

    def _others(self) -> Iterator[tuple[str, list[str]]]:
        """Yield each lock of the directory that is not held here, without its ending, and the paths it is of."""
        for name in private.list_directory(self._directory):
            if _NAME.fullmatch(name) and not (self._is_held and name == f"{self._name}.lock"):
                path = os.path.join(self._directory, name)
                yield path.removesuffix(".lock"), _roots_in(path)


def _paths_in_words(roots: Sequence[str]) -> str:
    return f"the cached path {roots[0]}" if len(roots) == 1 else f"the cached paths {', '.join(roots)}"


def _overlapping_paths(mine: Sequence[str], theirs: Sequence[str]) -> list[str]:
    """Return the listed paths of this restore that overlap the other's; a pattern counts by its text."""
    try:
        others, each = ListedPaths(theirs, ""), [ListedPaths([root], "") for root in mine]
    except SettingsError:
        return []
    return [
        root
        for root, own in zip(mine, each, strict=True)
        if others.covers(root) or any(own.covers(path) for path in theirs)
    ]


def _roots_in(path: str) -> list[str]:
    """Return the paths written in a lock; none where it is not held or cannot be read."""
    try:
        text: Any = json.loads(private.read_private_file(path))
        return [str(root) for root in text["roots"]]
    except (OSError, JournalError, ValueError, KeyError, TypeError, RecursionError):
        return []
