"""The caches in a bucket: one entry for each manifest, and their shared chunks."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from s3batch.archive.manifest_codec import EncodedManifest
from s3batch.base.errors import EXIT_DONE, ArchiveError
from s3batch.base.units import format_count, format_duration, format_plural, format_size
from s3batch.cache.admin import open_admin_run
from s3batch.cache.catalog_index import INDEX, CatalogRow, ChunkList, decode_index, encode_index
from s3batch.cache.fetching import fetch_readable
from s3batch.cache.gc_store import BucketStore
from s3batch.cache.lookup import ENCRYPTION
from s3batch.cache.object_keys import KEYS, title_of_key
from s3batch.reporting.text import format_table
from s3batch.s3.faults import RequestError

if TYPE_CHECKING:
    from s3batch.model import ListedObject
    from s3batch.reporting.console import Output
    from s3batch.s3.requests import Response
    from s3batch.settings.table import Settings

_WORTH_WRITING = 16
"""The index is stored again after so many manifests were read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogEntry:
    """A manifest as far as listing and cleaning up want to know it."""

    key: str
    """The whole key of its object."""
    name: str
    """The key below ``v1/k/`` or ``v1/x/``: scope, paths, key."""
    modified: float
    """Last written or used, seconds since the epoch."""
    error: str = ""
    """Why it cannot be read. Then it may name any chunk."""
    created: float = 0.0
    size: int = 0
    """Bytes of its files."""
    files: int = 0
    chunks: ChunkList = field(default_factory=ChunkList)
    encryption: dict[str, str] = field(default_factory=dict)
    """The encryption headers of its object, for copies of it."""
    etag: str = ""
    """The ETag of its object when it was listed."""

    @property
    def scope(self) -> str:
        """The scope of ``keep_last``: everything but the key's own name."""
        return self.name.rpartition("/")[0]


class Catalog:
    """Reads manifests, each once per ETag, many side by side."""

    def __init__(self, store: BucketStore, base: str) -> None:
        self._store = store
        self._base = base
        self._known: dict[str, CatalogRow] | None = None
        """The rows of the index, and those read since."""
        self._used: dict[str, CatalogRow] = {}
        self._read = 0

    async def entries(self, below: str = KEYS) -> list[CatalogEntry]:
        """Return every manifest below there; one that has gone since it was listed is left out."""
        if self._known is None:
            self._known = decode_index(await self._store.get(self._base + INDEX) or b"")
        listed = await self._store.listed(self._base + below)
        found = await self._store.gather(self.entry(each, below) for each in listed)
        return [entry for entry in found if entry is not None]

    async def entry(self, listed: ListedObject, below: str) -> CatalogEntry | None:
        """Return the manifest of a listed object; ``None`` if it has gone meanwhile."""
        known = self._known or {}
        row = known.get(listed.key)
        if row is None or row.etag != listed.etag:
            encryption: dict[str, str] = {}

            def read(answer: Response | None) -> CatalogRow | None:
                if answer is None:
                    return None
                encryption.update(
                    (name, value) for name, value in answer.headers.items() if name.startswith(ENCRYPTION)
                )
                return _row_of(listed, bytes(answer.body), encryption)

            try:
                row = await fetch_readable(self._store.bucket, lambda: self._store.fetch(listed.key, listed.size), read)
                if row is None:
                    return None
            except ArchiveError as error:
                name = listed.key[len(self._base + below) :]
                return CatalogEntry(
                    key=listed.key, name=name, modified=listed.modified, error=str(error), etag=listed.etag,
                    encryption=encryption,
                )  # fmt: skip
            self._read += 1
            if row.etag:
                known[row.key] = row
        self._used[listed.key] = row
        return CatalogEntry(
            key=listed.key, name=listed.key[len(self._base + below) :], modified=listed.modified,
            created=row.created, size=row.size, files=row.files, chunks=row.chunks, encryption=row.encryption,
            etag=listed.etag,
        )  # fmt: skip

    async def save_index(self) -> None:
        """Store the index for the next reader, if enough is new. Without the permission the next one reads again."""
        if self._read >= _WORTH_WRITING:
            try:
                await self._store.put(self._base + INDEX, encode_index(self._used.values()))
            except RequestError:
                return


def _row_of(listed: ListedObject, body: bytes, encryption: dict[str, str]) -> CatalogRow:
    sums = EncodedManifest(body).sums()
    return CatalogRow(
        key=listed.key, etag=listed.etag, created=sums.created, size=sums.size, files=sums.files,
        chunks=ChunkList.of(sums.ids, sums.stored), encryption=encryption,
    )  # fmt: skip


def list_caches(settings: Settings, output: Output) -> int:
    """Run ``s3batch cache list``: print a table of keys, newest first; return the exit code."""
    with open_admin_run(settings, output) as look:
        store = BucketStore(look.bucket)
        catalog = Catalog(store, look.base)
        found = sorted(store.run(catalog.entries()), key=lambda entry: entry.modified, reverse=True)
        if not settings.read_only:
            store.run(catalog.save_index())
        for entry in found:
            if entry.error:
                look.warn(f"{entry.key}: {entry.error}")
        shared, now = _shared_chunks(found), store.now().low
        rows = [_catalog_row(look.base, entry, shared, now) for entry in found if not entry.error]
        if rows and not settings.json:
            output.data(*_format_catalog(rows))
        elif not rows:
            output.info(f"no caches below s3://{settings.bucket}/{look.base}")
        look.publish({"caches": rows}, verdict=format_plural(len(rows), "cache"))
        return EXIT_DONE


def _shared_chunks(found: list[CatalogEntry]) -> set[bytes]:
    """Return the ids that several caches name; by a sorted column, because a dictionary of all ids is large."""
    ids = sorted(chunk for entry in found for chunk in set(entry.chunks.names()))
    return {one for one, other in pairwise(ids) if one == other}


def _catalog_row(base: str, entry: CatalogEntry, shared: set[bytes], now: float) -> dict[str, Any]:
    return {
        "name": title_of_key(base, entry.key),
        "key": entry.name,
        "age": max(0, round(now - entry.created)),
        "last_use": max(0, round(now - entry.modified)),
        "size": entry.size,
        "stored": sum(entry.chunks.sizes()),
        "files": entry.files,
        "chunks": len(entry.chunks),
        "chunks_shared": sum(chunk in shared for chunk in entry.chunks.names()),
    }


_HEAD = ("cache", "age", "last use", "size", "stored", "files", "chunks", "shared", "key")


def _format_catalog(rows: list[dict[str, Any]]) -> list[str]:
    """Return the lines of the table. The key stands last: it is the longest, and ``cache inspect`` takes it."""
    return format_table([_HEAD, *map(_catalog_cells, rows)])


def _catalog_cells(row: dict[str, Any]) -> tuple[str, ...]:
    return (
        row["name"], format_duration(row["age"]), format_duration(row["last_use"]), format_size(row["size"]),
        format_size(row["stored"]), format_count(row["files"]), format_count(row["chunks"]),
        format_count(row["chunks_shared"]), row["key"],
    )  # fmt: skip
