"""The place that the coordinator and every worker of a cluster must see alike: the source, or a download's target."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from s3batch import __version__
from s3batch.executors.dask.exchange import CoordinatorView
from s3batch.executors.dask.source_check import take_samples
from s3batch.executors.dask.target_check import ProbeWriter

if TYPE_CHECKING:
    from s3batch.executors.dask.target_check import ViewAnswer


class SharedPlace(Protocol):
    """A directory on a shared file system, at the coordinator's end."""

    hint: str
    """The remedy where a worker sees another one."""

    def make_view(self) -> CoordinatorView:
        """Return the coordinator's view of it. Raises OSError or S3BatchError."""

    def find_trouble(self, answer: ViewAnswer, worker: str) -> str:
        """Return why a worker that sees this view cannot be used; empty if it can."""

    def close(self) -> None:
        """Remove what was made for the check."""


class SharedSource:
    """A source, which is only read: some of its files are compared."""

    hint = "the source must be on a file system that every Dask worker sees at the same path, or use --executor local"

    def __init__(self, root: str, but: str = "", symlinks: str = "follow") -> None:
        """``but``: paths beginning with it change all the time, the journal's. ``symlinks``: the policy of the walk."""
        self._root, self._but, self._symlinks = root, but, symlinks

    def make_view(self) -> CoordinatorView:
        """Return some of its files as they are now."""
        samples = take_samples(self._root, self._but, self._symlinks)
        return CoordinatorView(__version__, self._root, samples, self._symlinks)

    def find_trouble(self, answer: ViewAnswer, worker: str) -> str:
        """Return nothing: the worker has compared all there is."""
        return ""

    def close(self) -> None:
        """Do nothing."""


class SharedTarget:
    """The target of a download, which is written: each side reads a file of the other."""

    hint = (
        "the target must be on a file system that every Dask worker sees and writes at the same path, "
        "or use --executor local"
    )

    def __init__(self, root: str) -> None:
        self._root = root
        self._probes = ProbeWriter(root)

    def make_view(self) -> CoordinatorView:
        """Return the view with a file that is there now. Raises OSError or PrivateFileError."""
        return CoordinatorView(__version__, self._root, (), probe=self._probes.write_probe())

    def find_trouble(self, answer: ViewAnswer, worker: str) -> str:
        """Return why a file of the worker is not here."""
        return self._probes.find_trouble(answer, worker)

    def close(self) -> None:
        """Remove the probe."""
        self._probes.close()
