"""The names of keys as paths of a local tree: which cannot be one, and which two cannot be there together. Pure.

    NUL, an empty component, ``.`` and ``..``     no path inside the target
    a component of more than 255 bytes            no file system holds it
    ``a`` beside ``a/b``                          the shorter key fails: ``a`` has to be a directory
    ``A`` beside ``a``                            the later key fails where the file system sees no difference

A key that ends with ``/`` is a marker: it makes a directory.
"""

from __future__ import annotations

import os
import re
import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from s3batch.model import ListedObject

_NO_PATH = re.compile(r"(?:^|/)(\.{0,2})(?:/|$)|(\x00)", re.DOTALL)
_SURELY_SHORT = 60
"""Characters: in UTF-8 they have at most 240 bytes."""
LONGEST_NAME = 255
"""Bytes of a component, on every usual file system."""
LONGEST_PATH = 4095
"""Bytes of a path: Linux's PATH_MAX without its NUL. Other programs could not open a longer one."""


def find_name_problem(path: str, longest: int = LONGEST_NAME) -> str:
    """Return why ``path`` cannot be a file below the target; empty if it can."""
    if found := _NO_PATH.search(path):
        if found[2]:
            return "its name holds a NUL byte"
        return f"its name has the component {found[1]!r}" if found[1] else "its name has an empty component"
    if len(path) <= _SURELY_SHORT:
        return ""
    encoded = os.fsencode(path)
    if len(encoded) > LONGEST_PATH or any(len(each) > longest for each in encoded.split(b"/")):
        return "its name is too long for a file system"
    return ""


def are_plain_paths(paths: Sequence[str]) -> bool:
    """Return true if each path can be a file below the target. A look at all of them at once is a tenth of the time.

    False may be said of good names too: those with a line break.
    """
    together = "\n".join(["", *paths, ""])
    components = together.replace("/", "\n")
    if "\0" in together or together.count("\n") != len(paths) + 1:
        return False
    if any(f"\n{each}\n" in components for each in ("", ".", "..")):
        return False
    return not any(find_name_problem(path) for path in paths if len(path) > _SURELY_SHORT)


def fold_name(path: str) -> str:
    """Return what a file system that sees no difference of case compares."""
    return unicodedata.normalize("NFC", path).casefold()


class FoldedNames:
    """The names on a file system that sees no difference of case, as 64-bit hashes."""

    def __init__(self) -> None:
        self._seen: set[int] = set()

    def take(self, path: str) -> bool:
        """Note a path; return False if an equal one was there."""
        number = hash(fold_name(path))
        if number in self._seen:
            return False
        self._seen.add(number)
        return True

    def holds(self, path: str) -> bool:
        """Return whether an equal path was noted."""
        return hash(fold_name(path)) in self._seen


class DirectoryKeys:
    """Finds keys that others need as a directory, in a listing by UTF-8 bytes, as S3's is.

    Only keys that begin the last one shown wait: ``a`` waits while ``a-b`` may be followed by ``a/b``.
    """

    def __init__(self) -> None:
        self._waiting: list[tuple[ListedObject, bool]] = []
        """Each begins the one after it; true if a key below it has come."""

    def feed(self, objects: Sequence[ListedObject]) -> Iterator[tuple[ListedObject, bool]]:
        """Take the next objects; yield those that are decided, with true for one that has to be a directory."""
        waiting = self._waiting
        for each in objects:
            key = each.key
            while waiting and not key.startswith(waiting[-1][0].key):
                yield waiting.pop()
            for at, (shorter, _) in enumerate(waiting):
                if key.startswith(f"{shorter.key}/") or shorter.key.endswith("/"):
                    waiting[at] = (shorter, True)
            waiting.append((each, False))

    def take_unrelated(self, objects: Sequence[ListedObject]) -> list[ListedObject] | None:
        """Do as :meth:`feed` does where no key begins the next one: none has to be a directory.

        Return ``None`` where one does. Nothing is taken then.
        """
        if len(self._waiting) > 1 or not objects:
            return None
        together = [*(each for each, _ in self._waiting), *objects]
        keys = [each.key for each in together]
        if any(map(str.startswith, keys[1:], keys)):
            return None
        self._waiting = [(together.pop(), False)]
        return together

    def end(self) -> Iterator[tuple[ListedObject, bool]]:
        """Yield the objects that still wait."""
        while self._waiting:
            yield self._waiting.pop()
