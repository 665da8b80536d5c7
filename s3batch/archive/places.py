"""Listed paths that are symbolic links: where each leads, and whether it is followed.

    inside   followed where it leads into the workspace
    follow   followed wherever it leads
    keep     an entry like any other link

In a cache, files behind a followed link have the link's own path. On the disk they are opened by the place it leads to,
a path without links, so that nothing is ever read or written through a link.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from s3batch.archive.paths import is_inside, split_path
from s3batch.archive.tree import Tree
from s3batch.base.named_tuple import NamedTuple
from s3batch.files.private import OWN_DIRECTORY

KEEP_LINKS, FOLLOW_INSIDE, FOLLOW = "keep", "inside", "follow"


@dataclass(frozen=True, slots=True)
class Places:
    """Where the followed ones are: absolute paths without a link in them."""

    moves: Mapping[str, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.moves)

    def where(self, path: str) -> str:
        """Return where a path of the cache is on the disk."""
        for root, place in self.moves.items():
            if is_inside(path, root):
                return place + path[len(root) :]
        return path

    def known_as(self, path: str) -> Iterable[str]:
        """Yield how the cache spells an absolute path behind a followed link."""
        for root, place in self.moves.items():
            if is_inside(path, place):
                yield root + path[len(place) :]

    def covers(self, path: str) -> bool:
        """Return True for a path on the disk that is behind a followed link."""
        return any(is_inside(path, place) for place in self.moves.values())

    def anchored(self, roots: Iterable[str]) -> list[str]:
        """Return the paths below which :class:`.directories.Directories` may work."""
        return [*roots, *self.moves.values()]

    def without(self, roots: Iterable[str]) -> Places:
        """Return the same, without some of them."""
        gone = set(roots)
        return Places({root: place for root, place in self.moves.items() if root not in gone})


NOWHERE = Places()


class ListedLinks(NamedTuple):
    """The listed links: which are followed, and which are not."""

    places: Places
    stuck: dict[str, str]
    """The links that are not followed, each with the reason."""


def look_at_links(
    workspace: str,
    names: Iterable[str],
    roots: Sequence[str],
    policy: str,
    own: Iterable[str],
    *,
    restoring: bool = False,
) -> ListedLinks:
    """Decide which of ``names``, the paths that are listed by name, are links to be followed.

    ``roots`` are all paths of the cache, ``own`` the directories of s3batch itself.
    """
    links = [root for root in names if os.path.islink(os.path.join(workspace, root))]
    moves: dict[str, str] = {}
    stuck: dict[str, str] = {}
    real = _real_places(workspace, roots, links)
    for root in links:
        if policy == KEEP_LINKS:
            if restoring:
                stuck[root] = "root_symlinks is keep"
            continue
        place = real[root]
        others = [other for other in real if other in moves or other not in links]
        if not restoring and any(is_inside(place, real[other]) for other in others):
            continue  # it is an entry: its target is cached under its own path
        why = _why_not(os.path.realpath(workspace), place, policy, [os.path.realpath(path) for path in own])
        taken = [other for other in others if is_inside(real[other], place) or is_inside(place, real[other])]
        if taken and not why:
            why = f"it leads to {place}, as {taken[0]} does"
        if why:
            stuck[root] = why
        else:
            moves[root] = place
    return ListedLinks(Places(moves), stuck)


def _real_places(workspace: str, roots: Iterable[str], links: Sequence[str]) -> dict[str, str]:
    """Return where the listed links lead, and where the other roots are; a link that a pattern matched is an entry."""
    if not links:
        return {}
    paths = {root: os.path.join(workspace, root) for root in (*links, *roots)}
    return {root: os.path.realpath(path) for root, path in paths.items() if root in links or not os.path.islink(path)}


def _why_not(workspace: str, place: str, policy: str, own: Sequence[str]) -> str:
    if not os.path.exists(place):
        return f"its target does not exist ({place})"
    if is_inside(workspace, place):
        return f"it leads to {place}, which holds the workspace"
    if any(is_inside(place, path) for path in (*own, os.path.join(workspace, OWN_DIRECTORY))):
        return f"it leads to {place}, where s3batch keeps its own files"
    if policy != FOLLOW and not is_inside(place, workspace):
        return f"it leads out of the workspace, to {place}"
    return ""


def placed_columns(places: Places, tree: Tree, rows: array[int]) -> tuple[array[int], list[str], list[str]]:
    """Return for each row the number of its directory and its name, and the directories, as they are on the disk."""
    of_rows = tree.directory_of_rows()
    directories = array("I", [of_rows[row] for row in rows])
    names, paths = [tree.names[row] for row in rows], tree.dirs
    if places:
        paths = [places.where(path) for path in paths]
        for index, row in enumerate(rows):
            place = places.moves.get(tree.path(row))
            if place is not None:  # a link to a file
                directories[index], names[index] = len(paths), split_path(place)[1]
                paths.append(split_path(place)[0])
    return directories, names, paths
