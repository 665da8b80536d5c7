"""A batch of files as columns: it travels between processes, and is compared with rows of the journal, as a whole."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import compress
from typing import TYPE_CHECKING, Any

from s3batch.model import FILE, LocalFile, Stamp

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Columns = tuple[Sequence[Any], ...]
"""The path, size, mtime, ctime, device and inode of each file, and the fingerprint of its attributes."""


class FileBatch:
    """Some regular files of a walk, in its order."""

    __slots__ = ("columns",)

    def __init__(self, columns: Columns) -> None:
        self.columns = columns

    @classmethod
    def from_files(cls, files: Sequence[LocalFile], describe: Callable[[str], str]) -> FileBatch:
        """Return the batch of files; ``describe`` returns the fingerprint of the attributes for a path."""
        if not files:
            return NO_FILES
        paths, stamps = zip(*files, strict=True)
        return cls((paths, *tuple(zip(*stamps, strict=True))[1:], list(map(describe, paths))))

    def __len__(self) -> int:
        return len(self.columns[0])

    @property
    def paths(self) -> Sequence[str]:
        """Relative to the source."""
        return self.columns[0]

    def select(self, wanted: Sequence[bool]) -> FileBatch:
        """Return the batch of the files for which ``wanted`` is true."""
        return FileBatch(tuple([list(compress(column, wanted)) for column in self.columns]))

    @property
    def sizes(self) -> Sequence[int]:
        """Bytes."""
        return self.columns[1]

    @property
    def fingerprints(self) -> Sequence[str]:
        """The fingerprints of the attributes that the objects are to have."""
        return self.columns[6]

    def make_rows(self, keys: Sequence[str]) -> Iterable[tuple[str, int, int, int, int, str]]:
        """Return for each file key, size, mtime, ctime, inode and fingerprint."""
        _, sizes, mtimes, ctimes, _, inodes, prints = self.columns
        return zip(keys, sizes, mtimes, ctimes, inodes, prints, strict=True)

    def make_stamps(self) -> list[Stamp]:
        """Return the stamps of the files."""
        new, kinds = tuple.__new__, [FILE] * len(self)
        return [new(Stamp, stamp) for stamp in zip(kinds, *self.columns[1:-1], strict=True)]

    def make_files(self) -> list[LocalFile]:
        """Return the files themselves."""
        new = tuple.__new__
        return [new(LocalFile, file) for file in zip(self.paths, self.make_stamps(), strict=True)]


NO_FILES = FileBatch(((), (), (), (), (), (), ()))
