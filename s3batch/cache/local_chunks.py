"""The directory of chunks on the runner (``local_dir``), which builds share and which outlives their workspaces.

    DIR/.s3batch/chunks/<id>    a chunk or a segment as it is stored in the bucket

Nothing in the directory is trusted: each chunk is checked against its id, like a fetched one. A file of another user,
not regular or not complete costs a fetch. The time of a file is its last use; the least recently used one is removed
first. A file that cannot be read or written is treated as missing.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import time
from collections import Counter
from dataclasses import dataclass

from s3batch.base.errors import JournalError
from s3batch.files import private

LONGEST = 40 << 20
"""Bytes of a file; a chunk of 32 MiB that does not shrink has less."""
_SHARE = 8
"""The part of the limit that one process may write before it checks the limit again."""
_ABANDONED = 3600.0
"""Seconds after which a file that was not finished goes: its writer was killed."""
_ID = re.compile("[0-9a-f]{64}")
_UNFINISHED = re.compile(r"[0-9a-f]{64}\.[0-9a-f]{16}")
_TROUBLE = (OSError, JournalError)

_written: Counter[str] = Counter()
"""Bytes this process has written since it last looked at the limit, by directory."""


@dataclass(frozen=True, slots=True)
class LocalChunks:
    """Such a directory, for any process of the step."""

    directory: str
    limit: int
    """Bytes of all files together."""
    can_write: bool = True

    def get(self, name: str) -> bytes | None:
        """Return the content kept under an id in hex, or ``None``. The caller checks its hash."""
        path = self._path(name)
        try:
            body = private.read_private_file(path, LONGEST)
        except _TROUBLE:
            return None
        if len(body) > LONGEST:
            self.forget(name)
            return None
        with contextlib.suppress(*_TROUBLE):
            private.set_file_times(path, time.time_ns())
        return body

    def put(self, name: str, body: bytes) -> None:
        """Keep a chunk, if there is room. Another build may keep the same one at the same time."""
        if not self.can_write or not 0 < len(body) <= min(self.limit, LONGEST):
            return
        path = self._path(name)
        scratch = f"{path}.{secrets.token_hex(8)}"
        try:
            try:
                with private.create_file(scratch) as file:
                    file.write(body)
                private.rename_file(scratch, path)
            except BaseException:
                private.remove_file(scratch)
                raise
        except _TROUBLE:
            return
        _written[self.directory] += len(body)
        if _written[self.directory] > self.limit // _SHARE:
            self.trim()

    def forget(self, name: str) -> None:
        """Remove a chunk whose content does not match its name."""
        with contextlib.suppress(*_TROUBLE):
            private.remove_file(self._path(name))

    def trim(self) -> None:
        """Remove the least recently used chunks until the limit holds. Files with other names stay."""
        _written[self.directory] = 0
        try:
            found = private.list_files(self.directory)
        except _TROUBLE:
            return
        kept = [each for each in found if _ID.fullmatch(each.name)]
        now = time.time()
        for each in found:
            if _UNFINISHED.fullmatch(each.name) and now - each.touched_ns / 1e9 > _ABANDONED:
                self.forget(each.name)
        size = sum(each.size for each in kept)
        for each in sorted(kept, key=lambda each: each.touched_ns):
            if size <= self.limit:
                return
            self.forget(each.name)
            size -= each.size

    def _path(self, name: str) -> str:
        return os.path.join(self.directory, name)


def open_local(directory: str, limit: int) -> tuple[LocalChunks | None, str]:
    """Return the chunks kept below ``directory``, and its problem; ``None`` if it cannot be used."""
    path = os.path.join(directory, private.OWN_DIRECTORY, "chunks")
    try:
        private.make_directory(path)
        can_write, trouble = _probe_directory(path)
    except _TROUBLE as error:
        return None, f"local_dir {directory} is not used: {_error_words(error)}"
    said = f"nothing is kept in local_dir {directory}: {trouble}" if trouble else ""
    return LocalChunks(path, limit, can_write), said


def _probe_directory(path: str) -> tuple[bool, str]:
    """Return whether a file can be made there, and why not."""
    probe = os.path.join(path, f"probe-{secrets.token_hex(8)}")
    try:
        with private.create_file(probe):
            pass
        private.remove_file(probe)
    except OSError as error:
        return False, _error_words(error)
    return True, ""


def _error_words(error: Exception) -> str:
    return error.message if isinstance(error, JournalError) else os.strerror(getattr(error, "errno", 0) or 0)
