"""Keys of a cache's objects, and the scopes that a build may read and write. Pure text.

    <prefix>v1/k/<owner>/<repo>/<branch>/<version>/<key>   manifest; <owner>/<repo>/<branch> is the scope
    <prefix>v1/c/<first 2 digits>/<id>                     chunk, shared by all scopes
    <prefix>v1/x/<scope>/<version>/<key>                   manifest put aside by the clean-up; its chunks live till it goes
    <prefix>v1/gc/<what>                                   notes of the clean-up
    <prefix>.s3batch/cache                                 the mark of a cache's root: no sync deletes below v1/

Each component is percent-encoded, so a branch ``feat/x`` is one component and cannot reach into another scope. ``~``
is encoded too: components with a plain one belong to s3batch, such as ``~pr-12``, and no branch can have that name. A cache that
has a ``cache_key`` and belongs to no known repository is in the scope ``~/~/~``.

A build reads its own scope, then that of its target branch, then that of the default branch, never the other way. A
pull request writes to a scope of its own, and from a fork, or with ``read_only``, nothing is written.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from posixpath import normpath
from urllib.parse import quote, unquote_to_bytes

from s3batch.archive.hashing import chunk_id
from s3batch.base.errors import SettingsError
from s3batch.base.named_tuple import NamedTuple

KEYS, CHUNKS, CLEANUPS, EVICTED = "v1/k/", "v1/c/", "v1/gc/", "v1/x/"

CREATED = "x-amz-meta-s3b-created"
"""Metadata of a manifest: when it was published, in seconds since the epoch by the store's clock."""
TREE = "x-amz-meta-s3b-tree"
"""Metadata of a manifest: the id of its tree."""
TEMPLATE = "x-amz-meta-s3b-template"
"""Metadata of a manifest: a hash of the ``cache_key`` template that made its key."""
SIGNATURE = "x-amz-meta-s3b-sig"
"""Metadata of a manifest: a signature by the secret, for this key."""

DEFAULT_KEY = "default"
UNKNOWN = "\0"
"""An unknown owner, repository or branch of a build. The scope's component is ``~``, which no name has."""
MAX_KEY = 512
"""Bytes of an encoded key."""
_MAX_COMPONENT = 200
_FORMAT = "1"
_OLD_DEFAULT_BRANCH = "master"
_UNKNOWN_SCOPE = "~/~/~"
"""Where the caches are that have a key of their own and no known repository."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildIdentity:
    """The facts of a build that name its cache."""

    owner: str
    repo: str
    branch: str = ""
    """The branch built; for a pull request the one it comes from. May be empty for a tag."""
    target_branch: str = ""
    default_branch: str = ""
    event: str = "push"
    pull_request: str = ""
    """Its number."""
    tag: str = ""
    fork: bool = False
    """A pull request from another repository, or from an unknown one."""
    read_only: bool = False

    def is_pull_request(self) -> bool:
        """Return whether others than the repository's own people may have written what is built."""
        return self.event.startswith("pull_request") or bool(self.pull_request)


class KeyScopes(NamedTuple):
    """Where a build may write, and where it looks, in this order."""

    write: str | None
    read: tuple[str, ...]


class RestoreCandidate(NamedTuple):
    """One try of a restore: an object, or the newest of those whose names begin so."""

    key: str
    is_prefix: bool
    scope: str
    wanted: str
    """The cache key or the restore key it tries, as the user wrote it."""


class ManifestKey(NamedTuple):
    """The parts of a manifest's object key, decoded where they were encoded."""

    scope: str
    version: str
    key: str


class LegacyObject(NamedTuple):
    """An object an older plugin may have written, and which of the listed paths it would hold."""

    key: str
    roots: tuple[str, ...]


def scopes_of_build(build: BuildIdentity) -> KeyScopes:
    """Return the scopes that a build may read and write."""
    own = _own_component(build)
    names = [own, *(encode_component(branch) for branch in (build.target_branch, build.default_branch) if branch)]
    read = tuple(dict.fromkeys(f"{repository_of_build(build)}/{name}" for name in names if name))
    writes = own and not build.read_only and not (build.is_pull_request() and (build.fork or not build.pull_request))
    return KeyScopes(f"{repository_of_build(build)}/{own}" if writes else None, read)


def repository_of_build(build: BuildIdentity) -> str:
    """Return the first two components of a build's scopes."""
    if not build.owner or not build.repo:
        raise SettingsError("the build names no repository", hint="pass UNKNOWN where a cache_key is set")
    return f"{_scope_component(build.owner)}/{_scope_component(build.repo)}"


def _own_component(build: BuildIdentity) -> str:
    if build.is_pull_request():
        return f"~pr-{encode_component(build.pull_request)}" if build.pull_request else ""
    if build.branch:
        return _scope_component(build.branch)
    return (
        f"~tag-{encode_component(build.tag)}"
        if build.tag
        else encode_component(build.default_branch or _OLD_DEFAULT_BRANCH)
    )


def _scope_component(text: str) -> str:
    return "~" if text == UNKNOWN else encode_component(text)


def encode_component(text: str) -> str:
    """Return one component of a key; a very long one is cut and gets a hash."""
    encoded = _quote_text(text)
    if encoded in (".", ".."):
        return encoded.replace(".", "%2E")
    if len(encoded) <= _MAX_COMPONENT:
        return encoded
    kept = encoded[: _MAX_COMPONENT - 20]  # room for "~" and 16 hex digits
    kept = kept[: kept.rindex("%")] if "%" in kept[-2:] else kept
    return f"{kept}~{chunk_id(os.fsencode(text)).hex()[:16]}"


def decode_component(component: str) -> str:
    """Return the text that :func:`encode_component` encoded, if it was not cut."""
    return os.fsdecode(unquote_to_bytes(component))


def _quote_text(text: str) -> str:
    return quote(os.fsencode(text), safe="").replace("~", "%7E")


def _encode_key(key: str, setting: str) -> str:
    encoded = _quote_text(key)
    if len(encoded) > MAX_KEY:
        raise SettingsError(f"{setting}: {key[:60]!r}... has {len(encoded)} bytes as a key, the limit is {MAX_KEY}")
    return encoded.replace(".", "%2E") if encoded in (".", "..") else encoded


def base_of(prefix: str) -> str:
    """Return the ``prefix`` setting as the start of keys: empty, or ending with one slash."""
    plain = "/".join(segment for segment in prefix.split("/") if segment)
    return f"{plain}/" if plain else ""


def paths_version(roots: Iterable[str], system: str) -> str:
    """Return 12 hex digits, so that caches of other paths, formats or systems are not found by mistake."""
    parts = "\0".join([_FORMAT, system, *sorted(roots)])
    return chunk_id(os.fsencode(parts)).hex()[:12]


def manifest_key(prefix: str, scope: str, version: str, key: str) -> str:
    """Return the key of the manifest. ``prefix`` is empty or ends with a slash."""
    if not key:
        raise SettingsError("cache_key: the key is empty", hint="remove it to use the default, owner/repo/branch")
    return f"{prefix}{KEYS}{scope}/{version}/{_encode_key(key, 'cache_key')}"


def plan_lookups(
    prefix: str, read: Sequence[str], version: str, wanted_keys: Sequence[str], restore_keys: Sequence[str]
) -> list[RestoreCandidate]:
    """Return the lookups of a restore, in order: each key in every scope, then each restore key in every scope."""
    exact = [
        RestoreCandidate(manifest_key(prefix, scope, version, key), False, scope, key)
        for key in wanted_keys
        for scope in read
    ]
    return exact + [
        RestoreCandidate(f"{prefix}{KEYS}{scope}/{version}/{_encode_key(wanted, 'restore_keys')}", True, scope, wanted)
        for wanted in restore_keys
        for scope in read
    ]


def parse_manifest_key(prefix: str, object_key: str) -> ManifestKey | None:
    """Return the parts of a manifest's key, or ``None`` for an object that is not a manifest in use."""
    start = f"{prefix}{KEYS}"
    parts = object_key.removeprefix(start).split("/")
    if not object_key.startswith(start) or len(parts) != len(("owner", "repo", "branch", "version", "key")):
        return None
    return ManifestKey("/".join(parts[:3]), parts[3], decode_component(parts[4]))


def title_of_key(base: str, key: str) -> str:
    """Return the name of a key object for people: ``owner/repo/branch``, and its own name if it has one."""
    parts = parse_manifest_key(base, key)
    if parts is None:
        return key
    if parts.scope == _UNKNOWN_SCOPE:
        return parts.key
    scope = "/".join(map(decode_component, parts.scope.split("/")))
    return scope if parts.key == DEFAULT_KEY else f"{scope} {parts.key}"


def chunk_key(prefix: str, identity: bytes) -> str:
    """Return the key of a chunk."""
    name = identity.hex()
    return f"{prefix}{CHUNKS}{name[:2]}/{name}"


def parse_chunk_key(prefix: str, object_key: str) -> bytes | None:
    """Return the id of a chunk, or ``None`` for an object that is not a chunk."""
    name = object_key.rpartition("/")[2]
    try:
        identity = bytes.fromhex(name)
    except ValueError:
        return None
    return identity if chunk_key(prefix, identity) == object_key else None


def aside_key(prefix: str, object_key: str) -> str:
    """Return the key to which the clean-up moves an evicted manifest."""
    return f"{prefix}{EVICTED}{object_key.removeprefix(f'{prefix}{KEYS}')}"


def cleared_prefixes(prefix: str, build: BuildIdentity) -> tuple[str, ...]:
    """Return the prefixes that ``[CLEAR CACHE]`` removes, of the repository or a pull request. Empty: not allowed.

    The last one is the directory of old plugins. Where the cache of all repositories is inside it, it belongs to no
    single repository (:func:`is_cleared`).
    """
    if build.is_pull_request():
        own = scopes_of_build(build).write
        return (f"{prefix}{KEYS}{own}/",) if own else ()
    return () if build.read_only else (f"{prefix}{KEYS}{repository_of_build(build)}/", f"{build.repo}/")


def is_cleared(prefix: str, cleared: Sequence[str], key: str) -> bool:
    """Return whether a clear removes an object below one of ``cleared``: of s3batch's own layout only the first prefix."""
    own_layout = tuple(f"{prefix}{part}" for part in (KEYS, CHUNKS, CLEANUPS, EVICTED))
    return key.startswith(cleared[0]) or not key.startswith(own_layout)


def legacy_objects(build: BuildIdentity, listed: Sequence[str], prefix: str = "", key: str = "") -> list[LegacyObject]:
    """Return the objects where older plugins would have put this cache. ``key`` is the rendered ``cache_key``."""
    whole = LegacyObject(f"{build.repo}/{build.repo}.tar.gz", tuple(listed))
    each = [LegacyObject(f"{build.repo}/{root}.tar.gz", (root,)) for root in listed if not root.startswith("/")]
    built = build.target_branch or build.branch or _OLD_DEFAULT_BRANCH  # in Drone, a pull request's is its target
    branch = hashlib.md5(os.fsencode(built), usedforsecurity=False).hexdigest()
    tops = [build.repo, *([prefix.rstrip("/")] if prefix else [])]
    mounts = [
        LegacyObject(normpath(f"{top}/{key or branch}/{root.lstrip('/')}"), (root,)) for top in tops for root in listed
    ]
    return [whole, *each, *(mount for mount in mounts if not mount.key.startswith(".."))]
