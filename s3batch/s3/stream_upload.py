"""Stores a stream of unknown length as one object, in bounded memory.

    s3transfer's manager ─> PutObject of all there is
                         └> CreateMultipartUpload ─> parts, some at a time ─> CompleteMultipartUpload ─> proof

The manager cuts the stream, holds its parts and calls for each request (:mod:`s3batch.s3.transfer_managers`). Each part
carries a checksum that the store confirms, and is sent again with another kind where the store takes no such one.
"""

from __future__ import annotations

import time
from functools import partial
from itertools import count
from typing import TYPE_CHECKING

from s3batch.base.named_tuple import NamedTuple
from s3batch.s3 import requests
from s3batch.s3.back_off import back_off
from s3batch.s3.checked_upload import CHECKSUM_WARNING, Checks, checksum_header, refuses_checksum
from s3batch.s3.checksums import WHOLE_OBJECT
from s3batch.s3.etag import md5_of_etag, multipart_etag
from s3batch.s3.event_loop import run_in_thread, sleep
from s3batch.s3.faults import Fault, RequestError, fault_of, is_acl_refusal
from s3batch.s3.responses import date_of, etag_of, raise_for_status
from s3batch.s3.stored_proof import strip_etag
from s3batch.s3.validation import etag_in

if TYPE_CHECKING:
    from collections.abc import Mapping

    from s3batch.s3.bucket import Bucket
    from s3batch.s3.requests import Body, Request, Response
    from s3batch.s3.stream_blocks import BlockReader
    from s3batch.s3.transfer_managers import StreamManager

_PARTING = 5.0
"""Seconds for parts under way before their upload is aborted: one that ends later would stay."""


class StoredStream(NamedTuple):
    """The object that a stream has become."""

    etag: str
    checksum: str
    date: float
    request_id: str


class StreamUpload:
    """One stream on its way to one key."""

    def __init__(self, bucket: Bucket, key: str, headers: Mapping[str, str]) -> None:
        self.upload_id = ""
        """The multipart upload under way; empty if there is none."""
        self.warnings: list[str] = []
        self.sent = 0
        """Bytes that the store has."""
        self._bucket = bucket
        self._key = key
        self._headers = dict(headers)
        self.checks = Checks.from_endpoint(bucket.endpoint)
        self.checksum = "" if self.checks.name == "md5" else self.checks.name
        """The algorithm of the checksum of the whole stream, which its reader computes; empty for none."""
        self._parts: dict[int, tuple[str, str]] = {}
        """ETag and checksum of each part."""
        self._manager: StreamManager | None = None
        self._reader: BlockReader | None = None
        self._stored: StoredStream | None = None

    async def store(self, reader: BlockReader) -> StoredStream:
        """Store all that ``reader`` gives. Raises :class:`RequestError` or OSError, and the upload is to be aborted."""
        from s3batch.s3.transfer_managers import StreamManager  # noqa: PLC0415 - botocore, for streams alone

        self._reader, self._manager = reader, StreamManager(self, reader)
        await self._manager.store()
        if self._stored is None:
            raise TypeError("the manager has stored nothing")
        return self._stored

    def abort(self) -> Fault | None:
        """Abort the upload, after its parts under way; return the fault of a refusal."""
        if self._manager is not None:
            self._manager.end()
        transport, until = self._bucket.transport, time.monotonic() + _PARTING
        while transport.loop.active and time.monotonic() < until:
            transport.turn(0.1)
        if self._manager is not None:
            self._manager.abandon()
        if not self.upload_id:
            return None
        try:
            self._bucket.abort_multipart_upload(self._key, self.upload_id)
        except RequestError as error:
            return error.fault
        return None

    # --- what the manager asks for ------------------------------------------------------------

    async def put_whole(self, body: Body) -> None:
        """Store the whole stream with one PutObject."""
        response, checksum = await self._send(requests.put_object(self._key, body, self._headers))
        self.sent += len(body)
        self._stored = _describe_stored(response, etag_of(response), checksum)

    async def send_part(self, number: int, body: Body) -> None:
        """Store a part."""
        response, checksum = await self._send(requests.upload_part(self._key, self.upload_id, number, body))
        self._parts[number] = (etag_of(response), checksum)
        self.sent += len(body)

    async def _send(self, request: Request) -> tuple[Response, str]:
        """Return the answer to a call that stores its body, and the checksum that the store has confirmed."""
        for attempt in count(1):
            used = self.checks.name
            header = await run_in_thread(partial(checksum_header, used, request.body))
            response = await self._bucket.send(request._replace(headers={**request.headers, **header}))
            if not response.ok and refuses_checksum(response, used) and self.checks.weaken(used):
                words = CHECKSUM_WARNING.format(used, fault_of(response).code, self.checks.name or "none")
                self.warnings.append(words)
                continue
            if is_acl_refusal(response) and self._drop_acl():
                request = request._replace(headers=self._headers)
                continue
            raise_for_status(response, request)
            try:
                proof = await self.checks.proofs.prove(request, response, header)
            except RequestError as error:
                if attempt >= self._bucket.tries or not error.fault.retryable:
                    raise
                await sleep(back_off(attempt))
                continue
            self.warnings += [proof.warning] if proof.warning else []
            return response, proof.checksum or ""
        raise AssertionError  # the loop has no end

    def _drop_acl(self) -> bool:
        return self._headers.pop("x-amz-acl", None) is not None

    async def create_upload(self) -> str:
        """Begin the upload; return its id."""
        while True:
            used, headers = self.checks.name, dict(self._headers)
            if used in WHOLE_OBJECT:
                headers |= {"x-amz-checksum-algorithm": used.upper(), "x-amz-checksum-type": "FULL_OBJECT"}
            request = requests.create_multipart_upload(self._key, headers)
            response = await self._bucket.send(request)
            if not response.ok and (
                (refuses_checksum(response, used) and self.checks.weaken(used))
                or (is_acl_refusal(response) and self._drop_acl())
            ):
                continue
            self.upload_id = raise_for_status(response, request).document
            return self.upload_id

    async def complete_upload(self) -> None:
        """Complete the upload and prove that the object is the stream. Raises :class:`RequestError` if it is not."""
        if self._reader is None:
            raise TypeError("there is no stream")
        self._stored = await self._complete(self._reader)
        self.upload_id = ""

    async def _complete(self, reader: BlockReader) -> StoredStream:
        name = self.checks.name
        rows = [(number, f'"{etag}"', checksum) for number, (etag, checksum) in sorted(self._parts.items())]
        whole = name in WHOLE_OBJECT and all(checksum for _, _, checksum in rows)
        headers = {"x-amz-checksum-type": "FULL_OBJECT"} if whole else {}
        request = requests.complete_multipart_upload(self._key, self.upload_id, rows, name, headers)
        response = await self._bucket.send(request)
        if response.status == 404:  # an answer before this one may have been lost
            head = await self._bucket.send(requests.head_object(self._key))
            if head.ok and strip_etag(head.headers.get("etag", "")) == self._make_etag():
                return _describe_stored(head, etag_of(head), "")
        completed = raise_for_status(response, request).document
        etag, checksum = strip_etag(etag_in(response)), completed.get(f"Checksum{name.upper()}", "")
        if name == self.checksum and checksum and "-" not in checksum and checksum != reader.checksum:
            words = f"the store has the checksum {checksum}, and the stream {reader.checksum}"
            raise RequestError(request.name, self._key, Fault("ChecksumMismatch", words))
        if not all(checksum for _, _, checksum in rows) and etag != self._make_etag():
            warning = await self.checks.proofs.look(self._key, reader.size, etag)
            self.warnings += [warning] if warning else []
        return _describe_stored(response, etag, checksum)

    def _make_etag(self) -> str:
        """Return the ETag that S3 makes of the parts; empty if theirs are no MD5s."""
        digests = [md5_of_etag(etag) for _, (etag, _) in sorted(self._parts.items())]
        return multipart_etag([bytes.fromhex(each or "") for each in digests]) if all(digests) else ""


def _describe_stored(response: Response, etag: str, checksum: str) -> StoredStream:
    return StoredStream(etag, checksum, date_of(response), response.headers.get("x-amz-request-id", ""))
