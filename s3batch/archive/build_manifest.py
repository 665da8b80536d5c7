"""The manifest of a rebuild, from its plan and the workers' results. Pure."""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from s3batch.archive.change_detection import file_hash
from s3batch.archive.columns import NONE, filled_column
from s3batch.archive.gc_pause import pause_gc
from s3batch.archive.hashing import HASH_SIZE, WINDOW, joined_hash
from s3batch.archive.manifest import Chunks, Extents, Manifest
from s3batch.archive.pack_chunk import VANISHED, PackedChunk
from s3batch.archive.pack_plan import PackPlan
from s3batch.archive.scan import ScannedTree, ScanProblem
from s3batch.archive.tree import Tree, rows_at

_Extent = tuple[int, int, int, int]
"""Start, length, chunk, offset in the chunk."""


@dataclass(slots=True)
class Assembled:
    """A manifest and the problems of files that are not in it."""

    manifest: Manifest
    found: ScannedTree
    """The walk without unreadable files: its rows are the manifest's rows."""
    problems: list[ScanProblem]
    gone: frozenset[str] = frozenset()
    """The paths among them that did not exist any more when they were to be read."""
    capabilities: int = 0
    """Files that were packed without their capabilities."""
    attributes: int = 0
    """Files that were packed without their other extended attributes."""


@pause_gc()
def assemble_manifest(plan: PackPlan, results: Iterable[PackedChunk], roots: tuple[str, ...]) -> Assembled:
    """Assemble the new archive from the result of every recipe. Files that could not be read are left out and named."""
    found = plan.survey.found
    unread = {problem.path: problem.error for problem in found.problems}
    without = {*found.missing, *found.excluded, *unread}
    roots = tuple(root for root in roots if root not in without)
    work = _Assembly(plan)
    work.take_base()
    capabilities = attributes = 0
    for packed in results:
        work.take(packed)
        capabilities, attributes = capabilities + packed.capabilities, attributes + packed.attributes
    work.finish_windows()
    work.share()
    manifest = work.manifest(roots)
    tree, bad = manifest.tree, work.bad
    for path, row in rows_at(tree, unread).items():
        bad[row] = unread[path]  # a directory: without its entries it would come back empty
    if not bad:
        return Assembled(manifest, found, [], frozenset(), capabilities, attributes)
    for row, target in tree.links.items():
        if target in bad:
            bad[row] = f"it is a hard link to {tree.path(target)}: {bad[target]}"
    problems = [ScanProblem(tree.path(row), error) for row, error in sorted(bad.items())]
    gone = frozenset(map(tree.path, work.gone))
    return Assembled(*_drop_rows(manifest, found, set(bad)), problems, gone, capabilities, attributes)


class _Assembly:
    """Columns of the new manifest being filled."""

    def __init__(self, plan: PackPlan) -> None:
        count = len(plan.survey.found.tree)
        self._plan = plan
        self._tree = plan.survey.found.tree
        self._hashes = plan.survey.hashes
        self._chunk = filled_column("I", NONE, count)
        self._at = filled_column("I", 0, count)
        self._extents: dict[int, list[_Extent]] = defaultdict(list)
        self._windows: dict[int, dict[int, bytes]] = defaultdict(dict)
        self._chunks = Chunks()
        self._numbers: dict[bytes, int] = {}
        self._stored: dict[bytes, int] = {}
        self.bad: dict[int, str] = {}
        self.gone: set[int] = set()
        """Bad rows whose file is not there any more."""

    def take_base(self) -> None:
        """Take over the content of the base that is used again."""
        base, reuse = self._plan.survey.base, self._plan.reuse
        if base is None:
            return
        chunks = base.chunks
        self._stored = dict(zip(chunks.all_ids(), chunks.stored, strict=True))
        numbers = {old: self._number(chunks.id(old), chunks.raws[old]) for old in reuse.kept}
        spans = base.extents.spans()
        for row, old in enumerate(reuse.rows):
            if old < 0:
                continue
            if base.chunk[old] != NONE:
                self._chunk[row], self._at[row] = numbers[base.chunk[old]], base.at[old]
            elif old in spans:
                extents = base.extents
                self._extents[row] = [
                    (extents.starts[n], extents.lengths[n], numbers[extents.chunks[n]], extents.ats[n])
                    for n in range(*spans[old])
                ]

    def take(self, packed: PackedChunk) -> None:
        """Add the items of one new chunk."""
        if packed.stored:
            self._stored[packed.id] = packed.stored
        items, sparse = self._plan.items, self._plan.survey.found.sparse
        old = self._superseded_items(packed)
        if old and len(old) == len(packed.hashes) // HASH_SIZE:
            return
        number = self._number(packed.id, packed.raw) if packed.id else NONE
        ats, mtimes = array("I", packed.ats), array("q", packed.mtimes)
        problems = {index: text for index, _, text in packed.problems}
        self.gone.update(items.rows[packed.first + index] for index, code, _ in packed.problems if code == VANISHED)
        for index, digest in enumerate(packed.each_hash()):
            item = packed.first + index
            row = items.rows[item]
            if index in old:
                continue
            if index in problems:
                self.bad[row] = problems[index]
            elif items.lengths[item] == self._tree.sizes[row] and row not in sparse:
                self._chunk[row], self._at[row] = number, ats[index]
                whole = digest if items.lengths[item] < WINDOW else joined_hash((digest,))
                self._hashes[row * HASH_SIZE : (row + 1) * HASH_SIZE] = whole
                self._tree.mtimes[row] = mtimes[index]
            else:
                self._windows[row][items.starts[item]] = digest
                if row not in sparse:
                    self._extents[row].append((items.starts[item], items.lengths[item], number, ats[index]))
        for index, start, length, at in packed.extents:
            if index in old:
                continue
            self._extents[items.rows[packed.first + index]].append((start, length, number, at))

    def _superseded_items(self, packed: PackedChunk) -> frozenset[int]:
        """Return the items of files that were read again later, counted from the chunk's first."""
        since, rows = self._plan.superseded, self._plan.items.rows
        if not since:
            return frozenset()
        count = len(packed.hashes) // HASH_SIZE
        return frozenset(
            index for index in range(count) if packed.first + index < since.get(rows[packed.first + index], 0)
        )

    def finish_windows(self) -> None:
        """Set the hashes of large files from the hashes of their windows."""
        for row, parts in self._windows.items():
            digest = file_hash(self._tree.sizes[row], parts)
            self._hashes[row * HASH_SIZE : (row + 1) * HASH_SIZE] = digest

    def share(self) -> None:
        """Point files with the content of an earlier file at that file's place."""
        for row, earlier in self._plan.reuse.same.items():
            if earlier in self.bad:
                self.bad[row] = self.bad[earlier]
            elif self._hash(row) != self._hash(earlier):
                self.bad[row] = f"{self._tree.path(earlier)}, a file with the same content, changed while it was read"
            self._chunk[row], self._at[row] = self._chunk[earlier], self._at[earlier]
            if earlier in self._extents:
                self._extents[row] = self._extents[earlier]

    def manifest(self, roots: tuple[str, ...]) -> Manifest:
        """Return the manifest of the current columns."""
        extents = Extents()
        for row in sorted(self._extents):
            for extent in sorted(self._extents[row]):
                extents.add(row, *extent)
        return Manifest(roots, self._tree, self._hashes, self._chunk, self._at, extents, self._chunks)

    def _hash(self, row: int) -> bytearray:
        return self._hashes[row * HASH_SIZE : (row + 1) * HASH_SIZE]

    def _number(self, identity: bytes, raw: int) -> int:
        if identity not in self._numbers:
            self._numbers[identity] = self._chunks.add(identity, raw, self._stored.get(identity, 0))
        return self._numbers[identity]


def _drop_rows(manifest: Manifest, found: ScannedTree, dropped: set[int]) -> tuple[Manifest, ScannedTree]:
    """Return the manifest and the walk without the dropped rows."""
    old = manifest.tree
    keep = [row for row in range(len(old)) if row not in dropped]
    new_row = dict(zip(keep, range(len(keep)), strict=True))
    tree = Tree(
        names=[old.names[row] for row in keep],
        kinds=bytearray(old.kinds[row] for row in keep),
        modes=array("H", [old.modes[row] for row in keep]),
        uids=array("I", [old.uids[row] for row in keep if old.uids]),
        gids=array("I", [old.gids[row] for row in keep if old.gids]),
        sizes=array("q", [old.sizes[row] for row in keep]),
        mtimes=array("q", [old.mtimes[row] for row in keep]),
        targets={new_row[row]: target for row, target in old.targets.items() if row in new_row},
        links={new_row[row]: new_row[target] for row, target in old.links.items() if row in new_row},
    )
    for path, first, last in old.spans():
        count = sum(row in new_row for row in range(first, last))
        if count:
            tree.dirs.append(path)
            tree.starts.append(tree.starts[-1] + count)
    extents = Extents()
    columns = manifest.extents
    for row, *extent in zip(columns.rows, columns.starts, columns.lengths, columns.chunks, columns.ats, strict=True):
        if row in new_row:
            extents.add(new_row[row], *extent)
    hashes = bytearray(b"".join(manifest.hash(row) for row in keep))
    chunk, at = (array("I", [column[row] for row in keep]) for column in (manifest.chunk, manifest.at))
    smaller = ScannedTree(
        tree=tree,
        ctimes=array("q", [found.ctimes[row] for row in keep]),
        inodes=array("Q", [found.inodes[row] for row in keep]),
        devices=array("Q", [found.devices[row] for row in keep]),
        roots=found.roots,
        places=found.places,
        started_ns=found.started_ns,
    )
    return Manifest(manifest.roots, tree, hashes, chunk, at, extents, manifest.chunks), smaller
