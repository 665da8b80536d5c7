"""A tree in columns: row n of every column is one entry. Walks and manifests hold one.

    dirs     "vendor"   "vendor/bundle"   "vendor/bundle/gems"    directories that hold entries
    starts   0          1                 3                  5    first row of each, and the end
    names    "bundle"   "gems" "LICENSE"  "a.rb" "b.rb"

Entries of one directory are neighbours, sorted by name; a directory follows the one that holds it. A root's
parent is in ``dirs`` without being an entry itself. About 150 bytes an entry, most of them its name.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from s3batch.archive.paths import is_inside, join_path, split_path

FILE, DIR, SYMLINK, HARDLINK = range(4)


def _empty_column(code: str) -> array[int]:
    return array(code)


@dataclass(slots=True)
class Tree:
    """A tree in columns. Its maker fills it row by row; afterwards it does not change."""

    dirs: list[str] = field(default_factory=list)
    starts: array[int] = field(default_factory=lambda: array("Q", [0]))
    names: list[str] = field(default_factory=list)
    kinds: bytearray = field(default_factory=bytearray)
    modes: array[int] = field(default_factory=lambda: _empty_column("H"))
    """Permission bits; never setuid, setgid or sticky."""
    sizes: array[int] = field(default_factory=lambda: _empty_column("q"))
    """Bytes of a FILE; 0 for everything else."""
    mtimes: array[int] = field(default_factory=lambda: _empty_column("q"))
    """Nanoseconds."""
    uids: array[int] = field(default_factory=lambda: _empty_column("I"))
    """Owners, where they are kept; empty if not, and if all are 0."""
    gids: array[int] = field(default_factory=lambda: _empty_column("I"))
    """Their groups; empty exactly where ``uids`` is."""
    targets: dict[int, str] = field(default_factory=dict)
    """The target of a SYMLINK."""
    links: dict[int, int] = field(default_factory=dict)
    """The row of the FILE a HARDLINK is another name of; always an earlier row."""

    def __len__(self) -> int:
        return len(self.names)

    def owner(self, row: int) -> tuple[int, int]:
        """Return user and group of the entry; 0 and 0 where owners are not kept."""
        return (self.uids[row], self.gids[row]) if self.uids else (0, 0)

    def forget_owners(self) -> None:
        """Keep no owners."""
        del self.uids[:], self.gids[:]

    def directory(self, row: int) -> int:
        """Index in ``dirs`` of the directory that holds the entry."""
        return bisect_right(self.starts, row) - 1

    def path(self, row: int) -> str:
        """Return the path of an entry: relative to the workspace, or absolute."""
        return join_path(self.dirs[self.directory(row)], self.names[row])

    def spans(self) -> Iterator[tuple[str, int, int]]:
        """Yield each directory with its first row and the row after its last."""
        return zip(self.dirs, self.starts, self.starts[1:], strict=False)

    def counts(self) -> array[int]:
        """Return the number of entries of each directory."""
        return array("I", [last - first for _, first, last in self.spans()])

    def paths(self) -> Iterator[str]:
        """Yield all paths, in row order."""
        for directory, first, last in self.spans():
            for row in range(first, last):
                yield join_path(directory, self.names[row])

    def paths_of(self, rows: Iterable[int]) -> Iterator[str]:
        """Yield the paths of many rows, without a search for each."""
        directories = self.directory_of_rows()
        return (join_path(self.dirs[directories[row]], self.names[row]) for row in rows)

    def directory_of_rows(self) -> array[int]:
        """Return for every row the index of its directory."""
        column: array[int] = array("I")
        for index, (first, last) in enumerate(zip(self.starts, self.starts[1:], strict=False)):
            column.extend(array("I", [index]) * (last - first))
        return column


def match_rows(left: Tree, right: Tree) -> array[int]:
    """Return for every row of ``left`` the row of the same path in ``right``, or -1.

    Directories with the same names on both sides, nearly all of them, cost one comparison of lists.
    """
    there = {path: (first, last) for path, first, last in right.spans()}
    rows = array("q", [-1]) * len(left)
    for path, first, last in left.spans():
        other_first, other_last = there.get(path, (0, 0))
        names, others = left.names[first:last], right.names[other_first:other_last]
        if names == others:
            rows[first:last] = array("q", range(other_first, other_last))
        else:
            known = dict(zip(others, range(other_first, other_last), strict=True))
            rows[first:last] = array("q", [known.get(name, -1) for name in names])
    return rows


def tree_has_path(tree: Tree, path: str) -> bool:
    """Return whether there is such an entry."""
    parent, name = split_path(path)
    return any(directory == parent and name in tree.names[first:last] for directory, first, last in tree.spans())


def tree_has_entries_below(tree: Tree, path: str) -> bool:
    """Return whether there is an entry below ``path``; "." is the workspace."""
    if path == ".":
        return any(not directory.startswith("/") for directory in tree.dirs)
    return any(is_inside(directory, path) for directory in tree.dirs)


def rows_at(tree: Tree, paths: Iterable[str]) -> dict[str, int]:
    """Return the row of each of these paths; paths without an entry are left out."""
    wanted = set(paths)
    parents = {split_path(path)[0] for path in wanted}
    return {
        join_path(directory, tree.names[row]): row
        for directory, first, last in tree.spans()
        if directory in parents
        for row in range(first, last)
        if join_path(directory, tree.names[row]) in wanted
    }


def files_of(tree: Tree) -> int:
    """Return the number of files, hard links included, directories and symbolic links not."""
    return tree.kinds.count(FILE) + tree.kinds.count(HARDLINK)
