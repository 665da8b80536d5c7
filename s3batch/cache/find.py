"""Finding the manifest: the first of the keys that may be read, proved, or a miss with the reason.

A manifest that is damaged, too large or not signed by whom it must be signed is no manifest: it is warned of, and the
next key is tried.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from s3batch.archive.signing import is_signed
from s3batch.archive.stored import decode_manifest
from s3batch.cache.layout import SIGNATURE
from s3batch.errors import ArchiveError
from s3batch.s3.faults import CallError
from s3batch.worker import etag_of, seconds_of

if TYPE_CHECKING:
    from s3batch.archive.manifest import Manifest
    from s3batch.archive.state import State
    from s3batch.cache.resolve import Names
    from s3batch.cache.session import Session
    from s3batch.s3.calls import Answer


@dataclass(frozen=True, slots=True)
class Hit:
    """A manifest that was found."""

    key: str
    etag: str
    modified: float
    """When the object was last written, seconds since the epoch."""
    stored: bytes
    manifest: Manifest


def find(session: Session, names: Names, state: State | None) -> Hit | None:
    """The cache to restore: an exact key, else the newest one below a prefix. Raises what the store says no with."""
    for lookup in names.lookups:
        for key in _newest_first(session, lookup.key) if lookup.is_prefix else [lookup.key]:
            if hit := look(session, key, state):
                return hit
    return None


def look(session: Session, key: str, state: State | None) -> Hit | None:
    """The manifest under ``key``, if there is one to be believed. What the state remembers is not fetched again."""
    if state is not None and state.key == key:
        head = session.bucket.head(key)
        if head is None:
            return None
        if etag_of(head) == state.etag:
            return Hit(key, state.etag, _modified(head), state.stored, state.manifest)
    answer = session.bucket.get(key)
    return None if answer is None else _believed(session, key, answer)


def _believed(session: Session, key: str, answer: Answer) -> Hit | None:
    stored = bytes(answer.body)
    secret = session.settings.cache_secret
    if secret and not is_signed(secret, key, stored, answer.headers.get(SIGNATURE, "")):
        session.warn(f"the cache {key} is not signed with this secret: it is left alone")
        return None
    try:
        manifest = decode_manifest(stored, session.limits())
    except ArchiveError as error:
        session.warn(f"the cache {key} cannot be used: {error}")
        return None
    return Hit(key, etag_of(answer), _modified(answer), stored, manifest)


def _modified(answer: Answer) -> float:
    return seconds_of(answer.headers.get("last-modified", ""))


def _newest_first(session: Session, prefix: str) -> list[str]:
    listed = [each for page in session.bucket.list_objects(prefix) for each in page.objects]
    return [each.key for each in sorted(listed, key=lambda each: each.modified, reverse=True)]


def touch(session: Session, hit: Hit, headers: dict[str, str]) -> None:
    """Let the store see that a cache is used, so that clean-ups by age leave it. Without the right to: no matter."""
    try:
        session.bucket.put(hit.key, hit.stored, headers)
    except CallError as error:
        session.output.detail(f"the cache {hit.key} could not be marked as used: {error}")
