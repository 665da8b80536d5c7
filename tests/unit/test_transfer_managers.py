"""s3transfer's manager over a stream: parts in order and in bounded memory, and an end to reading when something fails."""

from __future__ import annotations

import os
import threading
from concurrent.futures import CancelledError

import pytest

from s3batch.s3.endpoint import Endpoint
from s3batch.s3.event_loop import sleep
from s3batch.s3.faults import Fault, RequestError
from s3batch.s3.gather import capture_outcome
from s3batch.s3.stream_blocks import BlockReader, StreamEndedError
from s3batch.s3.transfer_managers import LANES, LoopBridge, StreamManager, StreamSource
from s3batch.s3.transport import Transport

BLOCK = 5 << 20


class Store:
    """Takes the requests of a manager. ``refused`` is the part that it refuses."""

    def __init__(self, refused: int = 0) -> None:
        self.refused, self.parts, self.whole, self.steps = refused, {}, None, []
        self.held = self.most = 0

    async def put_whole(self, body) -> None:
        self.whole = bytes(body)

    async def create_upload(self) -> str:
        self.steps.append("create")
        return "id"

    async def send_part(self, number: int, body) -> None:
        self.held += 1
        self.most = max(self.most, self.held)
        await sleep(0.0)
        self.held -= 1
        if number == self.refused:
            raise RequestError("UploadPart", "k", Fault("AccessDenied", "no"))
        self.parts[number] = len(body)

    async def complete_upload(self) -> None:
        self.steps.append("complete")


@pytest.fixture
def transport():
    endpoint = Endpoint(
        bucket="b", region="us-east-1", host="127.0.0.1", port=9, tls=False, path_style=True, credentials=None
    )
    made = Transport(endpoint, lambda _: None)
    yield made
    made.close()


def carry(transport, store: Store, content: bytes | None) -> tuple[BlockReader, Exception | None]:
    """Store a stream; ``None`` is one without an end."""
    reading, writing = os.pipe()
    reader = BlockReader(reading, BLOCK, "")

    def write() -> None:
        try:
            while True:
                view = memoryview(bytes(BLOCK) if content is None else content)
                while view:
                    view = view[os.write(writing, view) :]
                if content is not None:
                    break
        except OSError:
            pass
        os.close(writing)

    writer = threading.Thread(target=write)
    writer.start()
    _, error = transport.run(capture_outcome(StreamManager(store, reader).store()))
    os.close(reading)
    writer.join()
    return reader, error


@pytest.mark.parametrize("size", [0, 5, BLOCK - 1])
def test_a_short_stream_is_one_request(transport, size):
    store = Store()
    assert carry(transport, store, bytes(size))[1] is None
    assert (store.whole, store.steps) == (bytes(size), [])


@pytest.mark.parametrize("size", [BLOCK, 3 * BLOCK + 7])
def test_a_long_stream_goes_in_numbered_parts_some_at_a_time(transport, size):
    store = Store()
    assert carry(transport, store, bytes(size))[1] is None
    assert store.steps == ["create", "complete"]
    assert [store.parts[number] for number in sorted(store.parts)] == [
        min(BLOCK, size - at) for at in range(0, size, BLOCK)
    ]
    assert store.most < LANES


def test_a_refused_part_ends_the_reading_of_a_stream_without_end(transport):
    store = Store(refused=2)
    reader, error = carry(transport, store, None)
    assert isinstance(error, RequestError)
    assert store.steps == ["create"]
    assert reader.count <= 2 + LANES


def test_a_block_waits_for_room_in_memory():
    reading, writing = os.pipe()
    os.write(writing, b"123456")
    os.close(writing)
    source = StreamSource(BlockReader(reading, 2, ""), memory=3)
    assert source.read() == b"12", "a block that alone is allowed"
    threading.Timer(0.05, lambda: source.release(2)).start()
    assert source.read() == b"34", "it has waited for the first one to go"
    threading.Timer(0.05, source.fail).start()
    with pytest.raises(StreamEndedError):
        source.read()
    os.close(reading)


def test_a_bridge_that_has_ended_takes_nothing_and_lets_go(transport):
    bridge = LoopBridge(1)

    async def never() -> None:
        raise AssertionError

    errors = []

    def wait() -> None:
        try:
            bridge.run(never())
        except CancelledError as error:
            errors.append(error)

    waiting = threading.Thread(target=wait)
    waiting.start()
    while bridge._wanted.empty():
        pass
    bridge.abandon()
    waiting.join(5)
    assert len(errors) == 1
    with pytest.raises(StreamEndedError):
        bridge.run(never())
