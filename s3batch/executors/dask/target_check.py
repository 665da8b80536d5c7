"""A check that another machine writes to the same directory as this one, for downloads.

    coordinator writes TARGET/.s3batch/tmp/PROBE ─> worker reads it, and writes PROBE.ANSWER ─> coordinator reads that

Both ways are needed: a copy-on-write mount shows the coordinator's files, and hides the worker's from it.
"""

from __future__ import annotations

import os
import secrets
import socket
from contextlib import suppress

from s3batch.base.named_tuple import NamedTuple
from s3batch.files.beneath import write_all
from s3batch.files.tree import TEMPORARY, TargetTree

_MOST = 256
"""Bytes of a probe."""


class TargetProbe(NamedTuple):
    """A file that the coordinator has written into the target."""

    root: str
    name: str
    """The name of the unfinished file; its content is the same text."""


class ViewAnswer(NamedTuple):
    """The answer of a worker to the coordinator's view."""

    trouble: str = ""
    """The reason why it cannot work for this coordinator."""
    wrote: str = ""
    """The unfinished file that it has written into the target."""


class ProbeWriter:
    """The coordinator's end: it writes a probe, and looks for the answers."""

    def __init__(self, root: str) -> None:
        self._tree = TargetTree(root)
        self._root = root
        self._name = ""

    def write_probe(self) -> TargetProbe:
        """Return the probe, which is written again if something has removed it. Raises OSError or PrivateFileError."""
        if not self._name or self._tree.find(f"{TEMPORARY}/{self._name}") is None:
            self._tree.make_root()
            self._name = _write_unfinished(self._tree, f"probe-{secrets.token_hex(8)}")
        return TargetProbe(self._root, self._name)

    def find_trouble(self, answer: ViewAnswer, worker: str) -> str:
        """Return why files of a worker do not come into this directory; empty if they do. The answer is removed."""
        if not answer.wrote or not self._name or not answer.wrote.startswith(self._name):
            return f"{worker} has written nothing"
        try:
            if _read_unfinished(self._tree, answer.wrote) == answer.wrote:
                return ""
            return f"a file that {worker} writes to {self._root} has other content here"
        except OSError:
            return f"a file that {worker} writes to {self._root} is not there on {socket.gethostname()}"
        finally:
            with suppress(OSError):
                self._tree.discard(answer.wrote)

    def close(self) -> None:
        """Remove the probe."""
        with suppress(OSError):
            if self._name:
                self._tree.discard(self._name)
                self._tree.remove_temporary()
        self._tree.close()


def answer_probe(probe: TargetProbe) -> ViewAnswer:
    """Return a worker's answer: it reads the coordinator's file, and writes one beside it."""
    tree, here = TargetTree(probe.root), socket.gethostname()
    try:
        if not os.path.isdir(probe.root):
            return ViewAnswer(f"{here} has no {probe.root}")
        if tree.find(f"{TEMPORARY}/{probe.name}") is None:  # nothing is made in a directory that is another one
            return ViewAnswer(f"{here} has another directory at {probe.root}: a file written there is missing")
        if _read_unfinished(tree, probe.name) != probe.name:
            return ViewAnswer(f"{here} has other content for {os.path.join(probe.root, TEMPORARY, probe.name)}")
        return ViewAnswer(wrote=_write_unfinished(tree, f"{probe.name}.{secrets.token_hex(8)}"))
    except OSError as error:
        return ViewAnswer(f"{here} cannot write below {probe.root}: {error.strerror}")
    finally:
        tree.close()


def _read_unfinished(tree: TargetTree, name: str) -> str:
    """Return the text of an unfinished file. Raises OSError."""
    with os.fdopen(tree.open_unfinished(name), "rb") as file:
        return file.read(_MOST).decode("ascii", "replace")


def _write_unfinished(tree: TargetTree, name: str) -> str:
    """Write an unfinished file that holds its own name, and return that. Raises OSError."""
    descriptor = tree.create(name)
    try:
        write_all(descriptor, name.encode())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return name
