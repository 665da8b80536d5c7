"""The comparison of content: hashes of files that look right against those of the manifest. Pure.

A file whose stamp the local state remembers is not read again. All others that would stay are read.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

from s3batch.archive.change_detection import Survey, nothing_changed, take_hashes, unchanged_rows
from s3batch.archive.gc_pause import pause_gc
from s3batch.archive.hashing import HASH_SIZE
from s3batch.archive.tree import FILE, match_rows

if TYPE_CHECKING:
    from s3batch.archive.local_state import LocalState
    from s3batch.archive.manifest import Manifest
    from s3batch.archive.scan import ScannedTree


@pause_gc()
def plan_verification(
    found: ScannedTree, manifest: Manifest, state: LocalState | None = None, *, all_sizes: bool = False
) -> Survey:
    """Return the survey for ``hash_plan``: the files of the walk that a restore would keep, under any of their names.

    ``state`` holds their remembered facts. With ``all_sizes`` the others that the manifest has at the same size
    are hashed too.
    """
    tree, old = found.tree, manifest.tree
    rows = match_rows(tree, old)
    result = Survey(found, bytearray(HASH_SIZE * len(tree)), bytearray(len(tree)), None, rows, array("I"))
    if state is not None:
        if tree == old and state.manifest.hashes == manifest.hashes and nothing_changed(found, state):
            return result
        take_hashes(result, state.manifest, unchanged_rows(found, state))
    wanted = set()
    for row, other in enumerate(rows):
        file = tree.links.get(row, row)
        if other < 0 or tree.kinds[file] != FILE or result.known[file]:
            continue
        looks_right = all_sizes or (tree.mtimes[row] == old.mtimes[other] and tree.modes[row] == old.modes[other])
        if looks_right and tree.sizes[file] == old.sizes[old.links.get(other, other)] > 0:
            wanted.add(file)
    result.to_hash = array("I", sorted(wanted))
    return result


def wrong_rows(survey: Survey, manifest: Manifest) -> frozenset[int]:
    """Return rows of the walk whose content differs, or could not be read, after ``learn_hashes``."""
    there, links, hashed = survey.found.tree.links, manifest.tree.links, set(survey.to_hash)
    return frozenset(
        row
        for row, other in enumerate(survey.base_rows)
        if other >= 0
        and ((file := there.get(row, row)) in hashed or survey.known[file])
        and not (survey.known[file] and survey.hash(file) == manifest.hash(links.get(other, other)))
    )
