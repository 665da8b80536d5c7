"""Memory is lent again, and no more of it is kept than agreed."""

from __future__ import annotations

import pytest

from s3batch.worker.buffers import Buffers

MIB = 1024 * 1024


def lend(buffers: Buffers, size: int) -> int:
    """Return a number of the memory that is lent."""
    with buffers.lend(size) as lent:
        assert len(lent) == size
        return id(lent.obj)


def test_the_same_memory_serves_pieces_of_about_the_same_size():
    buffers = Buffers()
    first = lend(buffers, 16 * MIB)

    assert lend(buffers, 16 * MIB - 5) == first
    assert lend(buffers, 15 * MIB) == first


def test_memory_that_is_lent_is_lent_once():
    buffers = Buffers()

    with buffers.lend(MIB) as first, buffers.lend(MIB) as second:
        assert first.obj is not second.obj


def test_a_small_piece_does_not_hold_the_memory_of_a_large_one():
    buffers = Buffers()
    large = lend(buffers, 16 * MIB)

    with buffers.lend(MIB) as lent:
        assert len(lent.obj) == MIB
        assert lend(buffers, 16 * MIB) == large


def test_no_more_is_kept_than_agreed():
    buffers = Buffers(kept=3 * MIB)
    with buffers.lend(2 * MIB), buffers.lend(2 * MIB):
        pass

    assert sum(len(each) for each in buffers._free) == 2 * MIB


def test_memory_comes_back_from_work_that_fails():
    buffers = Buffers()

    with pytest.raises(OSError, match="no"), buffers.lend(MIB) as lent:
        failed = lent.obj
        raise OSError("no")

    with buffers.lend(MIB) as lent:
        assert lent.obj is failed
