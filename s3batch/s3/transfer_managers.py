"""The only door to s3transfer: its managers carry what is not leased by part, a stream and a copy of more than 5 GiB.

    stdin ─> StreamSource.read ─> TransferManager: parts, their number in memory, their order, the end
                                     └ StreamClient, its client ─> LoopBridge ─> our transport, proof, retries

A manager asks a client for each request, on threads of its own. That of a stream is ours, so a stream has the checksums,
retries, bandwidth and bounds of everything else. A copy has boto3's client, whose answers are judged.
"""

from __future__ import annotations

import threading
from base64 import b64decode
from concurrent.futures import Future
from queue import SimpleQueue
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Protocol

from botocore.exceptions import BotoCoreError, ClientError
from s3transfer.manager import TransferConfig, TransferManager

from s3batch.s3.back_off import back_off
from s3batch.s3.event_loop import run_in_thread
from s3batch.s3.faults import Fault, RequestError
from s3batch.s3.gather import capture_outcome, gather_results
from s3batch.s3.stream_blocks import StreamEndedError

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping, Sequence

    from s3batch.s3.boto_http import BoundedSession
    from s3batch.s3.endpoint import Endpoint
    from s3batch.s3.requests import Body
    from s3batch.s3.stream_blocks import BlockReader

LANES = 4
"""Parts of a stream in memory, one of which is read. Each part but that one is on its way."""
MEMORY = 256 << 20
"""Bytes of parts in memory; a single larger part still goes."""


class StreamRequests(Protocol):
    """The requests that store a stream. Each is a coroutine of the loop, and sees to its own retries and proof."""

    async def put_whole(self, body: Body) -> None:
        """Store the whole stream with one PutObject."""

    async def create_upload(self) -> str:
        """Begin a multipart upload; return its id."""

    async def send_part(self, number: int, body: Body) -> None:
        """Store a part."""

    async def complete_upload(self) -> None:
        """Complete the upload, and prove the object."""


class LoopBridge:
    """Runs coroutines on a loop for functions of other threads, which wait for them."""

    def __init__(self, lanes: int) -> None:
        self._lanes = lanes
        self._wanted: SimpleQueue[tuple[Coroutine[Any, Any, Any], Future[Any]] | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._has_ended = False
        self._boxes: set[Future[Any]] = set()
        """Results that threads wait for."""

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Have the loop run a coroutine, from another thread; return its result. Raises what it raises."""
        box: Future[Any] = Future()
        with self._lock:
            if self._has_ended:
                coroutine.close()
                raise StreamEndedError
            self._boxes.add(box)
            self._wanted.put((coroutine, box))
        return box.result()

    def end(self) -> None:
        """Take no more coroutines; those that wait already still run."""
        with self._lock:
            if not self._has_ended:
                self._has_ended = True
                for _ in range(self._lanes):
                    self._wanted.put(None)

    def abandon(self) -> None:
        """Let the threads go that still wait, because the loop turns no more. It belongs to the loop's thread."""
        self.end()
        for box in self._boxes:
            box.cancel()

    async def serve(self) -> None:
        """Run what is wanted, some side by side, until :meth:`end`."""
        await gather_results(self._serve_lane() for _ in range(self._lanes))

    async def _serve_lane(self) -> None:
        while (wanted := await run_in_thread(self._wanted.get)) is not None:
            coroutine, box = wanted
            value, error = await capture_outcome(coroutine)
            self._boxes.discard(box)
            if box.cancelled():
                pass
            elif error is None:
                box.set_result(value)
            else:
                box.set_exception(error)
            del wanted, coroutine, value


class StreamSource:
    """A stream as a manager reads it. It gives a block at a time, whatever is asked for, and none that fills the memory."""

    def __init__(self, reader: BlockReader, memory: int = MEMORY) -> None:
        self._reader = reader
        self._memory = memory
        self._held = 0
        self._room = threading.Condition()
        self._has_failed = False

    def read(self, _size: int = -1) -> bytes:
        """Return the next block; empty at the end. Raises OSError, and StreamEndedError if the upload has failed."""
        with self._room:
            while not self._has_failed and self._held and self._held + self._reader.block_size > self._memory:
                self._room.wait()
            if self._has_failed:
                raise StreamEndedError
        block = self._reader.read_block().content
        with self._room:
            self._held += len(block)
        return block

    def release(self, size: int) -> None:
        """Note that a block of so many bytes is not in memory any more."""
        with self._room:
            self._held -= size
            self._room.notify_all()

    def fail(self) -> None:
        """Read no more: a manager reads a stream to its end, also after a part has failed."""
        with self._room:
            self._has_failed = True
            self._room.notify_all()


class StreamClient:
    """The client of a stream's manager: it has the five methods that the manager calls, on threads."""

    def __init__(self, asked: StreamRequests, bridge: LoopBridge, source: StreamSource) -> None:
        self._asked = asked
        self._bridge = bridge
        self._source = source
        nothing = lambda *_, **__: None  # noqa: E731 - the manager registers handlers of botocore's events
        self.meta = SimpleNamespace(
            events=SimpleNamespace(register_first=nothing, register_last=nothing),
            config=SimpleNamespace(request_checksum_calculation="when_required"),
        )

    def put_object(self, *, Body: Any, **_: object) -> dict[str, Any]:  # noqa: N803 - boto3's names
        """Store the stream in one piece."""
        self._run(self._asked.put_whole(Body.read()))
        return {}

    def create_multipart_upload(self, **_: object) -> dict[str, Any]:
        """Begin the upload."""
        return {"UploadId": self._run(self._asked.create_upload())}

    def upload_part(self, *, Body: Any, PartNumber: int, **_: object) -> dict[str, Any]:  # noqa: N803 - boto3's names
        """Store a part."""
        content = Body.read()
        try:
            self._run(self._asked.send_part(PartNumber, content))
        finally:
            self._source.release(len(content))
        return {"ETag": ""}  # who completes the upload has it

    def complete_multipart_upload(self, **_: object) -> dict[str, Any]:
        """Complete the upload."""
        self._run(self._asked.complete_upload())
        return {}

    def abort_multipart_upload(self, **_: object) -> dict[str, Any]:
        """Do nothing: who began the stream aborts its upload, and tells a refusal."""
        return {}

    def _run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        try:
            return self._bridge.run(coroutine)
        except BaseException:
            self._source.fail()
            raise


class StreamManager:
    """One stream under a manager."""

    def __init__(self, asked: StreamRequests, reader: BlockReader) -> None:
        self._bridge = LoopBridge(LANES)
        self._source = StreamSource(reader)
        config = TransferConfig(
            multipart_threshold=reader.block_size, multipart_chunksize=reader.block_size,
            max_request_concurrency=LANES, max_in_memory_upload_chunks=LANES - 1,
        )  # fmt: skip
        self._manager = TransferManager(StreamClient(asked, self._bridge, self._source), config)

    async def store(self) -> None:
        """Store the stream. Raises what a request or the stream raises; then the upload is to be aborted."""
        upload = self._manager.upload(self._source, "bucket", "key")  # the client knows both
        await gather_results([self._wait_for(upload), self._bridge.serve()])

    def end(self) -> None:
        """Begin no more requests, and read no more."""
        self._source.fail()
        self._bridge.end()

    def abandon(self) -> None:
        """Let its threads go, because the loop turns no more."""
        self._bridge.abandon()

    async def _wait_for(self, upload: Any) -> None:
        try:
            await run_in_thread(upload.result)
        finally:
            self._bridge.end()


# --- copies ------------------------------------------------------------------------------------


def copy_large(endpoint: Endpoint, key: str, part_size: int, headers: Mapping[str, str]) -> None:
    """Copy a key onto itself in parts, for objects CopyObject refuses (above 5 GiB). Raises :class:`RequestError`.

    ``headers`` are the attributes of the copy.
    """
    place = (endpoint.bucket, key)
    copy_between(endpoint, place, place, part_size, headers)


def copy_between(
    endpoint: Endpoint, source: Sequence[str], to: Sequence[str], part_size: int, headers: Mapping[str, str]
) -> None:
    """Copy an object in parts. Each place is a bucket, a key and perhaps a version. Raises :class:`RequestError`."""
    from s3batch.s3 import boto  # noqa: PLC0415 - a stream does not pay for boto3

    named = dict(zip(("Bucket", "Key", "VersionId"), filter(None, source), strict=False))
    bucket, key = to[:2]
    config = TransferConfig(multipart_threshold=part_size, multipart_chunksize=part_size, max_request_concurrency=8)
    try:
        through = boto.make_client(endpoint)
        _judge_all(through)
        with TransferManager(through, config) as manager:
            parameters = _to_parameters(through, headers) | _access_parameters(endpoint)
            manager.copy(named, bucket, key, parameters).result()
    except RequestError as error:
        raise RequestError(error.name, key, error.fault) from error
    except ClientError as error:
        said, about = error.response.get("Error", {}), error.response.get("ResponseMetadata", {})
        fault = Fault(
            str(said.get("Code", "")), str(said.get("Message", "")),
            int(about.get("HTTPStatusCode", 0)), str(about.get("RequestId", "")),
        )  # fmt: skip
        raise RequestError("UploadPartCopy", key, fault) from error
    except BotoCoreError as error:
        raise RequestError("UploadPartCopy", key, boto.fault_without_answer(error, endpoint)) from error


def _judge_all(through: Any) -> None:
    """Have each response judged that s3transfer gets: one that is not S3's is tried again, then an error."""
    http: BoundedSession = through._endpoint.http_session  # noqa: SLF001 - a BoundedSession was put there

    def try_again(response: Any, attempts: int, **_: object) -> float | None:
        if response is None or attempts >= _TRIES:
            return None
        try:
            http.check_last()
        except RequestError:
            return back_off(attempts)
        return None

    def refuse(**_: object) -> None:
        http.check_last()

    through.meta.events.register_last("needs-retry.s3", try_again)
    through.meta.events.register("after-call.s3", refuse)


_TRIES = 4
"""The tries of one request of a copy in parts."""
_META = "x-amz-meta-"


def _access_parameters(endpoint: Endpoint) -> dict[str, Any]:
    """Return the endpoint's own headers as parameters of s3transfer; botocore adds the digest of a key."""
    payer = {"RequestPayer": "requester"} if endpoint.request_payer else {}
    key = b64decode(endpoint.customer_key)
    keyed = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": key} if key else {}
    return {**payer, **keyed, **{f"CopySource{name}": value for name, value in keyed.items()}}


def _to_parameters(through: Any, headers: Mapping[str, str]) -> dict[str, Any]:
    """Return ``headers`` as boto3's parameters, by botocore's own model of CreateMultipartUpload."""
    members = through.meta.service_model.operation_model("CreateMultipartUpload").input_shape.members
    names = {shape.serialization.get("name", "").lower(): name for name, shape in members.items()}
    found: dict[str, Any] = {names[name]: value for name, value in headers.items() if name in names}
    metadata = {name[len(_META) :]: value for name, value in headers.items() if name.startswith(_META)}
    return {**found, "Metadata": metadata, "MetadataDirective": "REPLACE", "TaggingDirective": "REPLACE"}
