"""The caches a bucket holds: one entry for each manifest, and what they share."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from s3batch.archive.stored import decode_manifest
from s3batch.archive.tree import files_of
from s3batch.cache.layout import KEYS, base_of
from s3batch.errors import EXIT_DONE, ArchiveError
from s3batch.s3.bucket import Bucket
from s3batch.units import format_count, format_duration, format_size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from s3batch.model import Listed
    from s3batch.output import Output
    from s3batch.settings import Settings


@dataclass(frozen=True, slots=True)
class Entry:
    """A manifest as far as listing and cleaning up want to know it."""

    key: str
    """The whole key of its object."""
    name: str
    """The part people know: scope, paths, key."""
    modified: float
    """Last written or used, seconds since the epoch."""
    created: float
    size: int
    """Bytes of its files."""
    files: int
    chunks: dict[str, int]
    """Stored bytes by id in hex."""

    @property
    def scope(self) -> str:
        """What ``keep_last`` counts within: everything but the key's own name."""
        return self.name.rpartition("/")[0]


class UnreadableError(Exception):
    """A manifest that cannot be read: nobody knows which chunks it needs."""


def listed(bucket: Bucket, base: str, below: str = KEYS) -> Iterator[Listed]:
    """The manifests' objects."""
    for page in bucket.list_objects(base + below):
        yield from page.objects


def read(bucket: Bucket, base: str, found: Listed, below: str = KEYS) -> Entry | None:
    """The manifest of a listed object; ``None`` if it has gone meanwhile. Raises :class:`UnreadableError`."""
    answer = bucket.get(found.key)
    if answer is None:
        return None
    try:
        manifest = decode_manifest(bytes(answer.body))
    except ArchiveError as error:
        raise UnreadableError(f"{found.key}: {error}") from error
    chunks = manifest.chunks
    ids = (identity.hex() for identity in chunks.all_ids())
    return Entry(
        found.key, found.key[len(base + below) :], found.modified, manifest.created, manifest.raw_size(),
        files_of(manifest.tree), dict(zip(ids, chunks.stored, strict=True)),
    )  # fmt: skip


def run_list(settings: Settings, output: Output) -> int:
    """``s3batch cache list``: a table of keys, newest first."""
    base = base_of(settings.prefix)
    bucket = Bucket.from_settings(settings, settings.bucket)
    entries: list[Entry] = []
    for found in listed(bucket, base):
        try:
            if entry := read(bucket, base, found):
                entries.append(entry)
        except UnreadableError as error:
            output.warn(str(error))
    entries.sort(key=lambda entry: entry.modified, reverse=True)
    times = Counter(chunk for entry in entries for chunk in entry.chunks)
    rows = [_row(entry, times) for entry in entries]
    if settings.json:
        output.document({"command": "cache list", "state": "done", "exit_code": EXIT_DONE, "caches": rows})
    elif rows:
        output.data(_table(rows))
    else:
        output.info(f"no caches below {settings.bucket}/{base}")
    return EXIT_DONE


def _row(entry: Entry, times: Counter[str]) -> dict[str, object]:
    return {
        "key": entry.name,
        "age": round(time.time() - entry.created),
        "last_use": round(time.time() - entry.modified),
        "size": entry.size,
        "stored": sum(entry.chunks.values()),
        "files": entry.files,
        "chunks": len(entry.chunks),
        "chunks_shared": sum(times[chunk] > 1 for chunk in entry.chunks),
    }


def _table(rows: list[dict[str, object]]) -> str:
    head = ("key", "age", "last use", "size", "stored", "files", "chunks", "shared")
    cells = [head, *(_cells(row) for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in cells
    )


def _cells(row: dict[str, object]) -> tuple[str, ...]:
    def number(name: str) -> int:
        return int(str(row[name]))

    return (
        str(row["key"]), format_duration(number("age")), format_duration(number("last_use")),
        format_size(number("size")), format_size(number("stored")), format_count(number("files")),
        format_count(number("chunks")), format_count(number("chunks_shared")),
    )  # fmt: skip


def run_inspect(settings: Settings, output: Output) -> int:
    """``s3batch cache inspect``: what one key holds, file by file."""
    from s3batch.cache.resolve import names_of  # noqa: PLC0415 - only this command asks for a build's key here

    bucket = Bucket.from_settings(settings, settings.bucket)
    key = names_of(settings).own
    answer = bucket.get(key)
    if answer is None:
        output.info(f"no cache for {key}")
        return EXIT_DONE
    manifest = decode_manifest(bytes(answer.body))
    tree = manifest.tree
    rows = [
        {"path": tree.path(row), "mode": f"{tree.modes[row]:04o}", "size": tree.sizes[row], "mtime_ns": tree.mtimes[row],
         "hash": manifest.hash(row).hex()}
        for row in range(len(tree))
    ]  # fmt: skip
    if settings.json:
        head = {"command": "cache inspect", "state": "done", "exit_code": EXIT_DONE, "key": key}
        output.document({**head, "roots": list(manifest.roots), "created": manifest.created, "entries": rows})
    else:
        output.data("\n".join(f"{row['mode']} {row['size']:>12} {row['path']}" for row in rows))
    return EXIT_DONE
