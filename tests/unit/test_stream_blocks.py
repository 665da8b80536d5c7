"""Blocks of a stream: full ones from short reads, in order, with the checksum of the whole."""

from __future__ import annotations

import os
import threading

import pytest

from s3batch.s3.checksums import checksum_of
from s3batch.s3.stream_blocks import BlockReader, StreamEndedError


@pytest.fixture
def pipe_ends():
    """The reading and the writing end of a pipe."""
    ends = os.pipe()
    yield ends
    for end in ends:
        try:
            os.close(end)
        except OSError:
            continue


def test_short_writes_make_full_blocks(pipe_ends):
    body = os.urandom(2_500)
    reader = BlockReader(pipe_ends[0], 1000, "crc64nvme")

    def write() -> None:
        for at in range(0, len(body), 70):
            os.write(pipe_ends[1], body[at : at + 70])
        os.close(pipe_ends[1])

    writer = threading.Thread(target=write)
    writer.start()
    blocks = [reader.read_block() for _ in range(4)]
    writer.join()

    assert [(each.number, len(each.content)) for each in blocks] == [(1, 1000), (2, 1000), (3, 500), (3, 0)]
    assert b"".join(each.content for each in blocks) == body
    assert (reader.size, reader.has_ended) == (2500, True)
    assert reader.checksum == checksum_of("crc64nvme", body)


def test_blocks_grow_so_that_ten_thousand_hold_the_largest_object(pipe_ends):
    reader = BlockReader(pipe_ends[0], 16 << 20, "")
    total = 0
    for _ in range(10_000):
        total += reader.block_size
        reader.count += 1

    assert total >= 5 << 40
    assert reader.block_size <= 5 << 30


def test_a_read_that_waits_ends_with_the_run(pipe_ends):
    reader = BlockReader(pipe_ends[0], 1000, "")
    threading.Timer(0.05, reader.stop).start()

    with pytest.raises(StreamEndedError):
        reader.read_block()
