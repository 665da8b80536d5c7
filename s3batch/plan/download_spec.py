"""The specification of a download: its settings as values. Every wrong setting is reported here."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from s3batch.base.errors import SettingsError
from s3batch.base.named_tuple import NamedTuple
from s3batch.files.private import OWN_DIRECTORY
from s3batch.plan.delete_limit import DeleteLimit
from s3batch.settings.direction import S3Place, parse_source_place
from s3batch.settings.schema import Topic
from s3batch.settings.table import TABLE
from s3batch.source.filters import Selection
from s3batch.source.size_and_age import FileLimits

if TYPE_CHECKING:
    from s3batch.settings.table import Settings

_OF_UPLOADS = frozenset(
    {
        "redirects", "publish_last", "strip_prefix", "object_manifest", "allow_file_source", "newest_wins", "backup",
        *(name for name, row in TABLE.items() if row.topic in {Topic.ATTRIBUTES, Topic.CLOUDFRONT}),
    } - {"preserve", "checksum", "encryption", "kms_key_id"}
)  # fmt: skip


class DownloadSpec(NamedTuple):
    """The settings as the job needs them."""

    settings: Settings
    place: S3Place
    root: str
    """The target: an absolute path without links in it. The directory may be missing."""
    selection: Selection
    delete_limit: DeleteLimit
    limits: FileLimits = FileLimits()
    state: frozenset[str] = frozenset()
    """The directories of journals and locks that lie below the target, as paths in it: a home has one."""

    @classmethod
    def from_settings(cls, settings: Settings) -> DownloadSpec:
        """Return the specification. Raises SettingsError."""
        for name in sorted(_OF_UPLOADS & settings.origins.keys()):
            if settings.origin(name).startswith("--"):
                raise SettingsError(
                    f"{name} (from {settings.origin(name)}) has no meaning in a download", hint="leave it out"
                )
        root = os.path.realpath(settings.at_workspace(settings.target))
        if os.path.lexists(root) and not os.path.isdir(root):
            raise SettingsError(f"target {settings.target!r} is no directory", hint="name a directory to download into")
        return cls(
            settings=settings,
            place=parse_source_place(settings),
            root=root,
            selection=Selection.from_settings(settings, root),
            delete_limit=DeleteLimit.from_settings(settings),
            limits=FileLimits.from_settings(settings),
            state=_find_state_below(root, settings),
        )

    @property
    def prefix(self) -> str:
        """The text that every key of the job begins with."""
        return self.place.prefix

    def path(self, key: str) -> str:
        """Return the path of a key below the target; empty for the prefix itself, with ``/`` at the end for a marker."""
        return key[len(self.prefix) :]

    def key(self, path: str) -> str:
        """Return the key of a path."""
        return self.prefix + path

    def owns(self, key: str) -> bool:
        """Return whether a key may be the job's."""
        return key.startswith(self.prefix)

    def leaves_out(self, path: str) -> bool:
        """Return whether nothing is done about this path: it is s3batch's own, or not selected."""
        return self.keeps_out(path) or not self.selection.wants(path)

    def keeps_out(self, path: str) -> bool:
        """Return whether a path leads into a directory of s3batch, which no object fills and no delete empties."""
        if OWN_DIRECTORY in path and OWN_DIRECTORY in path.split("/"):
            return True
        return bool(self.state) and any(f"{path}/".startswith(f"{each}/") for each in self.state)


def _find_state_below(root: str, settings: Settings) -> frozenset[str]:
    places = map(os.path.realpath, settings.state_directories())
    above = os.path.join(root, "")
    return frozenset(each.removeprefix(above) for each in places if each.startswith(above))
