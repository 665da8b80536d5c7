"""Where s3batch keeps its own files beside a workspace: state, plans, what a restore needs to be undone, the journal.

That is ``.s3batch`` in the workspace, where a later step of the build finds it. Where the workspace is not ours to
write (read-only, or somebody else's), it is a directory of ours below the temporary one: slower for the next step,
which finds nothing there, and no reason to fail.
"""

from __future__ import annotations

import os
import stat
import tempfile

from s3batch.archive.paths import OWN
from s3batch.errors import JobFailedError

_MODE = 0o700


def own_directory(workspace: str) -> str:
    """The directory, made and writable. Raises :class:`JobFailedError` if there is none to be had."""
    for path in (os.path.join(workspace, OWN), _below_temporary()):
        if make_writable(path):
            return path
    try:
        return tempfile.mkdtemp(prefix="s3batch-")
    except OSError as error:
        raise JobFailedError(
            f"neither {workspace} nor the temporary directory can be written: {error.strerror}",
            hint="set TMPDIR to a directory that can",
        ) from error


def make_writable(path: str) -> bool:
    """Whether the directory is there, or could be made, and is ours alone to write in."""
    try:
        os.makedirs(path, mode=_MODE, exist_ok=True)
        status = os.lstat(path)
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and os.access(path, os.W_OK | os.X_OK)


def _below_temporary() -> str:
    """The same for every step of ours; empty if somebody else may have made it."""
    path = os.path.join(tempfile.gettempdir(), f"s3batch-{os.geteuid()}")
    try:
        os.mkdir(path, _MODE)
    except FileExistsError:
        status = os.lstat(path)
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o022:
            return ""
    except OSError:
        return ""
    return path
