"""``files_from``: a list of paths, from a file or stdin. It is checked as it is read, and kept in a temporary file.

Paths are relative to the source, a line each, or each with a NUL behind it. Empty ones count for nothing. Nothing is
looked up here.
"""

from __future__ import annotations

import errno
import hashlib
import os
import sys
import tempfile
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

STDIN = "-"
"""The name of stdin."""
_BLOCK = 1 << 20
_LONGEST = 1 << 16
"""Bytes of a path; no file system takes as many."""
_PAGE = 500
"""Paths read back at once."""


@dataclass(frozen=True, slots=True)
class PathList:
    """The paths of a list that was read, in its order. An equal list has an equal digest."""

    digest: str
    _kept: IO[bytes]

    def pages(self) -> Iterator[list[str]]:
        """Yield the paths, some at a time."""
        self._kept.seek(0)
        page: list[str] = []
        for raw in _split_stream(self._kept, b"\0"):
            page.append(os.fsdecode(raw))
            if len(page) == _PAGE:
                yield page
                page = []
        yield page


def read_path_list(name: str, *, nul: bool, keys: bool = False) -> PathList:
    """Read the file ``name``, or stdin for ``-``; with ``nul`` each path ends with a NUL.

    With ``keys`` they are ends of keys of S3, where ``a//b`` and ``a/b`` are two objects: each stays as it is.
    Raises OSError, and ValueError for a path that may not be one below the source.
    """
    if name == STDIN:
        if sys.stdin is None:  # as Python has it where descriptor 0 is closed
            raise OSError(errno.EBADF, "stdin is closed")
        return _keep_paths(_split_stream(sys.stdin.buffer, b"\0" if nul else b"\n"), nul=nul, keys=keys)
    with open(name, "rb", buffering=0) as file:
        return _keep_paths(_split_stream(file, b"\0" if nul else b"\n"), nul=nul, keys=keys)


def _keep_paths(lines: Iterable[bytes], *, nul: bool, keys: bool) -> PathList:
    digest, kept = hashlib.blake2b(digest_size=8), tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the list
    for number, line in enumerate(lines, 1):
        try:
            path = _require_relative_path(line if nul else line.removesuffix(b"\r"))
            path = path if keys else _normalise_path(path)
        except ValueError as error:
            raise ValueError(f"its line {number:,} is {os.fsdecode(line[:200])!r}; {error}") from None
        if path:
            digest.update(path + b"\0")
            kept.write(path + b"\0")
    return PathList(digest.hexdigest(), kept)


def _require_relative_path(line: bytes) -> bytes:
    """Return a path. Raises ValueError for one that is not below the source."""
    if line.startswith(b"/") or b".." in line.split(b"/"):
        raise ValueError("write paths relative to the source, without ..")
    if b"\0" in line:
        raise ValueError("write --files-from0 for paths that end with NUL")
    return line


def _normalise_path(line: bytes) -> bytes:
    """Return a path without ``.`` and empty segments. Raises ValueError for the source itself."""
    path = b"/".join(segment for segment in line.split(b"/") if segment not in (b"", b"."))
    if line and not path:
        raise ValueError("write the names of files: this is the source itself")
    return path


def _split_stream(file: IO[bytes], separator: bytes) -> Iterator[bytes]:
    """Yield what stands before each separator, and the rest. Raises ValueError for a piece that is no path."""
    rest = b""
    while block := file.read(_BLOCK):
        *pieces, rest = (rest + block).split(separator)
        yield from pieces
        if len(rest) > _LONGEST:
            raise ValueError(f"it has a path of more than {_LONGEST:,} bytes")
    if rest:
        yield rest
