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
from s3batch.base.errors import ArchiveError
from s3batch.files.beneath import PASSAGE, KeptDirectories, open_step, open_top

_KEEP = 200  # open descriptors; a process may have 1,024 by default on Linux
_LINK_ERRORS = (errno.ELOOP, errno.ENOTDIR)


class Directories:
    """Descriptors by path. They stay open until :meth:`close`, or until many others were asked for."""

    def __init__(self, workspace: str, roots: Sequence[str], *, access: int = PASSAGE) -> None:
        self._access = access
        self._anchors = {"": workspace} | {
            split_path(root)[0]: split_path(root)[0] for root in roots if root.startswith("/")
        }
        self._open = KeptDirectories(_KEEP)

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
        self._open.close()

    def forget(self, path: str) -> None:
        """Close what is at or below ``path``: it is being moved or removed."""
        self._open.forget(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open_anchor(self, path: str, make: bool) -> int:
        if make:
            os.makedirs(self._anchors[path], exist_ok=True)
        return self._open.keep(path, open_top(self._anchors[path], self._access))

    def _step(self, parent: int, name: str, path: str, make: bool) -> int:
        try:
            return self._open.keep(path, open_step(parent, name, path, make=make, access=self._access))
        except OSError as error:
            if error.errno in _LINK_ERRORS:
                raise ArchiveError(f"{path} is a symbolic link or not a directory; it is not followed") from error
            raise
