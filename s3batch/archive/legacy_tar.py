"""Archives of the plugins s3batch replaces: tar, plain or in gzip or zstd, recognised by their first bytes.

They are read as a stream and under the rules of s3batch's own archives. Names are placed below the listed paths or left
out. No link is followed, nothing is written in place, and an entry that is in the way is moved aside. Links come after
files; setuid and devices are never made. Python's ``data`` filter is applied as well. The caller's undo record reverts
a failure.
"""

from __future__ import annotations

import gzip
import hashlib
import math
import os
import posixpath
import stat
import tarfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import IO, BinaryIO, cast

from s3batch.archive import zstd
from s3batch.archive.attributes import set_directory
from s3batch.archive.dirfd import Directories
from s3batch.archive.exclusions import NOTHING, Exclusions
from s3batch.archive.legacy_paths import Placement
from s3batch.archive.paths import KEEP, is_inside, is_inside_any, link_is_wanted, split_path
from s3batch.archive.places import NOWHERE, Places
from s3batch.archive.scan import PERMISSIONS, ScanProblem
from s3batch.archive.undo_log import UndoLog
from s3batch.archive.validate import Limits
from s3batch.archive.zstd import Readable
from s3batch.base.errors import ArchiveError
from s3batch.files.beneath import create_new_file
from s3batch.files.opener import require_regular_file

_HEAD = 512  # bytes: the first block of a tar; gzip and zstd show in the first four
_BLOCK = 1 << 20
_META_LIMIT = 1 << 20
"""Bytes of the headers of one entry; longer ones are no names but an attack on memory."""
_NOWHERE = "/.s3batch/nowhere"
_THERE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_UNREADABLE = (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, zstd.StreamError, UnicodeError)


@dataclass(slots=True)
class Extracted:
    """The entries that were restored from a legacy archive."""

    files: int = 0
    """Made; those that were right already are not counted."""
    right: int = 0
    size: int = 0
    """Bytes written."""
    left_out: list[ScanProblem] = field(default_factory=list)
    """Members that may not or cannot be restored."""
    roots: set[str] = field(default_factory=set)
    """The listed paths it held something of."""
    foreign: list[str] = field(default_factory=list)
    """Directories whose mode or time cannot be set: they belong to someone else."""


def archive_kind_of(head: bytes) -> str | None:
    """Return ``gzip``, ``zstd`` or ``tar`` by the first 512 bytes of an object; ``None`` for anything else."""
    if head.startswith(b"\x1f\x8b"):
        return "gzip"
    if head.startswith(b"\x28\xb5\x2f\xfd"):
        return "zstd"
    try:
        tarfile.TarInfo.frombuf(head[:_HEAD], "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return None
    return "tar"


def extract_legacy(
    source: Readable,
    workspace: str,
    roots: tuple[str, ...],
    undo: UndoLog,
    *,
    limits: Limits | None = None,
    symlinks: str = KEEP,
    exclude: Exclusions = NOTHING,
    places: Places = NOWHERE,
) -> Extracted:
    """Restore the entries at or below ``roots``. After an error the caller undoes all of them."""
    limits = limits or Limits()
    anchored = tuple(places.anchored(roots))
    with Directories(workspace, anchored) as directories:
        placement = Placement(roots, workspace)
        extraction = _Extraction(
            placement, directories, undo, anchored, limits, symlinks, exclude, places, workspace
        )  # fmt: skip
        try:
            stream = _open_legacy(source, limits)
            with tarfile.open(fileobj=stream, mode="r|", tarinfo=_Member) as archive:
                while (member := archive.next()) is not None:
                    archive.members.clear()  # type: ignore[attr-defined] # or a million members stay in memory
                    extraction.take(member, archive)
            _drain_padding(stream)
        except _UNREADABLE as error:
            raise ArchiveError(f"not a readable archive: {error}") from error
        extraction.finish()
    return extraction.done


def _drain_padding(stream: IO[bytes]) -> None:
    """Read the padding: gzip and zstd check their sums only at the very end."""
    while stream.read(_BLOCK):
        continue


def _open_legacy(source: Readable, limits: Limits) -> IO[bytes]:
    head = b""
    while len(head) < _HEAD and (more := source.read(_HEAD - len(head))):
        head += more
    whole = cast("IO[bytes]", _Stream(head, source, limits.total))
    match archive_kind_of(head):
        case "gzip":
            plain: Readable = cast("Readable", gzip.GzipFile(fileobj=whole))
        case "zstd":
            plain = zstd.open_stream(whole)
        case "tar":
            plain = whole
        case _:
            raise ArchiveError("the object is not a tar archive (plain, gzip or zstd)")
    return cast("IO[bytes]", _Stream(b"", plain, limits.total + limits.manifest_raw))


class _Stream:
    """Bytes that were read ahead, then the source; no more than ``limit`` in all."""

    def __init__(self, head: bytes, source: Readable, limit: int) -> None:
        self._head = head
        self._source = source
        self._left = limit
        self._limit = limit

    def read(self, size: int = -1) -> bytes:
        """Return up to ``size`` bytes."""
        if self._head:
            data, self._head = self._head[:size] if size >= 0 else self._head, self._head[size:] if size >= 0 else b""
            return data
        data = self._source.read(size)
        self._left -= len(data)
        if self._left < 0:
            raise ArchiveError(f"the archive holds more than {self._limit:,} bytes", hint="raise max_size")
        return data


class _HeaderReader:
    """The archive while the headers of one member are read: no more than ``_META_LIMIT`` bytes in all."""

    def __init__(self, archive: IO[bytes]) -> None:
        self._archive, self._left = archive, _META_LIMIT

    def read(self, size: int) -> bytes:
        """Return up to ``size`` bytes."""
        self._left -= size
        if self._left < 0:
            raise tarfile.ReadError(f"headers of one entry of more than {_META_LIMIT:,} bytes")
        return self._archive.read(size)

    def tell(self) -> int:
        """Return the position in the archive."""
        return self._archive.tell()


class _Member(tarfile.TarInfo):
    """A member whose headers have a limit; the rest of their processing is the standard library's."""

    def _proc_member(self, archive: tarfile.TarFile) -> tarfile.TarInfo:
        whole = archive.fileobj
        if not isinstance(whole, _HeaderReader):  # the outermost header: those that it holds count with it
            archive.fileobj = cast("IO[bytes]", _HeaderReader(cast("IO[bytes]", whole)))
        try:
            found = cast("tarfile.TarInfo", super()._proc_member(archive))  # type: ignore[misc]
        except (ValueError, OverflowError, RecursionError, LookupError) as error:
            raise tarfile.ReadError(f"a damaged header: {error}") from error
        finally:
            archive.fileobj = whole
        if not math.isfinite(found.mtime):
            raise tarfile.ReadError(f"an entry with the time {found.mtime}")
        return found


@dataclass(slots=True)
class _Extraction:
    """One archive being restored."""

    placement: Placement
    directories: Directories
    undo: UndoLog
    roots: tuple[str, ...]
    limits: Limits
    symlinks: str
    exclude: Exclusions
    places: Places
    workspace: str
    done: Extracted = field(default_factory=Extracted)
    _entries: int = 0
    _total: int = 0
    _files: set[str] = field(default_factory=set)
    """Files restored or found right, which a hard link may name."""
    _known: set[str] = field(default_factory=set)
    """Directories that are there."""
    _dirs: dict[str, tuple[int, int]] = field(default_factory=dict)
    _links: dict[str, tuple[str, int]] = field(default_factory=dict)

    def take(self, member: tarfile.TarInfo, archive: tarfile.TarFile) -> None:
        """Restore one member, or leave it out and say so."""
        self._count(member)
        path = self.placement.place(member.name)
        if path is None:
            self._leave_out(member.name, "it is outside the listed paths")
            return
        self.done.roots.update(root for root in self.roots if is_inside(path, root))
        if self.exclude.covers(path, directory=member.isdir()):
            return
        if member.issym() and path in self.places.moves:
            self._leave_out(path, "it is a symbolic link, and the listed path is a link that is followed")
            return
        path = self.places.where(path)
        if member.isdir():
            if path != ".":
                self._make_dirs(path)
                self._dirs[path] = member.mode & PERMISSIONS, _mtime_ns(member)
        elif member.issym():
            self._take_symlink(member, path)
        elif member.islnk():
            self._take_link(member, path)
        elif member.isreg():
            self._take_file(member, path, cast("IO[bytes]", archive.extractfile(member)))
        else:
            self._leave_out(path, "it is not a file, directory or link")

    def finish(self) -> None:
        """Make the links, after everything that could be written through them; then the directories, deepest first."""
        for path, (target, mtime_ns) in self._links.items():
            if path in self._known:
                raise ArchiveError(f"{path} is a link and a directory in the same archive")
            parent, name = self._make_room(path)
            os.symlink(target, name, dir_fd=parent)
            os.utime(name, ns=(mtime_ns, mtime_ns), dir_fd=parent, follow_symlinks=False)
        with Directories(self.workspace, self.roots, access=os.O_RDONLY) as directories:
            for path in sorted(self._dirs, reverse=True):
                mode, mtime_ns = self._dirs[path]
                if not set_directory(directories.open(path), mode, mtime_ns):
                    self.done.foreign.append(path)

    def _count(self, member: tarfile.TarInfo) -> None:
        self._entries += 1
        self._total += member.size if member.isreg() else 0
        if member.size < 0:
            raise ArchiveError(f"{member.name!r} in the archive has a negative size")
        if self._entries > self.limits.entries or self._total > self.limits.total:
            raise ArchiveError(f"the archive is over the limit of {self.limits.total:,} bytes", hint="raise max_size")

    def _leave_out(self, name: str, why: str) -> None:
        self.done.left_out.append(ScanProblem(name, why))

    def _take_file(self, member: tarfile.TarInfo, path: str, content: IO[bytes]) -> None:
        _filter_member(member, path)
        self._files.add(path)
        self._links.pop(path, None)
        there = self._open_alike(member, path)
        if there is None:
            self._make_file(member, path, iter(lambda: content.read(_BLOCK), b""))
            return
        with there:
            equal, block, digest = _compare_content(there, content)
            if not block:
                self.done.right += 1
                return
            rest = chain([block], iter(lambda: content.read(_BLOCK), b""))
            self._make_file(member, path, chain(_read_again(there, equal, digest, path), rest))

    def _make_file(self, member: tarfile.TarInfo, path: str, blocks: Iterable[bytes]) -> None:
        parent, name = self._make_room(path)
        file = create_new_file(name, 0o600, parent)
        try:
            for block in blocks:
                self.done.size += _write_block(file, block)
            os.fchmod(file, member.mode & PERMISSIONS)
            os.utime(file, ns=(_mtime_ns(member), _mtime_ns(member)))
        finally:
            os.close(file)
        self.done.files += 1

    def _take_link(self, member: tarfile.TarInfo, path: str) -> None:
        existing = self.placement.place(member.linkname)
        existing = self.places.where(existing) if existing is not None else None
        if existing is None or existing not in self._files or existing == path:
            self._leave_out(
                path, f"it is a hard link to {member.linkname}, which the archive does not restore before it"
            )
            return
        source_parent, source = split_path(existing)
        parent, name = self._make_room(path)
        held = os.dup(parent)
        try:
            descriptor = self.directories.open(source_parent)
            os.link(source, name, src_dir_fd=descriptor, dst_dir_fd=held, follow_symlinks=False)
        finally:
            os.close(held)
        self._files.add(path)
        self.done.files += 1

    def _take_symlink(self, member: tarfile.TarInfo, path: str) -> None:
        try:
            _filter_member(member, path)
        except ArchiveError as error:
            self._leave_out(path, error.message)
            return
        if link_is_wanted(self.symlinks, split_path(path)[0], member.linkname, self.roots):
            self._files.discard(path)
            self._links[path] = member.linkname, _mtime_ns(member)
        else:
            self._leave_out(path, f"it is a symbolic link (symlinks: {self.symlinks})")

    def _open_alike(self, member: tarfile.TarInfo, path: str) -> BinaryIO | None:
        """Open the file that is there, if it has the member's size, time and mode: its content may be the same."""
        parent, name = split_path(path)
        try:
            there = require_regular_file(os.open(name, _THERE, dir_fd=self.directories.open(parent)), path)
        except (OSError, ArchiveError):
            return None
        status = os.fstat(there.fileno())
        facts = status.st_size, status.st_mtime_ns, stat.S_IMODE(status.st_mode)
        if facts == (member.size, _mtime_ns(member), member.mode & PERMISSIONS):
            return there
        there.close()
        return None

    def _make_room(self, path: str) -> tuple[int, str]:
        """Return a descriptor of the directory and a free name in it, after recording that it is about to be made."""
        directory, name = split_path(path)
        self._make_dirs(directory)
        parent = self.directories.open(directory)
        if _entry_exists(parent, name):
            self.directories.forget(path)
            self.undo.move_aside(path)
            parent = self.directories.open(directory)
        self.undo.will_make_one(path)
        return parent, name

    def _make_dirs(self, path: str) -> None:
        """Make a directory and all above it. A non-directory at or below a root is moved out of the way."""
        missing = []
        while path not in self._known and path not in ("", "/") and not self.directories.is_anchor(path):
            missing.append(path)
            path = split_path(path)[0]
        if self.directories.is_anchor(path):
            self.directories.open(path, make=True)
        for directory in reversed(missing):
            self._make_dir(directory)
            self._known.add(directory)

    def _make_dir(self, path: str) -> None:
        parent, name = split_path(path)
        try:
            there = os.stat(name, dir_fd=self.directories.open(parent), follow_symlinks=False)
        except FileNotFoundError:
            self.undo.make_dir(path, 0o755)
            return
        if stat.S_ISDIR(there.st_mode):
            if is_inside_any(path, self.roots):
                self.undo.will_change(path, stat.S_IMODE(there.st_mode), there.st_mtime_ns)
            return
        if not is_inside_any(path, self.roots):
            raise ArchiveError(f"{path} is a symbolic link or not a directory; it is not followed")
        self.undo.move_aside(path)
        self.undo.make_dir(path, 0o755)


def _filter_member(member: tarfile.TarInfo, path: str) -> None:
    """Apply Python's ``data`` filter to a member. Only its verdict counts; s3batch itself checks the disk.

    Pythons before 3.11.4 have no such filter. Of its refusals only one is missing in the rules here: symbolic links
    that leave the workspace.
    """
    if not hasattr(tarfile, "data_filter"):
        if member.issym() and _leaves_workspace(path, member.linkname):
            raise ArchiveError(f"the archive is not safe: {path} is a link to {member.linkname}")
        return
    try:
        tarfile.data_filter(member.replace(name=path.lstrip("/"), deep=False), _NOWHERE)
    except tarfile.FilterError as error:
        raise ArchiveError(f"the archive is not safe: {error}") from error


def _leaves_workspace(path: str, target: str) -> bool:
    """Return whether the text of a symbolic link at ``path`` leads out of the workspace."""
    return target.startswith("/") or posixpath.normpath(posixpath.join(posixpath.dirname(path), target)).startswith(
        ".."
    )


def _entry_exists(parent: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _mtime_ns(member: tarfile.TarInfo) -> int:
    """Return a member's time in nanoseconds. Newer formats have float seconds; times no file system holds are refused."""
    return max(-(2**62), min(2**62, int(member.mtime * 1_000_000_000)))


def _compare_content(there: BinaryIO, content: IO[bytes]) -> tuple[int, bytes, bytes]:
    """Return how many bytes are equal, the first block of the content that is not (empty: all are), and their digest."""
    equal, running = 0, hashlib.blake2b()
    while block := content.read(_BLOCK):
        if os.pread(there.fileno(), len(block), equal) != block:
            return equal, block, running.digest()
        equal += len(block)
        running.update(block)
    return equal, b"", running.digest()


def _read_again(there: BinaryIO, length: int, digest: bytes, path: str) -> Iterator[bytes]:
    """Yield the bytes that were equal, from the file itself: the stream has passed them."""
    at, running = 0, hashlib.blake2b()
    while at < length and (block := os.pread(there.fileno(), min(_BLOCK, length - at), at)):
        at += len(block)
        running.update(block)
        yield block
    if running.digest() != digest:
        raise ArchiveError(f"{path} changed while it was restored", hint="run the restore again")


def _write_block(file: int, block: bytes) -> int:
    view = memoryview(block)
    while view:
        view = view[os.write(file, view) :]
    return len(block)
