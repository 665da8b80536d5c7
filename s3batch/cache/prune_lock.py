"""One clean-up at a time: a lock object, where the store has conditional writes.

A lock is dead when its holder has not renewed it for ``lock_timeout``, by the store's clock. Elsewhere two clean-ups may
run at once: they delete no chunk that is named, but may note less.
"""

from __future__ import annotations

import json
import os
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING

from s3batch.base.errors import EndpointError, JobFailedError
from s3batch.cache.lookup import etag_of_ours
from s3batch.cache.object_keys import CLEANUPS
from s3batch.s3 import requests
from s3batch.s3.faults import RequestError
from s3batch.s3.responses import etag_of, seconds_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from s3batch.cache.admin import AdminRun
    from s3batch.cache.gc_store import BucketStore

_LOCK = f"{CLEANUPS}lock"
_RENEW_EVERY = 30.0


class PruneLock:
    """The lock that this run holds."""

    def __init__(self, store: BucketStore, key: str, body: bytes, etag: str) -> None:
        self._store = store
        self._key = key
        self._body = body
        self.etag = etag
        self.ended = False

    async def keep_alive(self) -> None:
        """Renew the lock until :attr:`ended`; one that another run has taken over stays lost."""
        waited = 0.0
        while not self.ended:
            await self._store.pause(0.1)  # in short steps, so that the end of the run is noticed soon
            waited += 0.1
            if waited >= _RENEW_EVERY and not self.ended:
                waited = 0.0
                await self._renew()

    async def _renew(self) -> None:
        headers = {"if-match": f'"{self.etag}"', "content-md5": requests.md5_header(self._body)}
        answer = await self._store.bucket.send(requests.put_object(self._key, self._body, headers))
        if answer.ok:
            self.etag = etag_of(answer)


@contextmanager
def hold_lock(look: AdminRun, store: BucketStore) -> Iterator[PruneLock]:
    """Hold the lock. Raises :class:`JobFailedError` if another clean-up holds it."""
    key, bucket = look.base + _LOCK, look.bucket
    held = bucket.head(key)
    if held is not None:
        if store.now().low - seconds_of(held.headers.get("last-modified", "")) < look.settings.lock_timeout:
            raise JobFailedError(
                f"another prune is running ({key} exists)", hint="wait for it to end, or lower lock_timeout"
            )
        bucket.delete(key)
    body = json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "at": store.now().low}).encode()
    answer = bucket.ask(
        requests.put_object(key, body, {"if-none-match": "*", "content-md5": requests.md5_header(body)})
    )
    etag = etag_of_ours(bucket, key, body) if answer.status == 412 else etag_of(answer)
    if answer.status == 412 and not etag:
        raise JobFailedError("another prune has just started", hint="wait for it to end")
    lock = PruneLock(store, key, body, etag)
    try:
        yield lock
    finally:
        _let_go(look, key, lock)


def _let_go(look: AdminRun, key: str, lock: PruneLock) -> None:
    """Remove the lock; one that stays is only waited for."""
    try:
        now = look.bucket.head(key)
        if now is not None and etag_of(now) == lock.etag:  # no other run took it over
            look.bucket.delete(key)
    except (RequestError, EndpointError) as error:
        look.warn(f"{key} cannot be removed: {error}; it expires after lock_timeout")
