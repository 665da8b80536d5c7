"""What this machine remembers of a cache it restored or rebuilt: never sent, always safe to delete.

The manifest, the object it came from, and for every row the change time, inode and device the file had then. A file
whose five facts (size, mtime, ctime, inode, device) are all the same has not changed, unless it was changed in the
very moment they were taken: so facts younger than 50 ms before that are not believed (git's racy rule).
"""

from __future__ import annotations

import contextlib
import os
from array import array
from dataclasses import dataclass, field

from s3batch.archive import codec
from s3batch.archive.check import Limits
from s3batch.archive.columns import filled, from_planes, to_planes
from s3batch.archive.manifest import Manifest
from s3batch.archive.packed import Record, decode, encode
from s3batch.archive.stored import decode_manifest
from s3batch.errors import ArchiveError

RACY_NS = 50_000_000
_VERSION = 1
_LIMIT = 2 << 30


@dataclass(slots=True)
class State:
    """Facts by row of ``manifest``; 0 where nothing is known."""

    stored: bytes
    """The manifest as it was sent or fetched."""
    manifest: Manifest
    key: str
    """The key object it is the content of."""
    etag: str
    taken_ns: int
    """When the facts were taken, UTC."""
    ctimes: array[int] = field(default_factory=lambda: array("q"))
    inodes: array[int] = field(default_factory=lambda: array("Q"))
    devices: array[int] = field(default_factory=lambda: array("Q"))

    def __post_init__(self) -> None:
        if not self.ctimes:
            count = len(self.manifest.tree)
            self.ctimes, self.inodes, self.devices = filled("q", 0, count), filled("Q", 0, count), filled("Q", 0, count)


class _Stored(Record, kw_only=True):
    version: int
    manifest: bytes
    key: str
    etag: str
    taken_ns: int
    ctimes: bytes
    inodes: bytes
    devices: bytes


def save_state(path: str, state: State) -> None:
    """Write it under another name and rename it."""
    record = _Stored(
        version=_VERSION,
        manifest=state.stored,
        key=state.key,
        etag=state.etag,
        taken_ns=state.taken_ns,
        ctimes=to_planes(state.ctimes),
        inodes=to_planes(state.inodes),
        devices=to_planes(state.devices),
    )
    scratch = f"{path}.{os.getpid()}"
    try:
        with open(scratch, "wb") as file:
            file.write(codec.compress(encode(record), level=1))
        os.replace(scratch, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(scratch)
        raise


def load_state(path: str, limits: Limits | None = None) -> State | None:
    """The state, or ``None`` if there is none or it is of no use: then files are hashed."""
    try:
        with open(path, "rb") as file:
            record = decode(codec.decompress(file.read(), limit=_LIMIT), _Stored, what=path)
        if record.version != _VERSION:
            return None
        manifest = decode_manifest(record.manifest, limits)
        count = len(manifest.tree)
        return State(
            stored=record.manifest,
            manifest=manifest,
            key=record.key,
            etag=record.etag,
            taken_ns=record.taken_ns,
            ctimes=from_planes("q", record.ctimes, count),
            inodes=from_planes("Q", record.inodes, count),
            devices=from_planes("Q", record.devices, count),
        )
    except (OSError, ArchiveError):
        return None
