"""The local state: facts about a cache that this machine restored or rebuilt. Never sent, always safe to delete.

It holds the manifest, its object, and for every row the rest of the file's stamp (:class:`s3batch.model.Stamp`) at the
time its content was written or hashed. A ctime of 0 means that neither was done. A file whose stamp is the same has not
changed, unless it changed twice within one tick of its file system's clock. Therefore stamps younger than 50 ms are not
trusted (git's racy rule), and stamps younger than 2 s where the clock ticks by seconds.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field

from s3batch.archive import zstd
from s3batch.archive.columns import filled_column, from_planes, to_planes
from s3batch.archive.manifest import Manifest
from s3batch.archive.manifest_codec import EncodedManifest
from s3batch.archive.msgpack import Record, decode_message, encode_message
from s3batch.archive.scan import ScannedTree
from s3batch.archive.tree import FILE
from s3batch.archive.validate import Limits
from s3batch.base.errors import ArchiveError
from s3batch.files import private
from s3batch.files.private import PrivateFileError

RACY_NS = 50_000_000
RACY_SECONDS_NS = 2_000_000_000
_SECOND_NS = 1_000_000_000


def is_settled(ctime_ns: int, taken_ns: int) -> bool:
    """Return whether a change at ``ctime_ns`` is known and old enough that none in the same tick can have followed it."""
    # a time without fractions may come from a clock that ticks by seconds
    return 0 != ctime_ns < taken_ns - (RACY_NS if ctime_ns % _SECOND_NS else RACY_SECONDS_NS)


def are_settled(found: ScannedTree, taken_ns: int) -> bool:
    """Return whether each file of a walk was at rest when stamps were taken."""
    ctimes, kinds = found.ctimes, found.tree.kinds
    if min(ctimes, default=1) > 0 and max(ctimes, default=0) < taken_ns - RACY_SECONDS_NS:
        return True  # nearly always, and a tenth of the cost
    return all(is_settled(ctime, taken_ns) for kind, ctime in zip(kinds, ctimes, strict=True) if kind == FILE)


_VERSION = 2
"""Version 1 also remembered files that were never read, so such a state is ignored."""
_LIMIT = 2 << 30


@dataclass(slots=True)
class LocalState:
    """Facts by row of ``manifest``; 0 where nothing is known."""

    stored: bytes
    """The key object as it was sent or fetched."""
    manifest: Manifest
    key: str
    """The key object it is the content of."""
    etag: str
    taken_ns: int
    """When the facts were taken, UTC."""
    ctimes: array[int] = field(default_factory=lambda: array("q"))
    inodes: array[int] = field(default_factory=lambda: array("Q"))
    devices: array[int] = field(default_factory=lambda: array("Q"))
    walk: bytes = b""
    """The fingerprint of the walk these facts are of: no other walk has it."""
    segments: dict[bytes, bytes] = field(default_factory=dict)
    """The segments of the manifest as stored, by id."""

    def settled(self, ctime_ns: int) -> bool:
        """Return whether a file with this ctime was at rest when the stamps were taken."""
        return is_settled(ctime_ns, self.taken_ns)

    def __post_init__(self) -> None:
        if not self.ctimes:
            count = len(self.manifest.tree)
            self.ctimes, self.inodes, self.devices = (
                filled_column("q", 0, count),
                filled_column("Q", 0, count),
                filled_column("Q", 0, count),
            )


class _StateFields(Record, kw_only=True):
    version: int
    manifest: bytes
    key: str
    etag: str
    taken_ns: int
    ctimes: bytes
    inodes: bytes
    devices: bytes
    walk: bytes = b""
    segments: list[bytes] = []  # noqa: RUF012 - msgspec copies it
    """The segments in the order in which the manifest names them."""


class EncodedState:
    """A stored state. A caller that only asks for changes need not decode it."""

    def __init__(self, record: _StateFields, limits: Limits | None) -> None:
        self._record, self._limits = record, limits
        self.key, self.etag, self.stored, self.walk = record.key, record.etag, record.manifest, record.walk

    def is_of(self, found: ScannedTree) -> bool:
        """Return whether nothing below the roots can have changed since. False may also mean "unknown"."""
        return self._record.walk == found.fingerprint() and are_settled(found, self._record.taken_ns)

    def ids(self) -> list[bytes]:
        """Return the ids of all chunks and segments; none if the state is damaged or over the limits."""
        try:
            return EncodedManifest(self.stored, self._limits).sums().ids
        except ArchiveError:
            return []

    def state(self) -> LocalState | None:
        """Return the whole state, or ``None`` if it is damaged or over the limits."""
        record = self._record
        try:
            opened = EncodedManifest(record.manifest, self._limits)
            ids = dict.fromkeys(segment.id for segment in opened.segments)
            segments = dict(zip(ids, record.segments, strict=True))
            manifest = opened.manifest(segments)
            count = len(manifest.tree)
            return LocalState(
                stored=record.manifest,
                manifest=manifest,
                key=record.key,
                etag=record.etag,
                taken_ns=record.taken_ns,
                ctimes=from_planes("q", record.ctimes, count),
                inodes=from_planes("Q", record.inodes, count),
                devices=from_planes("Q", record.devices, count),
                walk=record.walk,
                segments=segments,
            )
        except (ArchiveError, ValueError):
            return None


def save_state(path: str, state: LocalState) -> None:
    """Write it under another name and rename it."""
    record = _StateFields(
        version=_VERSION,
        manifest=state.stored,
        key=state.key,
        etag=state.etag,
        taken_ns=state.taken_ns,
        ctimes=to_planes(state.ctimes),
        inodes=to_planes(state.inodes),
        devices=to_planes(state.devices),
        walk=state.walk,
        segments=list(state.segments.values()),
    )
    with private.replace_file(path) as file:
        file.write(zstd.compress_frame(encode_message(record), level=1))


def load_state(path: str, limits: Limits | None = None) -> LocalState | None:
    """Return the state, or ``None`` if there is none or it is unusable. Files are hashed then."""
    remembered = read_state(path, limits)
    return remembered.state() if remembered is not None else None


def read_state(path: str, limits: Limits | None = None) -> EncodedState | None:
    """Return the stored state without decoding its manifest."""
    try:
        record = decode_message(
            zstd.decompress_frame(private.read_private_file(path), limit=_LIMIT), _StateFields, what=path
        )
    except (OSError, ArchiveError, PrivateFileError):
        return None
    return EncodedState(record, limits) if record.version == _VERSION else None
