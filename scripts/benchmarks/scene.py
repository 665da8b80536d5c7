"""What a run works on, and the programs that take turns on it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30


@dataclass(frozen=True, slots=True)
class Place:
    """Directories to work in."""

    trees: Path
    """Trees, which are kept for the next run, and downloads."""
    scratch: Path
    """Journals and logs, on a disk."""


@dataclass(frozen=True, slots=True)
class Scene:
    """What one run of one program works on."""

    url: str
    files: int
    size: int
    tree: Path
    directory: Path
    """Of the journal and whatever else the program keeps."""
    downloads: Path
    prefix: str
    """``BUCKET/PREFIX`` that nothing was sent to yet."""
    schedulers: Mapping[int, str] = field(default_factory=dict)
    """Addresses of Dask clusters, by their number of workers."""

    @property
    def bucket(self) -> str:
        """The bucket in which the null server lists an object for each file of the tree."""
        return f"syn-{self.files}-{self.size}"

    @property
    def smaller_bucket(self) -> str:
        """The same with a tenth of the objects."""
        return f"syn-{max(1, self.files // 10)}-{self.size}"

    @property
    def empty(self) -> Path:
        """A directory without files."""
        return self.directory / "empty"


class UnavailableError(Exception):
    """A row cannot be measured here, in words."""


def require_program(name: str) -> None:
    """Raise UnavailableError if a program is not installed."""
    if not shutil.which(name):
        raise UnavailableError(f"{name} is not installed")


Command = Callable[[Scene], list[str]]


@dataclass(frozen=True, slots=True)
class Side:
    """A program and what it proves. A command whose first word is empty means that the program is not installed."""

    name: str
    command: Command
    proves: str = ""
    """Empty: seen in the requests of a small upload."""
