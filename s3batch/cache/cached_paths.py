"""The listed paths in the workspace: their walk, the links that are followed, and s3batch's own files among them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from s3batch.archive.paths import KEEP, is_below, is_inside
from s3batch.archive.places import FOLLOW, FOLLOW_INSIDE, look_at_links
from s3batch.archive.scan import scan_tree
from s3batch.files.private import OWN_DIRECTORY, SIDE_FILES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from s3batch.archive.places import ListedLinks, Places
    from s3batch.archive.scan import ScannedTree
    from s3batch.cache.naming import CacheObjects
    from s3batch.settings.table import Settings


@dataclass
class CachedPaths:
    """The paths of one step, as it may read or write them."""

    settings: Settings
    names: CacheObjects
    own: str
    """The directory of s3batch's own files."""
    journal_path: str

    def __post_init__(self) -> None:
        self.workspace = self.settings.at_workspace(".")
        self.listed = self.names.listed

    @property
    def owners(self) -> bool:
        """True if owners are kept and restored: only root can."""
        return self.settings.owner != "none" and os.geteuid() == 0

    def own_directories(self) -> tuple[str, ...]:
        """Return the directories of s3batch's own files: in the workspace, and the one in use if that is another."""
        return os.path.join(self.workspace, OWN_DIRECTORY), self.own

    def scan(self, roots: Sequence[str], places: Places, *, symlinks: str = KEEP) -> ScannedTree:
        """Walk paths, as a rebuild or a restore of this step sees them."""
        return scan_tree(
            self.workspace, roots, own=self._own_files(roots, places), exclude=self.names.exclude, symlinks=symlinks,
            owners=self.owners, places=places,
        )  # fmt: skip

    def look_at_links(self, roots: Sequence[str] = (), *, restoring: bool) -> ListedLinks:
        """Decide which of the listed links are followed; ``roots`` are all paths of the cache."""
        names, own = self.listed.names, self.own_directories()
        return look_at_links(
            self.workspace, names, roots or names, self._link_policy, own, restoring=restoring
        )  # fmt: skip

    def within(self) -> Callable[[str], bool]:
        """Return a function that tells if a restore of this step may have changed a path."""
        places = self.look_at_links(restoring=True).places
        return lambda path: self.listed.covers(path) or places.covers(path)

    @property
    def _link_policy(self) -> str:
        """The policy for listed links; in an untrusted build they lead nowhere outside."""
        policy, build = self.settings.root_symlinks, self.settings.build
        stranger = self.names.untrusted or (build is not None and bool(build.fork))
        return FOLLOW_INSIDE if policy == FOLLOW and stranger else policy

    @property
    def link_hint(self) -> str:
        """The hint where a listed link is not followed."""
        if self.settings.root_symlinks == FOLLOW and not self.follows_all:
            return "a pull request never follows links out of the workspace"
        return "write root_symlinks: follow, or keep to cache the link itself"

    @property
    def follows_all(self) -> bool:
        """True if a listed link is followed wherever it leads."""
        return self._link_policy == FOLLOW

    def _own_files(self, roots: Sequence[str], places: Places) -> tuple[str, ...]:
        """Return s3batch's own files below a cached path: they are not part of the cache."""
        local = self.settings.at_workspace(os.path.join(self.settings.local_dir, OWN_DIRECTORY))
        ours = [
            *self.own_directories(),
            *self.settings.state_directories(),
            local,
            *(self.journal_path + end for end in ("", *SIDE_FILES)),
        ]
        below = [os.path.relpath(path, self.workspace) for path in ours if is_inside(path, self.workspace)]
        behind = [name for path in ours for name in places.known_as(os.path.realpath(path))]
        return tuple(path for path in (*ours, *below, *behind) if is_below(path, frozenset(roots)))
