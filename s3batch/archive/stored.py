"""The manifest as the bytes of the key object: one zstd frame of one MessagePack map.

Every field is described in docs/cache-format.md, well enough to write another reader.
"""

from __future__ import annotations

import os
from array import array
from itertools import accumulate

from s3batch.archive import codec
from s3batch.archive.check import Limits, check
from s3batch.archive.collector import paused
from s3batch.archive.columns import NONE, filled, from_planes, to_planes
from s3batch.archive.hashing import ALGORITHM, HASH_SIZE, ID_SIZE
from s3batch.archive.manifest import Chunks, Extents, Manifest
from s3batch.archive.packed import Record, decode, encode
from s3batch.archive.paths import decode as decode_names
from s3batch.archive.paths import encode as encode_names
from s3batch.archive.tree import HARDLINK, SYMLINK, Tree
from s3batch.errors import ArchiveError

VERSION = 1


class _Stored(Record, kw_only=True):
    """The fields of the stored form, in the words of docs/cache-format.md."""

    v: int
    alg: str
    created: float
    tool: str
    system: str
    gcgen: str
    roots: list[bytes]
    dir_count: int
    entry_count: int
    chunk_count: int
    extent_count: int
    dirs: bytes
    counts: bytes
    names: bytes
    kinds: bytes
    modes: bytes
    sizes: bytes
    mtimes: bytes
    hashes: bytes
    chunk: bytes
    gaps: bytes
    targets: bytes
    links: bytes
    chunk_ids: bytes
    chunk_raw: bytes
    chunk_stored: bytes
    extent_rows: bytes
    extent_starts: bytes
    extent_lengths: bytes
    extent_chunks: bytes
    extent_ats: bytes
    uids: bytes = b""
    gids: bytes = b""


@paused()
def encode_manifest(manifest: Manifest, *, level: int = 3) -> bytes:
    """The stored form."""
    tree, chunks, extents = manifest.tree, manifest.chunks, manifest.extents
    stored = _Stored(
        v=VERSION,
        alg=ALGORITHM,
        created=manifest.created,
        tool=manifest.tool,
        system=manifest.system,
        gcgen=manifest.generation,
        roots=[os.fsencode(root) for root in manifest.roots],
        dir_count=len(tree.dirs),
        entry_count=len(tree),
        chunk_count=len(chunks),
        extent_count=len(extents),
        dirs=encode_names(tree.dirs),
        counts=to_planes(tree.counts()),
        names=encode_names(tree.names),
        kinds=bytes(tree.kinds),
        modes=to_planes(tree.modes),
        sizes=to_planes(tree.sizes),
        mtimes=to_planes(tree.mtimes),
        hashes=bytes(manifest.hashes),
        chunk=to_planes(manifest.chunk),
        gaps=to_planes(_gaps(manifest)),
        targets=encode_names(list(tree.targets.values())),
        links=to_planes(array("I", tree.links.values())),
        chunk_ids=bytes(chunks.ids),
        chunk_raw=to_planes(chunks.raws),
        chunk_stored=to_planes(chunks.stored),
        extent_rows=to_planes(extents.rows),
        extent_starts=to_planes(extents.starts),
        extent_lengths=to_planes(extents.lengths),
        extent_chunks=to_planes(extents.chunks),
        extent_ats=to_planes(extents.ats),
        uids=to_planes(tree.uids),
        gids=to_planes(tree.gids),
    )
    return codec.compress(encode(stored), level=level, checksum=True)


@paused()
def decode_manifest(stored: bytes, limits: Limits | None = None) -> Manifest:
    """The manifest, checked; :class:`ArchiveError` names the first rule it breaks."""
    limits = limits or Limits()
    if len(stored) > limits.manifest_stored:
        raise ArchiveError(f"the manifest has {len(stored):,} bytes, over the limit of {limits.manifest_stored:,}")
    raw = codec.decompress(stored, limit=limits.manifest_raw, checksum=True)
    fields = decode(raw, _Stored, what="the manifest")
    if fields.v != VERSION or fields.alg != ALGORITHM:
        raise ArchiveError(
            f"the manifest has format {fields.v}/{fields.alg}, this s3batch reads {VERSION}/{ALGORITHM}",
            hint="upgrade s3batch, or rebuild the cache",
        )
    if not 0 <= fields.entry_count <= limits.entries:
        raise ArchiveError(f"the manifest lists {fields.entry_count:,} entries, over the limit of {limits.entries:,}")
    try:
        manifest = _manifest(fields)
    except (ValueError, OverflowError, UnicodeError) as error:
        raise ArchiveError(f"the manifest is damaged: {error}") from error
    check(manifest, limits)
    return manifest


def _manifest(fields: _Stored) -> Manifest:
    tree = _tree(fields)
    count = len(tree)
    if len(fields.hashes) != HASH_SIZE * count or len(fields.chunk_ids) != ID_SIZE * fields.chunk_count:
        raise ArchiveError("the manifest is damaged: its hashes are incomplete")
    chunk = from_planes("I", fields.chunk, count)
    return Manifest(
        roots=tuple(os.fsdecode(root) for root in fields.roots),
        tree=tree,
        hashes=bytearray(fields.hashes),
        chunk=chunk,
        at=_offsets(chunk, from_planes("q", fields.gaps, count), tree.sizes),
        extents=_extents(fields),
        chunks=Chunks(
            ids=bytearray(fields.chunk_ids),
            raws=from_planes("I", fields.chunk_raw, fields.chunk_count),
            stored=from_planes("I", fields.chunk_stored, fields.chunk_count),
        ),
        created=fields.created,
        tool=fields.tool,
        system=fields.system,
        generation=fields.gcgen,
    )


def _tree(fields: _Stored) -> Tree:
    count = fields.entry_count
    if len(fields.kinds) != count:
        raise ArchiveError("the manifest is damaged: its kinds are incomplete")
    symlinks = [row for row, kind in enumerate(fields.kinds) if kind == SYMLINK]
    hardlinks = [row for row, kind in enumerate(fields.kinds) if kind == HARDLINK]
    counts = from_planes("I", fields.counts, fields.dir_count)
    owned = count if fields.uids or fields.gids else 0
    return Tree(
        dirs=decode_names(fields.dirs, fields.dir_count),
        starts=array("Q", accumulate(counts, initial=0)),
        names=decode_names(fields.names, count),
        kinds=bytearray(fields.kinds),
        modes=from_planes("H", fields.modes, count),
        uids=from_planes("I", fields.uids, owned),
        gids=from_planes("I", fields.gids, owned),
        sizes=from_planes("q", fields.sizes, count),
        mtimes=from_planes("q", fields.mtimes, count),
        targets=dict(zip(symlinks, decode_names(fields.targets, len(symlinks)), strict=True)),
        links=dict(zip(hardlinks, from_planes("I", fields.links, len(hardlinks)), strict=True)),
    )


def _extents(fields: _Stored) -> Extents:
    count = fields.extent_count
    return Extents(
        rows=from_planes("I", fields.extent_rows, count),
        starts=from_planes("q", fields.extent_starts, count),
        lengths=from_planes("I", fields.extent_lengths, count),
        chunks=from_planes("I", fields.extent_chunks, count),
        ats=from_planes("I", fields.extent_ats, count),
    )


def _gaps(manifest: Manifest) -> array[int]:
    """Offsets as distance from the end of the row before, if that lies in the same chunk: nearly all are 0."""
    gaps: array[int] = array("q")
    last, end = NONE, 0
    for chunk, at, size in zip(manifest.chunk, manifest.at, manifest.tree.sizes, strict=True):
        if chunk == NONE:
            gaps.append(0)
            continue
        gaps.append(at - end if chunk == last else at)
        last, end = chunk, at + size
    return gaps


def _offsets(chunks: array[int], gaps: array[int], sizes: array[int]) -> array[int]:
    """The reverse of :func:`_gaps`."""
    offsets = filled("I", 0, len(chunks))
    last, end = NONE, 0
    for row, (chunk, gap, size) in enumerate(zip(chunks, gaps, sizes, strict=True)):
        if chunk == NONE:
            continue
        at = gap + end if chunk == last else gap
        offsets[row] = at
        last, end = chunk, at + size
    return offsets
