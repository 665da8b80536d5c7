"""The files that a step of the cache leaves for later steps: the state of the paths, notes, and the plan of its workers."""

from __future__ import annotations

import contextlib
import hashlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from s3batch.archive.local_state import load_state, read_state, save_state
from s3batch.cache.path_lock import PathLock
from s3batch.files import private

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from s3batch.archive.local_state import EncodedState, LocalState
    from s3batch.archive.validate import Limits
    from s3batch.settings.table import Settings


@dataclass
class StateFiles:
    """The files of one step. Their names hold digests of the workspace and of the listed paths."""

    settings: Settings
    own: str
    """The directory of s3batch's own files."""
    texts: Sequence[str]
    """The listed paths as they were written."""
    keys: Iterable[str]
    """The keys that the step may write."""
    journal_path: str
    limits: Limits
    warn: Callable[[str], None]

    def __post_init__(self) -> None:
        digest = _digest_texts(self.settings.at_workspace("."), *self.texts)
        stem = os.path.join(self.own, f"cache-{digest}")
        self.path_lock = PathLock(self.own, digest, self.texts)
        self.state_path = f"{stem}.state"
        self.undo_path = f"{stem}.undo"
        # the journal's holder is alone with it; two caches of the same paths may run at once
        self.plan_path = f"{stem}-{_digest_texts(self.journal_path)}.{self.settings.command.rpartition(' ')[2]}"
        self.distrust_path = f"{stem}.distrust"
        self.reject_paths = {key: f"{stem}-{_digest_texts(key)}.reject" for key in self.keys}

    def reject(self, key: str) -> None:
        """Note that the object under a key is not a valid cache. ``override: false`` does not keep it under an own key."""
        if key in self.reject_paths and not self.settings.dry_run:
            _write_state_file(self.reject_paths[key], "what is under our key is no cache\n")

    def is_rejected(self, key: str) -> bool:
        """Return True if there is such a note."""
        return key in self.reject_paths and private.file_exists(self.reject_paths[key])

    def distrust(self) -> None:
        """Note that the store lost or damaged a chunk: the next rebuild takes nothing there for stored."""
        _write_state_file(self.distrust_path, "a chunk could not be had\n")

    @property
    def distrusted(self) -> bool:
        """True if such a note exists."""
        return private.file_exists(self.distrust_path)

    def trust_again(self) -> None:
        """Remove the note: everything has been stored again, or exists."""
        for note in (self.distrust_path, *self.reject_paths.values()):
            with contextlib.suppress(FileNotFoundError):
                private.remove_file(note)

    def remembered(self) -> EncodedState | None:
        """Return the state of an earlier step."""
        return read_state(self.state_path, self.limits)

    def state(self) -> LocalState | None:
        """Return the decoded state, if it is within the limits of this step."""
        return load_state(self.state_path, self.limits)

    def remember(self, state: LocalState) -> None:
        """Save the state, so that a later step need not read every file. A failure to save is a warning."""
        try:
            save_state(self.state_path, state)
        except OSError as error:
            self.warn(f"cannot write to {self.own}, so the next step reads every file: {error.strerror}")
        self.remove_plan()

    def remove_plan(self) -> None:
        """Delete the plan file."""
        with contextlib.suppress(FileNotFoundError):
            private.remove_file(self.plan_path)


def _write_state_file(path: str, text: str) -> None:
    """Write a file of the state. If there is no room for it, the next restore finds the facts again."""
    with contextlib.suppress(OSError):
        private.write_private_note(path, text)


def _digest_texts(*texts: str) -> str:
    # 48 bits tell the few files of a directory apart
    return hashlib.blake2b(os.fsencode("\0".join(texts)), digest_size=6).hexdigest()
