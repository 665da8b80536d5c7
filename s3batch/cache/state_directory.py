"""The directory of s3batch's own files for a workspace: state, plans, undo records, the journal.

It is ``.s3batch`` in the workspace, where a later step of the build finds it. If the workspace cannot be written, or
that directory holds a file of another user, it is TMPDIR/s3batch-UID. That is slower for the next step, which finds no
state there, but no failure.
"""

from __future__ import annotations

import os

from s3batch.base.errors import JobFailedError, JournalError
from s3batch.base.named_tuple import NamedTuple
from s3batch.files import private
from s3batch.files.private import OWN_DIRECTORY, PrivateFileError


class StateDirectory(NamedTuple):
    """The directory of s3batch's own files."""

    path: str
    trouble: str
    """Why it is not the usual one, where that is worth a warning; else empty."""


def own_directory(workspace: str) -> StateDirectory:
    """Return the directory, made and writable. Raises :class:`JobFailedError` if none can be made."""
    trouble = ""
    try:
        for path in (os.path.join(workspace, OWN_DIRECTORY), private.temporary_state_path()):
            try:
                if make_writable(path):
                    return StateDirectory(path, trouble)
            except PrivateFileError as error:
                trouble = trouble or error.message
        return StateDirectory(private.make_temporary_directory(), trouble)
    except JournalError as error:
        raise JobFailedError(
            f"neither {workspace} nor the temporary directory can be written", hint="set TMPDIR to a directory that can"
        ) from error


def make_writable(path: str) -> bool:
    """Return whether the directory exists, or could be made, and can be written.

    Raises PrivateFileError if it, or a file in it, belongs to another user.
    """
    if not private.is_directory_writable(path):
        return False
    try:
        private.make_directory(path)
        private.check_entries(path)
    except OSError:
        return False
    return True
