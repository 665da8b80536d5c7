"""Stamps for tests that need no file."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from s3batch.model import FILE, LocalFile, Stamp, stamp_of

if TYPE_CHECKING:
    from pathlib import Path


def stamp(size: int = 10, mtime_ns: int = 5, inode: int = 6, ctime_ns: int = 7, device: int = 8) -> Stamp:
    """Return the stamp of a file long ago."""
    return Stamp(FILE, size, mtime_ns, ctime_ns, device, inode)


def stamp_at(path: Path) -> Stamp:
    """Return the stamp of what lies at ``path``; a link is not followed."""
    return stamp_of(os.lstat(path))


def local_file(path: str, size: int = 10, **facts: int) -> LocalFile:
    """Return what a walk finds of a file long ago."""
    return LocalFile(path, stamp(size, **facts))
