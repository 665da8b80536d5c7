"""From the build and the settings to the names of its cache, and to what the commit message orders."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from s3batch.archive import keys
from s3batch.archive.paths import parse_roots
from s3batch.archive.templates import Rendered, render
from s3batch.cache.layout import base_of

if TYPE_CHECKING:
    from s3batch.build import Build
    from s3batch.settings import Settings

_SKIP, _CLEAR = "[NO CACHE]", "[CLEAR CACHE]"
_NO_OWNER = "local"
"""Owner of a repository that no CI tells of: a run on somebody's own machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """The objects of one cache, by their full keys."""

    own: str
    """The key object of this build; what a rebuild writes, if it may."""
    lookups: tuple[keys.Lookup, ...]
    """What a restore tries, in order."""
    legacy: tuple[keys.LegacyObject, ...]
    """What older plugins may have left; tried last."""
    refusal: str
    """Why this build writes nothing; empty: it may."""
    warnings: tuple[str, ...] = ()

    @property
    def exact(self) -> tuple[str, ...]:
        """The key objects that are not prefixes."""
        return tuple(lookup.key for lookup in self.lookups if not lookup.is_prefix)


def command_of(settings: Settings) -> str:
    """``skip``, ``clear`` or nothing: what the commit message says about the cache. Skipping beats clearing."""
    message = settings.build.message if settings.build else ""
    if _SKIP in message:
        return "skip"
    return "clear" if _CLEAR in message else ""


def names_of(settings: Settings) -> Names:
    """The objects of this build's cache. ``SettingsError`` for a template that is none."""
    base, build = base_of(settings.prefix), build_of(settings)
    roots = parse_roots(settings.cache, settings.at_workspace("."))
    version = keys.paths_version(roots, f"{os.uname().sysname}-{os.uname().machine}".lower())
    key = _rendered(settings, settings.cache_key, "cache_key")
    others = [_rendered(settings, each, "restore_keys") for each in settings.restore_keys]
    scopes = keys.scopes(build)
    name = key.text or keys.DEFAULT_KEY
    lookups = keys.lookups(base, scopes.read, version, name, [other.text for other in others])
    own = scopes.write or (scopes.read[0] if scopes.read else "")
    return Names(
        own=keys.manifest_key(base, own, version, name) if own else "",
        lookups=tuple(lookups),
        legacy=tuple(keys.legacy_objects(build, roots, base, key.text)),
        refusal="" if scopes.write else _refusal(build),
        warnings=tuple(warning for each in (key, *others) for warning in each.warnings),
    )


def cleared_by(settings: Settings) -> tuple[tuple[str, ...], str]:
    """The prefixes whose objects a clear removes, and why it must not, if so."""
    build = build_of(settings)
    prefixes = keys.cleared_prefixes(base_of(settings.prefix), build)
    return prefixes, "" if prefixes else _refusal(build)


def build_of(settings: Settings) -> keys.Build:
    """What names a cache, of what the CI says of the build; a fork that cannot be told is taken for one."""
    build = settings.build
    owner = build.owner if build else ""
    repo = build.repo if build else ""
    return keys.Build(
        owner=owner or _NO_OWNER,
        repo=repo or os.path.basename(settings.at_workspace(".")) or "root",
        branch=(build.source_branch or build.branch) if build else "",
        target_branch=build.target_branch if build else "",
        default_branch=build.default_branch if build else "",
        event=(build.event if build else "") or "push",
        pull_request=build.pull_request if build else "",
        tag=build.tag if build else "",
        fork=bool(build and build.is_pull_request and build.fork),
        read_only=settings.read_only,
    )


def _refusal(build: keys.Build) -> str:
    if build.read_only:
        return "read_only is set, nothing is written to the cache"
    return "a pull request from elsewhere writes nothing to the cache"


def _rendered(settings: Settings, template: str, name: str) -> Rendered:
    return render(template, _facts(settings.build), settings.at_workspace("."), now=time.time(), setting=name)


def _facts(build: Build | None) -> dict[str, str]:
    """The fields of drone-cache's templates; those a CI did not tell have drone-cache's own defaults."""
    if build is None:
        return {"Commit.Branch": "master", "Commit.Ref": "refs/heads/master", "Build.Event": "push"}
    return {
        "Repo.Avatar": build.avatar, "Repo.Branch": build.default_branch, "Repo.Link": build.link,
        "Repo.Name": build.repo, "Repo.Namespace": build.owner, "Repo.Owner": build.owner,
        "Repo.Private": build.private or "false", "Repo.Trusted": build.trusted or "false",
        "Build.Created": build.created, "Build.Deploy": build.deploy, "Build.Event": build.event or "push",
        "Build.Finished": build.finished, "Build.Link": build.build_link, "Build.Number": build.number,
        "Build.Started": build.started, "Build.Status": build.status or "success",
        "Commit.Author.Name": build.author_name or build.author, "Commit.Author.Email": build.author_email,
        "Commit.Author.Avatar": build.author_avatar, "Commit.Branch": build.branch or "master",
        "Commit.Link": build.commit_link, "Commit.Message": build.message,
        "Commit.Ref": build.ref or "refs/heads/master", "Commit.Remote": build.remote, "Commit.Sha": build.sha,
    }  # fmt: skip
