"""The keys of a cache's objects below the ``prefix`` setting, and their names for people.

v1/k/<scope>/<paths>/<key>    a manifest: the key object
v1/c/<id[:2]>/<id>            a chunk, shared by every cache below the prefix
v1/gc/<what>                  chunks that a clean-up is about to delete, or has deleted
v1/x/<...>                    a manifest that was evicted; its chunks live until it goes too
.s3batch/cache                the mark of a cache's root: no sync deletes objects below v1/
"""

from __future__ import annotations

from s3batch.cache.object_keys import DEFAULT_KEY, decode_component, parse_manifest_key

KEYS, CHUNKS, CLEANUPS, EVICTED = "v1/k/", "v1/c/", "v1/gc/", "v1/x/"

_UNKNOWN_SCOPE = "~/~/~"
"""Where the caches are that have a key of their own and no known repository."""
CREATED = "x-amz-meta-s3b-created"
"""Metadata of a manifest: when it was published, in seconds since the epoch by the store's clock."""
TREE = "x-amz-meta-s3b-tree"
"""Metadata of a manifest: the id of its tree."""
TEMPLATE = "x-amz-meta-s3b-template"
"""Metadata of a manifest: a hash of the ``cache_key`` template that made its key."""
SIGNATURE = "x-amz-meta-s3b-sig"
"""Metadata of a manifest: a signature by the secret, for this key."""


def base_of(prefix: str) -> str:
    """Return the ``prefix`` setting as the start of keys: empty, or ending with one slash."""
    plain = "/".join(segment for segment in prefix.split("/") if segment)
    return f"{plain}/" if plain else ""


def title_of_key(base: str, key: str) -> str:
    """Return the name of a key object for people: ``owner/repo/branch``, and its own name if it has one."""
    parts = parse_manifest_key(base, key)
    if parts is None:
        return key
    if parts.scope == _UNKNOWN_SCOPE:
        return parts.key
    scope = "/".join(map(decode_component, parts.scope.split("/")))
    return scope if parts.key == DEFAULT_KEY else f"{scope} {parts.key}"
