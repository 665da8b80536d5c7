"""The source tree as a stream of files, and a memory of everything in it that is not sent.

    regular file, link to one ........ a LocalFile
    directory, link to one ........... entered, unless it is one of its own ancestors
    link that leads out .............. followed and counted, or skipped (symlinks: inside)
    FIFO, socket, device ............. skipped, its key is kept
    broken link, vanished, no right .. a problem, its key is kept

The rule it keeps: **what could not be looked at is never taken for absent.** Every path that is in the
tree and yields no file stands in :attr:`Walk.vetoes`, and no key for it, or below it, may be deleted.

About 7 µs a file (scandir and one lstat). Memory is bounded by the depth of the tree, not by its size:
a directory is read in slices of :data:`SLICE` entries, and sorted by name within a slice.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from itertools import islice
from operator import attrgetter
from typing import NamedTuple, Protocol

from s3batch.errors import JobFailedError
from s3batch.model import DIRECTORY, FILE, LINK, LocalFile, Stamp, stamp_of
from s3batch.private_files import BESIDE_JOURNAL, OWN_DIRECTORY

SLICE = 50_000
"""Directory entries held at once, per level: about 15 MB. Only a wider directory loses its total order."""

SHOWN = 3
"""Links that lead out of the source and are named in the warning."""

_BY_NAME = attrgetter("name")

_SPECIAL = {
    stat.S_IFIFO: "a named pipe (FIFO)",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a character device",
    stat.S_IFBLK: "a block device",
}


class Selects(Protocol):
    """What the walk asks of a selection; paths are relative to the source."""

    def wants(self, path: str) -> bool:
        """Whether this file belongs to the job."""

    def enters(self, directory: str) -> bool:
        """Whether anything below this directory can belong to the job."""


class Problem(NamedTuple):
    """A path that should have been read and could not be: it makes the job fail."""

    path: str
    """Relative to the source; empty for the source itself."""
    error: str
    code: str
    """``Vanished``, ``BrokenLink`` or ``Unreadable``."""
    directory: bool
    """Whether an unknown number of files is behind it, and not one."""


class Skipped(NamedTuple):
    """A path that cannot be an object, or is not wanted as one: worth a warning, no failure."""

    path: str
    what: str

    def warning(self) -> str:
        """One sentence for the report."""
        return f"skipped {self.path}: it is {self.what}; a key of that name is kept"


class _Level(NamedTuple):
    """A directory being walked."""

    entries: Iterator[os.DirEntry[str]]
    prefix: str
    """What its paths begin with: empty, or ending with ``/``."""
    identity: tuple[int, int]
    """Device and inode."""


class Walk:
    """The files of one source, once, lazily; and what was found beside them.

    ``problems``, ``skipped`` and ``vetoes`` grow while it is iterated. ``complete`` becomes true at the
    very end, and only if every directory could be read to its end: deletes need that.
    """

    def __init__(self, root: str, selection: Selects, *, symlinks: str = "follow", journal: str = "") -> None:
        self.problems: list[Problem] = []
        self.skipped: list[Skipped] = []
        self.complete = False
        self._kept: set[str] = set()
        self._selection = selection
        self._follow = symlinks != "skip"
        self._inside_only = symlinks == "inside"
        self.led_out = 0
        """Links that lead out of the source and were followed."""
        self.first_led_out: list[tuple[str, str]] = []
        """The first :data:`SHOWN` of them, each with where it leads."""
        self._info = _source(root)
        self.single = stat.S_ISREG(self._info.st_mode)
        """The source is one file; its only path is its name."""
        self.base = os.path.dirname(root) if self.single else root
        """The directory that every path is relative to."""
        self._real_base = os.path.realpath(self.base)
        self._name = os.path.basename(root)
        self._journal_directory, self._journal_name = os.path.split(os.path.realpath(journal)) if journal else ("", "")

    def batches(self, size: int) -> Iterator[list[LocalFile]]:
        """The files in lists of ``size``, the last one shorter."""
        files = iter(self)
        while batch := list(islice(files, size)):
            yield batch

    @property
    def vetoes(self) -> list[str]:
        """Relative to the source: exact paths, and directories ending with ``/``. ``""`` means everything."""
        return sorted(self._kept)

    def keeps(self, path: str) -> bool:
        """Whether ``path``, or a directory above it, was there and could not be looked at."""
        if path in self._kept or "" in self._kept:
            return True
        ends = (place for place, letter in enumerate(path, 1) if letter == "/")
        return any(path[:end] in self._kept for end in ends)

    def __iter__(self) -> Iterator[LocalFile]:
        if self.single:
            yield from self._single()
        else:
            yield from self._tree()
        self.complete = not any(problem.directory for problem in self.problems)

    def _single(self) -> Iterator[LocalFile]:
        if self._selection.wants(self._name):
            yield LocalFile(self._name, stamp_of(self._info))

    def _tree(self) -> Iterator[LocalFile]:
        """Depth first, without recursion: a tree may be deeper than Python's stack."""
        wants, new = self._selection.wants, tuple.__new__
        levels = [self._level("", stamp_of(self._info))]
        while levels:
            entries, prefix, _ = levels[-1]
            for entry in entries:
                path = prefix + entry.name
                try:
                    stamp = stamp_of(entry.stat(follow_symlinks=False))
                    if stamp.kind == LINK and self._follow:
                        stamp = stamp_of(entry.stat())
                        if self._stays_out(entry, path, stamp):
                            continue
                except OSError as error:
                    self._lost(entry, path, error)
                    continue
                if stamp.kind == FILE:
                    if wants(path) and not self._is_journal(entry.name, prefix):
                        yield new(LocalFile, (path, stamp))  # a third of the time of LocalFile(path, stamp)
                elif stamp.kind == DIRECTORY:
                    if self._may_enter(path, entry.name, stamp, levels):
                        levels.append(self._level(path + "/", stamp))
                        break
                elif wants(path):
                    self._skip(path, _SPECIAL.get(stamp.kind, "a symbolic link (symlinks: skip)"))
            else:
                levels.pop()

    def _stays_out(self, entry: os.DirEntry[str], path: str, stamp: Stamp) -> bool:
        """Return whether a link is left alone because it leads out of the source; note those that are followed."""
        wanted = (
            self._selection.enters(path)
            if stamp.kind == DIRECTORY
            else stamp.kind == FILE and self._selection.wants(path)
        )
        if not wanted:
            return False
        place = os.path.realpath(entry.path)
        if place == self._real_base or place.startswith(self._real_base.rstrip("/") + "/"):
            return False
        if self._inside_only:
            self._skip(path, f"a symbolic link that leads out of the source, to {place} (symlinks: inside)")
            return True
        self.led_out += 1
        if self.led_out <= SHOWN:
            self.first_led_out.append((path, place))
        return False

    def _level(self, prefix: str, stamp: Stamp) -> _Level:
        return _Level(self._entries(prefix), prefix, (stamp.device, stamp.inode))

    def _entries(self, prefix: str) -> Iterator[os.DirEntry[str]]:
        """The entries of one directory; a directory that fails half way has a problem and is kept."""
        try:
            with os.scandir(os.path.join(self.base, prefix)) as scan:
                while entries := list(islice(scan, SLICE)):
                    entries.sort(key=_BY_NAME)
                    yield from entries
        except OSError as error:
            self._unread(prefix, error)

    def _may_enter(self, path: str, name: str, stamp: Stamp, levels: list[_Level]) -> bool:
        if name == OWN_DIRECTORY:
            self._keep(path)
            return False
        if not self._selection.enters(path):
            return False
        if any(level.identity == (stamp.device, stamp.inode) for level in levels):
            self._skip(path, "a symbolic link to a directory it is in")
            return False
        return True

    def _is_journal(self, name: str, prefix: str) -> bool:
        ours = self._journal_name
        if not ours or not name.startswith(ours) or not BESIDE_JOURNAL.fullmatch(name, len(ours)):
            return False
        if os.path.realpath(os.path.join(self.base, prefix)) != self._journal_directory:
            return False
        self._keep(prefix + name)
        return True

    def _lost(self, entry: os.DirEntry[str], path: str, error: OSError) -> None:
        """An entry was listed and cannot be looked at."""
        directory = _listed_as_directory(entry)
        if not (self._selection.enters(path) if directory else self._selection.wants(path)):
            return
        self._keep(path)
        code, text = _why(entry.path, error)
        self.problems.append(Problem(path, text, code, directory))

    def _unread(self, prefix: str, error: OSError) -> None:
        path = prefix.rstrip("/")
        self._keep(path)
        code = "Vanished" if isinstance(error, FileNotFoundError) else "Unreadable"
        self.problems.append(Problem(path, f"cannot read the directory: {error.strerror}", code, True))

    def _skip(self, path: str, what: str) -> None:
        self._keep(path)
        self.skipped.append(Skipped(path, what))

    def _keep(self, path: str) -> None:
        """Neither the key of ``path`` nor what was below it, when it still was a directory."""
        self._kept.update((path, path + "/") if path else ("",))


def led_out_warning(walked: Walk) -> str:
    """Return one sentence about the links that lead out of the source; empty if none does."""
    if not walked.led_out:
        return ""
    named = ", ".join(f"{path} -> {place}" for path, place in walked.first_led_out)
    more = ", ..." if walked.led_out > len(walked.first_led_out) else ""
    what = "symbolic link leads" if walked.led_out == 1 else "symbolic links lead"
    return (
        f"{walked.led_out} {what} out of the source; what is there was taken: {named}{more}; symlinks: inside leaves it"
    )


def walk(root: str, selection: Selects, *, symlinks: str = "follow", journal: str = "") -> Walk:
    """The files of ``root``, a directory or one file. A source that cannot be looked at stops the job."""
    return Walk(root, selection, symlinks=symlinks, journal=journal)


def _source(root: str) -> os.stat_result:
    try:
        info = os.stat(root)
    except OSError as error:
        raise JobFailedError(
            f"cannot read the source {root}: {error.strerror}; nothing was sent and nothing deleted",
            hint="name an existing directory or file as source",
        ) from error
    if not stat.S_ISDIR(info.st_mode) and not stat.S_ISREG(info.st_mode):
        raise JobFailedError(
            f"the source {root} is {_SPECIAL.get(stat.S_IFMT(info.st_mode), 'no file')}",
            hint="name a directory or a regular file as source",
        )
    return info


def _listed_as_directory(entry: os.DirEntry[str]) -> bool:
    """What the directory itself said of it; nothing is asked again where the file system tells types."""
    try:
        return entry.is_dir(follow_symlinks=False)
    except OSError:
        return False


def _why(local: str, error: OSError) -> tuple[str, str]:
    """Code and sentence for an entry whose stat failed."""
    if os.path.islink(local) and error.errno in {errno.ENOENT, errno.ELOOP, errno.ENOTDIR}:
        return "BrokenLink", f"broken symbolic link to {os.readlink(local)}"
    if error.errno == errno.ENOENT:
        return "Vanished", "it vanished while its directory was read"
    return "Unreadable", f"cannot look at it: {error.strerror}"
