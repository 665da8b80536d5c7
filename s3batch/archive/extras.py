"""The entries below the restored paths that no cache has: ``exact`` removes them. Pure.

Of a directory that is removed only the directory itself is named. A directory stays if it holds something that stays:
an entry that was passed over (s3batch's own files, matches of ``exclude``), one that could not be read, or another file
system.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from s3batch.archive.paths import join_path, split_path
from s3batch.archive.scan import ScannedTree
from s3batch.archive.tree import DIR


def extra_paths(
    found: ScannedTree, held: Iterable[int], roots: Iterable[str], replaced: Iterable[str]
) -> Iterator[str]:
    """Yield the paths, those above first.

    ``held`` are rows of the walk that the cache has too, ``roots`` what was walked, ``replaced`` the paths at which
    something else is made.
    """
    tree, known, given_way = found.tree, set(held), set(replaced)
    gone, staying, listed = set(given_way), _with_parents(_what_stays(found)), set(roots)
    for directory, first, last in tree.spans():
        for row in range(first, last):
            path = join_path(directory, tree.names[row])
            if directory in gone:
                if tree.kinds[row] == DIR:
                    gone.add(path)
            elif row not in known and path not in staying and path not in listed:
                yield path
                gone.add(path)
    for path in found.special:
        if split_path(path)[0] not in gone and path not in given_way and path not in listed:
            yield path


def _what_stays(found: ScannedTree) -> Iterator[str]:
    yield from found.excluded
    yield from (problem.path for problem in found.problems)
    tree, devices = found.tree, found.devices
    if len(set(devices)) > 1:
        of_directory: dict[str, int] = {}
        for directory, first, last in tree.spans():
            for row in range(first, last):
                if tree.kinds[row] == DIR:
                    path = join_path(directory, tree.names[row])
                    of_directory[path] = devices[row]
                    if devices[row] != of_directory.get(directory, devices[row]):
                        yield path


def _with_parents(paths: Iterable[str]) -> set[str]:
    found: set[str] = set()
    for path in paths:
        place = path
        while place not in found and place not in {"", "/", "."}:
            found.add(place)
            place = split_path(place)[0]
    return found
