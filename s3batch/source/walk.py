"""The walk of the source tree: a stream of its files, and a record of everything in it that is not sent.

    regular file, link to one ........ a LocalFile
    directory, link to one ........... entered, unless it is one of its own ancestors, or 16 paths lead to it
    link that leads out .............. followed and counted, or skipped (symlinks: inside)
    FIFO, socket, device ............. skipped, its key is kept
    broken link, vanished, no right .. a problem, its key is kept

The rule it keeps: **a path that could not be read never counts as absent.** Every path of the tree that yields no file
is in :attr:`WalkRecord.kept`. No key for it, or below it, may be deleted. The caller takes these paths and the problems after
each batch, so that memory does not grow with them.

About 4 µs a file (scandir and one lstat, which take 2.5 of them). Memory is bounded by the depth of the tree, not by its size:
a directory is read in slices of :data:`SLICE` entries, and sorted by name within a slice. Of a skipped entry
only the path is kept, and for the report a count and the first names.
"""

from __future__ import annotations

import errno
import os
import stat
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import chain, islice
from operator import attrgetter
from typing import TYPE_CHECKING, Protocol

from s3batch.base.errors import JobFailedError
from s3batch.base.named_tuple import NamedTuple
from s3batch.files.own_files import find_own_files
from s3batch.files.private import OWN_DIRECTORY
from s3batch.model import DIRECTORY, FILE, LINK, LocalFile, Stamp, stamp_of
from s3batch.source.walk_record import WalkProblem, WalkRecord

if TYPE_CHECKING:
    from s3batch.source.size_and_age import FileLimits

SLICE = 50_000
"""Directory entries held at once, per level: about 15 MB. Only a wider directory loses its total order."""

_AT_ONCE = 100
"""Entries that are read before Python has its turn: a slow file system takes 1 ms for each."""

BREATH = 500
"""A batch ends after so many entries without a file, so that the caller can stop."""

MOST_PATHS = 16
"""Paths by which one directory is walked: links between 9 packages make 9! paths."""

_GONE = "it is gone"

_BY_NAME = attrgetter("name")

_SPECIAL = {
    stat.S_IFIFO: "a named pipe (FIFO)",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a character device",
    stat.S_IFBLK: "a block device",
}


class WalkFilter(Protocol):
    """The methods of a selection that the walk needs; paths are relative to the source."""

    def wants(self, path: str) -> bool:
        """Return whether this file belongs to the job."""

    def wants_all_in(self, directory: str) -> bool:
        """Return true if every file right in this directory belongs to the job, but for an ignore file."""

    def enters(self, directory: str) -> bool:
        """Return whether anything below this directory can belong to the job."""

    def is_hidden(self, path: str) -> bool:
        """Return whether a file in the source leaves this path out, not a setting."""


class _Level(NamedTuple):
    """A directory being walked."""

    entries: Iterator[os.DirEntry[str]]
    prefix: str
    """The prefix of its paths: empty, or ending with ``/``."""
    identity: tuple[int, int]
    """Device and inode."""
    most: int = 0
    """The number of paths by which a directory below may be walked; 0 where no link leads here."""
    is_plain: bool = False
    """True if a regular file right here is sent unless its name is special: see :meth:`Walk._tree`."""


class _NamedEntry(NamedTuple):
    """One path, looked at as an entry of its directory."""

    name: str
    path: str

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        return os.stat(self.path, follow_symlinks=follow_symlinks)

    def is_dir(self, *, follow_symlinks: bool = True) -> bool:
        return os.path.isdir(self.path) and (follow_symlinks or not os.path.islink(self.path))


class Walk(WalkRecord):
    """The files of one source, once, lazily. Its record grows while it is iterated."""

    def __init__(
        self,
        root: str,
        selection: WalkFilter,
        *,
        symlinks: str = "follow",
        journal: str = "",
        own: Iterable[str] = (),
        plan: str = "",
        slice_size: int = SLICE,
        limits: FileLimits | None = None,
    ) -> None:
        """``own`` are directories of s3batch, which the walk does not enter, wherever they are."""
        super().__init__()
        self._limits = limits or None
        self._slice_size = slice_size
        self._selection, self._wants = selection, selection.wants
        self._follow = symlinks != "skip"
        self._inside_only = symlinks == "inside"
        self._most = 0
        """For the directory that is entered next, see :class:`_Level`."""
        self._walks: Counter[tuple[int, int]] = Counter()
        """The number of paths with a link in them by which each directory has been walked."""
        self._root = root
        self._is_link = os.path.islink(root)
        self._info = _stat_source(root)
        of_root = stamp_of(self._info)
        self._identity = of_root.device, of_root.inode
        self.single = stat.S_ISREG(self._info.st_mode)
        """The source is one file; its only path is its name."""
        self.base = os.path.dirname(root) if self.single else root
        """The directory that every path is relative to."""
        self._real_base = os.path.realpath(self.base)
        self._name = os.path.basename(root)
        self._own_files = find_own_files(journal, plan)
        self._own = frozenset(_identify_directories(own))

    def __iter__(self) -> Iterator[LocalFile]:
        return chain.from_iterable(self.batches(BREATH))

    def batches(self, size: int) -> Iterator[list[LocalFile]]:
        """Yield the files in lists of up to ``size``. One may be empty: many entries were no files."""
        yield from self._single() if self.single else self._tree(size)
        self.complete = self.read_all

    def look(self, path: str) -> LocalFile | None:
        """Return what a walk finds at ``path`` now: a file, or a directory that it enters.

        ``None``: one more stands in :attr:`problems` or :attr:`skipped`.
        """
        if self.single:
            return self._look_at_source()
        noted = self.notes
        self._walks.clear()  # this path has been counted
        stamp, levels = None, [_Level(iter(()), "", self._identity)]
        for at, name in enumerate(names := path.split("/"), 1):
            part = "/".join(names[:at])
            stamp = self._seen(_NamedEntry(name, os.path.join(self.base, part)), part, levels)
            if stamp is None or (stamp.kind == FILE) is not (at == len(names)):
                break
            levels.append(_Level(iter(()), part + "/", (stamp.device, stamp.inode), self._most))
        if stamp is not None and part == path:
            return LocalFile(path, stamp)
        if self.notes == noted:
            self.keep(path)
            self.note_problem(WalkProblem(path, _GONE, "Vanished", directory=False))
        return None

    def _look_at_source(self) -> LocalFile | None:
        """Return the one file; a link that the source was from the start is followed, since the user named it."""
        try:
            stamp = stamp_of(os.stat(self._root, follow_symlinks=self._follow or self._is_link))
        except OSError as error:
            self.note_problem(
                WalkProblem(self._name, _describe_stat_error(self._root, error)[1], "Vanished", directory=False)
            )
            return None
        if stamp.kind in (FILE, DIRECTORY):
            return None if self._is_beyond(self._name, stamp) else LocalFile(self._name, stamp)
        self.skip(self._name, _name_entry_kind(stamp))
        return None

    def _single(self) -> Iterator[list[LocalFile]]:
        stamp = stamp_of(self._info)
        if self._selection.wants(self._name) and not self._is_beyond(self._name, stamp):
            yield [LocalFile(self._name, stamp)]

    def _tree(self, size: int) -> Iterator[list[LocalFile]]:
        """Yield batches of the tree depth first, without recursion: a tree may be deeper than Python's stack.

        Most directories are plain, and a regular file in one is taken without a call. All else goes through
        :meth:`_seen`: also names that begin with a dot, such as that of an ignore file, and perhaps those of the journal and the plan.
        """
        look, new, vain, special = self._seen, tuple.__new__, 0, (".", *self._own_files.names)
        batch: list[LocalFile] = []
        levels = [_Level(self._entries(""), "", self._identity, 0, self._is_plain(""))]
        while levels:
            entries, prefix, _, _, plain = levels[-1]
            for entry in entries:
                name = entry.name
                path, stamp = prefix + name, None
                if plain and not name.startswith(special):
                    try:
                        stamp = stamp_of(entry.stat(follow_symlinks=False))
                    except OSError:
                        stamp = None
                if stamp is None or stamp.kind != FILE:  # the entry remembers what it was asked
                    stamp = look(entry, path, levels)
                if stamp is None:
                    vain += 1
                elif stamp.kind == FILE:
                    batch.append(new(LocalFile, (path, stamp)))  # a third of the time of LocalFile(path, stamp)
                else:
                    vain += 1
                    levels.append(self._enter_level(path + "/", stamp))
                    break
                if len(batch) + vain >= size:
                    break
            else:
                levels.pop()
            if len(batch) + vain >= size:
                yield batch
                batch, vain = [], 0
        yield batch

    def _enter_level(self, prefix: str, stamp: Stamp) -> _Level:
        identity = (stamp.device, stamp.inode)
        return _Level(self._entries(prefix), prefix, identity, self._most, self._is_plain(prefix[:-1]))

    def _is_plain(self, directory: str) -> bool:
        return self._limits is None and self._selection.wants_all_in(directory)

    def _seen(self, entry: os.DirEntry[str] | _NamedEntry, path: str, levels: list[_Level]) -> Stamp | None:
        """Return the stamp of a file to send or a directory to enter; note any other entry."""
        linked = False
        try:
            stamp = stamp_of(entry.stat(follow_symlinks=False))
            if stamp.kind == LINK and self._follow:
                linked, stamp = True, stamp_of(entry.stat())
        except OSError as error:
            self._lost(entry, path, error)
            return None
        if stamp.kind == FILE:
            if not self._wants(path) or (self._own_files.names and self._is_own_file(entry.name, path)):
                return None
            if self._limits is not None and self._is_beyond(path, stamp):
                return None
            return None if linked and self._stays_out(entry, path) else stamp
        if stamp.kind == DIRECTORY:
            return stamp if self._may_enter(entry, path, stamp, levels, linked=linked) else None
        if self._wants(path):
            self.skip(path, _name_entry_kind(stamp))
        return None

    def _is_beyond(self, path: str, stamp: Stamp) -> bool:
        """Return whether a file is beyond a limit of size or age; then its key is kept."""
        limits = self._limits
        if limits is None or stamp.kind != FILE or not limits.hides(stamp.size, stamp.mtime_ns / 1e9):
            return False
        self.hidden += 1
        self.notes += 1
        self.keep(path)
        return True

    def _stays_out(self, entry: os.DirEntry[str] | _NamedEntry, path: str) -> bool:
        """Return whether a link is left alone because it leads out of the source; note those that are followed."""
        place = os.path.realpath(entry.path)
        if self._is_inside(place):
            return False
        if self._inside_only:
            self.skip(path, "a symbolic link that leads out of the source (symlinks: inside)", f"{path} -> {place}")
            return True
        self.led_out.add(f"{path} -> {place}")
        return False

    def _is_inside(self, place: str) -> bool:
        return place == self._real_base or place.startswith(self._real_base.rstrip("/") + "/")

    def _entries(self, prefix: str) -> Iterator[os.DirEntry[str]]:
        """Yield the entries of one directory; one that fails half way is a problem, and its keys are kept."""
        try:
            with os.scandir(os.path.join(self.base, prefix)) as scan:
                while entries := _read_next_slice(scan, self._slice_size):
                    entries.sort(key=_BY_NAME)
                    yield from entries
        except OSError as error:
            self._unread(prefix, error)

    def _may_enter(
        self, entry: os.DirEntry[str] | _NamedEntry, path: str, stamp: Stamp, levels: list[_Level], *, linked: bool
    ) -> bool:
        """Return whether a directory is to be walked by this path, and set how often those below it may be."""
        if entry.name == OWN_DIRECTORY:
            self.keep(path)
            return False
        if not self._selection.enters(path):
            return False
        identity = (stamp.device, stamp.inode)
        if identity in self._own:
            self.notes += 1
            self.keep(path)
            return False
        if any(level.identity == identity for level in levels):
            self.skip(path, "a symbolic link to a directory it is in")
            return False
        if linked and self._stays_out(entry, path):
            return False
        self._most = levels[-1].most
        if linked:  # one of the paths to its content has no link in it
            self._most = MOST_PATHS - self._is_inside(os.path.realpath(entry.path))
        if self._most and self._walks[identity] >= self._most:
            self.skip(path, f"a directory that {MOST_PATHS} paths lead to already, by symbolic links")
            return False
        self._walks[identity] += bool(self._most)
        return True

    def _is_own_file(self, name: str, path: str) -> bool:
        if not self._own_files.hold(name, lambda: os.path.realpath(os.path.dirname(os.path.join(self.base, path)))):
            return False
        self.keep(path)
        return True

    def _lost(self, entry: os.DirEntry[str] | _NamedEntry, path: str, error: OSError) -> None:
        """Note an entry that was listed and cannot be read."""
        directory = _is_listed_as_directory(entry)
        if not (self._selection.enters(path) if directory else self._selection.wants(path)):
            return
        self.keep(path)
        code, text = _describe_stat_error(entry.path, error)
        self.note_problem(WalkProblem(path, text, code, directory))

    def _unread(self, prefix: str, error: OSError) -> None:
        path = prefix.rstrip("/")
        self.keep(path)
        code = "Vanished" if isinstance(error, FileNotFoundError) else "Unreadable"
        self.note_problem(WalkProblem(path, f"cannot read the directory: {error.strerror}", code, True))


def walk_source(
    root: str,
    selection: WalkFilter,
    *,
    symlinks: str = "follow",
    journal: str = "",
    own: Iterable[str] = (),
    plan: str = "",
    limits: FileLimits | None = None,
) -> Walk:
    """Return the files of ``root``, a directory or one file. A source that cannot be read stops the job."""
    return Walk(root, selection, symlinks=symlinks, journal=journal, own=own, plan=plan, limits=limits)


def _identify_directories(places: Iterable[str]) -> Iterator[tuple[int, int]]:
    """Yield device and inode of those that exist."""
    for place in places:
        with suppress(OSError):
            stamp = stamp_of(os.stat(place))
            yield stamp.device, stamp.inode


def _read_next_slice(scan: Iterator[os.DirEntry[str]], size: int) -> list[os.DirEntry[str]]:
    """Return the next entries of a directory, read a few at a time: a signal's handler runs between them."""
    entries: list[os.DirEntry[str]] = []
    while len(entries) < size and (some := list(islice(scan, min(_AT_ONCE, size - len(entries))))):
        entries += some
    return entries


def _stat_source(root: str) -> os.stat_result:
    try:
        info = os.stat(root)
    except OSError as error:
        raise JobFailedError(
            f"cannot read the source {root}: {error.strerror}; nothing was sent and nothing deleted",
            hint="name an existing directory or file as source",
        ) from error
    if not stat.S_ISDIR(info.st_mode) and not stat.S_ISREG(info.st_mode):
        raise JobFailedError(
            f"the source {root} is {_SPECIAL.get(stat.S_IFMT(info.st_mode), 'not a file')}",
            hint="name a directory or a regular file as source",
        )
    return info


def _name_entry_kind(stamp: Stamp) -> str:
    return _SPECIAL.get(stamp.kind, "a symbolic link (symlinks: skip)")


def _is_listed_as_directory(entry: os.DirEntry[str] | _NamedEntry) -> bool:
    """Return the type in the directory itself; no further call is made where the file system has types."""
    try:
        return entry.is_dir(follow_symlinks=False)
    except OSError:
        return False


def _describe_stat_error(local: str, error: OSError) -> tuple[str, str]:
    """Return code and sentence for an entry whose stat failed."""
    if os.path.islink(local) and error.errno in {errno.ENOENT, errno.ELOOP, errno.ENOTDIR}:
        return "BrokenLink", f"broken symbolic link to {os.readlink(local)!r}"
    if error.errno in {errno.ENOENT, errno.ENOTDIR}:
        return "Vanished", _GONE
    return "Unreadable", f"cannot read its attributes: {error.strerror}"
