"""The manifest of a cache: its tree, the content of its files, and where that content lies in which chunk.

:mod:`.stored` reads and writes it. One that was read has passed every rule of :mod:`.check`.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field

from s3batch.archive.columns import to_planes
from s3batch.archive.hashing import HASH_SIZE, ID_SIZE, tree_hash
from s3batch.archive.paths import encode_names
from s3batch.archive.tree import Tree


@dataclass(slots=True)
class Chunks:
    """The chunks of an archive, by number."""

    ids: bytearray = field(default_factory=bytearray)
    raws: array[int] = field(default_factory=lambda: array("I"))
    """Raw lengths, bytes."""
    stored: array[int] = field(default_factory=lambda: array("I"))
    """Stored lengths when they were written, bytes: a hint, since another writer may have been first."""

    def __len__(self) -> int:
        return len(self.raws)

    def id(self, number: int) -> bytes:
        """Return the 32 bytes of a chunk's id."""
        return bytes(self.ids[number * ID_SIZE : (number + 1) * ID_SIZE])

    def all_ids(self) -> Iterator[bytes]:
        """Yield the ids in the order of their numbers."""
        return map(self.id, range(len(self)))

    def add(self, identity: bytes, raw: int, stored: int) -> int:
        """Append one; return its number."""
        self.ids += identity
        self.raws.append(raw)
        self.stored.append(stored)
        return len(self) - 1


@dataclass(slots=True)
class Extents:
    """Stretches of large and sparse files, sorted by row and start. The gaps between them are holes."""

    rows: array[int] = field(default_factory=lambda: array("I"))
    starts: array[int] = field(default_factory=lambda: array("q"))
    """Offset in the file, bytes."""
    lengths: array[int] = field(default_factory=lambda: array("I"))
    chunks: array[int] = field(default_factory=lambda: array("I"))
    ats: array[int] = field(default_factory=lambda: array("I"))
    """Offset in the chunk, bytes."""

    def __len__(self) -> int:
        return len(self.rows)

    def add(self, row: int, start: int, length: int, chunk: int, at: int) -> None:
        """Append one."""
        self.rows.append(row)
        self.starts.append(start)
        self.lengths.append(length)
        self.chunks.append(chunk)
        self.ats.append(at)

    def spans(self) -> dict[int, tuple[int, int]]:
        """Return for each row with extents the first extent and the one after the last."""
        found: dict[int, tuple[int, int]] = {}
        for index, row in enumerate(self.rows):
            first = found[row][0] if row in found else index
            found[row] = (first, index + 1)
        return found


@dataclass(slots=True)
class Manifest:
    """A cache: its tree, the content of its files, and the chunks that content lies in."""

    roots: tuple[str, ...]
    tree: Tree
    hashes: bytearray
    """16 bytes a row, zeros for anything but a FILE."""
    chunk: array[int]
    """For a FILE that lies in one chunk, its number; else ``NONE`` (empty, or has extents, or is one hole)."""
    at: array[int]
    """Offset in that chunk."""
    extents: Extents = field(default_factory=Extents)
    chunks: Chunks = field(default_factory=Chunks)
    created: float = 0.0
    """UTC seconds."""
    tool: str = ""
    system: str = ""
    """Operating system and processor it was made on."""
    generation: str = ""
    """The clean-up generation it was made in."""

    def hash(self, row: int) -> bytes:
        """Return the content hash of a FILE."""
        return bytes(self.hashes[row * HASH_SIZE : (row + 1) * HASH_SIZE])

    def raw_size(self) -> int:
        """Return the bytes of all files."""
        return sum(self.tree.sizes)

    def tree_id(self) -> str:
        """Return 64 hex digits over everything but times and chunks: equal exactly when the contents are."""
        return tree_hash(self._identity()).hex()

    def timed_tree_id(self) -> str:
        """Return 64 hex digits over everything but chunks."""
        return tree_hash([*self._identity(), to_planes(self.tree.mtimes)]).hex()

    def _identity(self) -> list[bytes]:
        tree = self.tree
        numbers = [tree.counts(), tree.modes, tree.sizes, array("I", tree.links.values())]
        owners = [tree.uids, tree.gids] if tree.uids else []
        return [
            encode_names(list(self.roots)),
            encode_names(tree.dirs),
            encode_names(tree.names),
            encode_names(list(tree.targets.values())),
            bytes(tree.kinds),
            bytes(self.hashes),
            *(to_planes(column) for column in (*numbers, *owners)),
        ]
