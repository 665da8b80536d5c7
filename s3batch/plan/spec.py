"""The specification of a sync job: its settings as values. Every wrong setting is reported here.

Nothing in it reads a file's content or asks S3, and equal settings always give an equal specification. So a resumed job
goes on with the plan it was begun with.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from s3batch.base import hashes
from s3batch.base.errors import SettingsError
from s3batch.base.named_tuple import NamedTuple
from s3batch.model import Stage
from s3batch.objects.attributes import AttributeRules
from s3batch.objects.key_paths import KeyPaths
from s3batch.objects.own_keys import OWN
from s3batch.objects.redirects import Redirect, parse_redirects, refuse_uploaded
from s3batch.objects.target import Target
from s3batch.plan.delete_limit import DeleteLimit
from s3batch.settings.direction import S3Place
from s3batch.source.filters import Selection
from s3batch.source.gitignore import Patterns
from s3batch.source.locate import Source, resolve_source
from s3batch.source.size_and_age import FileLimits
from s3batch.source.walk import Walk, WalkFilter, walk_source

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from s3batch.model import LocalFile
    from s3batch.settings.table import Settings

KEPT = OWN
"""Keys of s3batch itself below the target: never orphans."""


class SyncSpec(NamedTuple):
    """The settings as the job needs them; a wrong one is reported here, before any request."""

    settings: Settings
    source: Source
    single: bool
    """True if the source is one file, whose key may be the target itself."""
    target: Target
    rules: AttributeRules
    selection: WalkFilter
    redirects: tuple[Redirect, ...]
    delete_limit: DeleteLimit
    last: Patterns
    limits: FileLimits = FileLimits()
    read: tuple[str, ...] = ()
    """The lines of the files that settings name; they are part of the plan."""
    place: S3Place = S3Place("", "")
    """The source of a transfer; empty of a local one."""

    @classmethod
    def from_settings(cls, settings: Settings) -> SyncSpec:
        """Return the specification. Raises SettingsError; JobFailedError for a missing source."""
        target = Target.from_settings(settings)
        source = resolve_source(settings)
        if source.pattern and settings.list_digest:
            raise SettingsError("files_from needs a directory as source, not a glob", hint="name the directory")
        selection = Selection.from_settings(settings, "" if source.is_file else source.base)
        wanted = cls(
            settings=settings, source=source, single=source.is_file, target=target,
            rules=AttributeRules.from_settings(settings, source.base),
            selection=source.select(selection), read=selection.read, limits=FileLimits.from_settings(settings),
            redirects=parse_redirects(settings), delete_limit=DeleteLimit.from_settings(settings),
            last=parse_publish_last(settings),
        )  # fmt: skip
        wanted.refuse_one_key_for_two()
        return wanted

    def plan_digest(self) -> str:
        """Return a digest of all that decides the plan: see :meth:`s3batch.settings.table.Settings.plan_digest`."""
        digest = self.settings.plan_digest()
        if not self.read:
            return digest
        text = "\0".join([digest, *self.read]).encode("utf-8", "surrogateescape")
        return hashes.blake2b(text, digest_size=8).hexdigest()

    @property
    def prefix(self) -> str:
        """Nothing outside it is ever touched, but redirects and the one key of a source that is a file."""
        return self.target.prefix

    @property
    def is_one_key(self) -> bool:
        """The source is a file and the target its whole key: nothing is below it."""
        return self.single and bool(self.target.whole)

    @property
    def listed(self) -> str:
        """The prefix of the keys to list."""
        return self.target.whole if self.is_one_key else self.prefix

    def key(self, path: str) -> str:
        """Return the key of the file at ``path``."""
        return self.target.key_of_single(path) if self.single else self.target.key(path)

    def owns(self, key: str) -> bool:
        """Return whether a key may be the job's: below its prefix, its one key, or a redirect's."""
        return (
            key.startswith(self.prefix) or key == self.target.whole or any(key == each.key for each in self.redirects)
        )

    def keys(self, paths: Sequence[str]) -> list[str]:
        """Return the keys of the files at these paths."""
        if self.single or self.target.stripped is not None:
            return [self.key(path) for path in paths]
        prefix = self.target.prefix
        return [prefix + path for path in paths]

    def stage(self, path: str) -> int:
        """Return the stage in which the file at ``path`` is sent."""
        return Stage.PUBLISH_LAST if self.last.groups and self.last.verdict(path) else Stage.MAIN

    def selects(self, key: str) -> bool:
        """Return whether a file of the source with this key would belong to the job."""
        wants, path = self.selection.wants, key[len(self.prefix) :]
        return wants(path) or any(wants(each) for each in self.paths(key) if each != path)

    def hides(self, key: str) -> bool:
        """Return whether an ignore file leaves out a file of the source with this key."""
        return any(self.selection.is_hidden(path) for path in [key[len(self.prefix) :], *self.paths(key)])

    @property
    def key_paths(self) -> KeyPaths:
        """The way back from keys to paths."""
        root = self.source.root  # whose kind was looked at once: an orphan costs no look
        if self.single:
            return KeyPaths(os.path.dirname(root), self.target, self.source.name)
        return KeyPaths(root, self.target)

    def paths(self, key: str) -> list[str]:
        """Return the files of the source that may have this key, as far as the key shows its path."""
        return self.key_paths.paths(key)

    def refuse_one_key_for_two(self) -> None:
        """Raise SettingsError if a redirect has a file's key, or ``strip_prefix`` gives two files one key.

        Only the latter has to walk the source, at 4 µs and 32 bytes a file.
        """
        for redirect in self.redirects:
            found = [path for path in self.paths(redirect.key) if self.selection.wants(path)]
            if any(os.path.isfile(os.path.join(self.source.base, path)) for path in found):
                refuse_uploaded(self.settings, self.redirects, [redirect.key])
        seen: set[int] = set()
        for file in self._iterate_stripped():
            key = self.key(file.path)
            if hash(key) in seen:
                raise self.settings.bad(
                    "strip_prefix", f"{file.path!r} and another file would both have the key {key!r}"
                )
            seen.add(hash(key))

    def walk(self, journal: str = "") -> Walk:
        """Return a walk of the source under the job's link policy; ``journal`` lies in it perhaps, and is no file."""
        return walk_source(
            self.source.root, self.selection, symlinks=self.settings.symlinks, journal=journal,
            own=self.settings.state_directories(), plan=self.settings.plan_path, limits=self.limits,
        )  # fmt: skip

    def _iterate_stripped(self) -> Iterable[LocalFile]:
        return self.walk() if self.target.stripped else ()


def parse_publish_last(settings: Settings) -> Patterns:
    """Return the patterns of what is sent last. Raises SettingsError."""
    try:
        return Patterns.of(settings.publish_last)
    except ValueError as error:
        raise settings.bad("publish_last", str(error)) from None
