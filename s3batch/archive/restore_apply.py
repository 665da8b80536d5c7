"""The coordinator's half of a restore: the work before the chunks and after them.

    check_room
    prepare   room where something else lies → directories → large files at full size, empty ones
    (workers write the chunks)
    finish    times of large files → hard links → symbolic links → modes and times of directories, deepest first

Symbolic links are made when nothing is left to be written through them.
"""

from __future__ import annotations

import errno
import os
import stat
from collections import Counter
from collections.abc import Iterable, Sequence

from s3batch.archive.attributes import open_up_directory, set_directory, set_link_owner, set_owner
from s3batch.archive.dirfd import Directories
from s3batch.archive.gc_pause import pause_gc
from s3batch.archive.paths import is_inside, split_path
from s3batch.archive.restore_plan import OURS, RestorePlan
from s3batch.archive.undo_log import UndoLog
from s3batch.base.errors import ArchiveError
from s3batch.base.failpoints import reach_failpoint
from s3batch.files.beneath import create_new_file, open_into
from s3batch.files.umask import read_umask
from s3batch.model import Stamp, stamp_of

_STAYS = frozenset({errno.EACCES, errno.EPERM, errno.EBUSY, errno.EROFS})


def check_room(plan: RestorePlan, workspace: str) -> None:
    """Raise :class:`ArchiveError` if a file system lacks the bytes or the inodes for the new files."""
    tree, items = plan.manifest.tree, plan.items
    if not any(root.startswith("/") for root in plan.places.anchored(plan.roots)):
        count = plan.files() + len(plan.links) + len(plan.symlinks) + len(plan.dirs)
        _require_room(workspace, sum(items.lengths), count)
        return
    directories = tree.directory_of_rows()
    size: Counter[str] = Counter()
    files: Counter[str] = Counter()
    tops = [_file_system_root(plan.places.where(path), plan.places.anchored(plan.roots)) for path in tree.dirs]
    for row, length in zip(items.rows, items.lengths, strict=True):
        size[tops[directories[row]]] += length
    for row in (*plan.made_rows(), *plan.dirs):
        files[tops[directories[row]]] += 1
    for top, count in files.items():
        _require_room(os.path.join(workspace, top), size[top], count)


def _file_system_root(directory: str, roots: Sequence[str]) -> str:
    """Return the path that decides the file system of a directory: the workspace, or its absolute root."""
    return next((root for root in roots if root.startswith("/") and is_inside(directory, root)), "")


def _require_room(path: str, size: int, files: int) -> None:
    while not os.path.isdir(path):
        path = os.path.dirname(path)
    status = os.statvfs(path)
    free = status.f_bavail * status.f_frsize
    if size > free:
        raise ArchiveError(f"restoring needs {size:,} bytes at {path}, {free:,} are free")
    if status.f_files and files > status.f_favail:
        raise ArchiveError(f"restoring needs {files:,} inodes at {path}, {status.f_favail:,} are free")


@pause_gc()
def prepare_restore(plan: RestorePlan, workspace: str, undo: UndoLog) -> list[str]:
    """Make the directories, and the files that no chunk fills, after recording all of it for the undo.

    Returns the paths that the cache lacks and that cannot be moved: another user owns them, or they are mount points.
    """
    staying = []
    with Directories(workspace, plan.places.anchored(plan.roots), access=os.O_RDONLY) as directories:
        _make_parents(plan.roots if plan.chosen.count(1) else (), workspace, directories, undo)
        _note_dirs(plan, directories, undo)
        _open_up_directories(plan, directories)
        for row in plan.aside:
            undo.move_aside(plan.path(row))
        for path in plan.extra:
            reach_failpoint("removing")
            if not _move_extra(undo, plan.places.where(path)):
                staying.append(path)
        for row in plan.dirs:
            undo.make_dir(plan.path(row))
        undo.will_make(plan.paths_of(plan.made_rows()))
        for row in plan.empty:
            _make_file(directories, plan, row)
            _commit_file(directories, plan, row)
        for row in plan.large:
            _make_file(directories, plan, row)
    return staying


def _move_extra(undo: UndoLog, path: str) -> bool:
    try:
        undo.move_aside(path)
    except OSError as error:
        if error.errno not in _STAYS:
            raise
        return False
    return True


@pause_gc()
def finish_restore(plan: RestorePlan, workspace: str) -> list[str]:
    """Do the work that has to wait until every chunk is written.

    Returns the directories whose mode or time cannot be set: they belong to someone else.
    """
    tree = plan.manifest.tree
    foreign: list[str] = []
    with Directories(workspace, plan.places.anchored(plan.roots)) as directories:
        for row in plan.large:
            _commit_file(directories, plan, row)
        for row, target in plan.links.items():
            _make_hard_link(directories, plan.path(target), plan.path(row))
        for row in plan.symlinks:
            _make_symlink(directories, plan, row)
    with Directories(workspace, plan.places.anchored(plan.roots), access=os.O_RDONLY) as directories:
        for row in reversed(plan.touched_dirs):
            path = plan.path(row)
            descriptor, owner = directories.open(path), plan.owner(row)
            if owner is not None and not set_owner(descriptor, owner):
                plan.unowned += 1
            if not set_directory(descriptor, tree.modes[row], tree.mtimes[row]):
                foreign.append(path)
    return foreign


@pause_gc()
def finished_stamps(plan: RestorePlan, workspace: str) -> list[tuple[int, Stamp]]:
    """Return the stamps of the files that :func:`prepare_restore` and :func:`finish_restore` touched last, by row.

    These are empty and large ones, and those that got another name: a link gives its file another ctime.
    """
    with Directories(workspace, plan.places.anchored(plan.roots)) as directories:
        return [
            (row, stamp_of(os.stat(name, dir_fd=directories.open(parent), follow_symlinks=False)))
            for row in dict.fromkeys((*plan.empty, *plan.large, *plan.links.values()))
            for parent, name in (split_path(plan.path(row)),)
        ]


def _make_parents(roots: Iterable[str], workspace: str, directories: Directories, undo: UndoLog) -> None:
    """Make the directories above the roots, as ``mkdir -p`` does."""
    mask = read_umask()
    for root in roots:
        missing = []
        path = split_path(root)[0]
        while path not in ("", "/") and not os.path.lexists(os.path.join(workspace, path)):
            missing.append(path)
            path = split_path(path)[0]
        for path in reversed(missing):
            undo.make_dir(path, 0o777 & ~mask)
        directories.open(split_path(root)[0])


def _note_dirs(plan: RestorePlan, directories: Directories, undo: UndoLog) -> None:
    """Record mode and time of existing directories that will change."""
    new = set(plan.dirs)
    for row in plan.touched_dirs:
        if row not in new:
            path = plan.path(row)
            parent, name = split_path(path)
            status = os.stat(name, dir_fd=directories.open(parent), follow_symlinks=False)
            undo.will_change(path, stat.S_IMODE(status.st_mode), status.st_mtime_ns)


def _open_up_directories(plan: RestorePlan, directories: Directories) -> None:
    """Open existing directories that this user may not write to; :func:`finish_restore` sets their modes."""
    for row, mode in plan.closed_dirs.items():
        parent, name = split_path(plan.path(row))
        open_up_directory(name, mode | OURS, directories.open(parent))


def _make_file(directories: Directories, plan: RestorePlan, row: int) -> None:
    """Make a file of the right size that reads as zeros."""
    parent, name = split_path(plan.path(row))
    file = create_new_file(name, 0o600, directories.open(parent))
    try:
        os.ftruncate(file, plan.manifest.tree.sizes[plan.content.get(row, row)])
    finally:
        os.close(file)


def _commit_file(directories: Directories, plan: RestorePlan, row: int) -> None:
    tree = plan.manifest.tree
    parent, name = split_path(plan.path(row))
    file = open_into(name, directories.open(parent))
    try:
        owner = plan.owner(row)
        if owner is not None and not set_owner(file, owner):
            plan.unowned += 1
        os.fchmod(file, tree.modes[row])
        os.utime(file, ns=(tree.mtimes[row], tree.mtimes[row]))
    finally:
        os.close(file)


def _make_hard_link(directories: Directories, existing: str, path: str) -> None:
    (source_parent, source), (parent, name) = split_path(existing), split_path(path)
    held = os.dup(directories.open(source_parent))
    try:
        os.link(source, name, src_dir_fd=held, dst_dir_fd=directories.open(parent), follow_symlinks=False)
    finally:
        os.close(held)


def _make_symlink(directories: Directories, plan: RestorePlan, row: int) -> None:
    tree, owner = plan.manifest.tree, plan.owner(row)
    parent, name = split_path(plan.path(row))
    descriptor, mtime_ns = directories.open(parent), tree.mtimes[row]
    os.symlink(tree.targets[row], name, dir_fd=descriptor)
    if owner is not None and not set_link_owner(name, descriptor, owner):
        plan.unowned += 1
    os.utime(name, ns=(mtime_ns, mtime_ns), dir_fd=descriptor, follow_symlinks=False)
