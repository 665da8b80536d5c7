"""Deletes local files that no object answers to, each only while that is so and it is the one that was planned.

The facts of a planned file travel in the place of an object's ETag: ``LEVELS:CTIME:MTIME:INODE:SIZE:KIND``. LEVELS is how
many directories above it go too if they became empty: a directory with a marker object ends them.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from s3batch.model import Result, stamp_of
from s3batch.settings.s3_limits import KEY_LIMIT
from s3batch.worker.landing import failed_write, landing_of
from s3batch.worker.present_keys import find_present_keys

if TYPE_CHECKING:
    from s3batch.files.tree import TargetTree
    from s3batch.model import Stamp, Work
    from s3batch.worker.context import Tools


def encode_local_state(stamp: Stamp, levels: int) -> str:
    """Return the facts of a file that is to be deleted."""
    return f"{levels}:{stamp.ctime_ns}:{stamp.mtime_ns}:{stamp.inode}:{stamp.size}:{stamp.kind}"


async def delete_local(work: Work, tools: Tools) -> list[Result]:
    """Delete up to 1,000 local files; those that changed since they were planned stay, and those with an object by now."""
    operation, prefix = work.operation, tools.brief.target.prefix if tools.brief.target else ""
    keys, rows = work.keys or (operation.key,), work.rows or (operation.id,)
    states = work.etags if work.keys else [operation.etag]
    possible = [key for key in keys if len(os.fsencode(key)) <= KEY_LIMIT]  # a store may refuse to look for others
    there = await find_present_keys(possible, prefix)
    tree = landing_of(tools).tree
    return [
        _delete_file(work._replace(operation=operation._replace(id=row, path=key[len(prefix) :])), state, tree)
        if key not in there
        else Result(row, already=True)
        for row, key, state in zip(rows, keys, states, strict=True)
    ]


def _delete_file(work: Work, state: str, tree: TargetTree) -> Result:
    row, path = work.operation.id, work.operation.path
    levels = state.partition(":")[0]
    try:
        found = tree.find(path)
        if found is not None and encode_local_state(stamp_of(found), int(levels)) != state:
            return Result(row, already=True)
        if found is not None:
            tree.remove(path)
        tree.remove_empty(path.rpartition("/")[0], int(levels))
    except OSError as error:
        return failed_write(work, error)
    return Result(row)
