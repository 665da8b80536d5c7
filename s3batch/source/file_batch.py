"""A batch of files as columns: it travels between processes, and is compared with rows of the journal, as a whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from s3batch.model import FILE, LocalFile, Stamp

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Columns = tuple[Sequence[Any], ...]
"""Of each file the path, the size, mtime, ctime, device and inode, and the fingerprint of its attributes."""
_NO_FILES: Columns = ((), (), (), (), (), (), ())


class FileBatch:
    """Some regular files of a walk, in its order."""

    __slots__ = ("columns",)

    def __init__(self, columns: Columns) -> None:
        self.columns = columns

    @classmethod
    def from_files(cls, files: Sequence[LocalFile], describe: Callable[[str], str]) -> FileBatch:
        """Return the batch of files; ``describe`` returns the fingerprint of the attributes for a path."""
        if not files:
            return cls(_NO_FILES)
        paths, stamps = zip(*files, strict=True)
        return cls((paths, *tuple(zip(*stamps, strict=True))[1:], list(map(describe, paths))))

    def __len__(self) -> int:
        return len(self.columns[0])

    @property
    def paths(self) -> Sequence[str]:
        """Relative to the source."""
        return self.columns[0]

    @property
    def sizes(self) -> Sequence[int]:
        """Bytes."""
        return self.columns[1]

    def make_rows(self, keys: Sequence[str]) -> Iterable[tuple[str, int, int, int, int, str]]:
        """Return for each file key, size, mtime, ctime, inode and fingerprint."""
        _, sizes, mtimes, ctimes, _, inodes, prints = self.columns
        return zip(keys, sizes, mtimes, ctimes, inodes, prints, strict=True)

    def make_files(self) -> list[LocalFile]:
        """Return the files themselves."""
        paths, sizes, mtimes, ctimes, devices, inodes, _ = self.columns
        new, stamps = tuple.__new__, zip([FILE] * len(paths), sizes, mtimes, ctimes, devices, inodes, strict=True)
        return [new(LocalFile, (path, new(Stamp, stamp))) for path, stamp in zip(paths, stamps, strict=True)]
