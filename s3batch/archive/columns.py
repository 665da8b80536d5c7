"""Columns of integers: as arrays in memory, as byte planes on disk.

A million entries as Python objects need a gigabyte; as columns they need about a tenth. On disk a column is stored
plane by plane: first the lowest byte of every value, then the next one. So bytes that hardly change lie together and
compress well. All values are little-endian.
"""

from __future__ import annotations

import sys
from array import array

from s3batch.base.errors import ArchiveError

Bytes = bytes | bytearray | memoryview

NONE = 0xFFFFFFFF
"""In a column of chunk numbers: this entry has no chunk."""


def filled_column(code: str, value: int, count: int) -> array[int]:
    """Return an array of ``count`` equal values."""
    return array(code, [value]) * count


def to_planes(values: array[int]) -> bytes:
    """Return the stored form of a column."""
    raw, width = _little_endian(values).tobytes(), values.itemsize
    return b"".join(raw[plane::width] for plane in range(width))


def from_planes(code: str, planes: Bytes, count: int) -> array[int]:
    """Return the column that :func:`to_planes` stored; it must hold ``count`` values."""
    view = memoryview(planes).cast("B")
    values: array[int] = array(code)
    width = values.itemsize
    if len(view) != count * width:
        raise ArchiveError(f"a column of {len(view):,} bytes should hold {count:,} values of {width} bytes")
    raw = bytearray(len(view))
    for plane in range(width):
        raw[plane::width] = view[plane * count : (plane + 1) * count]
    values.frombytes(raw)
    return _little_endian(values)


def _little_endian(values: array[int]) -> array[int]:
    if sys.byteorder == "little":
        return values
    values = values[:]
    values.byteswap()
    return values
