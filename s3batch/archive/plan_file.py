"""Plans as columns in a file that workers map, so that a task is three numbers and not two thousand paths.

    length of the head, 8 bytes │ head (MessagePack) │ column │ column │ ... each at a multiple of 8

Written once under another name and renamed, never changed; made and read on one machine in its own byte order.
"""

from __future__ import annotations

import mmap
import os
from array import array
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from types import TracebackType
from typing import Self

from s3batch.archive.columns import Bytes
from s3batch.archive.msgpack import Record, decode_message, encode_message
from s3batch.archive.paths import encode_names
from s3batch.files import private
from s3batch.model import ChunkSpec

Columns = Mapping[str, "array[int] | Bytes"]


class _Head(Record, kw_only=True):
    numbers: dict[str, int]
    columns: dict[str, tuple[str, int, int]]
    """Type code, offset from the start of the file, length in bytes."""


def names_columns(key: str, names: list[str]) -> dict[str, array[int] | Bytes]:
    """Return ``key`` and ``key_starts`` for :func:`write_table`; :meth:`PlanTable.names` reads them."""
    blob = encode_names(names)
    ends = accumulate((len(name) + 1 for name in blob.split(b"\0")), initial=0)
    return {key: blob, f"{key}_starts": array("Q", ends if names else [0])}


def write_table(path: str, columns: Columns, numbers: Mapping[str, int]) -> None:
    """Write the file; ``numbers`` are further values that a worker needs."""
    raws = {name: _raw_bytes(values) for name, values in columns.items()}
    head, offsets = _layout_plan(columns, raws, numbers)
    with private.replace_file(path) as file:
        file.write(len(head).to_bytes(8, "little") + head)
        for name, raw in raws.items():
            file.seek(offsets[name])
            file.write(raw)
        file.truncate(max(file.tell(), 8 + len(head)))


def _layout_plan(
    columns: Columns, raws: Mapping[str, Bytes], numbers: Mapping[str, int]
) -> tuple[bytes, dict[str, int]]:
    """Return the head and the offsets in it. They depend on its own length, so room is left for the widest."""
    room = 512 + 64 * len(columns) + len(encode_message(dict(numbers)))
    # columns begin at multiples of 8, the size of their widest numbers
    offsets, end = {}, -(-room // 8) * 8
    for name, raw in raws.items():
        offsets[name] = end
        end += -(-len(raw) // 8) * 8
    described: dict[str, tuple[str, int, int]] = {
        name: (values.typecode if isinstance(values, array) else "B", offsets[name], len(raws[name]))
        for name, values in columns.items()
    }
    return encode_message(_Head(numbers=dict(numbers), columns=described)), offsets


def _raw_bytes(values: array[int] | Bytes) -> Bytes:
    return memoryview(values).cast("B") if isinstance(values, array) else values


class PlanTable:
    """A plan, mapped read-only. Columns are memoryviews: valid until :meth:`close`."""

    def __init__(self, path: str) -> None:
        file = private.open_private_file(path, os.O_RDONLY)
        try:
            self._map = mmap.mmap(file, 0, access=mmap.ACCESS_READ)
        finally:
            os.close(file)
        length = int.from_bytes(self._map[:8], "little")
        head = decode_message(self._map[8 : 8 + length], _Head, what=f"the plan {path}")
        self.numbers = head.numbers
        whole = memoryview(self._map)
        self._columns = {
            name: whole[offset : offset + size].cast(code)  # type: ignore[call-overload]
            for name, (code, offset, size) in head.columns.items()
        }

    def column(self, name: str, first: int = 0, last: int | None = None) -> memoryview:
        """Return values ``first`` to ``last`` of a column."""
        view: memoryview = self._columns[name][first:last]
        return view

    def names(self, key: str, first: int, last: int) -> list[bytes]:
        """Return names ``first`` to ``last`` of a list written by :func:`names_columns`."""
        if first == last:
            return []
        starts = self._columns[f"{key}_starts"]
        return bytes(self._columns[key][starts[first] : starts[last] - 1]).split(b"\0")

    def texts(self, key: str, first: int = 0, last: int | None = None) -> list[str]:
        """Return names ``first`` to ``last`` as text."""
        return [os.fsdecode(name) for name in self.names(key, first, self.count(key) if last is None else last)]

    def count(self, key: str) -> int:
        """Return the number of names in a list."""
        return len(self._columns[f"{key}_starts"]) - 1

    def close(self) -> None:
        """Unmap the file."""
        for view in self._columns.values():
            view.release()
        self._columns.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def count_files(rows: Sequence[int], recipes: Iterable[ChunkSpec]) -> list[int]:
    """Return for each recipe how many files begin with it: a file of many pieces counts once, at its first piece."""
    seen = bytearray(max(rows, default=-1) + 1)
    counts = []
    for recipe in recipes:
        count = 0
        for row in rows[recipe.first : recipe.last]:
            count += not seen[row]
            seen[row] = 1
        counts.append(count)
    return counts
