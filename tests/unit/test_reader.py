"""A file is read as it was planned, or not at all."""

from __future__ import annotations

import gzip
import hashlib
import os
import resource
import threading
import time
from functools import partial

import pytest

from s3batch.s3.etag import hash_blocks, multipart_digests
from s3batch.source.reader import ContentError, SourceReader, compress_body
from tests.rig.stamps import stamp_at

MIB = 1024 * 1024
LONG_AGO = 1_600_000_000_000_000_000
BODY = bytes(range(256)) * 1024


@pytest.fixture
def planned(tmp_path):
    """A source with one old file in it, and the file's stamp."""
    path = tmp_path / "file"
    path.write_bytes(BODY)
    os.utime(path, ns=(LONG_AGO, LONG_AGO))
    time.sleep(0.021)
    return SourceReader(str(tmp_path)), stamp_at(path)


@pytest.mark.parametrize(
    ("offset", "length", "expected"),
    [
        pytest.param(0, -1, BODY, id="all of it"),
        pytest.param(1000, 500, BODY[1000:1500], id="a part"),
        pytest.param(len(BODY) - 7, 7, BODY[-7:], id="the end"),
        pytest.param(0, 0, b"", id="nothing"),
    ],
)
def test_a_file_as_planned_is_read(planned, offset, length, expected):
    source, planned_stamp = planned

    assert source.read("file", planned_stamp, offset, length) == expected


def test_it_is_told_whether_a_file_is_read_soon(planned, monkeypatch):
    source, planned_stamp = planned
    let_go = threading.Event()

    assert source.reads_within(60, "file", planned_stamp)
    assert source.reads_within(60, "gone", planned_stamp)  # its upload says why it cannot be sent

    monkeypatch.setattr(source, "read", lambda *_: let_go.wait(60))
    assert not source.reads_within(0.01, "file", planned_stamp)
    let_go.set()


def test_without_a_thread_no_file_is_read_soon(planned, monkeypatch):
    source, planned_stamp = planned

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert not source.reads_within(60, "file", planned_stamp)


@pytest.mark.parametrize(("offset", "length"), [(0, 3 * MIB), (5, 2 * MIB), (3 * MIB - 7, 7), (9, 0)])
def test_a_piece_is_read_into_memory_and_each_block_is_noted(tmp_path, offset, length):
    body = os.urandom(3 * MIB)
    (tmp_path / "file").write_bytes(body)
    time.sleep(0.021)
    memory, noted = memoryview(bytearray(length)), []

    source = SourceReader(str(tmp_path))
    source.read_into(memory, "file", stamp_at(tmp_path / "file"), offset, lambda block: noted.append(bytes(block)))

    assert memory == body[offset : offset + length]
    assert b"".join(noted) == memory
    assert max(map(len, noted), default=0) <= MIB


def test_a_file_that_ends_early_does_not_leave_old_memory_in_its_body(planned):
    source, planned_stamp = planned

    with pytest.raises(ContentError, match="changed while it was read"):
        source.read_into(memoryview(bytearray(10)), "file", planned_stamp, len(BODY) - 5)


def test_blocks_are_all_of_it(planned):
    source, planned_stamp = planned

    assert b"".join(source.blocks("file", planned_stamp)) == BODY


def test_a_source_that_is_one_file_is_read_by_its_name(tmp_path):
    (tmp_path / "only").write_bytes(b"x")
    time.sleep(0.021)

    assert SourceReader(str(tmp_path / "only")).read("only", stamp_at(tmp_path / "only")) == b"x"


def change_size(path):
    path.write_bytes(BODY + b"!")


def change_time(path):
    os.utime(path, ns=(LONG_AGO + 1, LONG_AGO + 1))


def take_away(path):
    path.unlink()


def become_a_pipe(path):
    path.unlink()
    os.mkfifo(path)


def become_a_directory(path):
    path.unlink()
    path.mkdir()


def become_a_dangling_link(path):
    path.unlink()
    path.symlink_to("nowhere")


def become_an_endless_link(path):
    path.unlink()
    path.symlink_to("file")


@pytest.mark.parametrize(
    "change",
    [
        change_size, change_time, become_a_pipe, become_a_directory, take_away, become_a_dangling_link,
        become_an_endless_link,
    ],
)  # fmt: skip
@pytest.mark.parametrize(
    "way",
    [SourceReader.read, SourceReader.check, lambda *arguments: list(SourceReader.blocks(*arguments))],
    ids=["read", "check", "blocks"],
)
def test_what_is_not_as_planned_is_not_read(planned, tmp_path, change, way):
    source, planned_stamp = planned
    change(tmp_path / "file")

    with pytest.raises(ContentError) as caught:
        way(source, "file", planned_stamp)

    assert caught.value.code == "Changed"
    assert "'file'" in str(caught.value)


def test_a_file_written_this_very_moment_is_read_when_the_clock_has_ticked(tmp_path, monkeypatch):
    path = tmp_path / "new"
    path.write_bytes(b"half")
    os.utime(path, ns=(LONG_AGO, LONG_AGO))
    now = stamp_at(path)

    with monkeypatch.context() as moment, pytest.raises(ContentError, match="changed") as caught:
        moment.setattr(time, "time_ns", lambda: now.ctime_ns + 1_000_000)
        moment.setattr(time, "sleep", lambda _: path.write_bytes(b"whole"))  # while the clock is waited for
        SourceReader(str(tmp_path)).read("new", now)

    assert caught.value.code == "Changed"
    now = stamp_at(path)
    assert SourceReader(str(tmp_path)).read("new", now) == b"whole"
    assert time.time_ns() - now.ctime_ns >= 20_000_000


def put_another_in_its_place(path):
    (path.parent / "other").write_bytes(BODY[::-1])
    os.utime(path.parent / "other", ns=(LONG_AGO, LONG_AGO))
    os.replace(path.parent / "other", path)


def overwrite_in_place(path):
    with path.open("r+b") as file:
        file.write(BODY[::-1])
    os.utime(path, ns=(LONG_AGO, LONG_AGO))


@pytest.mark.parametrize("change", [put_another_in_its_place, overwrite_in_place])
def test_other_bytes_of_the_same_size_and_mtime_are_not_what_was_planned(planned, tmp_path, change):
    source, planned_stamp = planned
    change(tmp_path / "file")
    time.sleep(0.021)

    for way in (source.read, source.check, lambda *given: list(source.blocks(*given))):
        with pytest.raises(ContentError, match="changed") as caught:
            way("file", planned_stamp)
        assert caught.value.code == "Changed"


def test_a_file_that_grows_while_it_is_read_gives_no_more_than_was_planned(planned, tmp_path):
    source, planned_stamp = planned
    blocks = source.blocks("file", planned_stamp)
    with (tmp_path / "file").open("ab") as file:
        file.write(BODY)

    read = bytearray()
    with pytest.raises(ContentError, match="changed"):
        for block in blocks:
            read += block
    assert len(read) <= len(BODY)


def test_a_change_while_it_is_read_shows_even_if_the_time_is_set_back(planned, tmp_path):
    source, planned_stamp = planned
    blocks = source.blocks("file", planned_stamp)
    next(blocks)

    (tmp_path / "file").write_bytes(BODY[::-1])
    os.utime(tmp_path / "file", ns=(LONG_AGO, LONG_AGO))

    with pytest.raises(ContentError, match="changed while it was read"):
        list(blocks)


def test_no_read_of_a_file_that_is_rewritten_all_the_time_is_torn(tmp_path):
    path, ended = tmp_path / "file", threading.Event()
    bodies = [letter * 4 * MIB for letter in (b"a", b"b")]
    path.write_bytes(bodies[0])

    def rewrite() -> None:
        with path.open("r+b", buffering=0) as file:
            for turn in range(1_000_000):
                if ended.is_set():
                    return
                file.seek(0)
                file.write(bodies[turn % 2])
                ended.wait(0.03 * (turn % 3 == 0))

    writer = threading.Thread(target=rewrite)
    writer.start()
    read, refused = 0, 0
    soonest, latest = time.monotonic() + 1.5, time.monotonic() + 60
    while time.monotonic() < (latest if not refused else soonest):
        found = stamp_at(path)
        time.sleep(0.021)
        try:
            body = SourceReader(str(tmp_path)).read("file", found)
        except ContentError:
            refused += 1
        else:
            read += 1
            assert len(set(body)) == 1
    ended.set()
    writer.join()

    assert refused > 0


def test_a_process_that_has_no_descriptor_left_may_try_again(planned):
    source, planned_stamp = planned
    source.check("file", planned_stamp)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))  # none is given, whatever other threads close
        with pytest.raises(ContentError) as caught:
            source.read("file", planned_stamp)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    assert caught.value.code == "Busy"


@pytest.mark.parametrize("size", [0, 1, 5 * MIB - 1, 5 * MIB, 5 * MIB + 1, 11 * MIB])
def test_digests_of_parts_are_those_of_the_parts(size):
    body = (BODY * (size // len(BODY) + 1))[:size]
    parts = [body[at : at + 5 * MIB] for at in range(0, size, 5 * MIB)] or [b""]
    blocks = [body[at : at + MIB] for at in range(0, size, MIB)]

    assert multipart_digests(iter(blocks), 5 * MIB) == [hashlib.md5(part).digest() for part in parts]
    assert hash_blocks(iter(blocks)) == hashlib.md5(body).hexdigest()


def test_compressing_gives_the_same_bytes_each_time():
    assert compress_body(BODY) == compress_body(bytearray(BODY))
    assert gzip.decompress(compress_body(BODY)) == BODY


def test_a_block_that_does_not_come_is_told_with_its_file(tmp_path):
    """As a file server that does not answer has it; a slow one, whose blocks do come, is left alone."""
    source, (reading, writing) = SourceReader(str(tmp_path)), os.pipe()
    thread = threading.Thread(target=source._read_block, args=("slow.bin", partial(os.read, reading, 10)), daemon=True)
    thread.start()
    while not source._waits:
        time.sleep(0.001)

    before, after = source.find_stuck(30.0), source.find_stuck(0.0)
    os.write(writing, b"x")
    thread.join()
    os.close(writing)
    os.close(reading)

    assert (before, after, source.find_stuck(0.0)) == ("", "slow.bin", "")
