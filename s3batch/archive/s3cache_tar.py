"""The archive of drone-s3cache: one tar.gz with every listed path, under the names that plugin wrote.

The same tree always gives the same bytes, so the archive's hash tells if it must be sent again.
"""

from __future__ import annotations

import gzip
import os
import tarfile
from typing import IO, Protocol, cast

from s3batch.archive.dirfd import Directories
from s3batch.archive.paths import split_path
from s3batch.archive.scan import ScannedTree, ScanProblem
from s3batch.archive.tree import DIR, FILE, HARDLINK, SYMLINK
from s3batch.base.errors import ArchiveError
from s3batch.model import FILE as REGULAR
from s3batch.model import is_same_file, stamp_of

_TYPES = {FILE: tarfile.REGTYPE, DIR: tarfile.DIRTYPE, SYMLINK: tarfile.SYMTYPE, HARDLINK: tarfile.LNKTYPE}
LEVEL = 6  # gzip's own default


class Writable(Protocol):
    """Where the archive goes: a file, or parts of an upload behind a ``write``."""

    def write(self, data: bytes, /) -> object:
        """Take all of ``data``."""
        ...


def write_s3cache(
    sink: Writable, found: ScannedTree, workspace: str, roots: tuple[str, ...], level: int = LEVEL
) -> list[ScanProblem]:
    """Write the walk ``found`` of ``roots`` to ``sink``; return the files that could not be read."""
    problems: list[ScanProblem] = []
    left_out: set[int] = set()
    with (
        Directories(workspace, found.places.anchored(roots)) as directories,
        gzip.GzipFile(filename="", fileobj=cast("IO[bytes]", sink), mode="wb", compresslevel=level, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w|", format=tarfile.GNU_FORMAT) as archive,
    ):
        for row in range(len(found.tree)):
            if found.tree.links.get(row) in left_out:
                continue
            try:
                _add_row(archive, found, row, directories)
            except (PermissionError, FileNotFoundError) as error:
                left_out.add(row)
                problems.append(ScanProblem(found.tree.path(row), str(error)))
            archive.members.clear()  # type: ignore[attr-defined] # or a million members stay in memory
    return problems


def _add_row(archive: tarfile.TarFile, found: ScannedTree, row: int, directories: Directories) -> None:
    member = _make_member(found, row)
    if found.tree.kinds[row] != FILE:
        archive.addfile(member)
        return
    directory, name = split_path(found.places.where(found.tree.path(row)))
    parent = directories.open(directory)
    descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=parent)
    with open(descriptor, "rb") as file:
        before = stamp_of(os.fstat(descriptor))
        if before.kind != REGULAR:
            raise ArchiveError(f"{found.tree.path(row)} is no longer a regular file", hint="run the rebuild again")
        member.size, member.mtime = before.size, before.mtime_ns // 1_000_000_000
        try:
            archive.addfile(member, file)
        except OSError as error:
            raise ArchiveError(f"{found.tree.path(row)} could not be read to its end: {error}") from error
        if not is_same_file(before, stamp_of(os.fstat(descriptor))):
            raise ArchiveError(f"{found.tree.path(row)} changed while it was read", hint="run the rebuild again")


def _make_member(found: ScannedTree, row: int) -> tarfile.TarInfo:
    tree = found.tree
    member = tarfile.TarInfo(tree.path(row).lstrip("/"))
    member.type = _TYPES[tree.kinds[row]]
    member.mode = tree.modes[row]
    member.mtime = tree.mtimes[row] // 1_000_000_000
    if row in tree.links:
        member.linkname = tree.path(tree.links[row]).lstrip("/")
    else:
        member.linkname = tree.targets.get(row, "")
    return member
