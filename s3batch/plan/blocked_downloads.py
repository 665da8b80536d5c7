"""A local file in the place of a directory: what ``delete`` removes before the other orphans.

A key ``docs`` that became ``docs/index.html`` leaves a file where a directory has to be, and no deletes come before all else
is done. Therefore such objects wait. If nothing has failed, just the orphans in their way go, and then they are fetched.
A full directory in the place of a file stays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from s3batch.base.named_tuple import NamedTuple
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
    """An object that a file keeps from its place."""

    listed: ListedObject
    path: str
    """Ends with ``/`` for the marker of a directory."""
    blocking: str
    """The path of the file in its way."""


def find_blocking_orphans(
    wanted: DownloadSpec, journal: Journal, tree: TargetTree, folded: FoldedNames | None, blocking: Collection[str]
) -> list[Operation]:
    """Return the deletes of those of ``blocking`` that are orphans; a link stays.

    Raises JobFailedError if a guard of the deletes refuses them.
    """
    return [
        make_local_delete(wanted, orphan)
        for batch in find_local_orphans(wanted, journal, tree, folded)
        for orphan in batch
        if orphan.path in blocking and orphan.stamp.kind == FILE
    ]
