"""The caches a bucket holds: one entry for each manifest, and what they share."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from s3batch.archive.stored import decode_manifest
from s3batch.archive.tree import files_of
from s3batch.cache.find import ENCRYPTION
from s3batch.cache.layout import KEYS, title
from s3batch.cache.look import looking
from s3batch.errors import EXIT_DONE, ArchiveError
from s3batch.units import format_count, format_duration, format_size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from s3batch.model import Listed
    from s3batch.output import Output
    from s3batch.s3.bucket import Bucket
    from s3batch.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A manifest as far as listing and cleaning up want to know it."""

    key: str
    """The whole key of its object."""
    name: str
    """What is below ``v1/k/``: scope, paths, key."""
    modified: float
    """Last written or used, seconds since the epoch."""
    error: str = ""
    """Why it cannot be read: then nobody knows which chunks it needs, nor what follows."""
    created: float = 0.0
    size: int = 0
    """Bytes of its files."""
    files: int = 0
    chunks: dict[str, int] = field(default_factory=dict)
    """Stored bytes by id in hex."""
    encryption: dict[str, str] = field(default_factory=dict)
    """The headers that say how its object is encrypted: a copy is to be, too."""
    etag: str = ""
    """Of its object when it was listed."""

    @property
    def scope(self) -> str:
        """What ``keep_last`` counts within: everything but the key's own name."""
        return self.name.rpartition("/")[0]


def entries(bucket: Bucket, base: str, below: str = KEYS) -> Iterator[Entry]:
    """Every manifest below there; one that has gone since it was listed is passed over."""
    for page in bucket.list_objects(base + below):
        for found in page.objects:
            if (entry := read(bucket, base, found, below)) is not None:
                yield entry


def read(bucket: Bucket, base: str, found: Listed, below: str = KEYS) -> Entry | None:
    """The manifest of a listed object; ``None`` if it has gone meanwhile."""
    answer = bucket.get(found.key, found.size)
    if answer is None:
        return None
    name = found.key[len(base + below) :]
    encryption = {header: value for header, value in answer.headers.items() if header.startswith(ENCRYPTION)}
    try:
        manifest = decode_manifest(bytes(answer.body))
    except ArchiveError as error:
        return Entry(
            key=found.key, name=name, modified=found.modified, error=str(error), etag=found.etag, encryption=encryption
        )
    chunks = manifest.chunks
    ids = (identity.hex() for identity in chunks.all_ids())
    return Entry(
        key=found.key, name=name, modified=found.modified, created=manifest.created, size=manifest.raw_size(),
        files=files_of(manifest.tree), chunks=dict(zip(ids, chunks.stored, strict=True)), encryption=encryption,
        etag=found.etag,
    )  # fmt: skip


def run_list(settings: Settings, output: Output) -> int:
    """``s3batch cache list``: a table of keys, newest first."""
    with looking(settings, output) as look:
        found = sorted(entries(look.bucket, look.base), key=lambda entry: entry.modified, reverse=True)
        for entry in found:
            if entry.error:
                look.warn(f"{entry.key}: {entry.error}")
        times = Counter(chunk for entry in found for chunk in entry.chunks)
        rows = [_row(look.base, entry, times) for entry in found if not entry.error]
        if rows and not settings.json:
            output.data(*_table(rows))
        elif not rows:
            output.info(f"no caches below {settings.bucket}/{look.base}")
        look.document({"caches": rows})
        return EXIT_DONE


def _row(base: str, entry: Entry, times: Counter[str]) -> dict[str, Any]:
    now = time.time()
    return {
        "name": title(base, entry.key),
        "key": entry.name,
        "age": max(0, round(now - entry.created)),
        "last_use": max(0, round(now - entry.modified)),
        "size": entry.size,
        "stored": sum(entry.chunks.values()),
        "files": entry.files,
        "chunks": len(entry.chunks),
        "chunks_shared": sum(times[chunk] > 1 for chunk in entry.chunks),
    }


_HEAD = ("cache", "age", "last use", "size", "stored", "files", "chunks", "shared", "key")


def _table(rows: list[dict[str, Any]]) -> list[str]:
    """The key stands last: it is the longest, and what ``cache inspect`` takes."""
    cells = [_HEAD, *map(_cells, rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(_HEAD))]
    return ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in cells]


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    return (
        row["name"], format_duration(row["age"]), format_duration(row["last_use"]), format_size(row["size"]),
        format_size(row["stored"]), format_count(row["files"]), format_count(row["chunks"]),
        format_count(row["chunks_shared"]), row["key"],
    )  # fmt: skip
