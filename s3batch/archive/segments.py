"""A manifest's rows in pieces that are named by their content, so that a small change sends a few of them.

    tree     ├──────────────┬─────────┬────────────────┬───────────┤
    segments      4f1c…         b07a…       9e22…          51d8…       about 1,000 rows each

The path of a directory decides where a segment ends, in a long directory the name of an entry. So one more row moves no
other cut. It names rows outside itself by stable facts only: chunks by their ids, the file of a hard link by its
distance. A segment is stored and cleaned up as a chunk is.
"""

from __future__ import annotations

import os
import zlib
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from s3batch.archive.columns import NONE, filled_column, from_planes, to_planes
from s3batch.archive.hashing import HASH_SIZE, ID_SIZE
from s3batch.archive.manifest import Extents, Manifest
from s3batch.archive.msgpack import Record
from s3batch.archive.paths import decode_names, encode_names
from s3batch.archive.tree import HARDLINK, SYMLINK, Tree
from s3batch.base.errors import ArchiveError
from s3batch.base.named_tuple import NamedTuple


@dataclass(frozen=True, slots=True)
class SegmentSizes:
    """Where segments may end. A reader does not depend on it; a cache with other sizes shares no segment."""

    fewest: int = 256
    """Rows of a segment; only the last one may have fewer."""
    most: int = 2048
    """Rows at which a segment ends with the next place where it may."""
    mean: int = 768
    """Rows after which, on average, a path ends a segment that has the fewest."""
    long: int = 64
    """Entries of a directory from which on a segment may end within it."""


SEGMENT_SIZES = SegmentSizes()


class Columns(Record, kw_only=True, omit_defaults=True):
    """Rows of a manifest, in the words of docs/cache-format.md."""

    dir_count: int = 0
    entry_count: int = 0
    extent_count: int = 0
    dirs: bytes = b""
    counts: bytes = b""
    names: bytes = b""
    kinds: bytes = b""
    modes: bytes = b""
    sizes: bytes = b""
    mtimes: bytes = b""
    hashes: bytes = b""
    chunk: bytes = b""
    gaps: bytes = b""
    targets: bytes = b""
    links: bytes = b""
    chunk_ids: bytes = b""
    extent_rows: bytes = b""
    extent_starts: bytes = b""
    extent_lengths: bytes = b""
    extent_chunks: bytes = b""
    extent_ats: bytes = b""
    uids: bytes = b""
    gids: bytes = b""


class Segment(NamedTuple):
    """One piece of a manifest as its head names it."""

    id: bytes
    """BLAKE3-256 of its raw bytes."""
    raw: int
    """Raw length, bytes."""
    stored: int
    """Stored length when it was written, bytes: a hint."""


def cut_rows(tree: Tree, sizes: SegmentSizes = SEGMENT_SIZES) -> list[int]:
    """Return the rows at which segments end."""
    fewest, most, mean = sizes.fewest, sizes.most, sizes.mean
    cuts: list[int] = []
    begin = 0
    for row, weight, path in _segment_ends(tree, sizes.long):
        held = row - begin
        # the path decides, not a count: both sides of an inserted file are cut as before
        if held >= most or (held >= fewest and zlib.crc32(os.fsencode(path)) * mean < weight << 32):
            cuts.append(row)
            begin = row
    if begin < len(tree):
        cuts.append(len(tree))
    return cuts


def _segment_ends(tree: Tree, long: int) -> Iterator[tuple[int, int, str]]:
    """Yield rows where a segment may begin, the number of rows to the next such place, and the path that decides."""
    for path, first, last in tree.spans():
        if last - first < long:
            yield first, last - first, path
        else:
            for row, name in enumerate(tree.names[first:last], first):
                yield row, 1, name


class Splitter:
    """Makes the columns of any rows of a manifest."""

    def __init__(self, manifest: Manifest) -> None:
        self._manifest = manifest
        tree = manifest.tree
        self._target_rows, self._targets = list(tree.targets), list(tree.targets.values())
        self._link_rows, self._links = list(tree.links), array("I", tree.links.values())

    def part(self, first: int, last: int) -> Columns:
        """Return rows ``first`` to ``last`` as a segment has them."""
        manifest, starts = self._manifest, self._manifest.tree.starts
        extents, links = _rows_within(manifest.extents.rows, first, last), _rows_within(self._link_rows, first, last)
        directories = range(bisect_left(starts, first + 1) - 1, bisect_left(starts, last))
        counts = [min(last, starts[at + 1]) - max(first, starts[at]) for at in directories]
        used = dict.fromkeys((*manifest.chunk[first:last], *manifest.extents.chunks[extents]))
        used.pop(NONE, None)
        numbers = {chunk: number for number, chunk in enumerate(used)}
        columns = self._columns(first, last, extents, numbers | {NONE: NONE})
        columns.dir_count, columns.counts = len(counts), to_planes(array("I", counts))
        columns.dirs = encode_names(manifest.tree.dirs[directories.start : directories.stop])
        columns.targets = encode_names(self._targets[_rows_within(self._target_rows, first, last)])
        columns.chunk_ids = b"".join(map(manifest.chunks.id, numbers))
        distances = [row - target for row, target in zip(self._link_rows[links], self._links[links], strict=True)]
        columns.links = to_planes(array("I", distances))
        if not any(manifest.tree.uids[first:last]) and not any(manifest.tree.gids[first:last]):
            columns.uids = columns.gids = b""
        return columns

    def whole(self) -> Columns:
        """Return all rows as a manifest without segments has them: chunks by number, links by row."""
        manifest, tree = self._manifest, self._manifest.tree
        columns = self._columns(0, len(tree), slice(None), None)
        columns.dir_count, columns.counts = len(tree.dirs), to_planes(tree.counts())
        columns.dirs, columns.targets = encode_names(tree.dirs), encode_names(self._targets)
        columns.chunk_ids = bytes(manifest.chunks.ids)
        columns.links = to_planes(self._links)
        return columns

    def _columns(self, first: int, last: int, part: slice, numbers: Mapping[int, int] | None) -> Columns:
        """Return the columns that are one value a row, and extents; ``numbers`` are the new ones of chunks."""
        manifest, tree, extents = self._manifest, self._manifest.tree, self._manifest.extents
        sizes, chunk, chunks = tree.sizes[first:last], manifest.chunk[first:last], extents.chunks[part]
        gaps = _encode_offsets(chunk, manifest.at[first:last], sizes)
        if numbers is not None:
            chunk, chunks = (array("I", map(numbers.__getitem__, column)) for column in (chunk, chunks))
        rows = array("I", [row - first for row in extents.rows[part]])
        return Columns(
            entry_count=last - first,
            extent_count=len(rows),
            names=encode_names(tree.names[first:last]),
            kinds=bytes(tree.kinds[first:last]),
            modes=to_planes(tree.modes[first:last]),
            sizes=to_planes(sizes),
            mtimes=to_planes(tree.mtimes[first:last]),
            hashes=bytes(manifest.hashes[first * HASH_SIZE : last * HASH_SIZE]),
            chunk=to_planes(chunk),
            gaps=to_planes(gaps),
            extent_rows=to_planes(rows),
            extent_starts=to_planes(extents.starts[part]),
            extent_lengths=to_planes(extents.lengths[part]),
            extent_chunks=to_planes(chunks),
            extent_ats=to_planes(extents.ats[part]),
            uids=to_planes(tree.uids[first:last]),
            gids=to_planes(tree.gids[first:last]),
        )


def _rows_within(rows: Sequence[int], first: int, last: int) -> slice:
    """Return where in sorted ``rows`` those from ``first`` to ``last`` lie."""
    return slice(bisect_left(rows, first), bisect_left(rows, last))


class Joiner:
    """Columns put together again to the rows of a manifest. Checks lengths; :mod:`.check` checks the rest."""

    def __init__(self) -> None:
        self.tree = Tree()
        self.hashes = bytearray()
        self.chunk: array[int] = array("I")
        self.at: array[int] = array("I")
        self.extents = Extents()

    def add(self, part: Columns, numbers: Mapping[int, int] | None) -> None:
        """Append rows. ``numbers`` are those of a segment's chunks; without them it is all of a manifest.

        Raises ArchiveError, ValueError, KeyError or OverflowError for parts that do not fit together.
        """
        count, first = part.entry_count, len(self.tree)
        if len(part.kinds) != count:
            raise ArchiveError("the manifest is damaged: its kinds are incomplete")
        if len(part.hashes) != HASH_SIZE * count:
            raise ArchiveError("the manifest is damaged: its hashes are incomplete")
        sizes, chunk = from_planes("q", part.sizes, count), from_planes("I", part.chunk, count)
        self.at += _decode_offsets(chunk, from_planes("q", part.gaps, count), sizes)
        self.hashes += part.hashes
        self._add_extents(part, first, numbers)
        self.chunk += chunk if numbers is None else array("I", map(numbers.__getitem__, chunk))
        self._add_links(part, first, distances=numbers is not None)
        self._add_directories(part, first, numbers is not None)
        self._add_owners(part, first)
        tree = self.tree
        tree.names += decode_names(part.names, count)
        tree.kinds += part.kinds
        tree.modes += from_planes("H", part.modes, count)
        tree.sizes += sizes
        tree.mtimes += from_planes("q", part.mtimes, count)

    def _add_directories(self, part: Columns, first: int, is_segment: bool) -> None:
        tree = self.tree
        counts, dirs = from_planes("I", part.counts, part.dir_count), decode_names(part.dirs, part.dir_count)
        if is_segment and sum(counts) != part.entry_count:
            raise ArchiveError("the manifest is damaged: directories and entries of a segment disagree")
        starts = array("Q", accumulate(counts, initial=first))
        if is_segment and dirs and tree.dirs and dirs[0] == tree.dirs[-1]:  # it was cut within this directory
            del dirs[0], tree.starts[-1], starts[0]
        else:
            del starts[0]
        tree.dirs += dirs
        tree.starts += starts

    def _add_links(self, part: Columns, first: int, *, distances: bool) -> None:
        symlinks = [row for row, kind in enumerate(part.kinds, first) if kind == SYMLINK]
        hardlinks = [row for row, kind in enumerate(part.kinds, first) if kind == HARDLINK]
        self.tree.targets.update(zip(symlinks, decode_names(part.targets, len(symlinks)), strict=True))
        for row, link in zip(hardlinks, from_planes("I", part.links, len(hardlinks)), strict=True):
            if distances and link > row:
                raise ArchiveError("the manifest is damaged: a hard link points before the first entry")
            self.tree.links[row] = row - link if distances else link

    def _add_owners(self, part: Columns, first: int) -> None:
        tree, count = self.tree, part.entry_count
        if not (part.uids or part.gids or tree.uids):
            return
        for column, planes in ((tree.uids, part.uids), (tree.gids, part.gids)):
            column.extend(filled_column("I", 0, first - len(column)))
            column.extend(from_planes("I", planes, count) if part.uids or part.gids else filled_column("I", 0, count))

    def _add_extents(self, part: Columns, first: int, numbers: Mapping[int, int] | None) -> None:
        count, extents = part.extent_count, self.extents
        chunks = from_planes("I", part.extent_chunks, count)
        extents.rows += array("I", [first + row for row in from_planes("I", part.extent_rows, count)])
        extents.starts += from_planes("q", part.extent_starts, count)
        extents.lengths += from_planes("I", part.extent_lengths, count)
        extents.chunks += chunks if numbers is None else array("I", map(numbers.__getitem__, chunks))
        extents.ats += from_planes("I", part.extent_ats, count)


def split_ids(ids: bytes, count: int) -> list[bytes]:
    """Return the ids that lie in a row."""
    if len(ids) != ID_SIZE * count:
        raise ArchiveError("the manifest is damaged: its hashes are incomplete")
    return [ids[at : at + ID_SIZE] for at in range(0, len(ids), ID_SIZE)]


def _encode_offsets(chunks: Iterable[int], ats: Iterable[int], sizes: Iterable[int]) -> array[int]:
    """Return offsets as distance from the end of the row before, if that is in the same chunk. Nearly all are 0."""
    gaps: array[int] = array("q")
    last, end = NONE, 0
    for chunk, at, size in zip(chunks, ats, sizes, strict=True):
        if chunk == NONE:
            gaps.append(0)
            continue
        gaps.append(at - end if chunk == last else at)
        last, end = chunk, at + size
    return gaps


def _decode_offsets(chunks: array[int], gaps: array[int], sizes: array[int]) -> array[int]:
    """Return the offsets that :func:`_encode_offsets` encoded."""
    offsets = filled_column("I", 0, len(chunks))
    last, end = NONE, 0
    for row, (chunk, gap, size) in enumerate(zip(chunks, gaps, sizes, strict=True)):
        if chunk == NONE:
            continue
        at = gap + end if chunk == last else gap
        offsets[row] = at
        last, end = chunk, at + size
    return offsets
