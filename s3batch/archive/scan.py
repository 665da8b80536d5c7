"""The walk of a cache: the tree on disk as a :class:`Tree`, with the facts that tell an unchanged file.

Links are never followed. Sockets, fifos and devices are named, not kept. A directory that cannot be read is a
problem with its name; an entry that vanishes meanwhile counts as absent.
"""

from __future__ import annotations

import os
import stat
import time
from array import array
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import attrgetter

from s3batch.archive.dirfd import Directories
from s3batch.archive.exclusions import NOTHING, Exclusions
from s3batch.archive.gc_pause import pause_gc
from s3batch.archive.hashing import tree_hash
from s3batch.archive.paths import KEEP, encode_names, join_path, link_is_wanted, split_path
from s3batch.archive.places import NOWHERE, Places
from s3batch.archive.tree import DIR, FILE, HARDLINK, SYMLINK, Tree
from s3batch.base.errors import ArchiveError
from s3batch.base.named_tuple import NamedTuple
from s3batch.files.private import OWN_DIRECTORY
from s3batch.model import clamp_nanoseconds, fold_number

_KINDS = {stat.S_IFREG: FILE, stat.S_IFDIR: DIR, stat.S_IFLNK: SYMLINK}
_SPARSE_FROM = 1 << 20
"""Bytes; below, holes are not worth looking for."""
_SPARSE_PART = 0.9
PERMISSIONS = 0o777
_SPECIAL_BITS = 0o7000  # setuid, setgid and sticky bit
_FORMAT = 0o170000  # S_IFMT: the bits of a mode that hold the file's type
_FORMAT_SHIFT = 12
_PLAIN_KINDS = tuple({stat.S_IFREG: FILE, stat.S_IFDIR: DIR}.get(kind << _FORMAT_SHIFT) for kind in range(16))
_FLUSH_FROM = 512
"""Pending entries; so many still fit into a processor's cache."""


class ScanProblem(NamedTuple):
    """A path that could not be dealt with, and why."""

    path: str
    error: str


@dataclass(slots=True)
class ScannedTree:
    """A walk: the tree, and for each row further facts of the file system."""

    tree: Tree = field(default_factory=Tree)
    roots: tuple[str, ...] = ()
    """The roots that were walked."""
    places: Places = NOWHERE
    ctimes: array[int] = field(default_factory=lambda: array("q"))
    inodes: array[int] = field(default_factory=lambda: array("Q"))
    devices: array[int] = field(default_factory=lambda: array("Q"))
    sparse: set[int] = field(default_factory=set)
    """Rows of files with holes."""
    missing: list[str] = field(default_factory=list)
    """Roots that are not there."""
    problems: list[ScanProblem] = field(default_factory=list)
    special: list[str] = field(default_factory=list)
    """Paths of sockets, fifos and devices; they have no row."""
    excluded: list[str] = field(default_factory=list)
    """Paths that were passed over: s3batch's own files, and matches of ``exclude``. Nothing below them was read."""
    setuid: int = 0
    """Files with a setuid, setgid or sticky bit, which no cache keeps."""
    odd_times: int = 0
    """Entries with a time before 1677 or after 2262: a cache keeps the nearest time of these."""
    started_ns: int = 0
    """When the walk began, UTC: a later change may have happened after the entry was seen."""

    def fingerprint(self) -> bytes:
        """Return 32 bytes over all rows: equal exactly when nothing looks different."""
        return fingerprint_tree(self.tree, self.ctimes, self.inodes, self.devices)


def fingerprint_tree(tree: Tree, ctimes: array[int], inodes: array[int], devices: array[int]) -> bytes:
    """Return 32 bytes over a tree and the stamps of its files: equal exactly when nothing of these looks different.

    Of directories and links it covers the tree's facts: their stamps tell nothing about content.
    """
    others = [row for row, kind in enumerate(tree.kinds) if kind != FILE]
    stamps = [ctimes[:], inodes[:], devices[:]]
    for column in stamps:
        for row in others:
            column[row] = 0
    texts = [tree.dirs, tree.names, list(tree.targets.values())]
    links = [array("Q", tree.targets), array("Q", tree.links), array("Q", tree.links.values())]
    columns = [tree.starts, tree.modes, tree.uids, tree.gids, tree.sizes, tree.mtimes]
    raws = (memoryview(column).cast("B") for column in (*links, *columns, *stamps))
    return tree_hash([*map(encode_names, texts), tree.kinds, *raws])


@pause_gc()
def scan_tree(
    workspace: str,
    roots: Sequence[str],
    *,
    own: Collection[str] = (),
    exclude: Exclusions = NOTHING,
    symlinks: str = KEEP,
    owners: bool = False,
    places: Places = NOWHERE,
) -> ScannedTree:
    """Walk ``roots``. ``own`` are paths, spelled as roots are, that the walk ignores (the journal).

    It also ignores matches of ``exclude`` and symbolic links that the policy ``symlinks`` does not take. With
    ``owners`` the owner of each entry is recorded. ``places`` tells where the roots lead that are followed links.
    """
    found = ScannedTree(roots=tuple(roots), places=places, started_ns=time.time_ns())
    with Directories(workspace, places.anchored(roots), access=os.O_RDONLY) as directories:
        scanner = _Scanner(found, directories, frozenset((*own, OWN_DIRECTORY)), exclude, symlinks, owners=owners)
        scanner.run(roots)
    if not any(found.tree.uids) and not any(found.tree.gids):
        found.tree.forget_owners()
    return found


class _Scanner:
    """One walk: the columns being filled, and the directories still to be entered."""

    def __init__(
        self, found: ScannedTree, directories: Directories, own: frozenset[str], exclude: Exclusions, symlinks: str, *,
        owners: bool,
    ) -> None:  # fmt: skip
        self._found = found
        self._directories = directories
        self._symlinks = symlinks
        self._owners = owners
        self._roots: Sequence[str] = ()
        self._own = own
        self._own_names = frozenset(split_path(path)[1] for path in own)
        self._exclude = exclude if exclude else None
        self._first_names: dict[tuple[int, int], int] = {}
        self._append = _column_appenders(found)
        self._pending: list[os.stat_result] = []
        """The status of the last rows, which have no other columns yet than name and kind."""
        self._slow_names = None if exclude else self._own_names
        """Names that need a look at the path; ``None`` if each does."""

    def run(self, roots: Sequence[str]) -> None:
        """Add the parents of roots first, then everything below each root, depth first."""
        self._roots = roots
        todo: list[str] = [""] if "." in roots else []
        for parent, group in groupby(
            sorted(split_path(root) for root in roots if root != "."), key=lambda pair: pair[0]
        ):
            todo += self._roots_of(parent, [name for _, name in group])
        todo.reverse()
        while todo:
            below = self._directory(todo.pop())
            below.reverse()
            todo += below
        self._flush()

    def _roots_of(self, parent: str, names: list[str]) -> list[str]:
        below: list[str] = []
        try:
            descriptor = self._directories.open(parent)
        except FileNotFoundError:
            self._found.missing += [join_path(parent, name) for name in names]
            return below
        except (OSError, ArchiveError) as error:
            self._found.problems += [ScanProblem(join_path(parent, name), str(error)) for name in names]
            return below
        for name in names:
            if self._exclude and self._exclude.covers(parent, directory=True):
                self._found.excluded.append(join_path(parent, name))
                continue
            try:
                place = self._found.places.moves.get(join_path(parent, name), name)
                status = os.stat(place, dir_fd=descriptor, follow_symlinks=False)
                self._entry(parent, descriptor, name, status, below)
            except FileNotFoundError:
                self._found.missing.append(join_path(parent, name))
            except OSError as error:
                self._found.problems.append(ScanProblem(join_path(parent, name), str(error)))
        self._end(parent)
        return below

    def _directory(self, path: str) -> list[str]:
        """Add the entries of one directory; return the directories among them."""
        below: list[str] = []
        try:
            descriptor = self._directories.open(self._found.places.where(path))
            with os.scandir(descriptor) as listing:
                entries = sorted(listing, key=attrgetter("name"))
        except FileNotFoundError:
            return below
        except (OSError, ArchiveError) as error:
            self._found.problems.append(ScanProblem(path or ".", str(error)))
            return below
        self._add_entries(path, descriptor, entries, below)
        self._end(path)
        return below

    def _add_entries(self, path: str, descriptor: int, entries: list[os.DirEntry[str]], below: list[str]) -> None:
        """Add the entries of one directory. Ordinary files and directories get their columns at the next flush."""
        slow, add_name, add_kind, add_status = self._slow_names, *self._append[:2], self._pending.append
        for entry in entries:
            name = entry.name
            try:
                status = entry.stat(follow_symlinks=False)
                kind = _PLAIN_KINDS[status.st_mode >> _FORMAT_SHIFT]
                if slow is None or name in slow or kind is None:
                    self._entry(path, descriptor, name, status, below)
                    continue
                if kind == DIR:
                    below.append(join_path(path, name))
                elif status.st_nlink > 1 or status.st_size >= _SPARSE_FROM or status.st_mode & _SPECIAL_BITS:
                    self._entry(path, descriptor, name, status, below)
                    continue
                add_name(name)
                add_kind(kind)
                add_status(status)
            except FileNotFoundError:
                continue
            except OSError as error:
                self._found.problems.append(ScanProblem(join_path(path, name), str(error)))
        if len(self._pending) >= _FLUSH_FROM:
            self._flush()

    def _flush(self) -> None:
        """Fill the columns of the pending entries, which have a name and a kind. Many at once cost half of one by one."""
        pending, found, tree = self._pending, self._found, self._found.tree
        if not pending:
            return
        first = len(tree.sizes)
        modes, inodes, devices, _, uids, gids, sizes, *_ = zip(*pending, strict=True)
        tree.modes.extend([mode & PERMISSIONS for mode in modes])
        tree.sizes.extend(sizes)
        row = tree.kinds.find(DIR, first)
        while row >= 0:
            tree.sizes[row] = 0
            row = tree.kinds.find(DIR, row + 1)
        if self._owners:
            tree.uids.extend(uids)
            tree.gids.extend(gids)
        found.inodes.extend(inodes)
        found.devices.extend(devices)
        try:
            mtimes = array("q", [status.st_mtime_ns for status in pending])
        except OverflowError:
            mtimes = array("q", [clamp_nanoseconds(status.st_mtime_ns) for status in pending])
            found.odd_times += sum(clamp_nanoseconds(each.st_mtime_ns) != each.st_mtime_ns for each in pending)
        try:
            ctimes = array("q", [status.st_ctime_ns for status in pending])
        except OverflowError:
            ctimes = array("q", [fold_number(status.st_ctime_ns) for status in pending])
        tree.mtimes.extend(mtimes)
        found.ctimes.extend(ctimes)
        pending.clear()

    def _end(self, path: str) -> None:
        """Close the directory ``path``: the rows since the last call are its entries. An empty one leaves no row."""
        tree = self._found.tree
        if len(tree) > tree.starts[-1]:
            tree.dirs.append(path)
            tree.starts.append(len(tree))

    def _entry(self, parent: str, descriptor: int, name: str, status: os.stat_result, below: list[str]) -> None:
        """Add one row, or nothing. Every call that may raise comes before the first column grows."""
        self._flush()
        mode = status.st_mode
        kind = _KINDS.get(mode & _FORMAT, -1)
        size = 0
        if name in self._own_names and join_path(parent, name) in self._own:
            self._found.excluded.append(join_path(parent, name))
            return
        if self._exclude is not None and self._exclude.names(join_path(parent, name), directory=kind == DIR):
            self._found.excluded.append(join_path(parent, name))
            return
        if kind == FILE:
            size = status.st_size
            if status.st_nlink > 1 or size >= _SPARSE_FROM:
                kind = self._rare_file(status)
                size = size if kind == FILE else 0
        elif kind < 0:
            self._found.special.append(join_path(parent, name))
            return
        elif kind == DIR:
            below.append(join_path(parent, name))
        elif not self._takes_link(parent, descriptor, name):
            return
        names, kinds, modes, sizes, mtimes, ctimes, inodes, devices = self._append
        names(name)
        kinds(kind)
        modes(mode & PERMISSIONS)
        if mode & _SPECIAL_BITS and kind == FILE:
            self._found.setuid += 1
        if self._owners:
            self._found.tree.uids.append(status.st_uid)
            self._found.tree.gids.append(status.st_gid)
        sizes(size)
        try:  # costs nothing where a time fits, as nearly all do
            mtimes(status.st_mtime_ns)
        except OverflowError:
            mtimes(clamp_nanoseconds(status.st_mtime_ns))
            self._found.odd_times += 1
        try:
            ctimes(status.st_ctime_ns)
        except OverflowError:
            ctimes(fold_number(status.st_ctime_ns))
        inodes(status.st_ino)
        devices(status.st_dev)

    def _rare_file(self, status: os.stat_result) -> int:
        """Return the kind of a file that has other names, or may have holes."""
        row = len(self._found.tree)
        if status.st_nlink > 1:
            first = self._first_names.setdefault((status.st_dev, status.st_ino), row)
            if first != row:
                self._found.tree.links[row] = first
                return HARDLINK
        if is_sparse(status):
            self._found.sparse.add(row)
        return FILE

    def _takes_link(self, parent: str, descriptor: int, name: str) -> bool:
        """Note where a link points, if the policy wants it."""
        target = os.readlink(name, dir_fd=descriptor)
        if not link_is_wanted(self._symlinks, parent, target, self._roots):
            return False
        self._found.tree.targets[len(self._found.tree)] = target
        return True


def is_sparse(status: os.stat_result) -> bool:
    """Return whether a file has holes that are worth looking for."""
    # st_blocks counts 512 bytes, whatever the block size of the file system (stat(2))
    return status.st_size >= _SPARSE_FROM and status.st_blocks * 512 < _SPARSE_PART * status.st_size


def _column_appenders(found: ScannedTree) -> tuple[Callable[..., None], ...]:
    """Return the columns' ``append`` in the order of :meth:`_Scanner._entry`, looked up once for all entries."""
    tree = found.tree
    return (
        tree.names.append,
        tree.kinds.append,
        tree.modes.append,
        tree.sizes.append,
        tree.mtimes.append,
        found.ctimes.append,
        found.inodes.append,
        found.devices.append,
    )
