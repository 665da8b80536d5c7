"""Modes and times of directories, which may belong to someone else: the root of a volume, a shared directory."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable

_NOT_OURS = frozenset({errno.EPERM, errno.EACCES, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS})
"""What a system says where only the owner may set them, or where the file system has none."""
_KEPT = stat.S_ISGID | stat.S_ISVTX
"""Bits of a directory that no cache holds: a new group for all that is made in it, and who may delete there."""


def set_directory(descriptor: int, mode: int, mtime_ns: int) -> bool:
    """Set mode and time of an open directory; return False where that is not ours to do."""
    now = stat.S_IMODE(os.fstat(descriptor).st_mode)
    done = True
    if now != mode | now & _KEPT:
        done = _tried(lambda: os.fchmod(descriptor, mode | now & _KEPT))
    return _tried(lambda: os.utime(descriptor, ns=(mtime_ns, mtime_ns))) and done


def open_up(name: str, mode: int, parent: int) -> bool:
    """Set the mode of the directory ``name`` in an open one; return False where that is not ours to do."""
    return _tried(lambda: os.chmod(name, mode, dir_fd=parent))


def _tried(change: Callable[[], None]) -> bool:
    try:
        change()
    except OSError as error:
        if error.errno not in _NOT_OURS:
            raise
        return False
    return True
