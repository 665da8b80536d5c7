"""The search for a manifest: the first readable key with a valid one, or a miss with the reason.

A manifest that is damaged, oversized or wrongly signed is skipped with a warning, and the next key is tried. So is a
key that may not be read: without s3:ListBucket, S3 answers AccessDenied for objects that do not exist.
"""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from s3batch.archive.manifest_codec import EncodedManifest
from s3batch.base.errors import ArchiveError, JobFailedError
from s3batch.cache.fetching import fetch_readable
from s3batch.cache.object_keys import CREATED, SIGNATURE, TREE
from s3batch.cache.segments import fetch_segments
from s3batch.cache.signature import is_signed
from s3batch.s3 import permissions, requests
from s3batch.s3.faults import RequestError
from s3batch.s3.responses import etag_of, seconds_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from s3batch.archive.local_state import EncodedState, LocalState
    from s3batch.archive.manifest import Manifest
    from s3batch.cache.object_keys import RestoreCandidate
    from s3batch.cache.session import CacheSession
    from s3batch.s3.bucket import Bucket
    from s3batch.s3.requests import Response

ENCRYPTION = "x-amz-server-side-encryption"
_KEPT = ("x-amz-meta-", "content-type", ENCRYPTION, "x-amz-storage-class")
"""Prefixes of a manifest's headers that stay as they are when it is marked as used."""


@dataclass(frozen=True, slots=True)
class SeenObject:
    """A key object that is there."""

    key: str
    etag: str
    modified: float
    """When the object was last written, seconds since the epoch."""
    headers: dict[str, str]
    """The headers it is stored with: type, metadata, encryption."""


@dataclass(frozen=True, slots=True)
class ManifestHit(SeenObject):
    """A manifest that was found."""

    stored: bytes
    segments: dict[bytes, bytes]
    """The segments that the manifest names, as stored, by id."""
    manifest: Manifest


def find_manifest(
    session: CacheSession, state: LocalState | None
) -> tuple[ManifestHit | None, RequestError | ArchiveError | None]:
    """Find the cache to restore: an exact key, else the newest below a prefix; without one, the first error.

    A damaged manifest gives a warning if another one is used instead.
    """
    refused: RequestError | None = None
    damaged: list[ArchiveError] = []
    for lookup in session.names.lookups:
        try:
            for key in _keys_to_try(session, lookup):
                if hit := _try_key(session, key, state, damaged):
                    _warn_of_damaged(session, damaged)
                    return hit, None
        except RequestError as error:
            if not is_denied(error):
                raise
            refused = refused or error
    _warn_of_damaged(session, damaged[1:])
    return None, next(iter(damaged), refused)


def _warn_of_damaged(session: CacheSession, damaged: list[ArchiveError]) -> None:
    for error in damaged:
        session.warn(str(error))


def published_at(seen: SeenObject) -> float:
    """Return when a cache was published, by the store's clock; caches of old versions tell when they were last used."""
    try:
        return float(seen.headers.get(CREATED, ""))
    except ValueError:
        return seen.modified


def is_too_old(session: CacheSession, seen: SeenObject) -> bool:
    """Return True if ``max_age`` makes a miss of it."""
    limit = session.settings.max_age
    if not limit or session.bucket.clock.now().low - published_at(seen) <= limit:
        return False
    session.output.detail(f"the cache {session.title(seen.key)} is older than max_age ({seen.key})")
    return True


def seen_at(bucket: Bucket, key: str) -> SeenObject | None:
    """Return the facts of a HEAD of a key object; ``None`` if it does not exist or may not be read."""
    return _seen_object(key, head_of(bucket, key))


def _try_key(
    session: CacheSession, key: str, state: LocalState | None, damaged: list[ArchiveError]
) -> ManifestHit | None:
    try:
        hit = look_up_key(session, key, state)
        return None if hit is None or is_too_old(session, hit) else hit
    except ArchiveError as error:
        damaged.append(error)
        return None


def is_denied(error: RequestError) -> bool:
    """Return whether the permission is missing, or the object."""
    return error.fault.code in permissions.DENIED


def head_of(bucket: Bucket, key: str) -> Response | None:
    """Return the response to a HEAD; ``None`` if the object does not exist or may not be read."""
    try:
        return bucket.head(key)
    except RequestError as error:
        if not is_denied(error):
            raise
        return None


def etag_of_ours(bucket: Bucket, key: str, body: bytes) -> str:
    """Return the ETag of the object if it is ``body``, else empty. It tells an own object when the response was lost."""
    head = head_of(bucket, key)
    etag = etag_of(head) if head is not None else ""
    return etag if etag == hashlib.md5(body, usedforsecurity=False).hexdigest() else ""


def explain_denied(error: RequestError) -> JobFailedError:
    """Return the error with the permission that is needed."""
    needs = permissions.permission_sentence(
        permissions.missing_permissions(error.name, error.fault.code, error.fault.message)
    )
    also = " and s3:ListBucket; without it a missing cache gives the same error" if needs else ""
    return JobFailedError(f"{error}", hint=needs + also)


def look_up_key(session: CacheSession, key: str, state: LocalState | None) -> ManifestHit | None:
    """Return the manifest under ``key`` if it is valid. One that the state remembers is not fetched again.

    Raises :class:`ArchiveError` if it is damaged, or over the limits.
    """
    if state is not None and state.key == key:
        seen = _seen_object(key, session.bucket.head(key))
        if seen is None:
            return None
        if _is_what_we_know(session, seen, state):
            return ManifestHit(
                seen.key, seen.etag, seen.modified, seen.headers, state.stored, state.segments, state.manifest
            )
    found = look_at_head(session, key)
    if found is None:
        return None
    seen, stored, opened = found
    with _reject_damaged(session, key):
        segments = fetch_segments(session.bucket, session.base, opened.segments, session.local)
        return ManifestHit(
            seen.key, seen.etag, seen.modified, seen.headers, stored, segments, opened.manifest(segments)
        )


def still_there(session: CacheSession, known: EncodedState) -> SeenObject | None:
    """Return the key object that is remembered, if it is unchanged in the bucket."""
    try:
        seen = _seen_object(known.key, session.bucket.head(known.key))
    except RequestError as error:
        if not is_denied(error):
            raise
        return None
    return seen if seen is not None and _is_what_we_know(session, seen, known) else None


def keys_lacking(session: CacheSession, known: SeenObject, stored: bytes) -> list[str]:
    """Return the keys of this build, but for that of ``known``, under which not the same manifest lies."""
    return [
        key
        for key in session.names.owns
        if key != known.key and not _is_alike(session, seen_at(session.bucket, key), known, stored)
    ]


def _is_alike(session: CacheSession, seen: SeenObject | None, known: SeenObject, stored: bytes) -> bool:
    """Return True if both were published together. Under a key of KMS the ETags of the same bytes differ."""
    if (
        seen is None
        or session.files.is_rejected(seen.key)
        or not _is_signature_valid(session, seen.key, stored, seen.headers)
    ):
        return False
    told = [(each.headers.get(CREATED, ""), each.headers.get(TREE, "")) for each in (seen, known)]
    return seen.etag == known.etag or (told[0] == told[1] and all(told[0]))


def _seen_object(key: str, head: Response | None) -> SeenObject | None:
    return None if head is None else SeenObject(key, etag_of(head), _modified_at(head), _kept_headers(head))


def _is_what_we_know(session: CacheSession, seen: SeenObject, known: LocalState | EncodedState) -> bool:
    return seen.etag == known.etag and _is_signature_valid(session, seen.key, known.stored, seen.headers)


def look_at_head(session: CacheSession, key: str) -> tuple[SeenObject, bytes, EncodedManifest] | None:
    """Fetch the key object without its segments: its HEAD, its bytes, and its manifest. ``None`` as :func:`look_up_key`.

    The signature is of the head: it names the segments by their hashes.
    """
    bucket = session.bucket

    def read(answer: Response | None) -> tuple[SeenObject, bytes, EncodedManifest] | None:
        if answer is None:
            return None
        stored = bytes(answer.body)
        if not _is_signature_valid(session, key, stored, answer.headers):
            raise _NotSignedError
        seen = SeenObject(key, etag_of(answer), _modified_at(answer), _kept_headers(answer))
        return seen, stored, EncodedManifest(stored, session.limits())

    try:
        with _reject_damaged(session, key):
            found: tuple[SeenObject, bytes, EncodedManifest] | None = bucket.run(
                fetch_readable(bucket, lambda: bucket.fetch(key), read)
            )
            return found
    except _NotSignedError:
        session.warn(f"the cache {session.title(key)} is not signed with this cache_secret and is not used ({key})")
        session.files.reject(key)
        return None


class _NotSignedError(ArchiveError):
    """The signature of a manifest is not of its bytes, or not by the secret."""

    def __init__(self) -> None:
        super().__init__("not signed")


@contextmanager
def _reject_damaged(session: CacheSession, key: str) -> Iterator[None]:
    """Note that the object under a key cannot be read."""
    try:
        yield
    except _NotSignedError:
        raise
    except ArchiveError as error:
        session.files.reject(key)
        raise ArchiveError(f"the cache {session.title(key)} cannot be used: {error} ({key})") from error


def _is_signature_valid(session: CacheSession, key: str, stored: bytes, headers: Mapping[str, str]) -> bool:
    secret = session.settings.cache_secret
    return not secret or is_signed(secret, key, stored, headers.get(SIGNATURE, ""))


def _modified_at(answer: Response) -> float:
    return seconds_of(answer.headers.get("last-modified", ""))


def _kept_headers(answer: Response) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name.startswith(_KEPT)}


def _keys_to_try(session: CacheSession, lookup: RestoreCandidate) -> list[str]:
    """Return the key itself, or the keys it is a prefix of, newest first."""
    if not lookup.is_prefix:
        return [lookup.key]
    listed = [each for page in session.bucket.list_objects(lookup.key) for each in page.objects]
    return [each.key for each in sorted(listed, key=lambda each: each.modified, reverse=True)]


def touch_manifest(session: CacheSession, hit: SeenObject) -> None:
    """Record in the store that a cache is used, so that clean-ups by age keep it. A missing permission is no error.

    It copies the object onto itself, and only while it is unchanged: a manifest that another build has published
    meanwhile stays.
    """
    headers = {
        **hit.headers,
        **session.encryption_headers(),
        "x-amz-metadata-directive": "REPLACE",
        "x-amz-copy-source-if-match": f'"{hit.etag}"',
    }
    try:
        session.bucket.must(requests.copy_object(hit.key, session.settings.bucket, headers))
    except RequestError as error:
        session.output.detail(f"the cache {hit.key} could not be marked as used: {error}")
