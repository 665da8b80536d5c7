"""A source of which the filters leave nothing: most often a slip of the pen, so the job warns of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from s3batch.source.ignore_files import is_ignore_file
from s3batch.source.walk import walk_source

if TYPE_CHECKING:
    from s3batch.plan.spec import SyncSpec

LEFT_EMPTY = "the filters leave no file of the source"
NONE_LISTED = "files_from names no file that the job takes"


class _Everything:
    """The selection of all files, except those that hold patterns."""

    def wants(self, path: str) -> bool:
        return not is_ignore_file(path)

    def wants_all_in(self, directory: str) -> bool:
        return True

    def enters(self, directory: str) -> bool:
        return True

    def is_hidden(self, path: str) -> bool:
        return False


def has_hidden_files(wanted: SyncSpec, journal: str) -> bool:
    """Return whether the source has a file at all; it is looked for up to the first one."""
    walked = walk_source(
        wanted.source.root, _Everything(), symlinks=wanted.settings.symlinks, journal=journal,
        own=wanted.settings.state_directories(), plan=wanted.settings.plan_path,
    )  # fmt: skip
    return next(iter(walked), None) is not None
