"""Whether files that look right are right: their content hashes against the manifest's. Pure."""

from __future__ import annotations

from array import array

from s3batch.archive.hashing import HASH_SIZE
from s3batch.archive.manifest import Manifest
from s3batch.archive.scan import Found
from s3batch.archive.survey import Survey
from s3batch.archive.tree import FILE, match_rows


def verification(found: Found, manifest: Manifest) -> Survey:
    """What ``hash_plan`` needs: the files of the walk that the manifest has at the same size, under any of their names."""
    tree, old = found.tree, manifest.tree
    rows = match_rows(tree, old)
    wanted = set()
    for row, other in enumerate(rows):
        file = tree.links.get(row, row)
        if tree.kinds[file] == FILE and other >= 0 and tree.sizes[file] == old.sizes[old.links.get(other, other)] > 0:
            wanted.add(file)
    to_hash = array("I", sorted(wanted))
    return Survey(found, bytearray(HASH_SIZE * len(tree)), bytearray(len(tree)), None, rows, to_hash)


def wrong_rows(survey: Survey, manifest: Manifest) -> frozenset[int]:
    """Rows of the walk whose content differs, or could not be read, after ``learn_hashes``."""
    there, links, hashed = survey.found.tree.links, manifest.tree.links, set(survey.to_hash)
    return frozenset(
        row
        for row, other in enumerate(survey.base_rows)
        if other >= 0
        and (file := there.get(row, row)) in hashed
        and not (survey.known[file] and survey.hash(file) == manifest.hash(links.get(other, other)))
    )
