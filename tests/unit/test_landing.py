"""The way of fetched content to its place, while the coordinator is heard of and while it is not."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from s3batch.s3.event_loop import EventLoop
from s3batch.s3.write_gate import WriteGate
from s3batch.worker.landing import Landing


@pytest.fixture
def loop() -> EventLoop:
    return EventLoop(lambda task, request: None, time.monotonic, threads=1)


def write_unfinished(landing: Landing, name: str, content: bytes) -> None:
    descriptor = landing.tree.create(name)
    os.write(descriptor, content)
    os.close(descriptor)


def turn_until(loop: EventLoop, condition) -> None:
    for _ in range(500):
        if condition():
            return
        loop.turn(0.01)
    raise AssertionError("it did not happen")


def test_nothing_gets_its_place_while_the_coordinator_is_silent(tmp_path: Path, loop):
    now = [0.0]
    writes, ended = WriteGate(lambda: now[0]), []
    writes.open(5.0)
    landing = Landing(str(tmp_path), gather=0.0, writes=writes)
    write_unfinished(landing, "1.x", b"one")
    now[0] = 6.0

    landing.begin_move("1.x", "d/one", loop, lambda *told: ended.append(told))
    for _ in range(5):
        loop.turn(0.01)
    silent = (tmp_path / "d" / "one").exists()
    now[0] = 7.0
    writes.open(12.0)
    turn_until(loop, lambda: ended)

    assert not silent
    assert (tmp_path / "d" / "one").read_bytes() == b"one"
    assert ended[0][1] is None


def test_nothing_gets_its_place_when_the_worker_is_dismissed_while_the_disk_is_slow(tmp_path: Path, loop, monkeypatch):
    writes, ended = WriteGate(time.monotonic), []
    landing = Landing(str(tmp_path), gather=0.0, writes=writes)
    monkeypatch.setattr(landing, "_sync", writes.close)
    write_unfinished(landing, "1.x", b"one")

    landing.begin_move("1.x", "one", loop, lambda *told: ended.append(told))
    for _ in range(5):
        loop.turn(0.01)

    assert not (tmp_path / "one").exists()
    assert ended == []


def test_files_are_gathered_only_while_others_are_under_way(tmp_path: Path, loop):
    """The last files of a job waited twice for files that did not come."""
    ended: list[str] = []
    landing = Landing(str(tmp_path), gather=3600.0)
    for name in ("1.x", "2.x"):
        write_unfinished(landing, name, b"content")
    loop.active = 2

    loop.parked = 1
    landing.begin_move("1.x", "one", loop, lambda *_: ended.append("one"))
    for _ in range(5):
        loop.turn(0.01)
    gathered = not (tmp_path / "one").exists()
    loop.parked = 2
    landing.begin_move("2.x", "two", loop, lambda *_: ended.append("two"))
    turn_until(loop, lambda: len(ended) == 2)

    assert gathered
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["one", "two"]


def test_two_workers_give_unfinished_files_of_one_row_different_names(tmp_path: Path):
    assert Landing(str(tmp_path)).token != Landing(str(tmp_path)).token
