"""Directories opened one component at a time, never through a symbolic link.

    workspace ──open, trusted──→ fd ──openat O_NOFOLLOW──→ "vendor" ──openat O_NOFOLLOW──→ "vendor/bundle"

What lies above is trusted: the workspace, and the parent of an absolute root, which the user named. Below that every
step is an :func:`os.open` with ``dir_fd`` and ``O_NOFOLLOW``. So neither an archive nor a checkout can lead a write out
of the listed paths. The last few hundred descriptors are kept.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from s3batch.archive.paths import is_inside, is_safe_name, join_path, split_path
from s3batch.errors import ArchiveError

_KEEP = 200  # open descriptors; a process may have 1,024 by default on Linux
_LINK_ERRORS = (errno.ELOOP, errno.ENOTDIR)
PASSAGE = getattr(os, "O_PATH", os.O_RDONLY)
"""For directories that are only passed through; listing one needs ``os.O_RDONLY``."""


class Directories:
    """Descriptors by path. They stay open until :meth:`close`, or until many others were asked for."""

    def __init__(self, workspace: str, roots: Sequence[str], *, access: int = PASSAGE) -> None:
        self._flags = access | os.O_DIRECTORY | os.O_CLOEXEC
        self._anchors = {"": workspace} | {
            split_path(root)[0]: split_path(root)[0] for root in roots if root.startswith("/")
        }
        self._open: dict[str, int] = {}

    def open(self, path: str, *, make: bool = False) -> int:
        """Return a descriptor of the directory, valid until the next call; with ``make`` create missing directories.

        Raises FileNotFoundError if it is missing, and :class:`ArchiveError` if a link or a file is in its place.
        """
        known = self._open.get(path)
        if known is not None:
            return known
        missing: list[str] = []
        while path not in self._open and path not in self._anchors:
            path, name = split_path(path)
            if not is_safe_name(name):
                raise ArchiveError(f"{join_path(path, name)} is outside the listed paths")
            missing.append(name)
        descriptor = self._open.get(path)
        if descriptor is None:
            descriptor = self._open_anchor(path, make)
        for name in reversed(missing):
            path = join_path(path, name)
            descriptor = self._step(descriptor, name, path, make)
        return descriptor

    def is_anchor(self, path: str) -> bool:
        """Return whether ``path`` is the trusted parent of an absolute root, or lies above it."""
        return any(is_inside(anchor, path) for anchor in self._anchors if anchor.startswith("/"))

    def close(self) -> None:
        """Close all; the object can be used again."""
        while self._open:
            os.close(self._open.popitem()[1])

    def forget(self, path: str) -> None:
        """Close what is at or below ``path``: it is being moved or removed."""
        for known in [known for known in self._open if known == path or known.startswith(path + "/")]:
            os.close(self._open.pop(known))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open_anchor(self, path: str, make: bool) -> int:
        if make:
            os.makedirs(self._anchors[path], exist_ok=True)
        return self._keep(path, os.open(self._anchors[path], self._flags))

    def _step(self, parent: int, name: str, path: str, make: bool) -> int:
        try:
            return self._keep(path, os.open(name, self._flags | os.O_NOFOLLOW, dir_fd=parent))
        except FileNotFoundError:
            if not make:
                raise
        except OSError as error:
            if error.errno in _LINK_ERRORS:
                raise ArchiveError(f"{path} is a symbolic link or not a directory; it is not followed") from error
            raise
        os.mkdir(name, dir_fd=parent)
        return self._step(parent, name, path, make=False)

    def _keep(self, path: str, descriptor: int) -> int:
        if len(self._open) >= _KEEP:
            os.close(self._open.pop(next(iter(self._open))))
        self._open[path] = descriptor
        return descriptor
