"""Whether files that look right are right: their content hashes against the manifest's. Pure."""

from __future__ import annotations

from array import array

from s3batch.archive.hashing import HASH_SIZE
from s3batch.archive.manifest import Manifest
from s3batch.archive.scan import Found
from s3batch.archive.survey import Survey
from s3batch.archive.tree import FILE, match_rows


def verification(found: Found, manifest: Manifest) -> Survey:
    """What ``hash_plan`` needs: the files of the walk that the manifest has at the same size."""
    tree, old = found.tree, manifest.tree
    rows = match_rows(tree, old)
    to_hash = array("I")
    for row, (kind, size, other) in enumerate(zip(tree.kinds, tree.sizes, rows, strict=True)):
        if kind == FILE and size and other >= 0 and size == old.sizes[old.links.get(other, other)]:
            to_hash.append(row)
    return Survey(found, bytearray(HASH_SIZE * len(tree)), bytearray(len(tree)), None, rows, to_hash)


def wrong_rows(survey: Survey, manifest: Manifest) -> frozenset[int]:
    """Rows of the walk whose content differs, or could not be read, after ``learn_hashes``."""
    links, rows = manifest.tree.links, survey.base_rows
    return frozenset(
        row
        for row in survey.to_hash
        if not survey.known[row] or survey.hash(row) != manifest.hash(links.get(rows[row], rows[row]))
    )
