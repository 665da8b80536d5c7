"""The index of a cache: facts of each manifest in a bucket, so that a clean-up reads none of them twice.

It is one object, ``v1/gc/index``, with facts by key and ETag. A manifest with another ETag is read. A lost or damaged
index is made again.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

from s3batch.archive import zstd
from s3batch.archive.columns import from_planes, to_planes
from s3batch.archive.msgpack import Record, decode_message, encode_message
from s3batch.base.errors import ArchiveError
from s3batch.cache.object_keys import CLEANUPS

if TYPE_CHECKING:
    from collections.abc import Iterable

INDEX = f"{CLEANUPS}index"
_VERSION = 1
_LIMIT = 1 << 30
"""Bytes of an index, decompressed: ten million chunks."""


class ChunkList(Record):
    """The chunks of a manifest: ids of 32 bytes each in a row, and the stored bytes of each."""

    ids: bytes = b""
    stored: bytes = b""
    """``u32`` byte planes (docs/cache-format.md)."""

    @classmethod
    def of(cls, ids: Iterable[bytes], stored: Iterable[int]) -> ChunkList:
        """Make a list of ids and stored bytes."""
        return cls(b"".join(ids), to_planes(array("I", stored)))

    def __len__(self) -> int:
        return len(self.ids) // 32

    def names(self) -> list[bytes]:
        """Return the ids."""
        return [self.ids[at : at + 32] for at in range(0, len(self.ids), 32)]

    def sizes(self) -> array[int]:
        """Return the stored bytes of each chunk."""
        return from_planes("I", self.stored, len(self))


class CatalogRow(Record):
    """The facts of one manifest."""

    key: str
    etag: str
    created: float
    size: int
    files: int
    chunks: ChunkList
    encryption: dict[str, str]


class _Index(Record, kw_only=True):
    version: int
    rows: list[CatalogRow]


def encode_index(rows: Iterable[CatalogRow]) -> bytes:
    """Return the object's content."""
    return zstd.compress_frame(encode_message(_Index(version=_VERSION, rows=list(rows))), level=3, checksum=True)


def decode_index(body: bytes) -> dict[str, CatalogRow]:
    """Return rows by key; none from a damaged index or another version."""
    try:
        index = decode_message(zstd.decompress_frame(body, limit=_LIMIT, checksum=True), _Index, what="the index")
    except ArchiveError:
        return {}
    return {row.key: row for row in index.rows if row.etag} if index.version == _VERSION else {}
