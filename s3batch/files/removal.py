"""Removal of a directory with all it holds, however deep: few descriptors are open at once.

What lies deeper than a few levels moves up to the top first, so neither Python's recursion nor the number of
descriptors ends it.
"""

from __future__ import annotations

import os
import secrets

_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_LEVELS = 32


def remove_directory(name: str, parent: int) -> None:
    """Remove the directory ``name`` of the open directory ``parent``. No link is followed.

    Raises the first OSError once everything that can be removed is gone.
    """
    top = os.open(name, _FLAGS, dir_fd=parent)
    try:
        emptying = _Emptying(top)
        emptying.empty(top, _LEVELS)
        while emptying.lifted:
            emptying.remove(emptying.lifted.pop(), top, _LEVELS)
    finally:
        os.close(top)
    if emptying.first is not None:
        raise emptying.first
    os.rmdir(name, dir_fd=parent)


class _Emptying:
    """The removal of what an open directory holds."""

    def __init__(self, top: int) -> None:
        self.lifted: list[str] = []
        """Directories that were moved to the top, and are there still."""
        self.first: OSError | None = None
        self._top, self._count, self._prefix = top, 0, secrets.token_hex(8)

    def remove(self, name: str, parent: int, levels: int) -> None:
        """Remove a directory and what it holds; what is ``levels`` deeper is moved to the top."""
        trouble = None
        try:
            descriptor = os.open(name, _FLAGS, dir_fd=parent)
        except OSError as error:  # an empty one that may not be read can be removed all the same
            trouble = error
        else:
            try:
                self.empty(descriptor, levels)
            finally:
                os.close(descriptor)
        try:
            os.rmdir(name, dir_fd=parent)
        except OSError as error:
            self._note(trouble or error)

    def empty(self, descriptor: int, levels: int) -> None:
        """Remove what an open directory holds."""
        with os.scandir(descriptor) as entries:
            listed = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
        for name, is_directory in listed:
            if is_directory and levels:
                self.remove(name, descriptor, levels - 1)
                continue
            try:
                if is_directory:
                    self._lift(name, descriptor)
                else:
                    os.unlink(name, dir_fd=descriptor)
            except OSError as error:
                self._note(error)

    def _lift(self, name: str, descriptor: int) -> None:
        self._count += 1
        place = f"{self._prefix}.{self._count}"
        os.rename(name, place, src_dir_fd=descriptor, dst_dir_fd=self._top)
        self.lifted.append(place)

    def _note(self, error: OSError) -> None:
        self.first = self.first or error
