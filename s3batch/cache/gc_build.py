"""A rebuild's protection of its chunks from a clean-up while it publishes (see :mod:`s3batch.cache.gc_protocol`)."""

from __future__ import annotations

import contextlib
import secrets
from contextlib import contextmanager
from typing import TYPE_CHECKING

from s3batch.base.errors import EndpointError
from s3batch.cache.gc_protocol import Protection
from s3batch.cache.gc_store import BucketStore
from s3batch.s3 import permissions
from s3batch.s3.faults import RequestError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from s3batch.archive.manifest import Manifest
    from s3batch.cache.segments import StoredSegments
    from s3batch.cache.session import CacheSession


@contextmanager
def protect_chunks(session: CacheSession, manifest: Manifest, segments: StoredSegments) -> Iterator[bool]:
    """Protect the chunks and segments of ``manifest`` while it is published. Yields False if one of them is gone."""
    ids = frozenset(identity.hex() for identity in (*manifest.chunks.all_ids(), *segments.bodies))
    if not ids:
        yield True
        return
    store = BucketStore(session.bucket, session.encryption_headers())
    since = session.bucket.clock.earliest(session.began)
    protection = Protection(store, session.base, secrets.token_hex(8), since)
    try:
        yield _is_whole(session, store, protection, ids)
    finally:
        # a pin that stays protects the chunks for an hour more, and harms nothing
        with contextlib.suppress(RequestError, EndpointError):
            store.run(protection.release())


def _is_whole(session: CacheSession, store: BucketStore, protection: Protection, ids: frozenset[str]) -> bool:
    """Return True once every chunk is there and no clean-up can take it."""
    try:
        while not protection.is_fresh:
            if store.run(protection.protect(ids)):
                return False
    except (RequestError, EndpointError) as error:
        code = error.code if isinstance(error, EndpointError) else error.fault.code
        if code not in permissions.DENIED:
            raise
        session.output.detail(f"cannot look for a running prune: {error}")
    return True
