"""The undo log of a restore, written before each change, so that a failed restore leaves no trace.

    <folder>/record     first the label and the roots, then
                        A path   what was at path is now <folder>/<number>, counted from 1
                        D path   directory that will be made
                        F path   file, link or symlink that will be made
                        M mode mtime path   directory that is there, as it was before anything changed in it
                        B        undoing has begun to bring things back: what was made is gone
    <folder>/1 2 3 ...  what was moved aside

A restore that fails is undone: what it made is removed, what it moved aside comes back. So is one that was killed,
as soon as another archive is to be restored; the same archive goes on with the record it finds. Until then a rebuild
publishes nothing. In the end the record is removed, then what was moved aside; a folder without a record means
nothing. It outlives a killed process; it is not synced for a power cut.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import stat
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Protocol

from s3batch.archive.dirfd import Directories
from s3batch.archive.paths import is_inside, split_path
from s3batch.base.errors import ArchiveError
from s3batch.base.failpoints import reach_failpoint
from s3batch.files import private
from s3batch.files.removal import remove_directory

Within = Callable[[str], bool]
_RECORD = "record"
_BATCH = 10_000
_ASIDE, _DIR, _FILE, _ROOT, _MODE, _BACK = _KINDS = ("A", "D", "F", "R", "M", "B")
_MODE_FORM = re.compile(r"\d+ -?\d+ ")


class UndoLog:
    """One restore's record, for the coordinator alone. Make it before the walk the restore is planned from."""

    def __init__(
        self, folder: str, workspace: str, roots: Sequence[str], label: str, *, within: Within | None = None
    ) -> None:
        """``folder`` is private; ``label`` names the archive and where it goes; ``within``: see undo_leftovers."""
        undo_leftovers(folder, workspace, unless=label, within=within)
        entries = _read_entries(folder)
        if not entries:
            private.remove_tree(folder)
        self._folder = folder
        self._kept = private.open_directory(folder, make=True)
        self._directories = Directories(workspace, roots)
        self._ours = {entry[1:] for entry in entries[1:] if entry[0] in (_FILE, _DIR)}
        self._count = sum(entry[0] == _ASIDE for entry in entries[1:])
        self._file = private.open_private_file(os.path.join(folder, _RECORD), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        if not entries:
            self._write([label, *(_ROOT + root for root in roots)])

    def will_make(self, paths: Iterable[str]) -> None:
        """Record files, links and symlinks that are about to be made; their places are free by now."""
        rest = iter(paths)
        while batch := list(islice(rest, _BATCH)):
            self._write([_FILE + path for path in batch])

    def will_change(self, path: str, mode: int, mtime_ns: int) -> None:
        """Record an existing directory: new entries change its time, and its mode may change."""
        self._write([f"{_MODE}{mode} {mtime_ns} {path}"])

    def will_make_one(self, path: str) -> None:
        """Record a path that is about to be made and may give way to a later one of this restore."""
        self._write([_FILE + path])
        self._ours.add(path)

    def make_dir(self, path: str, mode: int = 0o700) -> None:
        """Make one directory whose parent is there."""
        self._write([_DIR + path])
        self._ours.add(path)
        if self._directories.is_anchor(path):
            os.mkdir(path, mode)
            return
        parent, name = split_path(path)
        os.mkdir(name, mode, dir_fd=self._directories.open(parent))

    def move_aside(self, path: str) -> None:
        """Make room at ``path``. An entry that this restore has made there is removed."""
        parent, name = split_path(path)
        self._directories.forget(path)
        descriptor = self._directories.open(parent)
        if path in self._ours:
            _remove_entry(name, descriptor)
            return
        self._write([_ASIDE + path])
        self._count += 1
        kept = str(self._count)
        try:
            os.rename(name, kept, src_dir_fd=descriptor, dst_dir_fd=self._kept)
        except FileNotFoundError:
            return
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            # another file system, or a layer of a container image: an entry that cannot be moved is copied
            _copy_to(descriptor, name, self._kept, kept, part=f"{kept}.part")
            reach_failpoint("copied-aside")
            try:
                _remove_entry(name, descriptor)
            except OSError as reason:  # part of it may be gone: only an undo brings that back
                raise ArchiveError(f"{path} cannot be removed: {reason.strerror}") from reason

    def commit(self) -> None:
        """Forget the record: the restore is complete."""
        self.close()
        forget_record(self._folder)

    def close(self) -> None:
        """Leave the record for the next run."""
        if self._file >= 0:
            os.close(self._file)
            os.close(self._kept)
            self._file = -1
        self._directories.close()

    def _write(self, entries: list[str]) -> None:
        data = memoryview(os.fsencode("".join(entry + "\0" for entry in entries)))
        while data:
            data = data[os.write(self._file, data) :]


def undo_leftovers(folder: str, workspace: str, *, unless: str = "", within: Within | None = None) -> int:
    """Undo the changes in the record in ``folder``, unless it is that of ``unless``; return the number of its paths.

    ``within`` tells whether a path is at or below what the user listed. A record that names other roots may have
    been planted by the code that is built: it is removed, and nothing is undone.
    """
    entries = _read_entries(folder)
    if within is not None and not _is_within(entries, within):
        forget_record(folder)
        return 0
    if not entries or (entries[0] == unless and _BACK not in entries):
        return 0
    by_kind: dict[str, list[str]] = {kind: [] for kind in (_ASIDE, _DIR, _FILE, _ROOT, _MODE, _BACK)}
    for entry in entries[1:]:
        by_kind[entry[0]].append(entry[1:])
    with Directories(workspace, by_kind[_ROOT]) as directories:
        if not by_kind[_BACK]:
            _remove_made(directories, by_kind)
            _append_entry(os.path.join(folder, _RECORD), _BACK)
        kept = private.open_directory(folder)
        try:
            for number in range(len(by_kind[_ASIDE]), 0, -1):
                _bring_back(directories, by_kind[_ASIDE][number - 1], kept, str(number))
        finally:
            os.close(kept)
    with Directories(workspace, by_kind[_ROOT], access=os.O_RDONLY) as directories:
        for fact in reversed(by_kind[_MODE]):
            _set_back(directories, fact)
    forget_record(folder)
    return len(entries) - 1


def has_unfinished_changes(folder: str, within: Within) -> bool:
    """Return whether the record in ``folder`` tells of changes to what the user listed."""
    entries = _read_entries(folder)
    return any(entry[:1] != _ROOT for entry in entries[1:]) and _is_within(entries, within)


def _is_within(entries: list[str], within: Within) -> bool:
    """Return whether it is a record as s3batch writes it, with these paths and directories above them only."""
    roots = frozenset(entry[1:] for entry in entries[1:] if entry[:1] == _ROOT)
    for entry in entries[1:]:
        kind, path = entry[:1], entry[1:]
        if kind == _MODE:
            path = _MODE_FORM.sub("", path, count=1)
        good = kind == _BACK or (kind in _KINDS and within(path))
        if not good and not (kind == _DIR and any(within(root) and is_inside(root, path) for root in roots)):
            return False
    return True


def _remove_made(directories: Directories, by_kind: dict[str, list[str]]) -> None:
    for path in by_kind[_FILE]:
        _remove_path(directories, path, os.unlink)
    for path in reversed(by_kind[_DIR]):
        directories.forget(path)
        _remove_path(directories, path, os.rmdir)


def _append_entry(record: str, entry: str) -> None:
    file = private.open_private_file(record, os.O_WRONLY | os.O_APPEND)
    try:
        os.write(file, f"{entry}\0".encode())
    finally:
        os.close(file)


def _set_back(directories: Directories, fact: str) -> None:
    mode, mtime_ns, path = fact.split(" ", 2)
    with contextlib.suppress(OSError, ArchiveError):
        descriptor = directories.open(path)
        os.fchmod(descriptor, int(mode))
        os.utime(descriptor, ns=(int(mtime_ns), int(mtime_ns)))


def forget_record(folder: str) -> None:
    """Delete the record first. Without it the rest means nothing, should the process be killed here."""
    with contextlib.suppress(FileNotFoundError):
        private.remove_file(os.path.join(folder, _RECORD))
    private.remove_tree(folder)


def _read_entries(folder: str) -> list[str]:
    """Return the entries; one that was cut off does not count."""
    try:
        content = private.read_private_file(os.path.join(folder, _RECORD))
    except FileNotFoundError:
        return []
    return [os.fsdecode(entry) for entry in content.split(b"\0")[:-1]]


class _Removal(Protocol):
    def __call__(self, path: str, *, dir_fd: int | None = None) -> None: ...


def _remove_path(directories: Directories, path: str, remove: _Removal) -> None:
    """Remove ``path`` if it is there; a directory that holds something of someone else's stays."""
    with contextlib.suppress(OSError, ArchiveError):
        if directories.is_anchor(path):
            remove(path)
        else:
            parent, name = split_path(path)
            remove(name, dir_fd=directories.open(parent))


def _bring_back(directories: Directories, path: str, kept: int, number: str) -> None:
    """Move an entry that was moved aside back to its place; ``kept`` is its open folder."""
    parent, name = split_path(path)
    with contextlib.suppress(OSError, ArchiveError):
        os.stat(number, dir_fd=kept, follow_symlinks=False)
        descriptor = directories.open(parent)
        directories.forget(path)
        try:
            os.rename(number, name, src_dir_fd=kept, dst_dir_fd=descriptor)
        except OSError as error:
            if error.errno == errno.EXDEV:
                _remove_entry(name, descriptor)
                _copy_to(kept, number, descriptor, name, part=f".s3batch-{number}.part")
                # no longer under its number, so that what a kill leaves of it is not brought back
                os.rename(number, f"{number}.back", src_dir_fd=kept, dst_dir_fd=kept)
                return
            _remove_entry(name, descriptor)  # what a kill left of it when it was removed after the copy
            os.rename(number, name, src_dir_fd=kept, dst_dir_fd=descriptor)


def _copy_to(source: int, name: str, target: int, new_name: str, *, part: str) -> None:
    """Copy an entry of an open directory into another one; it appears there whole or not at all."""
    _remove_entry(part, target)
    _copy_entry(_entry_path(source, name), _entry_path(target, part))
    with contextlib.suppress(FileNotFoundError):  # it was a pipe, a socket or a device
        os.rename(part, new_name, src_dir_fd=target, dst_dir_fd=target)


def _copy_entry(path: str, new_path: str) -> None:
    """Copy with times, modes and, as root, owners; of pipes, sockets and devices there is nothing to copy."""
    status = os.lstat(path)
    if stat.S_ISDIR(status.st_mode):
        os.mkdir(new_path, 0o700)
        for name in os.listdir(path):
            _copy_entry(os.path.join(path, name), os.path.join(new_path, name))
    elif stat.S_ISLNK(status.st_mode):
        os.symlink(os.readlink(path), new_path)
    elif stat.S_ISREG(status.st_mode):
        shutil.copyfile(path, new_path, follow_symlinks=False)
    else:
        return
    if os.geteuid() == 0:
        os.chown(new_path, status.st_uid, status.st_gid, follow_symlinks=False)
    shutil.copystat(path, new_path, follow_symlinks=False)


def _entry_path(directory: int, name: str) -> str:
    """Return a path for an entry of an open directory, for functions that take only paths."""
    return f"/proc/self/fd/{directory}/{name}"


def _remove_entry(name: str, directory: int) -> None:
    """Remove the entry ``name``, a directory with all it holds; a link is removed, not followed."""
    try:
        os.unlink(name, dir_fd=directory)
    except (IsADirectoryError, PermissionError):
        remove_directory(name, directory)
    except FileNotFoundError:
        return
