"""From the build and the settings to the names of its cache, and the command in the commit message."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from s3batch.archive.exclusions import Exclusions
from s3batch.archive.listed import ListedPaths
from s3batch.archive.paths import parse_roots
from s3batch.base.errors import SettingsError
from s3batch.cache import object_keys
from s3batch.cache.key_template import Rendered, go_arch, go_os, render_key
from s3batch.cache.object_keys import base_of, title_of_key
from s3batch.settings.ci_build import GIT, CIBuild

if TYPE_CHECKING:
    from collections.abc import Mapping

    from s3batch.settings.table import Settings

SKIP, CLEAR = "[NO CACHE]", "[CLEAR CACHE]"


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheObjects:
    """The objects of one cache, by their full keys."""

    base: str
    """The prefix of every key: the ``prefix`` setting."""
    listed: ListedPaths
    """The paths to cache."""
    owns: Mapping[str, str]
    """The key objects of this build, which a rebuild writes, if it may, each with the template of its key."""
    lookups: tuple[object_keys.RestoreCandidate, ...]
    """The lookups of a restore, in order."""
    exclude: Exclusions
    """Patterns of the entries below the paths that are left alone."""
    legacy: tuple[object_keys.LegacyObject, ...]
    """The objects that older plugins may have left; tried last."""
    refusal: str
    """Why this build writes nothing; empty: it may."""
    untrusted: bool
    """True if others may have written what is built: then objects of other scopes are not touched."""
    warnings: tuple[str, ...] = ()

    @property
    def own(self) -> str:
        """The first of this build's key objects. Empty if it has none."""
        return next(iter(self.owns), "")

    @property
    def exact(self) -> tuple[str, ...]:
        """The key objects that are not prefixes."""
        return tuple(lookup.key for lookup in self.lookups if not lookup.is_prefix)

    @property
    def title(self) -> str:
        """This build's cache as people know it."""
        return title_of_key(self.base, self.own) if self.own else "this build"


def command_of(settings: Settings) -> str:
    """Return the command in the commit message: :data:`SKIP`, :data:`CLEAR` or empty. Skipping beats clearing."""
    message = settings.build.message if settings.build else ""
    return next((word for word in (SKIP, CLEAR) if word in message), "")


def cache_objects_of(settings: Settings) -> CacheObjects:
    """Return the objects of this build's cache. Raises SettingsError for malformed paths, keys and templates."""
    base, build = base_of(settings.prefix), build_of(settings)
    roots = parse_roots(settings.cache, settings.at_workspace("."))
    if not roots:
        raise settings.bad("cache", "list the directories and files to cache")
    listed = ListedPaths(roots, settings.at_workspace("."))
    version = object_keys.paths_version(roots, "any" if settings.cross_os else system_name())
    rendered = {template: _render_template(settings, template, "cache_key") for template in settings.cache_key}
    templates: dict[str, str] = {}
    for template, key in rendered.items():
        templates.setdefault(key.text, template)
    templates.pop("", None)
    wanted = templates or {object_keys.DEFAULT_KEY: "".join(settings.cache_key[:1])}
    others = [_render_template(settings, each, "restore_keys") for each in settings.restore_keys]
    if not settings.cache_key:
        _require_identity(settings)
    scopes = object_keys.scopes_of_build(build)
    own = scopes.write or (scopes.read[0] if scopes.read else "")
    return CacheObjects(
        base=base,
        listed=listed,
        owns={object_keys.manifest_key(base, own, version, key): template for key, template in wanted.items()} if own else {},
        lookups=tuple(
            object_keys.plan_lookups(base, scopes.read, version, list(wanted), [other.text for other in others if other.text])
        ),
        exclude=_parse_exclusions(settings, roots),
        legacy=_objects_of_older_plugins(settings, build, listed.names, next(iter(wanted)) if templates else ""),
        refusal=_refusal_to_write(build, writes=bool(scopes.write), shared=bool(settings.compat)),
        untrusted=build.is_pull_request(),
        warnings=tuple(warning for each in (*rendered.values(), *others) for warning in each.warnings),
    )  # fmt: skip


def _parse_exclusions(settings: Settings, roots: tuple[str, ...]) -> Exclusions:
    try:
        return Exclusions(settings.exclude, roots)
    except ValueError as error:
        raise settings.bad("exclude", str(error)) from None


def system_name() -> str:
    """Return the system that a cache is for, such as ``linux/amd64``."""
    return f"{go_os()}/{go_arch()}"


def compat_key(settings: Settings) -> str:
    """Return the key under which drone-s3cache looks for this repository's cache."""
    if not (settings.build and settings.build.repo):
        raise settings.bad("compat", "remove it: it needs the name of the repository, which neither CI nor git gives")
    return object_keys.legacy_objects(build_of(settings), ())[0].key


def cleared_by(settings: Settings) -> tuple[tuple[str, ...], str]:
    """Return the prefixes that a clear removes, and the reason if it must not.

    Old plugins used a directory of the bucket with the repository's name, without its owner. Only CIs that run those
    plugins have it; elsewhere such a directory may belong to someone else.
    """
    _require_repository(settings)
    build = build_of(settings)
    prefixes = object_keys.cleared_prefixes(base_of(settings.prefix), build)
    return prefixes if _had_old_plugins(settings) else prefixes[:1], _refusal_to_write(build, writes=bool(prefixes))


def _had_old_plugins(settings: Settings) -> bool:
    return settings.build is not None and bool(settings.build.repo) and settings.build.is_of_drone


def _require_identity(settings: Settings) -> None:
    """Raise :class:`SettingsError` where nothing says whose the cache of this build is."""
    _require_repository(settings)
    build = settings.build
    if build and not (build.branch or build.tag or build.is_pull_request or build.is_of_drone):
        why = "git's HEAD is detached" if build.system == GIT else "neither the CI nor git's HEAD names a branch"
        raise SettingsError(f"the cache has no name: {why}", hint="give cache_key, or check out a branch")


def _require_repository(settings: Settings) -> None:
    """Raise :class:`SettingsError` where neither a CI nor git says which repository this is.

    Drone's kin may name a repository without its owner, as those who run a plugin by hand do.
    """
    build = settings.build
    if build and build.repo and (build.owner or build.is_of_drone):
        return
    hint = "run it in a CI or in a clone" + ("" if settings.command == "cache clear" else ", or give cache_key")
    raise SettingsError(
        "the cache has no name: neither a CI nor a git remote (origin, or the only one) names the repository",
        hint=hint,
    )


def _objects_of_older_plugins(
    settings: Settings, build: object_keys.BuildIdentity, roots: tuple[str, ...], key: str
) -> tuple[object_keys.LegacyObject, ...]:
    """Return the objects of older plugins: none if caches must be signed, or if no such plugin can have run."""
    if settings.cache_secret or not roots or not (_had_old_plugins(settings) or settings.compat):
        return ()
    return tuple(object_keys.legacy_objects(build, roots, base_of(settings.prefix), key))


def build_of(settings: Settings) -> object_keys.BuildIdentity:
    """Return the facts of the build that name a cache.

    Drone and its kin do not say whether a pull request is from a fork. There, like every pull request, it writes to a
    scope that no other build reads.
    """
    build = settings.build or CIBuild(system=GIT)
    own = build.source_branch or build.branch
    return object_keys.BuildIdentity(
        owner=build.owner or object_keys.UNKNOWN,
        repo=build.repo or object_keys.UNKNOWN,
        read_only=settings.read_only,
        branch=own if own or build.tag or build.is_of_drone else object_keys.UNKNOWN,
        target_branch=build.target_branch,
        default_branch=build.default_branch,
        event="pull_request" if build.is_pull_request else build.event or "push",
        pull_request=build.pull_request,
        tag=build.tag,
        fork=bool(build.fork),
    )


def _refusal_to_write(build: object_keys.BuildIdentity, *, writes: bool, shared: bool = False) -> str:
    """Return the reason not to write; empty if there is none. ``shared``: it would be the archive of all branches."""
    if build.read_only:
        return "read_only is set, nothing is written to the cache"
    if not writes:
        return "a pull request from another repository writes nothing to the cache"
    if shared and build.is_pull_request():
        return "with compat a pull request writes nothing to the cache: every branch would restore it"
    return ""


def _render_template(settings: Settings, template: str, name: str) -> Rendered:
    return render_key(
        template, _template_fields(settings.build), settings.at_workspace("."), now=time.time(), setting=name
    )


def _template_fields(build: CIBuild | None) -> dict[str, str]:
    """Return the fields of drone-cache's templates; those that a CI did not set have drone-cache's own defaults."""
    told = _build_fields(build) if build else {}
    defaults = {
        "Commit.Branch": "master", "Commit.Ref": "refs/heads/master", "Build.Event": "push",
        "Build.Status": "success", "Repo.Private": "false", "Repo.Trusted": "false",
    }  # fmt: skip
    return defaults | {name: value for name, value in told.items() if value}


def _build_fields(build: CIBuild) -> dict[str, str]:
    return {
        "Repo.Avatar": build.avatar, "Repo.Branch": build.default_branch, "Repo.Link": build.link,
        "Repo.Name": build.repo, "Repo.Namespace": build.owner, "Repo.Owner": build.owner,
        "Repo.Private": build.private, "Repo.Trusted": build.trusted,
        "Build.Created": build.created, "Build.Deploy": build.deploy, "Build.Event": build.event,
        "Build.Finished": build.finished, "Build.Link": build.build_link, "Build.Number": build.number,
        "Build.Started": build.started, "Build.Status": build.status,
        "Commit.Author.Name": build.author_name or build.author, "Commit.Author.Email": build.author_email,
        "Commit.Author.Avatar": build.author_avatar, "Commit.Branch": build.branch,
        "Commit.Link": build.commit_link, "Commit.Message": build.message,
        "Commit.Ref": build.ref, "Commit.Remote": build.remote, "Commit.Sha": build.sha,
    }  # fmt: skip
