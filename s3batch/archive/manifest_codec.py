"""The manifest as the store has it: the key object, and for a large tree the segments it names.

    version 1   one zstd frame of one MessagePack map: the head's fields and all columns
    version 2   the same without columns: they are in segments (:mod:`.segments`), objects like chunks

Every field is described in docs/cache-format.md, well enough to write another reader.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Mapping, Sequence
from typing import Any

from s3batch.archive import zstd
from s3batch.archive.columns import NONE, from_planes, to_planes
from s3batch.archive.gc_pause import pause_gc
from s3batch.archive.hashing import ALGORITHM, chunk_id
from s3batch.archive.manifest import Chunks, Manifest
from s3batch.archive.msgpack import decode_message, encode_message
from s3batch.archive.segments import (
    SEGMENT_SIZES,
    Columns,
    Joiner,
    Segment,
    SegmentSizes,
    Splitter,
    cut_rows,
    split_ids,
)
from s3batch.archive.tree import files_of
from s3batch.archive.validate import Limits, check_manifest
from s3batch.base.errors import ArchiveError
from s3batch.base.named_tuple import NamedTuple

VERSION, SEGMENTED = 1, 2
SEGMENTED_FROM = int(os.environ.get("S3BATCH_TEST_SEGMENTED_FROM", "4096"))
"""Entries from which on a manifest is stored in segments. A smaller one has about 80 KiB, and costs one request."""
_SEGMENTS = 1 << 16
"""Segments a head may name."""


class _KeyObjectFields(Columns, kw_only=True, omit_defaults=False):
    """The fields of the key object, in the words of docs/cache-format.md."""

    v: int
    alg: str
    created: float
    tool: str
    system: str
    gcgen: str
    roots: list[bytes]
    chunk_count: int
    chunk_raw: bytes
    chunk_stored: bytes
    file_count: int = 0
    raw_size: int = 0
    segment_count: int = 0
    segment_ids: bytes = b""
    segment_raw: bytes = b""
    segment_stored: bytes = b""


class RawSegment(NamedTuple):
    """A segment that was made, not yet compressed."""

    id: bytes
    raw: bytes


class ManifestSums(NamedTuple):
    """The sums that a list of caches shows and a clean-up needs."""

    created: float
    files: int
    size: int
    """Bytes of all files."""
    ids: list[bytes]
    """Everything the manifest needs: chunks and segments."""
    stored: array[int]
    """Their stored bytes."""


@pause_gc()
def make_segments(
    manifest: Manifest, segmented_from: int = SEGMENTED_FROM, sizes: SegmentSizes = SEGMENT_SIZES
) -> list[RawSegment]:
    """Return the segments of a manifest; none if it has fewer than ``segmented_from`` entries: one piece is enough."""
    if len(manifest.tree) < segmented_from:
        return []
    splitter, first, made = Splitter(manifest), 0, []
    for last in cut_rows(manifest.tree, sizes):
        raw = encode_message(splitter.part(first, last))
        made.append(RawSegment(chunk_id(raw), raw))
        first = last
    return made


@pause_gc()
def encode_manifest(manifest: Manifest, *, level: int = 3, segments: Sequence[Segment] = ()) -> bytes:
    """Return the key object; with ``segments``, which hold the columns, only the head."""
    chunks = manifest.chunks
    common: dict[str, Any] = {
        "alg": ALGORITHM,
        "created": manifest.created,
        "tool": manifest.tool,
        "system": manifest.system,
        "gcgen": manifest.generation,
        "roots": [os.fsencode(root) for root in manifest.roots],
        "chunk_count": len(chunks),
        "chunk_raw": to_planes(chunks.raws),
        "chunk_stored": to_planes(chunks.stored),
    }
    if segments:
        # a reader of version 1 requires all fields before it looks at the version and refuses it by name
        stored = _KeyObjectFields(
            **common,
            v=SEGMENTED,
            chunk_ids=bytes(chunks.ids),
            entry_count=len(manifest.tree),
            file_count=files_of(manifest.tree),
            raw_size=manifest.raw_size(),
            segment_count=len(segments),
            segment_ids=b"".join(segment.id for segment in segments),
            segment_raw=to_planes(array("I", [segment.raw for segment in segments])),
            segment_stored=to_planes(array("I", [segment.stored for segment in segments])),
        )
    else:
        whole = Splitter(manifest).whole()
        stored = _KeyObjectFields(
            **common, v=VERSION, **{name: getattr(whole, name) for name in Columns.__struct_fields__}
        )
    return zstd.compress_frame(encode_message(stored), level=level, checksum=True)


class EncodedManifest:
    """A key object, read and not yet decoded. Its numbers are within the limits."""

    def __init__(self, stored: bytes, limits: Limits | None = None) -> None:
        """Raise :class:`ArchiveError` for the first rule that it breaks."""
        self._limits = limits = limits or Limits()
        if len(stored) > limits.manifest_stored:
            raise ArchiveError(f"the manifest has {len(stored):,} bytes, over the limit of {limits.manifest_stored:,}")
        raw = zstd.decompress_frame(stored, limit=limits.manifest_raw, checksum=True)
        self._fields = fields = decode_message(raw, _KeyObjectFields, what="the manifest")
        if fields.v not in (VERSION, SEGMENTED) or fields.alg != ALGORITHM:
            raise ArchiveError(
                f"the manifest has format {fields.v}/{fields.alg}, this s3batch reads {SEGMENTED}/{ALGORITHM}",
                hint="upgrade s3batch, or rebuild the cache",
            )
        if not 0 <= fields.entry_count <= limits.entries:
            raise ArchiveError(
                f"the manifest lists {fields.entry_count:,} entries, over the limit of {limits.entries:,}"
            )
        self.segments = self._read_segments()
        self._chunk_ids = split_ids(fields.chunk_ids, fields.chunk_count)

    def _read_segments(self) -> list[Segment]:
        fields, limits = self._fields, self._limits
        count = fields.segment_count if fields.v == SEGMENTED else 0
        if not 0 <= count <= _SEGMENTS:
            raise ArchiveError(f"the manifest names {count:,} segments, over the limit of {_SEGMENTS:,}")
        if fields.v == VERSION:
            return []
        ids = split_ids(fields.segment_ids, count)
        raws, stored = (from_planes("I", column, count) for column in (fields.segment_raw, fields.segment_stored))
        if max(raws, default=0) > limits.chunk_raw or sum(raws) > limits.manifest_raw:
            raise ArchiveError(
                f"the segments of the manifest have {sum(raws):,} bytes, over the limit of {limits.manifest_raw:,}, "
                f"or one of them has more than {limits.chunk_raw:,}"
            )
        return [Segment(*each) for each in zip(ids, raws, stored, strict=True)]

    @pause_gc()
    def manifest(self, bodies: Mapping[bytes, bytes]) -> Manifest:
        """Return the manifest, checked. ``bodies`` are the segments as stored, by id.

        Raises :class:`ArchiveError` for the first rule that it breaks.
        """
        try:
            manifest = self._join(bodies)
        except (ValueError, KeyError, OverflowError, UnicodeError) as error:
            raise ArchiveError(f"the manifest is damaged: {error}") from error
        check_manifest(manifest, self._limits)
        return manifest

    def _join(self, bodies: Mapping[bytes, bytes]) -> Manifest:
        fields, joiner = self._fields, Joiner()
        if fields.v == VERSION:
            joiner.add(fields, None)
        else:
            numbers = {identity: number for number, identity in enumerate(self._chunk_ids)}
            for segment in self.segments:
                part = decode_message(
                    prove_segment(segment, bodies[segment.id]), Columns, what="a segment of the manifest"
                )
                if part.entry_count + len(joiner.tree) > fields.entry_count:
                    raise ArchiveError("the manifest is damaged: its segments hold more entries than it lists")
                used = split_ids(part.chunk_ids, len(part.chunk_ids) // 32)
                joiner.add(part, {NONE: NONE} | {at: numbers[identity] for at, identity in enumerate(used)})
            if len(joiner.tree) != fields.entry_count:
                raise ArchiveError("the manifest is damaged: its segments hold fewer entries than it lists")
        return Manifest(
            roots=tuple(os.fsdecode(root) for root in fields.roots),
            tree=joiner.tree,
            hashes=joiner.hashes,
            chunk=joiner.chunk,
            at=joiner.at,
            extents=joiner.extents,
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

    def sums(self) -> ManifestSums:
        """Return the sums in the head; a version 1 is read completely."""
        fields = self._fields
        if fields.v == VERSION:
            manifest = self.manifest({})
            files, size = files_of(manifest.tree), manifest.raw_size()
        else:
            files, size = fields.file_count, fields.raw_size
        stored = from_planes("I", fields.chunk_stored, fields.chunk_count)
        stored.extend(segment.stored for segment in self.segments)
        return ManifestSums(
            fields.created, files, size, [*self._chunk_ids, *(each.id for each in self.segments)], stored
        )


def prove_segment(segment: Segment, body: bytes) -> bytes:
    """Return the raw bytes of a segment. Raises :class:`ArchiveError` if they are not those it is named by."""
    raw = zstd.decompress_frame(body, raw_length=segment.raw, limit=segment.raw)
    if chunk_id(raw) != segment.id:
        raise ArchiveError(f"the content of segment {segment.id.hex()} does not match its hash")
    return raw


def longest_body(segment: Segment) -> int:
    """Return the most bytes that zstd makes of a segment."""
    # more than ZSTD_compressBound: that adds 1/256, and at most 64 bytes more
    return segment.raw + (segment.raw >> 7) + 1024


def decode_manifest(
    stored: bytes, limits: Limits | None = None, segments: Mapping[bytes, bytes] | None = None
) -> Manifest:
    """Return the manifest, checked; :class:`ArchiveError` names the first rule it breaks."""
    return EncodedManifest(stored, limits).manifest(segments or {})
