"""Every rule a manifest must keep before anything is restored from it. A hostile one is refused as a whole.

Paths are plain components below the manifest's own roots. Each directory is an entry that comes before its content.
Links point at earlier files. Every reference lies inside its chunk, and two overlap only if they mean the same bytes.
Sizes and counts are within the limits. Written to cost about 1 µs an entry.
"""

from __future__ import annotations

import operator
from array import array
from dataclasses import dataclass
from typing import NoReturn

from s3batch.archive.columns import NONE
from s3batch.archive.hashing import HASH_SIZE
from s3batch.archive.manifest import Manifest
from s3batch.archive.paths import check_path, is_below, is_inside, join_path, split_path
from s3batch.archive.tree import DIR, FILE, HARDLINK, Tree
from s3batch.base.errors import ArchiveError
from s3batch.files.private import OWN_DIRECTORY

_PERMISSIONS = 0o777  # neither setuid, setgid nor sticky bit
_CHUNK_BITS = 32  # a place is the chunk number above, the offset in the chunk below
_UNSAFE = frozenset({"", ".", ".."})


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Upper limits of an archive. Bytes, except ``entries``."""

    manifest_stored: int = 256 << 20
    manifest_raw: int = 1 << 30
    entries: int = 5_000_000
    chunk_raw: int = 32 << 20
    total: int = 20 << 30
    """The bytes of all files together, holes included."""


def check_manifest(manifest: Manifest, limits: Limits) -> None:
    """Raise :class:`ArchiveError` for the first broken rule. Strips setuid, setgid and sticky in place."""
    tree = manifest.tree
    _check_columns(tree, limits)
    _check_roots(manifest.roots)
    _check_paths(tree, manifest.roots)
    _check_links(tree)
    _check_chunks(manifest, limits)
    _check_references(manifest)
    _check_extents(manifest)
    if max(tree.modes, default=0) > _PERMISSIONS:
        tree.modes = array("H", [mode & _PERMISSIONS for mode in tree.modes])


def _require_rule(holds: bool, rule: str) -> None:
    if not holds:
        _refuse_manifest(rule)


def _refuse_manifest(rule: str) -> NoReturn:
    raise ArchiveError(f"the manifest is damaged or hostile: {rule}")


def _check_columns(tree: Tree, limits: Limits) -> None:
    _require_rule(tree.starts[-1] == len(tree), "its directories and entries disagree")
    _require_rule(max(tree.kinds, default=0) <= HARDLINK, "an entry is of an unknown kind")
    _require_rule(min(tree.sizes, default=0) >= 0, "a size is negative")
    total = sum(tree.sizes)
    if total > limits.total:
        raise ArchiveError(
            f"the files of the archive have {total:,} bytes, over the limit of {limits.total:,}", hint="raise max_size"
        )
    sized = any(map(operator.and_, map(bool, tree.sizes), map(bool, tree.kinds)))
    _require_rule(not sized, "an entry that is not a file has a size")


def _check_roots(roots: tuple[str, ...]) -> None:
    for root in roots:
        if root != ".":
            check_path(root)
        _require_rule(not is_inside(root, OWN_DIRECTORY), f"a root of it is {OWN_DIRECTORY}")
    known = frozenset(roots)
    nested = "." in known and any(not root.startswith("/") for root in roots if root != ".")
    nested = nested or any(is_below(split_path(root)[0], known - {"."}) for root in roots)
    _require_rule(not nested and len(known) == len(roots), "its roots overlap")


def _check_paths(tree: Tree, roots: tuple[str, ...]) -> None:
    """Check that every entry is at or below a root, in a directory that is an earlier entry or a root's parent."""
    parents = {split_path(root)[0] for root in roots if root != "."}
    listed = set(roots)
    made: set[str] = {""} if "." in listed else set()
    _require_rule(len(set(tree.dirs)) == len(tree.dirs), "a directory is listed twice")
    for path, first, last in tree.spans():
        names = tree.names[first:last]
        _require_rule(len(set(names)) == last - first > 0, f"the directory {path!r} is empty or lists a name twice")
        _check_names(path, names)
        if path not in made:
            _require_rule(path in parents, f"{path!r} is not a directory of the archive")
            _require_rule(all(join_path(path, name) in listed for name in names), f"{path!r} lies outside its roots")
        row = tree.kinds.find(DIR, first, last)
        while row >= 0:
            made.add(join_path(path, tree.names[row]))
            row = tree.kinds.find(DIR, row + 1, last)


def _check_names(path: str, names: list[str]) -> None:
    if "/" in "".join(names) or not _UNSAFE.isdisjoint(names):
        raise ArchiveError(f"the archive has an unsafe name in {path!r}")
    _require_rule(path != "" or OWN_DIRECTORY not in names, f"it contains {OWN_DIRECTORY}")


def _check_links(tree: Tree) -> None:
    good = all(target < row and tree.kinds[target] == FILE for row, target in tree.links.items())
    _require_rule(good, "a hard link does not point at an earlier file")
    _require_rule(all(tree.targets.values()), "a symbolic link points nowhere")


def _check_chunks(manifest: Manifest, limits: Limits) -> None:
    largest = max(manifest.chunks.raws, default=0)
    if largest > limits.chunk_raw:
        raise ArchiveError(f"a chunk has {largest:,} raw bytes, over the limit of {limits.chunk_raw:,}")


def _check_references(manifest: Manifest) -> None:
    """Check that each file lies within its chunk, and that files share bytes only if they have the same content."""
    sizes, kinds, count = manifest.tree.sizes, manifest.tree.kinds, len(manifest.chunks)
    places = [chunk << _CHUNK_BITS | at for chunk, at in zip(manifest.chunk, manifest.at, strict=True)]
    ends = [(chunk << _CHUNK_BITS) + raw for chunk, raw in enumerate(manifest.chunks.raws)]
    placed = [row for row, chunk in enumerate(manifest.chunk) if chunk != NONE]
    for row in placed:
        chunk = manifest.chunk[row]
        if chunk >= count or kinds[row] != FILE or not sizes[row] or places[row] + sizes[row] > ends[chunk]:
            _refuse_manifest(f"{manifest.tree.path(row)!r} lies outside its chunk")
    before, end = -1, -1
    for row in sorted(placed, key=places.__getitem__):
        place = places[row]
        if place < end and not (places[before] == place and _same_content(manifest, before, row)):
            _refuse_manifest(f"{manifest.tree.path(row)!r} overlaps {manifest.tree.path(before)!r}")
        before, end = row, place + sizes[row]


def _same_content(manifest: Manifest, one: int, other: int) -> bool:
    hashes, size = manifest.hashes, HASH_SIZE
    return (
        manifest.tree.sizes[one] == manifest.tree.sizes[other]
        and hashes[one * size : one * size + size] == hashes[other * size : other * size + size]
    )


def _check_extents(manifest: Manifest) -> None:
    extents, tree, raws = manifest.extents, manifest.tree, manifest.chunks.raws
    before, end = -1, 0
    columns = (extents.rows, extents.starts, extents.lengths, extents.chunks, extents.ats)
    for row, start, length, chunk, at in zip(*columns, strict=True):
        if row != before:
            _require_rule(before < row < len(tree), "its extents are out of order")
            _require_rule(tree.kinds[row] == FILE and manifest.chunk[row] == NONE, "an extent belongs to no large file")
            end = 0
        _require_rule(start >= end and 0 < length <= tree.sizes[row] - start, "an extent lies outside its file")
        _require_rule(chunk < len(raws) and at + length <= raws[chunk], "an extent lies outside its chunk")
        before, end = row, start + length


def selected_rows(tree: Tree, roots: tuple[str, ...]) -> bytearray:
    """Return one byte a row: 1 if the row is at or below one of ``roots``, else 0."""
    chosen, known = bytearray(len(tree)), frozenset(roots)
    below: set[str] = set()
    for path, first, last in tree.spans():  # a directory comes after the one that holds it
        if split_path(path)[0] in below or is_below(path, known):
            below.add(path)
            chosen[first:last] = b"\1" * (last - first)
        else:
            rows = range(first, last)
            chosen[first:last] = bytes(is_below(join_path(path, tree.names[row]), known) for row in rows)
    return chosen
