"""Modes, times and owners of files, which this user may not be allowed to set: on the root of a volume, for example."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable

_NOT_OURS = frozenset({errno.EPERM, errno.EACCES, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS})
"""Errors of a system where only the owner may set an attribute, or the file system has none, or the user is unknown."""
_KEPT = stat.S_ISGID | stat.S_ISVTX
"""Bits of a directory that no cache holds: setgid, which passes its group on, and sticky, which limits deletes."""


def set_owner(descriptor: int, owner: tuple[int, int]) -> bool:
    """Give an open file or directory to a user and group; return False where this user may not."""
    return _is_permitted(lambda: os.fchown(descriptor, *owner))


def set_link_owner(name: str, parent: int, owner: tuple[int, int]) -> bool:
    """Give a symbolic link in an open directory to a user and group; return False where this user may not."""
    return _is_permitted(lambda: os.chown(name, *owner, dir_fd=parent, follow_symlinks=False))


def set_directory(descriptor: int, mode: int, mtime_ns: int) -> bool:
    """Set mode and time of an open directory; return False where this user may not."""
    now = stat.S_IMODE(os.fstat(descriptor).st_mode)
    done = True
    if now != mode | now & _KEPT:
        done = _is_permitted(lambda: os.fchmod(descriptor, mode | now & _KEPT))
    return _is_permitted(lambda: os.utime(descriptor, ns=(mtime_ns, mtime_ns))) and done


def open_up_directory(name: str, mode: int, parent: int) -> bool:
    """Set the mode of the directory ``name`` in an open directory; return False where this user may not."""
    return _is_permitted(lambda: os.chmod(name, mode, dir_fd=parent))


def _is_permitted(change: Callable[[], None]) -> bool:
    try:
        change()
    except OSError as error:
        if error.errno not in _NOT_OURS:
            raise
        return False
    return True
