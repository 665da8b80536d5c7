"""The directories of a walk at which another file system may be: the listed ones and mount points.

A file system that is unmounted while it is walked looks like a tree whose files are deleted. No call fails with anything
but ENOENT. So these directories are looked at once more, after the walk and after the last file is read.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from s3batch.archive.paths import join_path
from s3batch.archive.scan import ScannedTree
from s3batch.archive.tree import DIR, Tree, rows_at


def find_replaced(found: ScannedTree, workspace: str) -> list[str]:
    """Return the listed directories and mount points that are gone, or at which another directory is now."""
    listed = (row for row in rows_at(found.tree, found.roots).values() if found.tree.kinds[row] == DIR)
    paths = {found.tree.path(row): row for row in (*listed, *_mount_points(found))}
    return [path for path, row in paths.items() if not _is_still_there(found, workspace, path, row)]


def _is_still_there(found: ScannedTree, workspace: str, path: str, row: int) -> bool:
    try:
        status = os.stat(os.path.join(workspace, found.places.where(path)), follow_symlinks=False)
    except OSError:
        return False
    # some file systems in user space number a directory anew when nobody has it open: then its time is the same
    known = status.st_ino == found.inodes[row] or status.st_mtime_ns == found.tree.mtimes[row]
    return status.st_dev == found.devices[row] and known


def _mount_points(found: ScannedTree) -> Iterator[int]:
    """Yield the rows of directories on another device than the directory that holds them."""
    devices = found.devices
    if devices and devices.count(devices[0]) < len(devices):
        yield from _device_changes(found.tree, found)


def _device_changes(tree: Tree, found: ScannedTree) -> Iterator[int]:
    device_of: dict[str, int] = {}
    for directory, first, last in tree.spans():  # a directory comes after the one that holds it
        device = device_of.get(directory)
        row = tree.kinds.find(DIR, first, last)
        while row >= 0:
            device_of[join_path(directory, tree.names[row])] = found.devices[row]
            if device is not None and found.devices[row] != device:
                yield row
            row = tree.kinds.find(DIR, row + 1, last)
