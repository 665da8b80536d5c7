"""A stream of unknown length, read in blocks that are the parts of a multipart upload.

A block is as large as a part. Blocks double every 1,000, so that S3's 10,000 parts hold its largest object; a stream of up
to 16 GiB is read in blocks of 16 MiB.
"""

from __future__ import annotations

import io
import os
import select
import threading
from typing import Any

from s3batch.base.named_tuple import NamedTuple
from s3batch.s3.checksums import RunningChecksum
from s3batch.settings.s3_limits import OBJECT_LIMIT, PART_MAXIMUM

_DOUBLE_EVERY = 1000
_AT_ONCE = 1 << 20
"""Bytes of one read."""
_LOOK_EVERY = 0.2
"""Seconds between two looks whether the run has ended while the stream says nothing."""


class StreamEndedError(Exception):
    """The stream is not read any more, because the run has stopped."""


class NumberedBlock(NamedTuple):
    """A block of the stream; the first has number 1."""

    number: int
    content: bytes
    """Empty at the end of the stream."""


class BlockReader:
    """Reads the blocks of a descriptor in order. Several threads may ask; each gets the next block."""

    def __init__(self, descriptor: int, block_size: int, checksum: str) -> None:
        """``checksum`` is the algorithm of the checksum of the whole stream; empty for none."""
        self.size = 0
        """Bytes read so far."""
        self.count = 0
        """Blocks read so far."""
        self.has_ended = False
        """True once the end of the stream was seen."""
        self._stream = WaitingStream(descriptor)
        self._file = io.BufferedReader(self._stream, _AT_ONCE)  # it reads into the bytes that it returns
        self._first_size = block_size
        self._running = RunningChecksum(checksum) if checksum else None
        self._lock = threading.Lock()

    @property
    def block_size(self) -> int:
        """Bytes of the next block."""
        return min(self._first_size << (self.count // _DOUBLE_EVERY), PART_MAXIMUM)

    @property
    def checksum(self) -> str:
        """The checksum of all that was read, in base64."""
        return self._running.base64() if self._running is not None else ""

    def stop(self) -> None:
        """Have a read that waits end."""
        self._stream.stop()

    def read_block(self) -> NumberedBlock:
        """Return the next block. Raises OSError of a broken stream, StreamEndedError after :meth:`stop`."""
        with self._lock:
            wanted = self.block_size
            block = b"" if self.has_ended else self._file.read(wanted)
            self.has_ended = len(block) < wanted
            if block:
                self.count += 1
                self.size += len(block)
                if self._running is not None:
                    self._running.update(block)
            if self.size > OBJECT_LIMIT:
                raise OSError(0, "it is longer than 5 TiB, the largest object of S3")
            return NumberedBlock(self.count, block)


class WaitingStream(io.RawIOBase):
    """A descriptor that is read when it has something, until :meth:`stop`. It is not closed."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._stopped = False

    def readable(self) -> bool:
        """Return true."""
        return True

    def stop(self) -> None:
        """Have a read that waits end."""
        self._stopped = True

    def readinto(self, buffer: Any) -> int:
        """Read some bytes; 0 at the end. Raises OSError, StreamEndedError after :meth:`stop`."""
        while not select.select([self._descriptor], [], [], _LOOK_EVERY)[0]:
            if self._stopped:
                raise StreamEndedError
        if self._stopped:
            raise StreamEndedError
        return os.readv(self._descriptor, [memoryview(buffer)[:_AT_ONCE]])
