"""A local file in the place of a directory, and the other way round: what ``delete`` removes before the other orphans.

A key ``docs`` that became ``docs/index.html`` leaves a file where a directory has to be, and no deletes come before all else
is done. Therefore such objects wait. If nothing has failed, just the orphans in their way go, and then they are fetched.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from s3batch.model import FILE
from s3batch.plan.local_orphans import find_local_orphans, make_local_delete

if TYPE_CHECKING:
    from collections.abc import Collection

    from s3batch.files.tree import TargetTree
    from s3batch.journal import Journal
    from s3batch.model import ListedObject, Operation
    from s3batch.plan.download_spec import DownloadSpec
    from s3batch.plan.key_names import FoldedNames


class BlockedObject(NamedTuple):
    """An object that something else keeps from its place."""

    listed: ListedObject
    path: str
    """Ends with ``/`` for the marker of a directory."""
    blocking: str
    """The path of the file in its way. With ``/`` at the end: of a directory, which is in its own place."""


def find_blocking_orphans(
    wanted: DownloadSpec, journal: Journal, tree: TargetTree, folded: FoldedNames | None, blocking: Collection[str]
) -> tuple[list[Operation], set[str]]:
    """Return the deletes that clear the way, and those of ``blocking`` that are out of it then.

    A link stays, and so does a directory that holds anything but orphans. Raises JobFailedError if a guard of the deletes
    refuses them.
    """
    files = {each for each in blocking if not each.endswith("/")}
    directories = tuple(each for each in blocking if each.endswith("/"))
    found = {
        orphan.path: orphan
        for batch in find_local_orphans(wanted, journal, tree, folded)
        for orphan in batch
        if orphan.path.startswith(directories) or (orphan.path in files and orphan.stamp.kind == FILE)
    }
    cleared = files & found.keys() | {each for each in directories if _holds_only(tree, each[:-1], found)}
    gone = tuple(each for each in cleared if each.endswith("/"))
    return [
        make_local_delete(wanted, each) for path, each in found.items() if path in cleared or path.startswith(gone)
    ], cleared


def _holds_only(tree: TargetTree, directory: str, orphans: Collection[str]) -> bool:
    """Return whether a directory is empty, or holds orphans and nothing else; an empty one in it would stay."""
    pending = [directory]
    try:
        while pending:
            path = pending.pop()
            entries = list(tree.list_directory(path))
            below = [f"{path}/{entry.name}" for entry in entries if entry.is_dir(follow_symlinks=False)]
            others = [f"{path}/{entry.name}" for entry in entries if not entry.is_dir(follow_symlinks=False)]
            if (not entries and path != directory) or not all(each in orphans for each in others):
                return False
            pending += below
    except OSError:
        return False
    return True
