"""Files that changed while a rebuild read them: read once more, by the process that looks at their stamps.

A file that grows has another size than was planned, so its chunk was made without it. It gets new items, of the size
that it has now, in chunks of their own. Only milliseconds lie between the look and the read.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterator, Sequence

from s3batch.archive import pack_chunk
from s3batch.archive.dirfd import Directories
from s3batch.archive.hashing import HASH_SIZE, content_hash
from s3batch.archive.pack_chunk import CHANGED, BuiltChunk, PackedChunk
from s3batch.archive.pack_plan import PackItems, PackPlan, add_items, write_items
from s3batch.archive.paths import split_path
from s3batch.archive.scan import PERMISSIONS, ScannedTree, is_sparse
from s3batch.base.errors import ArchiveError
from s3batch.model import clamp_nanoseconds, fold_number


def read_changed_again(
    plan: PackPlan,
    packed: Sequence[PackedChunk],
    path: str,
    workspace: str,
    store: Callable[[BuiltChunk], None],
    *,
    level: int,
    tries: int = 5,
    pause: float = 0.1,
) -> list[PackedChunk]:
    """Read files that changed until each holds still; return the new chunks, which ``store`` has stored.

    ``path`` is where the plan file goes. A file that never holds still in ``tries`` is left as a problem.
    """
    made: list[PackedChunk] = []
    latest = packed
    for number in range(tries):
        rows = [row for row in _rows_to_read(plan, latest) if _look_again(plan, row, workspace)]
        if not rows:
            break
        latest = _pack_rows(plan, rows, path, workspace, store, level)
        made += latest
        if number and any(each.problems for each in latest):
            time.sleep(pause)
    return made


def _rows_to_read(plan: PackPlan, packed: Sequence[PackedChunk]) -> list[int]:
    """Return the rows of files that changed, and of files that were to share the content of one that did."""
    changed, other = set(), set()
    same = frozenset(plan.reuse.same.values())
    for each in packed:
        changed |= {plan.items.rows[each.first + index] for index, code, _ in each.problems if code == CHANGED}
        other |= set(_rows_of_other_content(plan, each, same)) if same else set()
    followers = {row for row, earlier in plan.reuse.same.items() if earlier in changed or earlier in other}
    for row in followers:
        del plan.reuse.same[row]
    return sorted(changed | followers)


def _rows_of_other_content(plan: PackPlan, packed: PackedChunk, same: frozenset[int]) -> Iterator[int]:
    """Yield the rows among ``same`` whose content is not the one that they were known to have."""
    for index, digest in enumerate(packed.each_hash()):
        row = plan.items.rows[packed.first + index]
        is_whole = plan.items.lengths[packed.first + index] == plan.survey.found.tree.sizes[row]
        if row in same and is_whole and digest != plan.survey.hash(row):
            yield row


def _look_again(plan: PackPlan, row: int, workspace: str) -> bool:
    """Take a file's present size and stamp for those of the walk; return False if there is no file any more."""
    survey, found = plan.survey, plan.survey.found
    parent, name = split_path(found.places.where(found.tree.path(row)))
    try:
        with Directories(workspace, found.places.anchored(found.roots)) as directories:
            status = os.stat(name, dir_fd=directories.open(parent), follow_symlinks=False)
    except (OSError, ArchiveError):
        return False
    if not stat.S_ISREG(status.st_mode):
        return False
    _take_status(found, row, status)
    survey.hashes[row * HASH_SIZE : (row + 1) * HASH_SIZE] = bytes(HASH_SIZE)
    survey.known[row] = 0
    if not status.st_size:
        survey.learn(row, content_hash(b""))
    plan.superseded[row] = len(plan.items)
    return True


def _take_status(found: ScannedTree, row: int, status: os.stat_result) -> None:
    tree = found.tree
    tree.sizes[row], tree.modes[row] = status.st_size, status.st_mode & PERMISSIONS
    tree.mtimes[row], found.ctimes[row] = clamp_nanoseconds(status.st_mtime_ns), fold_number(status.st_ctime_ns)
    found.inodes[row], found.devices[row] = status.st_ino, status.st_dev
    found.sparse.discard(row)
    if is_sparse(status):
        found.sparse.add(row)


def _pack_rows(
    plan: PackPlan, rows: list[int], path: str, workspace: str, store: Callable[[BuiltChunk], None], level: int
) -> list[PackedChunk]:
    """Make and store chunks of these files; their items go to the end of the plan's."""
    items, offset = PackItems(), len(plan.items)
    add_items(items, plan.survey, [(row, size) for row in rows if (size := plan.survey.found.tree.sizes[row])])
    write_items(path, plan.survey, items, workspace, plan.survey.found.roots)
    plan.items.extend(items)
    made = []
    try:
        for recipe in items.recipes:
            built = pack_chunk.build_chunk(path, recipe, level=level)
            if built.body:
                store(built)
            built.packed.first += offset
            made.append(built.packed)
    finally:
        pack_chunk.close_pack_plans()
    return made
