"""A check that another machine sees the same source: some files, compared by stamp and content.

The source may be read-only, so the check writes nothing. Every file must have its planned stamp before it is sent, so a
file system that shows another stamp elsewhere would make every file "changed". Files are opened as workers open them.
"""

from __future__ import annotations

import hashlib
import os
import socket
from typing import TYPE_CHECKING

from s3batch.base.named_tuple import NamedTuple
from s3batch.files.opener import Opener, require_regular_file
from s3batch.model import Stamp, is_same_file, stamp_of
from s3batch.settings.direction import is_in_s3

if TYPE_CHECKING:
    from collections.abc import Iterator

_FILES = 8
_LOOK_AT = 1000
"""Directory entries looked at, at most, to find them."""
_HEAD = 64 * 1024
"""Bytes of each that are compared."""


class FileSample(NamedTuple):
    """One file as it is seen here."""

    path: str
    """Relative to the root; empty when the root is the file."""
    stamp: Stamp
    digest: bytes


def take_samples(root: str, but: str = "", symlinks: str = "follow") -> tuple[FileSample, ...]:
    """Return samples of the files below ``root``, a directory or a file; none whose path starts with ``but``."""
    if is_in_s3(root):
        return ()
    found = [path for path in _walk_first_files(root) if not but or not os.path.join(root, path).startswith(but)]
    step, opener = -(-len(found) // _FILES) or 1, Opener(root, symlinks)
    return tuple(sample for path in found[::step] if (sample := _make_sample(opener, root, path)) is not None)


def _walk_first_files(root: str) -> Iterator[str]:
    """Yield paths of the first files of a walk, up to a fixed number of entries."""
    if not os.path.isdir(root):
        yield ""
        return
    directories, left = [""], _LOOK_AT
    while directories and left > 0:
        below = directories.pop()
        for name, is_directory in _list_sample_entries(os.path.join(root, below), left):
            left -= 1
            if is_directory:
                directories.append(os.path.join(below, name))
            else:
                yield os.path.join(below, name)


def _list_sample_entries(directory: str, limit: int) -> list[tuple[str, bool]]:
    """Return the names of directories and regular files, each with its kind; unreadable entries are left out."""
    found: list[tuple[str, bool]] = []
    try:
        with os.scandir(directory) as entries:
            for entry, _ in zip(entries, range(limit), strict=False):
                if entry.is_dir(follow_symlinks=False) or entry.is_file():
                    found.append((entry.name, entry.is_dir(follow_symlinks=False)))
    except OSError:
        return found
    return found


def _make_sample(opener: Opener, root: str, path: str) -> FileSample | None:
    try:
        return _inspect_sample(opener, root, path)
    except OSError:
        return None


def _inspect_sample(opener: Opener, root: str, path: str) -> FileSample:
    name = path or os.path.basename(root)
    with require_regular_file(opener.open(name), name) as file:
        stamp = stamp_of(os.fstat(file.fileno()))
        return FileSample(path, stamp, hashlib.sha256(file.read(_HEAD)).digest())


def describe_source_difference(root: str, samples: tuple[FileSample, ...], symlinks: str = "follow") -> str:
    """Return in words how this machine sees ``root`` differently; empty if it does not, or the source is in S3."""
    if is_in_s3(root):
        return ""
    opener = Opener(root, symlinks)
    if not os.path.exists(root):
        return f"{socket.gethostname()} has no {root}"
    for sample in samples:
        name = os.path.join(root, sample.path) if sample.path else root
        try:
            seen = _inspect_sample(opener, root, sample.path)
        except OSError as error:
            return f"{socket.gethostname()} cannot read {name}: {error.strerror}"
        if seen.digest != sample.digest or not is_same_file(seen.stamp, sample.stamp):
            return f"{socket.gethostname()} has another {_name_differing_aspect(sample, seen)} for {name}"
    return ""


def _name_differing_aspect(sample: FileSample, seen: FileSample) -> str:
    """Return the aspect in which two files differ."""
    pairs = zip(Stamp._fields, sample.stamp, seen.stamp, strict=True)
    other = {name for name, here, there in pairs if here != there}
    if "size" in other:
        return "size"
    if seen.digest != sample.digest:
        return "content"
    return "modification time" if "mtime_ns" in other else "inode or time of change"
