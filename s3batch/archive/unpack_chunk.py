"""The workers' half of a restore: prove a chunk, then write its files.

No byte is written before the whole chunk matches its id. A file costs four calls of the kernel: open (new, never
through a link), write, set its time, close. The time is the commit mark: a file that was cut off half-way has
another one, and the next run makes it again.
"""

from __future__ import annotations

import os
from array import array
from functools import lru_cache

from s3batch.archive import zstd
from s3batch.archive.attributes import set_owner
from s3batch.archive.dirfd import Directories
from s3batch.archive.gc_pause import pause_gc
from s3batch.archive.hashing import chunk_id
from s3batch.archive.msgpack import Record, decode_message, encode_message
from s3batch.archive.plan_file import PlanTable
from s3batch.archive.restore_plan import PIECE
from s3batch.base.errors import ArchiveError
from s3batch.files.beneath import create_file_anew, open_into, write_all
from s3batch.model import ChunkSpec


class UnpackedChunk(Record, kw_only=True):
    """The result of a restored chunk."""

    chunk: int
    files: int
    """Whole files made."""
    written: int
    """Bytes written, pieces included."""
    rows: bytes
    """Rows of the manifest, 4 bytes each: whole files only."""
    inodes: bytes
    """Their inodes, 8 bytes each."""
    devices: bytes
    """Their devices, 8 bytes each."""
    ctimes: bytes
    """Their change times, nanoseconds, 8 bytes each."""
    unowned: int = 0
    """Files that could not be given to their owners."""

    def to_bytes(self) -> bytes:
        """Return the bytes for ``Result.payload``."""
        return encode_message(self)

    @classmethod
    def from_bytes(cls, payload: bytes) -> UnpackedChunk:
        """Return the result that :meth:`to_bytes` encoded."""
        return decode_message(payload, cls, what="the journal's record of a restored chunk")


@pause_gc()
def unpack_chunk(plan: str, recipe: ChunkSpec, body: bytes) -> UnpackedChunk:
    """Write the items of this chunk in the plan file ``plan``. Raises ArchiveError for another chunk."""
    opened = _open_restore_plan(plan)
    raw = memoryview(opened.prove(recipe.chunk, body))
    before = os.umask(0)
    try:
        return _Writing(opened, recipe).run(raw)
    finally:
        os.umask(before)


def close_restore_plans() -> None:
    """Let go of mapped plans and open directories; a worker does it when its job is over."""
    _map_restore_plan.cache_clear()


class _MappedRestorePlan:
    """A plan file mapped by this process, with the directories it writes to."""

    def __init__(self, path: str) -> None:
        self.table = PlanTable(path)
        workspace, *roots = self.table.texts("roots")
        self.directories = Directories(workspace, roots)

    def __del__(self) -> None:
        self.directories.close()

    def prove(self, chunk: int, body: bytes) -> bytes:
        """Return the raw bytes, after a check that they are those of the chunk."""
        size = self.table.numbers["id_size"]
        expected = bytes(self.table.column("chunk_ids", chunk * size, (chunk + 1) * size))
        length = self.table.column("chunk_raw")[chunk]
        raw = zstd.decompress_frame(body, raw_length=length, limit=length)
        if chunk_id(raw) != expected:
            raise ArchiveError(f"the content of chunk {expected.hex()} does not match its hash")
        return raw


def _open_restore_plan(path: str) -> _MappedRestorePlan:
    """Open the current plan. A long-lived process finds the next plan at the same path."""
    status = os.stat(path)
    return _map_restore_plan(path, status.st_ino, status.st_mtime_ns)


@lru_cache(maxsize=2)
def _map_restore_plan(path: str, _inode: int, _mtime_ns: int) -> _MappedRestorePlan:
    return _MappedRestorePlan(path)


class _Writing:
    """The items of one recipe being written."""

    def __init__(self, plan: _MappedRestorePlan, recipe: ChunkSpec) -> None:
        self._plan = plan
        self._recipe = recipe
        self._rows = array("I")
        self._inodes = array("Q")
        self._devices = array("Q")
        self._ctimes = array("q")
        self._unowned = 0

    def run(self, raw: memoryview) -> UnpackedChunk:
        """Write all of them."""
        table, rows = self._plan.table, (self._recipe.first, self._recipe.last)
        names = table.names("names", *rows)
        columns = [
            table.column(name, *rows) for name in ("dir", "row", "mode", "mtime", "start", "length", "at", "flags")
        ]
        current, parent, written = -1, -1, 0
        owned = bool(table.numbers["owners"])
        uids, gids = (table.column(name, *(rows if owned else (0, 0))) for name in ("uid", "gid"))
        for index, (name, directory, row, mode, mtime, start, length, at, flags) in enumerate(
            zip(names, *columns, strict=True)
        ):
            if directory != current:
                parent = self._plan.directories.open(table.texts("dirs", directory, directory + 1)[0])
                current = directory
            if flags & PIECE:
                _write_piece(parent, name, raw[at : at + length], start)
            else:
                owner = (uids[index], gids[index]) if owned else (0, 0)
                self._write_file(parent, name, mode, mtime, raw[at : at + length], owner)
                self._rows.append(row)
            written += length
        return self._unpacked(written)

    def _write_file(
        self, parent: int, name: bytes, mode: int, mtime_ns: int, content: memoryview, owner: tuple[int, int]
    ) -> None:
        file = create_file_anew(name, mode, parent)  # the place was free: only a dead worker can have left one
        try:
            if os.write(file, content) != len(content):
                write_all(file, content)  # from the start: that write was cut short
            if owner != (0, 0) and not set_owner(file, owner):
                self._unowned += 1
            os.utime(file, ns=(mtime_ns, mtime_ns))
            status = os.fstat(file)
        finally:
            os.close(file)
        self._inodes.append(status.st_ino)
        self._devices.append(status.st_dev)
        self._ctimes.append(status.st_ctime_ns)

    def _unpacked(self, written: int) -> UnpackedChunk:
        return UnpackedChunk(
            chunk=self._recipe.chunk,
            files=len(self._rows),
            written=written,
            rows=self._rows.tobytes(),
            inodes=self._inodes.tobytes(),
            devices=self._devices.tobytes(),
            ctimes=self._ctimes.tobytes(),
            unowned=self._unowned,
        )


def _write_piece(parent: int, name: bytes, content: memoryview, start: int) -> None:
    """Write a stretch of a large file, which exists at full size."""
    file = open_into(name, parent)
    try:
        write_all(file, content, start)
    finally:
        os.close(file)
