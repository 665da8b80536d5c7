"""The plan of a rebuild: which bytes go into new chunks, which chunks are used again. Pure, except the plan file.

    survey ─→ plan_packing ─→ PackPlan ──write──→ plan file ─→ workers: build_chunk(recipe)
                                 │                                        │
                                 └──────────────→ assemble ←──────────────┘

Small files are packed in path order. The path decides where a pack ends, not a count, so two builds of almost the same
tree make almost the same chunks. Windows of large files are chunks of their own. A chunk of the base of which little is
still used is not kept. Its used files are packed again; they are on disk, so nothing is fetched.
"""

from __future__ import annotations

import os
import zlib
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from s3batch.archive.change_detection import Survey, file_hash, split_windows
from s3batch.archive.dedup import Reuse, choose_reuse
from s3batch.archive.gc_pause import pause_gc
from s3batch.archive.hashing import HASH_SIZE, WINDOW
from s3batch.archive.pack_chunk import SPARSE, PackedChunk
from s3batch.archive.places import placed_columns
from s3batch.archive.plan_file import names_columns, write_table
from s3batch.archive.tree import FILE, Tree
from s3batch.model import ChunkSpec

_CUT_FROM = 2 << 20
"""Bytes a pack has before a path may end it."""
_CUT_FROM_ON_TOP = 8 << 20
"""The same where a base holds the rest: what is new is little, and few requests are worth more than chunks in common."""
_CUT_MEAN = 6 << 20
"""Bytes after which, on average, a path does; together with ``_CUT_FROM`` a mean of 8 MiB."""
_CAP = 24 << 20
"""Bytes no pack exceeds."""
_FILE_WEIGHT = 1 << 10
"""Bytes that a file counts beside its own where packs are cut: making a file costs a restore about as long as reading
so much. Without it 300,000 small files are one chunk, which one worker writes."""


@dataclass(slots=True)
class PackItems:
    """The items to read: whole files and windows of large ones, in columns, grouped into recipes."""

    rows: array[int] = field(default_factory=lambda: array("I"))
    starts: array[int] = field(default_factory=lambda: array("q"))
    lengths: array[int] = field(default_factory=lambda: array("I"))
    recipes: list[ChunkSpec] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.rows)

    def add(self, row: int, start: int, length: int) -> None:
        """Append one item to the recipe that is being filled."""
        self.rows.append(row)
        self.starts.append(start)
        self.lengths.append(length)

    def extend(self, others: PackItems) -> None:
        """Append the items of ``others``, without their recipes."""
        self.rows.extend(others.rows)
        self.starts.extend(others.starts)
        self.lengths.extend(others.lengths)

    def cut(self) -> None:
        """End a recipe here, if it has an item."""
        first = self.recipes[-1].last if self.recipes else 0
        if len(self.rows) > first:
            self.recipes.append(ChunkSpec(len(self.recipes), first, len(self.rows)))


@dataclass(slots=True)
class PackPlan:
    """The plan of a rebuild: new chunks to pack and chunks to use again."""

    survey: Survey
    items: PackItems
    reuse: Reuse
    superseded: dict[int, int] = field(default_factory=dict)
    """Rows of files that were read again, with the first item that counts: earlier ones are of another moment."""

    @property
    def recipes(self) -> list[ChunkSpec]:
        """The chunks to be built."""
        return self.items.recipes

    def raw_size(self) -> int:
        """Return the bytes to read and pack."""
        return sum(self.items.lengths)


@pause_gc()
def hash_plan(survey: Survey) -> PackItems:
    """Return the items to hash before packing, in recipes of about 64 MiB or 4,000 files for ``hash_items``."""
    items = PackItems()
    held = 0
    tree = survey.found.tree
    for row in survey.to_hash:
        size = tree.sizes[row]
        for start, length in ((0, size),) if 0 < size < WINDOW else split_windows(size):
            items.add(row, start, length)
            held += length + (16 << 10)  # each file counts 16 KiB more: a recipe has at most 4,096
            if held >= 64 << 20:
                items.cut()
                held = 0
    items.cut()
    return items


@pause_gc()
def learn_hashes(survey: Survey, items: PackItems, results: Iterable[PackedChunk]) -> None:
    """Take the results of ``hash_items``; files that could not be read stay unknown and will be named in packing."""
    parts: dict[int, dict[int, bytes]] = {}
    failed: set[int] = set()
    sizes, rows, lengths, hashes, known = (
        survey.found.tree.sizes,
        items.rows,
        items.lengths,
        survey.hashes,
        survey.known,
    )
    for packed in results:
        problems = {index for index, _, _ in packed.problems}
        for index, digest in enumerate(packed.each_hash()):
            item = packed.first + index
            row = rows[item]
            if index in problems:
                failed.add(row)
            elif lengths[item] == sizes[row] < WINDOW:  # nearly all
                hashes[row * HASH_SIZE : (row + 1) * HASH_SIZE] = digest
                known[row] = 1
            else:
                parts.setdefault(row, {})[items.starts[item]] = digest
    for row, digests in parts.items():
        if row not in failed:
            survey.learn(row, file_hash(sizes[row], digests))


@pause_gc()
def plan_packing(survey: Survey) -> PackPlan:
    """Decide for every file: bytes it shares with the base or another file, or bytes to be packed."""
    reuse = choose_reuse(survey)
    items = PackItems()
    add_items(items, survey, list(_new_rows(survey, reuse)))
    return PackPlan(survey, items, reuse)


def add_items(items: PackItems, survey: Survey, files: Sequence[tuple[int, int]]) -> None:
    """Add files, given as rows and sizes, grouped into chunks."""
    _add_windows(items, files)
    _add_packs(items, survey, files)


@pause_gc()
def write_items(path: str, survey: Survey, items: PackItems, workspace: str, roots: Iterable[str]) -> None:
    """Write the plan file for ``hash_items`` and ``build_chunk``."""
    found, tree, rows = survey.found, survey.found.tree, items.rows
    directories, names, paths = placed_columns(found.places, tree, rows)
    columns = {
        "dir": directories,
        "start": items.starts,
        "length": items.lengths,
        "size": array("q", [tree.sizes[row] for row in rows]),
        "mtime": array("q", [tree.mtimes[row] for row in rows]),
        "ctime": array("q", [found.ctimes[row] for row in rows]),
        "flags": bytes(SPARSE if row in found.sparse else 0 for row in rows),
        "known": b"".join(_known_ids(survey)),
        **names_columns("names", names),
        **names_columns("dirs", paths),
        **names_columns("roots", [workspace, *found.places.anchored(roots)]),
    }
    write_table(path, columns, {})


def _known_ids(survey: Survey) -> Iterator[bytes]:
    """Yield the ids of chunks that need not be made again."""
    ids = survey.base.chunks.all_ids() if survey.base else ()
    return (identity for identity in ids if identity not in survey.lost)


def _new_rows(survey: Survey, reuse: Reuse) -> Iterator[tuple[int, int]]:
    """Yield the rows of files whose bytes are to be packed, with their sizes."""
    tree = survey.found.tree
    for row, (kind, size, old) in enumerate(zip(tree.kinds, tree.sizes, reuse.rows, strict=True)):
        if kind == FILE and size and old < 0 and row not in reuse.same:
            yield row, size


def _add_windows(items: PackItems, files: Iterable[tuple[int, int]]) -> None:
    """Add whole windows of large files, each a chunk."""
    for row, size in files:
        if size < WINDOW:
            continue
        for start, length in split_windows(size):
            if length == WINDOW:
                items.add(row, start, length)
                items.cut()


def _add_packs(items: PackItems, survey: Survey, files: Iterable[tuple[int, int]]) -> None:
    """Add small files and the ends of large ones, in path order."""
    held, ends_pack = 0, _Cuts(survey.found.tree)
    cut_from = _CUT_FROM_ON_TOP if survey.base else _CUT_FROM
    for row, size in files:
        start = 0 if size < WINDOW else size - size % WINDOW
        length = size - start
        if not length:
            continue
        if held + length > _CAP:
            items.cut()
            held = 0
        items.add(row, start, length)
        held += length + _FILE_WEIGHT
        if held >= cut_from and ends_pack(row, length + _FILE_WEIGHT):
            items.cut()
            held = 0
    items.cut()


class _Cuts:
    """Decides if a path ends a pack. Longer files do so more often, and the same path always decides alike."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._directories = tree.directory_of_rows()
        self._directory = -1
        self._seed = 0

    def __call__(self, row: int, length: int) -> bool:
        directory = self._directories[row]
        if directory != self._directory:
            self._directory = directory
            self._seed = zlib.crc32(os.fsencode(self._tree.dirs[directory]))
        # CRC-32 is uniform below 2^32, so the chance of a cut is length / _CUT_MEAN, the same in every build
        return zlib.crc32(os.fsencode(self._tree.names[row]), self._seed) * _CUT_MEAN < length << 32
