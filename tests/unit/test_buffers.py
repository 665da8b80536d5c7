"""Memory is lent again, to one at a time, and no more of it is kept than agreed."""

from __future__ import annotations

import pytest

from s3batch.worker.buffers import Buffers

MIB = 1024 * 1024


def lend(buffers: Buffers, size: int, mark: bytes = b"") -> bytes:
    """Return what the lent memory begins with; leave a mark there."""
    with buffers.lend(size) as lent:
        assert len(lent) == size
        before = bytes(lent[:10])
        lent[: len(mark)] = mark
        return before.rstrip(b"\0")


def test_the_same_memory_serves_pieces_of_about_the_same_size():
    buffers = Buffers()
    lend(buffers, 16 * MIB, b"mark")

    assert lend(buffers, 16 * MIB - 5) == b"mark"
    assert lend(buffers, 15 * MIB) == b"mark"


@pytest.mark.parametrize("size", [1000, MIB, 5 * MIB], ids=["a part of a step", "four steps", "many steps"])
def test_memory_that_is_lent_is_lent_once(size):
    buffers = Buffers()
    taken = [buffers.take(size) for _ in range(9)]

    for number, memory in enumerate(taken):
        memory[:] = bytes([number]) * len(memory)

    assert [set(bytes(memory)) for memory in taken] == [{number} for number in range(9)]


def test_a_small_piece_does_not_hold_the_memory_of_a_large_one():
    buffers = Buffers()
    lend(buffers, 16 * MIB, b"mark")

    with buffers.lend(MIB):
        assert lend(buffers, 16 * MIB) == b"mark"


def test_no_more_is_kept_than_agreed():
    buffers = Buffers(kept=8 * MIB)
    taken = [buffers.take(size) for size in (2 * MIB, 5 * MIB, 3 * MIB)]

    for memory in taken:
        buffers.give_back(memory)

    assert buffers._free_bytes == sum(map(len, buffers._free)) == 8 * MIB
    assert [len(memory) for memory in buffers._free] == [5 * MIB, 3 * MIB]


@pytest.mark.parametrize("size", [130_000, 300_000, MIB, 5 * MIB + 1])
def test_a_buffer_is_little_larger_than_what_it_is_for(size):
    assert size <= len(Buffers().take(size)) < size + MIB // 4


def test_many_small_pieces_keep_no_more_memory_than_they_need():
    buffers = Buffers()
    for memory in [buffers.take(150_000) for _ in range(64)]:
        buffers.give_back(memory)

    assert buffers._free_bytes == 64 * MIB // 4


def test_memory_comes_back_from_work_that_fails():
    buffers = Buffers()

    with pytest.raises(OSError, match="no"), buffers.lend(2 * MIB) as lent:
        lent[:4] = b"mark"
        raise OSError("no")

    assert lend(buffers, 2 * MIB) == b"mark"
