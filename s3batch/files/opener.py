"""Opens files of the source under the link policy, so that the file read is the one that the walk found.

    follow    every link is followed
    inside    a link is followed where it leads, if that is inside the source
    skip      no link is followed, in no component of the path

A file's directories are opened one component at a time with ``O_NOFOLLOW``, so that no link made in the midst of a run
leads anywhere. The last of them stay open: the files of one directory cost one open each. A descriptor of a directory
that was moved away leads to the old one. That does no harm: its file has the planned stamp, or the next try opens the
path again.

Threads share nothing: each has its own descriptors.
"""

from __future__ import annotations

import errno
import os
import threading
from io import FileIO

from s3batch.model import FILE, stamp_of

_FILE = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
"""Without O_NONBLOCK the opening of a FIFO waits for a writer."""
_PASSAGE = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC
_KEPT = 64
"""Descriptors of directories that stay open in each thread."""
_LINK_ERRORS = frozenset({errno.ELOOP, errno.ENOTDIR, errno.EMLINK})
"""The errors of a link under O_NOFOLLOW; EMLINK is FreeBSD's."""


def open_regular(path: str) -> FileIO:
    """Open a regular file to read, links followed. Raises OSError for anything else; a FIFO is not waited for."""
    return require_regular_file(os.open(path, _FILE), path)


def require_regular_file(descriptor: int, path: str) -> FileIO:
    """Return the file of a descriptor, without a buffer; close it and raise OSError if it is not a regular file."""
    try:
        if stamp_of(os.fstat(descriptor)).kind != FILE:
            raise OSError(errno.EINVAL, "it is not a regular file", path)
        return open(descriptor, "rb", buffering=0)
    except BaseException:
        os.close(descriptor)
        raise


class Opener:
    """Opens paths relative to ``root``, a directory or the one file of that name."""

    def __init__(self, root: str, symlinks: str = "follow") -> None:
        single = not os.path.isdir(root)
        self._base = (os.path.dirname(root) or ".") if single else root
        # the user named the source: that it is a link itself is no matter of the policy
        self._symlinks = "follow" if single and os.path.islink(root) else symlinks
        self._own = threading.local()

    def open(self, path: str) -> int:
        """Return a descriptor to read whatever is at ``path``. Raises OSError, also where a link is refused."""
        held = self._held()
        if self._symlinks == "follow":
            return os.open(path, _FILE, dir_fd=held.root(self._base))
        try:
            return self._open_plain(held, path)
        except OSError as error:
            if self._symlinks != "inside" or error.errno not in _LINK_ERRORS:
                raise
        base = os.path.realpath(self._base)
        place = os.path.relpath(os.path.realpath(os.path.join(base, path)), base)
        if place.split("/", 1)[0] == "..":
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
        return self._open_plain(held, place)

    def start_afresh(self) -> bool:
        """Close this thread's directories; return whether there were any that may be out of date."""
        return self._held().close()

    def _open_plain(self, held: _Held, path: str) -> int:
        parent, _, name = path.rpartition("/")
        return os.open(name, _FILE | os.O_NOFOLLOW, dir_fd=held.directory(self._base, parent))

    def _held(self) -> _Held:
        held: _Held | None = getattr(self._own, "held", None)
        if held is None:
            held = self._own.held = _Held()
        return held

    def __getstate__(self) -> tuple[str, str]:
        return self._base, self._symlinks

    def __setstate__(self, state: tuple[str, str]) -> None:
        self._base, self._symlinks = state
        self._own = threading.local()


class _Held:
    """The directories one thread holds open, by path; ``""`` is the source."""

    def __init__(self) -> None:
        self._open: dict[str, int] = {}

    def root(self, base: str) -> int:
        known = self._open.get("")
        return known if known is not None else self._keep("", os.open(base, _PASSAGE))

    def directory(self, base: str, path: str) -> int:
        """Return a descriptor of ``path``, with no link followed below ``base``."""
        known = self._open.get(path)
        if known is not None:
            return known
        missing: list[str] = []
        while path and path not in self._open:
            path, _, name = path.rpartition("/")
            missing.append(name)
        descriptor = self._open[path] if path else self.root(base)
        for name in reversed(missing):
            path = f"{path}/{name}" if path else name
            descriptor = self._keep(path, os.open(name, _PASSAGE | os.O_NOFOLLOW, dir_fd=descriptor))
        return descriptor

    def _keep(self, path: str, descriptor: int) -> int:
        if len(self._open) >= _KEPT:
            os.close(self._open.pop(next(iter(self._open))))
        self._open[path] = descriptor
        return descriptor

    def close(self) -> bool:
        any_open = bool(self._open)
        while self._open:
            os.close(self._open.popitem()[1])
        return any_open

    def __del__(self) -> None:
        self.close()
