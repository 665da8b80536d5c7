"""The one door to zstd: frames that carry their content size, read within limits.

Stored bytes are not the same across zstd versions, so nothing may depend on them; ids are of raw bytes.
Contexts are kept per thread: making one costs more than compressing a small chunk.
"""

from __future__ import annotations

import threading
from typing import IO, Protocol

import zstandard

from s3batch.archive.columns import Bytes
from s3batch.base.errors import ArchiveError

LEVEL = 3  # zstd's own default
MAX_WINDOW = 1 << 27
"""Bytes of the largest window that a frame may need."""

_WINDOW_LOG = 23
"""8 MiB, as large as a chunk is on average: a node_modules takes 0.94 of what it takes with zstd's own choice of 2 MiB,
at the same speed."""
_SAMPLE = 128 << 10  # bytes, taken at the start and in the middle
_WORTHWHILE = 1.03
"""A sample that shrinks by less counts as compressed already: wheels, images, archives."""
_FAST_LEVEL = -5  # negative levels of zstd give up ratio for speed

_contexts = threading.local()


class Readable(Protocol):
    """A source of bytes: a file, or chunks of a download behind a ``read``."""

    def read(self, size: int = -1, /) -> bytes:
        """Return up to ``size`` bytes; empty at the end."""
        ...


def compress_frame(raw: Bytes, *, level: int = LEVEL, long: bool = False, checksum: bool = False) -> bytes:
    """Return one zstd frame; with ``checksum`` it carries zstd's checksum of the content.

    Content that does not shrink is stored at the fastest level.
    """
    view = memoryview(raw).cast("B")
    if len(view) >= 2 * _SAMPLE and not (
        _is_compressible(view[:_SAMPLE]) or _is_compressible(view[len(view) // 2 :][:_SAMPLE])
    ):
        level = min(level, _FAST_LEVEL)
    return _get_compressor(level, long, checksum).compress(view)


def decompress_frame(frame: bytes, *, raw_length: int | None = None, limit: int, checksum: bool = False) -> bytes:
    """Return the content of exactly one frame, of ``raw_length`` bytes if given, at most ``limit`` bytes.

    With ``checksum`` a frame without a checksum is refused. A checksum that is there is always verified.

    Both lengths and the window are checked in the frame's header first, so that a decompression bomb costs no memory.
    """
    try:
        header = zstandard.get_frame_parameters(frame)
        _check_header(header, raw_length, limit)
        if checksum and not header.has_checksum:
            raise ArchiveError("a zstd frame has no checksum")
        return _get_decompressor().decompress(frame, max_output_size=limit, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise ArchiveError(f"not a readable zstd frame: {error}") from error


def open_stream(source: Readable) -> IO[bytes]:
    """Return a reader of a zstd stream of unknown size, of one or several frames."""
    context = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW)
    return context.stream_reader(source, read_across_frames=True)  # type: ignore[arg-type]


StreamError = zstandard.ZstdError


def _check_header(header: zstandard.FrameParameters, raw_length: int | None, limit: int) -> None:
    if header.content_size > limit or header.window_size > MAX_WINDOW:
        raise ArchiveError(f"a zstd frame of {header.content_size:,} bytes is over the limit of {limit:,}")
    if raw_length is not None and header.content_size != raw_length:
        raise ArchiveError(f"a zstd frame of {header.content_size:,} bytes should hold {raw_length:,}")


def _is_compressible(sample: memoryview) -> bool:
    return len(sample) >= _WORTHWHILE * len(_get_compressor(1, long=False, checksum=False).compress(sample))


def _get_compressor(level: int, long: bool, checksum: bool) -> zstandard.ZstdCompressor:
    made: dict[tuple[int, bool, bool], zstandard.ZstdCompressor] = _contexts.__dict__.setdefault("compressors", {})
    if (level, long, checksum) not in made:
        made[level, long, checksum] = _new_compressor(level, long, checksum)
    return made[level, long, checksum]


def _new_compressor(level: int, long: bool, checksum: bool) -> zstandard.ZstdCompressor:
    if level < LEVEL:
        return zstandard.ZstdCompressor(level=level, write_checksum=checksum)
    parameters = zstandard.ZstdCompressionParameters.from_level(
        level, window_log=25 if long else _WINDOW_LOG, enable_ldm=long, write_checksum=checksum
    )
    return zstandard.ZstdCompressor(compression_params=parameters)


def _get_decompressor() -> zstandard.ZstdDecompressor:
    known: zstandard.ZstdDecompressor | None = getattr(_contexts, "decompressor", None)
    if known is None:
        known = _contexts.decompressor = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW)
    return known
