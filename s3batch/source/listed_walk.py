"""The files that a list names, in the place of a walk: each is looked at as the walk would, and nothing else is.

A path that does not exist, or is a directory, is a failure of its own: the user has named it. Filters hold for a list too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from s3batch.files.private import OWN_DIRECTORY
from s3batch.model import FILE, LocalFile
from s3batch.source.walk import Walk
from s3batch.source.walk_record import CountedPaths, WalkProblem

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from s3batch.source.size_and_age import FileLimits
    from s3batch.source.walk import WalkFilter

_MISSING = "it does not exist, and the list names it"
_DIRECTORY = "it is a directory; a list names files only"


class ListedWalk(Walk):
    """The named files of one source. Of a path that is named twice, the pages must hold one."""

    def __init__(
        self,
        root: str,
        selection: WalkFilter,
        pages: Iterator[list[str]],
        *,
        symlinks: str = "follow",
        journal: str = "",
        own: Iterable[str] = (),
        plan: str = "",
        limits: FileLimits | None = None,
    ) -> None:
        super().__init__(root, selection, symlinks=symlinks, journal=journal, own=own, plan=plan, limits=limits)
        self._pages = pages
        self.left_out = CountedPaths()
        """Paths that the list names and the filters hide."""

    def batches(self, size: int) -> Iterator[list[LocalFile]]:
        """Yield the files of each page of the list."""
        for page in self._pages:
            yield [file for path in page if (file := self._look_at(path)) is not None]
        self.complete = True

    def _look_at(self, path: str) -> LocalFile | None:
        if OWN_DIRECTORY in path.split("/") or not self._selection.wants(path):
            self.left_out.add(path)
            return None
        found, before = self.look(path), len(self.problems)
        if found is None and before and self.problems[-1].code == "Vanished":
            self.problems[-1] = self.problems[-1]._replace(path=path, error=_MISSING, directory=False)
        if found is None or found.stamp.kind == FILE:
            return found
        self.note_problem(WalkProblem(path, _DIRECTORY, "Unreadable", directory=False))
        return None

    def warnings(self) -> Iterator[str]:
        """Yield those of a walk, and a sentence about paths that filters hide."""
        yield from super().warnings()
        if self.left_out.count:
            yield format_left_out(self.left_out)


def format_left_out(left_out: CountedPaths) -> str:
    """Return the warning about paths that a list names and the filters hide."""
    paths = "path that files_from names is" if left_out.count == 1 else "paths that files_from names are"
    return f"{left_out.count:,} {paths} hidden by filters: {left_out}"
