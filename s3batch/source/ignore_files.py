"""``.s3batchignore``: a file in gitignore syntax in any directory of a tree. Its patterns hold for what is below it.

    the file of the deepest directory that has a matching pattern decides; in one file the last pattern that matches
    nothing comes back from inside an excluded directory, whose own file is not read

An ignore file is no file to send, and its object is no orphan. One that cannot be read or understood stops the job: it
may be there to keep a secret out of a bucket.
"""

from __future__ import annotations

import errno
import os

from s3batch.base.errors import JobFailedError
from s3batch.files import bounded
from s3batch.source.gitignore import Patterns, split_ignore_lines

IGNORE_FILE = ".s3batchignore"
_BELOW = f"/{IGNORE_FILE}"
_LARGEST = 1 << 20
"""Bytes of an ignore file."""

_Rules = tuple[tuple[int, Patterns], ...]
"""The patterns above a path, the deepest first, each with the length of its directory's path and slash."""


class IgnoreFiles:
    """The ignore files of a tree, read when they are needed. Picklable; its memory changes no answer."""

    def __init__(self, root: str, most: int = 10_000) -> None:
        """Take the absolute path of the tree. Of ``most`` directories rules are kept: a walk needs those above it only."""
        self._root = root
        self._most = most
        self._remembered: dict[str, _Rules | None] = {}
        """The rules by directory, without a slash at its end; ``None``: it is excluded."""

    def hides(self, path: str) -> bool:
        """Return whether the file at ``path`` is left out. A directory ends with ``/``. Raises JobFailedError."""
        directory, _, name = path.rpartition("/")  # a walk asks for each file: half the time of rfind and a slice
        rules = self._remembered.get(directory, _UNKNOWN) if name else self._rules_in(directory.rpartition("/")[0])
        if rules is _UNKNOWN:
            rules = self._rules_in(directory)
        if not rules:
            return rules is None or name == IGNORE_FILE
        return name == IGNORE_FILE or _is_excluded_by(rules, path)

    def has_no_rule_in(self, directory: str) -> bool:
        """Return true if no file right in this directory is left out but an ignore file. Raises JobFailedError."""
        return self._rules_in(directory) == ()

    def _rules_in(self, directory: str) -> _Rules | None:
        """Return the rules for entries of a directory; ``None`` if it is excluded itself."""
        known = self._remembered.get(directory, _UNKNOWN)
        if known is not _UNKNOWN:
            return known
        if len(self._remembered) >= self._most:
            self._remembered.clear()
        rules: _Rules | None = ()
        for at in _list_directories_above(directory):
            known = self._remembered.get(at, _UNKNOWN)
            if known is _UNKNOWN:
                excluded = rules is None or (rules and _is_excluded_by(rules, f"{at}/"))
                known = self._remembered[at] = None if excluded else self._with_own(at, rules or ())
            rules = known
        return rules

    def _with_own(self, directory: str, above: _Rules) -> _Rules:
        if directory.startswith("/") or ".." in directory.split("/"):  # a key that can be no path of the tree
            return above
        shown = f"{directory}/{IGNORE_FILE}" if directory else IGNORE_FILE
        name = os.path.join(self._root, shown)
        try:
            text = bounded.read_regular_file(name, _LARGEST).decode("utf-8", "surrogateescape")
        except ValueError:  # a NUL byte, in a key that cannot be a path
            return above
        except OSError as error:
            if _is_out_of_reach(name, error):
                return above
            raise JobFailedError(
                f"cannot read the ignore file {shown}: {error.strerror}",
                hint="make it readable, or remove it",
            ) from None
        try:
            patterns = Patterns.of_lines(split_ignore_lines(text))
        except ValueError as error:
            raise JobFailedError(f"the ignore file {shown} is not valid: {error}", hint="correct the pattern") from None
        return ((len(shown) - len(IGNORE_FILE), patterns), *above) if patterns.groups else above


def is_ignore_file(path: str) -> bool:
    """Return whether a path is that of an ignore file."""
    return path == IGNORE_FILE or path.endswith(_BELOW)


def _is_out_of_reach(name: str, error: OSError) -> bool:
    """Return whether there is no such file, or nothing of its directory can be read: then no file beside it is sent."""
    if error.errno != errno.EACCES:
        return error.errno in _ABSENT
    try:
        os.lstat(name)
    except OSError:
        return True
    return False


_ABSENT = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG})
_UNKNOWN: _Rules = ((-1, Patterns()),)


def _list_directories_above(directory: str) -> list[str]:
    """Return the directories from the root, which is empty, down to this one."""
    segments = directory.split("/") if directory else []
    return ["/".join(segments[:count]) for count in range(len(segments) + 1)]


def _is_excluded_by(rules: _Rules, path: str) -> bool:
    """Return whether a path is excluded, if no directory above it is."""
    for start, patterns in rules:
        verdict = patterns.verdict(path[start:])
        if verdict is not None:
            return verdict
    return False
