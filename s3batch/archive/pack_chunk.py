"""The workers' half of a rebuild: read files, hash them, make a chunk of them.

A plan (a :class:`.plan_file.PlanTable` that :mod:`.pack_plan` writes) has one row for each item: a whole file, or a window
of a large one. A recipe names the rows of one chunk. The result is the chunk's body and, for every item, its hash, its
place in the chunk and its time when it was read.

A file counts as read only if its size and times after reading equal those of the walk, or those before reading.
Otherwise it is read once more. If that fails too, it is a problem with its name, and the chunk is made of the
other files.
"""

from __future__ import annotations

import errno
import os
import threading
from array import array
from collections.abc import Callable, Iterator
from functools import lru_cache

from s3batch.archive import zstd
from s3batch.archive.dirfd import Directories
from s3batch.archive.gc_pause import pause_gc
from s3batch.archive.hashing import HASH_SIZE, ID_SIZE, chunk_id, content_hash, zeros_hash
from s3batch.archive.msgpack import Record, decode_message, encode_message
from s3batch.archive.plan_file import PlanTable
from s3batch.base.errors import ArchiveError
from s3batch.base.named_tuple import NamedTuple
from s3batch.model import ChunkSpec, clamp_nanoseconds, fold_number

SPARSE = 1
"""Flag of an item: look for holes."""
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_TRIES = 2

CHANGED, VANISHED, UNREADABLE = "Changed", "Vanished", "Unreadable"


class PackedChunk(Record, kw_only=True):
    """The result of a recipe, small enough for a row of the journal. Item n is row ``first + n`` of the plan."""

    chunk: int
    """Its number in the plan."""
    first: int
    id: bytes = b""
    """Empty if no item could be read."""
    raw: int = 0
    """Bytes of content in the chunk."""
    stored: int = 0
    """Bytes of its body; 0 if it was known and not made again."""
    hashes: bytes = b""
    """16 bytes an item."""
    ats: bytes = b""
    """Offsets in the chunk, 4 bytes an item, in this machine's order."""
    mtimes: bytes = b""
    """8 bytes an item."""
    extents: list[tuple[int, int, int, int]]
    """The extents of items with holes: item, offset in the file, length, offset in the chunk."""
    capabilities: int = 0
    """Files whose capabilities are lost."""
    attributes: int = 0
    """Files whose other extended attributes are lost."""
    problems: list[tuple[int, str, str]]
    """Items that are not in the chunk: item, code (``Changed``, ``Vanished``, ``Unreadable``), what happened."""

    def each_hash(self) -> Iterator[bytes]:
        """Yield the hash of each item, zeros for a problem."""
        return (self.hashes[at : at + HASH_SIZE] for at in range(0, len(self.hashes), HASH_SIZE))

    def to_bytes(self) -> bytes:
        """Return the bytes for ``Result.payload``."""
        return encode_message(self)

    @classmethod
    def from_bytes(cls, payload: bytes) -> PackedChunk:
        """Return the result that :meth:`to_bytes` encoded."""
        return decode_message(payload, cls, what="the journal's record of a chunk")


class BuiltChunk(NamedTuple):
    """A chunk and its items."""

    packed: PackedChunk
    body: bytes
    """One zstd frame; empty if the base archive has this chunk already."""


@pause_gc()
def build_chunk(plan: str, recipe: ChunkSpec, *, level: int = zstd.LEVEL) -> BuiltChunk:
    """Read the items of ``recipe`` from the plan file ``plan`` and make their chunk."""
    opened = _open_pack_plan(plan)
    reading = _read_recipe(opened, recipe, keep=True)
    packed, raw = reading.packed(), reading.kept()
    if not raw:
        return BuiltChunk(packed, b"")
    packed.id = reading.identity or chunk_id(raw)
    packed.raw = len(raw)
    body = b"" if packed.id in opened.known else zstd.compress_frame(raw, level=level)
    packed.stored = len(body)
    return BuiltChunk(packed, body)


@pause_gc()
def hash_items(plan: str, recipe: ChunkSpec) -> PackedChunk:
    """Return the hashes of the items of ``recipe`` without storing anything."""
    return _read_recipe(_open_pack_plan(plan), recipe, keep=False).packed()


def close_pack_plans() -> None:
    """Let go of mapped plans and open directories; a worker does it when its job is over."""
    _map_pack_plan.cache_clear()


_Item = tuple[int, int, int, int, int, int]
"""Start and length of the piece to read; size, mtime, ctime of the file in the walk; flags."""


_ITEM_COLUMNS = ("start", "length", "size", "mtime", "ctime", "flags")


class _MappedPackPlan:
    """A plan file mapped by this process, with the directories it reads from."""

    def __init__(self, path: str) -> None:
        self.table = PlanTable(path)
        workspace, *roots = self.table.texts("roots")
        self.directories = Directories(workspace, roots)
        ids = bytes(self.table.column("known"))
        self.known = frozenset(ids[at : at + ID_SIZE] for at in range(0, len(ids), ID_SIZE))

    def __del__(self) -> None:
        self.directories.close()

    def items(self, recipe: ChunkSpec) -> Iterator[tuple[str, bytes, int, int, int, int, int, int]]:
        """Yield directory, name and facts of each item, in the order of ``_Item``."""
        rows = (recipe.first, recipe.last)
        columns = (self.table.column(name, *rows).tolist() for name in _ITEM_COLUMNS)
        return zip(self._paths(rows), self.table.names("names", *rows), *columns, strict=True)

    def _paths(self, rows: tuple[int, int]) -> list[str]:
        """Return the directory of each item. Neighbours share one object."""
        directories = self.table.column("dir", *rows).tolist()
        paths = {directory: self.table.texts("dirs", directory, directory + 1)[0] for directory in set(directories)}
        return [paths[directory] for directory in directories]


def _open_pack_plan(path: str) -> _MappedPackPlan:
    """Open the current plan. A long-lived process finds the next plan at the same path."""
    status = os.stat(path)
    return _map_pack_plan(path, status.st_ino, status.st_mtime_ns)


@lru_cache(maxsize=2)
def _map_pack_plan(path: str, _inode: int, _mtime_ns: int) -> _MappedPackPlan:
    return _MappedPackPlan(path)


class _UnreadError(Exception):
    """An item that could not be read, with its code; it never leaves this module."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


def _read_recipe(plan: _MappedPackPlan, recipe: ChunkSpec, *, keep: bool) -> _Reading:
    """Read all items, into one buffer if they are kept."""
    reading = _Reading(plan, recipe, keep=keep)
    reading.take_all(plan.items(recipe))
    return reading


class _Buffer(threading.local):
    """Memory for a chunk, used again and again: fresh memory has to be zeroed and mapped each time."""

    memory = bytearray()

    def of(self, length: int) -> memoryview:
        """Return a view of ``length`` bytes; it overwrites the content of earlier views."""
        if len(self.memory) < length:
            self.memory = bytearray(length)
        return memoryview(self.memory)[:length]


_buffer = _Buffer()


class _Reading:
    """Items of one recipe being read into one buffer. Whole files of equal content are kept once."""

    def __init__(self, plan: _MappedPackPlan, recipe: ChunkSpec, *, keep: bool) -> None:
        lengths = plan.table.column("length", recipe.first, recipe.last)
        self._buffer = _buffer.of(sum(lengths) if keep else max(lengths, default=0))
        self._end = 0
        self._keep = keep
        self._directories = plan.directories
        self._seen: dict[tuple[bytes, int], int] = {}
        self._packed = PackedChunk(chunk=recipe.chunk, first=recipe.first, extents=[], problems=[])
        self._alone = recipe.last - recipe.first == 1
        self.identity = b""
        """The chunk's, if it is known already."""
        self._hashes: list[bytes] = []
        self._ats = array("I")
        self._mtimes = array("q")

    def take_all(self, items: Iterator[tuple[str, bytes, int, int, int, int, int, int]]) -> None:
        """Read items: ordinary ones in a few calls of the kernel, all others, failures included, with care.

        The loop is written for its cost: a tree of 75,000 files goes through it.
        """
        current, descriptor, keep, alone = None, -1, self._keep, self._alone
        buffer, count_lost, keep_whole = self._buffer, self._count_lost, self._keep_whole
        note_hash, note_at, note_mtime = self._hashes.append, self._ats.append, self._mtimes.append
        for index, (path, name, start, length, size, mtime_ns, ctime_ns, flags) in enumerate(items):
            view = buffer[self._end : self._end + length]
            if not start and not flags:
                try:
                    if path is not current:
                        current, descriptor = None, self._directories.open(path)
                        current = path
                    file = os.open(name, _OPEN, dir_fd=descriptor)
                    try:
                        count = os.readv(file, (view,))
                        status = os.fstat(file)
                        if keep:
                            count_lost(file)
                    finally:
                        os.close(file)
                except (OSError, ArchiveError):
                    count = -1
                if (
                    count == length
                    and status.st_size == size
                    and status.st_mtime_ns == mtime_ns
                    and status.st_ctime_ns == ctime_ns
                ):
                    if keep or alone:
                        keep_whole(self._hash(view), length, mtime_ns)
                    else:
                        note_hash(content_hash(view))
                        note_at(0)
                        note_mtime(mtime_ns)
                    continue
            self._take_carefully(index, path, name, (start, length, size, mtime_ns, ctime_ns, flags), view)

    def _take_carefully(self, index: int, path: str, name: bytes, item: _Item, view: memoryview) -> None:
        try:
            mtime_ns, stretches = _read_item(self._directories, path, name, item, view, self._count_lost)
        except _UnreadError as error:
            self._packed.problems.append((index, error.code, str(error)))
            self._note(bytes(HASH_SIZE), 0, 0)
            return
        if stretches is None:
            self._keep_whole(self._hash(view), len(view), mtime_ns)
        else:
            self._note(content_hash(view) if stretches else zeros_hash(len(view)), self._end, mtime_ns)
            self._squeeze(index, item, stretches)

    def _count_lost(self, file: int) -> None:
        """Count the attributes of a file that no cache keeps."""
        if names := _extended_attributes(file):
            self._packed.capabilities += _CAPABILITY in names
            self._packed.attributes += any(name not in _PASSED_OVER for name in names)

    def _hash(self, view: memoryview) -> bytes:
        """Return the content hash of a whole item. It also names the chunk of an item that has one to itself."""
        if not self._alone:
            return content_hash(view)
        self.identity = chunk_id(view)
        return self.identity[:HASH_SIZE]

    def _keep_whole(self, digest: bytes, length: int, mtime_ns: int) -> None:
        at = self._seen.setdefault((digest, length), self._end)
        if self._keep and at == self._end:
            self._end += length
        self._note(digest, at, mtime_ns)

    def packed(self) -> PackedChunk:
        """Return the result for the files read so far."""
        self._packed.hashes = b"".join(self._hashes)
        self._packed.ats, self._packed.mtimes = self._ats.tobytes(), self._mtimes.tobytes()
        return self._packed

    def kept(self) -> memoryview:
        """Return the raw bytes of the chunk."""
        return self._buffer[: self._end]

    def _note(self, digest: bytes, at: int, mtime_ns: int) -> None:
        self._hashes.append(digest)
        self._ats.append(at)
        self._mtimes.append(mtime_ns)

    def _squeeze(self, index: int, item: _Item, stretches: list[tuple[int, int]]) -> None:
        """Move the data of a window with holes together."""
        window = self._end
        for start, length in stretches if self._keep else ():
            source = window + start - item[0]
            self._buffer[self._end : self._end + length] = self._buffer[source : source + length]
            self._packed.extents.append((index, start, length, self._end))
            self._end += length


def _read_item(
    directories: Directories, path: str, name: bytes, item: _Item, view: memoryview, look: Callable[[int], None]
) -> tuple[int, list[tuple[int, int]] | None]:
    """Fill ``view``; return the file's mtime, and the stretches of data if it may have holes."""
    start, length, *facts, flags = item
    try:
        file = os.open(name, _OPEN, dir_fd=directories.open(path))
        try:
            stretches = _data_stretches(file, start, start + length) if flags & SPARSE else None
            if not start:
                look(file)
            return _read_stable(
                file, start, view if stretches != [] else view[:0], facts, whole=length == facts[0]
            ), stretches
        finally:
            os.close(file)
    except FileNotFoundError as error:
        raise _UnreadError(VANISHED, str(error)) from error
    except (OSError, ArchiveError) as error:
        raise _UnreadError(UNREADABLE, str(error)) from error


_CAPABILITY = "security.capability"
_PASSED_OVER = frozenset({_CAPABILITY, "security.selinux"})
"""The system creates a label of SELinux itself."""


def _extended_attributes(file: int) -> list[str]:
    try:
        return os.listxattr(file)
    except (AttributeError, OSError):  # a system or a file system without them
        return []


def _read_stable(file: int, start: int, view: memoryview, expected: list[int], *, whole: bool) -> int:
    """Read until the file did not change meanwhile; return the mtime of the content.

    ``expected`` are the size and times the walk saw. A window must be of just that file, or it would not fit the
    file's other windows.
    """
    size = expected[0]
    for _ in range(_TRIES):
        complete = _fill_view(file, start, view)
        status = os.fstat(file)
        facts = [status.st_size, clamp_nanoseconds(status.st_mtime_ns), fold_number(status.st_ctime_ns)]
        if complete and facts == expected:
            return facts[1]
        if facts[0] != size or not whole:
            break
        expected = facts
    raise _UnreadError(CHANGED, "it changed while it was read")


def _fill_view(file: int, start: int, view: memoryview) -> bool:
    """Read until ``view`` is full; false if the file ends before."""
    done = 0
    while done < len(view):
        count = os.preadv(file, [view[done:]], start + done)
        if not count:
            return False
        done += count
    return True


def _data_stretches(file: int, at: int, end: int) -> list[tuple[int, int]]:
    """Return offsets and lengths of the data between ``at`` and ``end``, without holes."""
    found: list[tuple[int, int]] = []
    while at < end:
        try:
            at = os.lseek(file, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                break
            raise
        stop = min(os.lseek(file, at, os.SEEK_HOLE), end)
        if at < end:
            found.append((at, stop - at))
        at = stop
    return found
