"""A bucket as builds and clean-ups see it: its requests as coroutines, and its clock."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from s3batch.cache.gc_protocol import LapsedError
from s3batch.s3 import requests
from s3batch.s3.event_loop import sleep
from s3batch.s3.faults import Fault, RequestError
from s3batch.s3.gather import gather_results
from s3batch.s3.responses import etag_of, raise_for_status

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable, Mapping, Sequence

    from s3batch.model import ListedObject
    from s3batch.s3.bucket import Bucket
    from s3batch.s3.requests import Request, Response
    from s3batch.s3.store_clock import TimeBounds

_BATCH = 1000  # S3's limit for one DeleteObjects
_EVER = float("inf")
_KEPT = ("x-amz-meta-", "content-type")
"""Prefixes of the headers that a copy keeps."""
_UNKNOWN = (400, 405, 501)
"""Statuses of stores that do not know a kind of request."""


class BucketStore:
    """Implements :class:`s3batch.cache.gc_protocol.GCStore`, and further requests of a clean-up."""

    def __init__(self, bucket: Bucket, encryption: Mapping[str, str] | None = None) -> None:
        """Store objects encrypted as the headers ``encryption`` say."""
        self.bucket = bucket
        self._encryption = encryption or {}

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine to its end; return what it returns, or raise what it raises."""
        return self.bucket.run(coroutine)

    def now(self) -> TimeBounds:
        """Return the bounds of the store's time."""
        return self.bucket.clock.now()

    async def put(self, key: str, body: bytes) -> None:
        """Store an object of the protocol."""
        headers = {"content-type": "application/json", "content-md5": requests.md5_header(body), **self._encryption}
        call = requests.put_object(key, body, headers)
        raise_for_status(await self.bucket.send(call), call)

    async def get(self, key: str) -> bytes | None:
        """Return an object's content; ``None`` if it does not exist."""
        answer = await self.fetch(key)
        return None if answer is None else bytes(answer.body)

    async def fetch(self, key: str, size: int = -1) -> Response | None:
        """Return an object with its headers; ``None`` if it does not exist. ``size`` is the size in the listing."""
        call = requests.get_object(key, size=size)
        answer = await self.bucket.send(call)
        return None if answer.status == 404 else raise_for_status(answer, call)

    async def listed(self, prefix: str) -> Sequence[ListedObject]:
        """Return every object below ``prefix``."""
        found: list[ListedObject] = []
        async for page in self.bucket.pages(prefix):
            found += page.objects
        return found

    async def has(self, key: str) -> bool:
        """Return True if there is such an object."""
        return await self.head(key) is not None

    async def head(self, key: str) -> Response | None:
        """Return the response to a HEAD; ``None`` if the object does not exist."""
        call = requests.head_object(key)
        answer = await self.bucket.send(call)
        return None if answer.status == 404 else raise_for_status(answer, call)

    async def delete(self, keys: Sequence[str], until: float = _EVER) -> None:
        """Delete up to 1,000 objects by one request, signed to have no effect after ``until``, the store's time.

        Raises :class:`LapsedError` if it had none for that reason.
        """
        valid = None
        if until < _EVER:
            now = self.now()
            if (seconds := int(until - now.high)) < 1:
                raise LapsedError
            valid = (now.low, seconds)
        if len(keys) == 1:
            await self._delete_one(keys[0], valid)
            return
        call = requests.delete_objects(keys)._replace(valid=valid)
        answer = await self.bucket.send(call)
        if answer.status in _UNKNOWN:
            await self.gather(self._delete_one(key, valid) for key in keys)
            return
        for error in _in_time(answer, call).document:
            fault = Fault(error.get("Code", ""), error.get("Message", ""), answer.status)
            raise RequestError(call.name, error.get("Key", ""), fault)

    async def delete_all(self, keys: Sequence[str]) -> None:
        """Delete any number of objects."""
        await self.gather(self.delete(keys[at : at + _BATCH]) for at in range(0, len(keys), _BATCH))

    async def delete_if_unchanged(self, key: str, etag: str) -> bool:
        """Delete an object if it still has this ETag (empty: any); return True if it went."""
        call = requests.head_object(key)
        head = await self.bucket.send(call)
        if head.status == 404 or (etag and etag_of(raise_for_status(head, call)) != etag):
            return False
        call = requests.delete_object(key)
        answer = await self.bucket.send(call._replace(headers={"if-match": f'"{etag_of(head)}"'}))
        if answer.status in _UNKNOWN:  # a store without conditional deletes
            await self._delete_one(key, None)
        elif answer.status not in (404, 412):  # gone already, or changed meanwhile
            raise_for_status(answer, call)
        return answer.status != 412

    async def copy(self, source: str, target: str, encryption: Mapping[str, str]) -> None:
        """Copy an object within the bucket with ``encryption``. Where the store cannot copy, fetch and store it."""
        call = requests.copy_object(target, self.bucket.endpoint.bucket, encryption, source)
        answer = await self.bucket.send(call)
        if answer.status not in (405, 501):  # statuses of a store without CopyObject
            raise_for_status(answer, call)
        elif (held := await self.fetch(source)) is not None:
            kept = {name: value for name, value in held.headers.items() if name.startswith(_KEPT)}
            body = bytes(held.body)
            call = requests.put_object(target, body, {**kept, **encryption, "content-md5": requests.md5_header(body)})
            raise_for_status(await self.bucket.send(call), call)

    async def pause(self, seconds: float) -> None:
        """Wait."""
        await sleep(seconds)

    async def gather(self, coroutines: Iterable[Coroutine[Any, Any, Any]]) -> list[Any]:
        """Run ``coroutines`` side by side; return their results in order, or raise the first error."""
        return await gather_results(coroutines)

    async def _delete_one(self, key: str, valid: tuple[float, int] | None) -> None:
        call = requests.delete_object(key)._replace(valid=valid)
        answer = await self.bucket.send(call)
        if answer.status != 404:
            _in_time(answer, call)


def _in_time(answer: Response, call: Request) -> Response:
    """Return ``answer`` if the call was carried out. Raises :class:`LapsedError` if it came too late for that."""
    # S3 refuses an expired presigned request with 403 and "Request has expired"
    if call.valid and answer.status == 403 and b"expired" in bytes(answer.body).lower():
        raise LapsedError
    return raise_for_status(answer, call)
