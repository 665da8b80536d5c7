"""The way back from a key to the files of the source that have it, as far as the key shows its path."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

from s3batch.base.named_tuple import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from s3batch.objects.target import Target

_NOT_THERE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG})


class KeyPaths(NamedTuple):
    """The source and the target of a job. Frozen and picklable."""

    base: str
    """The directory that every path is relative to."""
    target: Target
    name: str = ""
    """The name of the one file that is the source; empty: the source is a directory."""

    def key(self, path: str) -> str:
        """Return the key of the file at ``path``."""
        return self.target.key_of_single(path) if self.name else self.target.key(path)

    def paths(self, key: str) -> list[str]:
        """Return the paths of the source that have this key: none outside it. A wildcard in ``strip_prefix`` hides them."""
        if self.name:
            candidates = [self.name]
        else:
            path, front = key[len(self.target.prefix) :], self.target.stripped_text
            candidates = [path, *([front + path] if front else [])]
        named = [each for each in candidates if _is_walkable_path(each.removesuffix("/"))]  # a folder's marker has one
        return [each for each in named if self.key(each) == key]

    def has_file(self, key: str) -> bool:
        """Return true if a file has this key now, or this cannot be known. A directory is no file."""
        return any(self._is_there(path) for path in self.paths(key))

    def find_files(self, keys: Sequence[str]) -> set[str]:
        """Return those of these keys that have a file, as :meth:`has_file` tells; a directory that is gone is asked for once."""
        if self.name or self.target.stripped is not None:
            return {key for key in keys if self.has_file(key)}
        front, directories = len(self.target.prefix), _ParentDirectories(self.base)
        gone, found = directories.gone, set[str]()
        for key in keys:
            path = key[front:]
            above = path.rpartition("/")[0]
            if above not in gone and directories.may_hold(above) and self._may_be_there(path):
                found.add(key)
        if len(found) < len(keys) and not os.path.isdir(self.base):
            return set(keys)
        return found

    def has_directory(self, key: str) -> bool:
        """Return true if ``key`` ends with a slash and is the name of a directory."""
        if not key.endswith("/"):
            return False
        return any(
            _is_walkable_path(path[:-1]) and os.path.isdir(os.path.join(self.base, path)) for path in self.paths(key)
        )

    def has_file_behind_slash(self, key: str) -> bool:
        """Return true if a file has this key without its leading slash: drone-s3-sync once wrote such keys."""
        return key.startswith("/") and os.path.isfile(os.path.join(self.base, key.lstrip("/")))

    def _is_there(self, path: str) -> bool:
        return self._may_be_there(path) or (_is_walkable_path(path) and not os.path.isdir(self.base))

    def _may_be_there(self, path: str) -> bool:
        """Return true if a file is there, or this cannot be known. Where the source has gone, nothing is there."""
        if not _is_walkable_path(path):
            return False
        name = os.path.join(self.base, path)
        try:
            mode = os.lstat(name).st_mode
        except OSError as error:
            return error.errno not in _NOT_THERE
        except ValueError:  # a NUL byte
            return False
        if stat.S_ISLNK(mode):
            return not os.path.isdir(name)
        return not stat.S_ISDIR(mode)


class ObjectKeyPaths(KeyPaths):
    """The same for a source in S3: the coordinator's listing shows what exists, and nothing on this machine does."""

    __slots__ = ()

    def has_file(self, key: str) -> bool:
        """Return false: a worker asks the source."""
        return False

    def find_files(self, keys: Sequence[str]) -> set[str]:
        """Return none: a worker asks the source."""
        return set()

    def has_directory(self, key: str) -> bool:
        """Return false: a folder's marker is an object like others."""
        return False

    def has_file_behind_slash(self, key: str) -> bool:
        """Return false: no other program gives objects such keys."""
        return False


class _ParentDirectories:
    """The directories of a few keys: those that are gone have no file."""

    def __init__(self, base: str) -> None:
        self.gone: set[str] = set()
        self._base = base
        self._there: set[str] = set()

    def may_hold(self, path: str) -> bool:
        """Return false if there is no directory at ``path``, relative to the base."""
        if path in self._there:
            return True
        try:
            is_gone = (bool(path) and not _is_walkable_path(path)) or not stat.S_ISDIR(
                os.stat(os.path.join(self._base, path)).st_mode
            )
        except OSError as error:
            is_gone = error.errno in _NOT_THERE
        except ValueError:  # a NUL byte
            is_gone = True
        (self.gone if is_gone else self._there).add(path)
        return not is_gone


def _is_walkable_path(path: str) -> bool:
    """Return true if a walk could come by ``path``: other spellings name the same file, but no walk has them."""
    segments = f"/{path}/"
    return not ("//" in segments or "/./" in segments or "/../" in segments)
