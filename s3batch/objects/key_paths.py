"""The way back from a key to the files of the source that have it, as far as the key shows its path."""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from s3batch.objects.target import Target

_NOT_THERE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG})


@dataclass(frozen=True, slots=True)
class KeyPaths:
    """The source and the target of a job. Frozen and picklable."""

    base: str
    """The directory that every path is relative to."""
    target: Target
    name: str = ""
    """Of the one file that is the source; empty: the source is a directory."""

    def key(self, path: str) -> str:
        """Return the key of the file at ``path``."""
        return self.target.key_of_single(path) if self.name else self.target.key(path)

    def paths(self, key: str) -> list[str]:
        """Return the paths that have this key. A wildcard in ``strip_prefix`` hides them."""
        if self.name:
            candidates = [self.name]
        else:
            path, front = key[len(self.target.prefix) :], self.target.stripped_text
            candidates = [path, *([front + path] if front else [])]
        return [each for each in candidates if self.key(each) == key]

    def has_file(self, key: str) -> bool:
        """Return true if a file has this key now, or this cannot be known. A directory is no file."""
        return any(self._is_there(path) for path in self.paths(key))

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
        if not _is_walkable_path(path):
            return False
        name = os.path.join(self.base, path)
        try:
            mode = os.lstat(name).st_mode
        except OSError as error:
            return error.errno not in _NOT_THERE or not os.path.isdir(self.base)
        except ValueError:  # a NUL byte
            return False
        if stat.S_ISLNK(mode):
            return not os.path.isdir(name)
        return not stat.S_ISDIR(mode)


@dataclass(frozen=True, slots=True)
class ObjectKeyPaths(KeyPaths):
    """The same for a source in S3: the coordinator's listing shows what exists, and nothing on this machine does."""

    def has_file(self, key: str) -> bool:
        """Return false: a worker asks the source."""
        return False

    def has_directory(self, key: str) -> bool:
        """Return false: a folder's marker is an object like others."""
        return False

    def has_file_behind_slash(self, key: str) -> bool:
        """Return false: no other program gives objects such keys."""
        return False


def _is_walkable_path(path: str) -> bool:
    """Return true if a walk could come by ``path``: other spellings name the same file, but no walk has them."""
    return not any(segment in ("", ".", "..") for segment in path.split("/"))
