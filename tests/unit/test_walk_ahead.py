"""A walk that goes on in a fork: it gives what it would give by itself, or the job fails."""

from __future__ import annotations

import fcntl
import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from threading import Thread

import pytest

from s3batch.base.errors import JobFailedError
from s3batch.executors.fork import Fork
from s3batch.model import LocalFile
from s3batch.source.filters import Selection
from s3batch.source.walk import Walk
from s3batch.source.walk_ahead import PipeSender, WalkAhead


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Make a tree of 300 files with all kinds of entries, and directories that are open when the walk forks."""
    root, outside = tmp_path / "source", tmp_path / "outside"
    for number in range(300):
        path = root / f"d{number // 100}" / ("deep" * (number % 3)) / f"f{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(str(number))
    Path(os.fsdecode(os.fsencode(root / "d1") + b"/caf\xe9")).write_text("odd")
    outside.write_text("content")
    for late in ("d0/zz", "d2/zz"):
        os.mkfifo(root / f"{late}.pipe")
        (root / f"{late}.broken").symlink_to("nothing")
        (root / f"{late}.out").symlink_to(outside)
    (root / "d2" / ".s3batch").mkdir()
    return root


def start_noted(forks: list[Fork], work: Callable[[], None], keep: int) -> Fork:
    forks.append(Fork(work, keep, keeps_directories=True))
    return forks[-1]


def read_open_places() -> list[str]:
    """Return what the descriptors of this process stand for."""
    places = []
    for number in os.listdir("/proc/self/fd"):
        with suppress(OSError):  # another thread closed it, or it was that of the list
            places.append(os.readlink(f"/proc/self/fd/{number}"))
    return places


def walk_all(ahead: WalkAhead, *, forks: bool) -> list[list[LocalFile]]:
    batches = []
    while not ahead.is_over:
        batch = ahead.next_batch(10)
        if batch is not None:
            assert list(batch.columns[6]) == [f"print of {path}" for path in batch.paths]
            batches.append(batch.make_files())
            if forks:
                ahead.go_ahead()
    return batches


def read_record(walk: Walk) -> tuple:
    assert walk.take_problems()
    record = (walk.take_kept(), walk.troubled, walk.complete, walk.read_all, list(walk.warnings()))
    assert walk.complete
    return record


@pytest.mark.parametrize("alone", [1, 120, 250])
def test_a_fork_walks_on_where_this_process_stopped(source: Path, alone: int) -> None:
    forks: list[Fork] = []
    expected, walk = Walk(str(source), Selection()), Walk(str(source), Selection())
    batches = walk_all(WalkAhead(expected, 20, "print of {}".format), forks=False)

    ahead = WalkAhead(walk, 20, "print of {}".format, partial(start_noted, forks), alone=alone)
    found = walk_all(ahead, forks=True)
    pipe = os.readlink(f"/proc/self/fd/{ahead._pipe}")
    ahead.close()

    assert found == batches
    assert sum(map(len, found)) == 303
    assert read_record(walk) == read_record(expected)
    assert len(forks) == 1
    assert not [each for each in read_open_places() if each == pipe or each.startswith(str(source))]


def test_a_walk_whose_fork_was_killed_fails_the_job(source: Path) -> None:
    walk = Walk(str(source), Selection())
    forks: list[Fork] = []

    def start_and_kill(_: Callable[[], None], keep: int) -> Fork:
        return start_noted(forks, lambda: os.kill(os.getpid(), 9), keep)

    ahead = WalkAhead(walk, 20, str, start_and_kill, alone=1)
    with pytest.raises(JobFailedError, match="the process that walks the source was killed"):
        walk_all_plainly(ahead)
    ahead.close()

    assert not walk.complete
    assert forks[0].wait(10)


def walk_all_plainly(ahead: WalkAhead) -> None:
    while not ahead.is_over:
        ahead.next_batch(10)
        ahead.go_ahead()


def test_a_walk_that_is_given_up_leaves_no_fork(source: Path) -> None:
    walk = Walk(str(source), Selection())
    forks: list[Fork] = []

    ahead = WalkAhead(walk, 1, str, partial(start_noted, forks), alone=0)
    ahead.next_batch()
    ahead.go_ahead()
    ahead.close()

    assert forks[0].wait(10)
    assert not walk.complete


def test_without_another_process_the_walk_goes_on_here(source: Path) -> None:
    asked: list[int] = []
    walk = Walk(str(source), Selection())
    ahead = WalkAhead(walk, 20, str, lambda work, keep: asked.append(keep), alone=40)

    walk_all_plainly(ahead)

    assert walk.complete
    assert len(asked) == 1


@contextmanager
def allow_descriptors(count: int) -> Iterator[None]:
    """Have no descriptor of ``count`` or more given out."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))
    except ValueError:
        pytest.skip(f"the system allows {hard} descriptors")
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_without_a_descriptor_for_a_pipe_the_walk_goes_on_here(source: Path) -> None:
    forks: list[Fork] = []
    walk = Walk(str(source), Selection())
    ahead = WalkAhead(walk, 20, "print of {}".format, partial(start_noted, forks), alone=1)
    first = ahead.next_batch()

    with allow_descriptors(0):
        ahead.go_ahead()
    rest = walk_all(ahead, forks=True)

    assert first is not None
    assert len(first) + sum(map(len, rest)) == 303
    assert walk.complete
    assert not forks


def test_a_walk_goes_on_in_a_fork_where_descriptors_are_beyond_those_of_select(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def make_high_pipe(make_pipe: Callable[[], tuple[int, int]] = os.pipe) -> list[int]:
        low = make_pipe()
        high = [fcntl.fcntl(each, fcntl.F_DUPFD_CLOEXEC, 1024) for each in low]
        for each in low:
            os.close(each)
        return high

    forks: list[Fork] = []
    walk = Walk(str(source), Selection())
    ahead = WalkAhead(walk, 20, "print of {}".format, partial(start_noted, forks), alone=1)
    monkeypatch.setattr(os, "pipe", make_high_pipe)

    with allow_descriptors(1100):
        found = walk_all(ahead, forks=True)
        ahead.close()

    assert sum(map(len, found)) == 303
    assert walk.complete
    assert len(forks) == 1


def test_what_the_pipe_does_not_take_is_kept_up_to_a_limit():
    mine, theirs = os.pipe()
    frames = [bytes([number]) * 10_007 for number in range(60)]
    sender = PipeSender(theirs, most=300_000)
    received = bytearray()

    for frame in frames[:30]:
        sender.send(frame)  # without a reader: a pipe holds 64 KiB
    reader = Thread(target=lambda: received.extend(iter_until_end(mine)))
    reader.start()
    for frame in frames[30:]:
        sender.send(frame)
        assert len(sender._kept) <= 300_000
    sender.flush()
    os.close(theirs)
    reader.join(30)

    assert bytes(received) == b"".join(frames)


def iter_until_end(pipe: int) -> Iterator[int]:
    with open(pipe, "rb", buffering=0) as file:
        while piece := file.read(5000):
            yield from piece


def test_a_sender_ends_with_its_reader():
    mine, theirs = os.pipe()
    sender = PipeSender(theirs)
    sender.send(b"x" * 200_000)
    os.close(mine)

    with pytest.raises(BrokenPipeError):
        sender.send(b"x")
    os.close(theirs)
