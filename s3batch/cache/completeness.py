"""What a rebuild does about content that it cannot read.

A new cache is made without it, with a warning. An older cache that holds it stays: nothing whole is replaced by less.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from s3batch.archive.mounts import find_replaced
from s3batch.archive.tree import DIR, rows_at, tree_has_entries_below
from s3batch.base.errors import JobFailedError
from s3batch.base.units import format_plural

if TYPE_CHECKING:
    from collections.abc import Sequence

    from s3batch.archive.manifest import Manifest
    from s3batch.archive.scan import ScannedTree, ScanProblem
    from s3batch.archive.tree import Tree
    from s3batch.cache.session import CacheSession

_HINT = "make it readable, or exclude it"


def warn_of_unread(session: CacheSession, problems: Sequence[ScanProblem]) -> None:
    """Warn of each path that cannot be read. Raises JobFailedError if ``fail_on_error`` is set."""
    if problems and session.settings.fail_on_error:
        first, count = problems[0], format_plural(len(problems), "path")
        raise JobFailedError(
            f"{count} cannot be read, such as {first.path}: {first.error}; the cache stays as it was", hint=_HINT
        )
    for problem in problems:
        session.warn(f"{problem.path} is not cached: {problem.error}")


def keep_unread(problems: Sequence[ScanProblem], base: Manifest | None) -> None:
    """Raise JobFailedError if the older cache ``base`` holds content of a path that cannot be read."""
    for problem in problems:
        if base is not None and _holds_content(base.tree, problem.path):
            raise unread_error(problem.path)


def unread_error(path: str) -> JobFailedError:
    """Return the error that keeps the older cache."""
    return JobFailedError(f"{path} cannot be read, and the cache that is there holds it; that cache stays", hint=_HINT)


def require_all_mounted(session: CacheSession, found: ScannedTree) -> None:
    """Raise JobFailedError if a listed directory or a mount point is not the one that was walked."""
    for path in find_replaced(found, session.workspace):
        raise JobFailedError(
            f"{path} was unmounted or replaced while it was read; the cache stays as it was",
            hint="run the rebuild when nothing else changes the paths",
        )


def _holds_content(tree: Tree, path: str) -> bool:
    """Return True if there is anything but an empty directory at the path."""
    row = rows_at(tree, [path]).get(path)
    return (row is not None and tree.kinds[row] != DIR) or tree_has_entries_below(tree, path)
