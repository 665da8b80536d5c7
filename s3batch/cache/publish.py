"""The publication of a manifest: one object. The last writer wins, or with ``override: false`` the first."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

from s3batch import __version__
from s3batch.archive.manifest_codec import encode_manifest
from s3batch.archive.tree import files_of
from s3batch.base.errors import EndpointError
from s3batch.base.failpoints import reach_failpoint
from s3batch.cache.gc_store import BucketStore
from s3batch.cache.lookup import ENCRYPTION, etag_of_ours
from s3batch.cache.naming import system_name
from s3batch.cache.object_keys import CREATED, SIGNATURE, TEMPLATE, TREE, aside_key
from s3batch.cache.signature import sign_manifest
from s3batch.objects.own_keys import CACHE_MARK
from s3batch.s3 import requests
from s3batch.s3.faults import Fault, RequestError, fault_of
from s3batch.s3.responses import etag_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from s3batch.archive.manifest import Manifest
    from s3batch.cache.segments import StoredSegments
    from s3batch.cache.session import CacheSession
    from s3batch.s3.requests import Response

_MARK = b"v1/ beside this is a cache of s3batch: no s3batch sync deletes it.\n"
_UNCONDITIONAL = frozenset({"NotImplemented", "InvalidArgument", "InvalidRequest", "MethodNotAllowed"})
"""Error codes of stores without conditional writes."""


def publish_manifest(
    session: CacheSession, manifest: Manifest, segments: StoredSegments
) -> tuple[bytes, dict[str, str]]:
    """Put the manifest, whose segments are stored, under this build's keys.

    Returns the bytes of the key object, and its ETag by the keys under which it lies now. Under the others another one
    is there, and it stays.
    """
    manifest.created, manifest.tool, manifest.system = (
        session.bucket.clock.now().low,
        f"s3batch {__version__}",
        system_name(),
    )
    stored = encode_manifest(manifest, level=session.settings.compression_level, segments=segments.segments)
    return stored, put_under(session, session.names.owns, stored, manifest)


def put_under(session: CacheSession, keys: Iterable[str], stored: bytes, manifest: Manifest) -> dict[str, str]:
    """Put a manifest under some of this build's keys; return its ETag by the keys under which it lies now."""
    etags = {key: _put_manifest(session, key, stored, manifest) for key in keys}
    return {key: etag for key, etag in etags.items() if etag is not None}


def _put_manifest(session: CacheSession, key: str, stored: bytes, manifest: Manifest) -> str | None:
    """Put a manifest under one key; return its ETag. ``None``: another one is there, and it stays."""
    headers = {"content-md5": requests.md5_header(stored), **_manifest_headers(session, key, stored, manifest)}
    only_new = not session.settings.override and not session.files.distrusted and not session.files.is_rejected(key)
    reach_failpoint("manifest-publishing")
    condition = {"if-none-match": "*"} if only_new else {}
    answer = session.bucket.ask(requests.put_object(key, stored, {**headers, **condition}))
    if only_new and not answer.ok and fault_of(answer).code in _UNCONDITIONAL and session.bucket.head(key) is None:
        answer = session.bucket.ask(requests.put_object(key, stored, headers))
    reach_failpoint("manifest-published")
    if only_new and answer.status == 412 and (etag := etag_of_ours(session.bucket, key, stored)):
        return etag
    if only_new and (answer.status == 412 or (not answer.ok and fault_of(answer).code in _UNCONDITIONAL)):
        return None
    if not answer.ok:
        raise RequestError("PutObject", key, fault_of(answer))
    return etag_of(answer)


def template_hash(template: str) -> str:
    """Return a hash that tells caches of one ``cache_key`` template from those of another."""
    return hashlib.blake2b(os.fsencode(template), digest_size=8).hexdigest()


def evict_older(session: CacheSession) -> None:
    """Evict caches beyond ``keep_last``: of this scope, the same paths and the same template.

    The next prune removes their chunks. An eviction that fails is a warning.
    """
    keep, owns = session.settings.keep_last, session.names.owns
    if not keep or session.settings.dry_run:
        return
    store = BucketStore(session.bucket)
    try:
        scope = session.names.own.rpartition("/")[0] + "/"
        listed = [each for each in store.run(store.listed(scope)) if each.key not in owns]
        listed.sort(key=lambda each: each.modified, reverse=True)
        heads = store.run(store.gather(store.head(each.key) for each in listed))
        going = []
        for mine in sorted({template_hash(template) for template in owns.values()}):
            same = [
                (each, head) for each, head in zip(listed, heads, strict=True)
                if head is not None and head.headers.get(TEMPLATE) == mine
            ]  # fmt: skip
            going += same[keep - 1 :]
        store.run(
            store.gather(
                evict_manifest(store, session.base, each.key, each.etag, _encryption_of(head)) for each, head in going
            )
        )
    except (RequestError, EndpointError) as error:
        session.warn(f"cannot evict older caches, although keep_last is {keep}: {error}")


def _encryption_of(head: Response) -> dict[str, str]:
    return {name: value for name, value in head.headers.items() if name.startswith(ENCRYPTION)}


async def evict_manifest(store: BucketStore, base: str, key: str, etag: str, encryption: Mapping[str, str]) -> bool:
    """Move a manifest aside, unless a build has published under its key since it had ``etag``; return True if it went."""
    aside = aside_key(base, key)
    await store.copy(key, aside, encryption)
    if not await store.has(aside):
        raise RequestError(
            "CopyObject", aside, Fault("NotStored", "the store confirmed it, but the copy does not exist")
        )
    return await store.delete_if_unchanged(key, etag)


def mark_root(session: CacheSession) -> None:
    """Put the mark at the cache's root by which ``sync --delete`` keeps it. A failure is no error."""
    key = session.base + CACHE_MARK
    name = f"mark {session.settings.bucket}/{key}"
    if session.journal.recall(name):
        return
    try:
        if session.bucket.head(key) is None:
            session.bucket.put(key, _MARK, {"content-type": "text/plain", **session.encryption_headers()})
    except RequestError as error:
        session.output.detail(f"cannot mark the prefix of the cache: {error}")
        return
    session.journal.remember(name, True)


def _manifest_headers(session: CacheSession, key: str, stored: bytes, manifest: Manifest) -> dict[str, str]:
    """Return the headers of a manifest's object: facts that tell caches apart without reading them, and its signature."""
    secret = session.settings.cache_secret
    signature = {SIGNATURE: sign_manifest(secret, key, stored)} if secret else {}
    return {
        "content-type": "application/zstd",
        TREE: manifest.tree_id(),
        "x-amz-meta-s3b-raw": str(manifest.raw_size()),
        "x-amz-meta-s3b-files": str(files_of(manifest.tree)),
        "x-amz-meta-s3b-chunks": str(len(manifest.chunks)),
        CREATED: f"{manifest.created:.3f}",
        TEMPLATE: template_hash(session.names.owns[key]),
        **signature,
        **session.encryption_headers(),
    }
