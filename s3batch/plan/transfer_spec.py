"""The specification of a transfer: a sync whose source is a prefix of a bucket too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from s3batch.base import hashes
from s3batch.objects.attributes import AttributeRules
from s3batch.objects.key_paths import ObjectKeyPaths
from s3batch.objects.redirects import parse_redirects
from s3batch.objects.target import Target
from s3batch.plan.delete_limit import DeleteLimit
from s3batch.plan.spec import SyncSpec, parse_publish_last
from s3batch.settings.direction import parse_source_place, settings_of_source
from s3batch.source.filters import Selection
from s3batch.source.locate import Source
from s3batch.source.size_and_age import FileLimits

if TYPE_CHECKING:
    from s3batch.objects.key_paths import KeyPaths
    from s3batch.settings.table import Settings

_ANYWHERE = "/"
"""The root of the pattern maps: a pattern that begins with a slash matches a key below the source's prefix."""


class TransferSpec(SyncSpec):
    """The settings of a transfer. A path is the rest of a source's key behind its prefix."""

    __slots__ = ()

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Return the specification. Raises SettingsError."""
        place = parse_source_place(settings)
        _refuse_settings_of_files(settings)
        settings_of_source(settings)  # refuses what the source lacks before a job, or a plan's only use, has begun
        selection = Selection.from_settings(settings)
        return cls(
            settings=settings, source=Source(f"s3://{place.bucket}/{place.prefix}"), single=False,
            target=Target.from_settings(settings),
            rules=AttributeRules.from_settings(settings, _ANYWHERE, guesses_types=False),
            selection=selection, read=selection.read, limits=FileLimits.from_settings(settings), redirects=parse_redirects(settings),
            delete_limit=DeleteLimit.from_settings(settings), last=parse_publish_last(settings), place=place,
        )  # fmt: skip

    def plan_digest(self) -> str:
        """Return a digest of all that decides the plan: the source's server is part of it."""
        text = f"{SyncSpec.plan_digest(self)}\0{self.settings.source_endpoint_url}"
        return hashes.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()

    @property
    def key_paths(self) -> KeyPaths:
        """The way back from keys to paths. Nothing on this machine shows which of them exist."""
        return ObjectKeyPaths(_ANYWHERE, self.target)

    def source_key(self, path: str) -> str:
        """Return the key of the object at ``path``."""
        return self.place.prefix + path


def _refuse_settings_of_files(settings: Settings) -> None:
    """Raise SettingsError for settings that change content or names: an object keeps both."""
    for name in ("gzip", "strip_prefix"):
        if getattr(settings, name):
            raise settings.bad(name, "leave it out: objects of a source in S3 keep their content and their names")
