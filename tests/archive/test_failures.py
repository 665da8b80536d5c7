import os
import signal
import subprocess
import sys
import textwrap
from types import SimpleNamespace

import pytest

from s3batch.archive import unpack_chunk as unpack
from s3batch.archive import zstd
from s3batch.archive.hashing import WINDOW
from s3batch.archive.undo_log import UndoLog, undo_leftovers
from s3batch.base.errors import ArchiveError
from tests.archive.cycle import Store, fill, noise, rebuild, restore_tree, snapshot


@pytest.fixture
def here(tmp_path):
    top = tmp_path / "here"
    fill(top, {f"d/{n % 5}/{n:02}": noise(400_000, n) for n in range(60)} | {"d/large": noise(WINDOW + 1)})
    os.symlink("0/00", top / "d" / "link")
    os.link(top / "d" / "0" / "00", top / "d" / "again")
    return top


@pytest.fixture
def there(tmp_path):
    (tmp_path / "there").mkdir()
    return tmp_path / "there"


@pytest.mark.parametrize("fail_after", [0, 1, 2])
def test_a_failed_restore_leaves_an_empty_place_empty(here, there, fail_after):
    store = Store()
    built = rebuild(here, ["d"], store)

    with pytest.raises(ConnectionError):
        restore_tree(there, ["d"], built.stored, store, fail_after=fail_after)

    assert snapshot(there) == {}
    assert os.listdir(there / ".s3batch") == ["plan"]


@pytest.mark.parametrize("fail_after", [0, 1, 2])
def test_a_failed_restore_brings_back_what_was_there(here, there, fail_after):
    store = Store()
    built = rebuild(here, ["d"], store)
    fill(there, {"d/1/01": b"older", "d/2": b"a file where a directory belongs", "d/link/x": b"y", "d/mine": b"m"})
    os.symlink("/etc", there / "d" / "3")
    before = snapshot(there)

    with pytest.raises(ConnectionError):
        restore_tree(there, ["d"], built.stored, store, fail_after=fail_after)

    after = snapshot(there)
    assert {path: facts[3] for path, facts in after.items()} == {path: facts[3] for path, facts in before.items()}


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda body: body[:-1], id="cut short"),
        pytest.param(lambda body: body + b"x", id="too long"),
        pytest.param(lambda body: b"", id="empty"),
        pytest.param(lambda body: b"<Error>NoSuchKey</Error>", id="something else"),
        pytest.param(
            lambda body: zstd.compress_frame(bytes(len(zstd.decompress_frame(body, limit=1 << 25)))), id="other bytes"
        ),
        pytest.param(lambda body: zstd.compress_frame(bytes(1 << 20)), id="another size"),
    ],
)
def test_no_byte_of_a_wrong_chunk_is_written(here, there, spoil):
    store = Store()
    built = rebuild(here, ["d"], store)
    store.chunks = {identity: spoil(body) for identity, body in store.chunks.items()}

    with pytest.raises(ArchiveError):
        restore_tree(there, ["d"], built.stored, store)

    assert snapshot(there) == {}


def test_a_flipped_bit_anywhere_in_a_chunk_is_noticed(there, tmp_path):
    fill(tmp_path / "small", {"d/f": b"some text, " * 20})
    store = Store()
    built = rebuild(tmp_path / "small", ["d"], store)
    [(identity, body)] = store.chunks.items()
    whole = snapshot(tmp_path / "small")

    for position in range(len(body)):
        spoiled = bytearray(body)
        spoiled[position] ^= 0x10
        store.chunks[identity] = bytes(spoiled)
        try:
            restore_tree(there, ["d"], built.stored, store)
        except ArchiveError:
            assert snapshot(there) == {}
        else:
            # a bit of the frame's head that does not matter: then the content is right all the same
            assert snapshot(there) == whole
            (there / "d" / "f").unlink()
            (there / "d").rmdir()


KILLED = """
    import os, signal, sys
    from pathlib import Path
    from tests.archive.cycle import Store, restore_tree

    here, there, chunks, stop = Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])
    store = Store({bytes.fromhex(path.name): path.read_bytes() for path in chunks.iterdir() if path.name != "manifest"})
    utime, done = os.utime, [0]

    def fatal(*args, **kwargs):
        done[0] += 1
        if done[0] == stop:
            os.kill(os.getpid(), signal.SIGKILL)
        utime(*args, **kwargs)

    os.utime = fatal
    restore_tree(there, ["d"], (chunks / "manifest").read_bytes(), store)
"""


@pytest.fixture
def kill_a_restore(here, there, tmp_path):
    """A restore of ``here`` into ``there`` that dies at its n-th file; the store it used and the manifest."""
    store = Store()
    built = rebuild(here, ["d"], store)
    fill(there, {"d/1/01": b"older", "d/2": b"a file where a directory belongs", "d/mine": b"m"})
    chunks = tmp_path / "chunks"
    chunks.mkdir()
    for identity, body in store.chunks.items():
        (chunks / identity.hex()).write_bytes(body)
    (chunks / "manifest").write_bytes(built.stored)

    def kill(stop):
        command = [sys.executable, "-c", textwrap.dedent(KILLED), here, there, chunks, str(stop)]
        environment = {**os.environ, "PYTHONPATH": os.getcwd()}
        assert subprocess.run(command, check=False, env=environment).returncode == -signal.SIGKILL
        return store, built.stored

    return kill


def contents(top):
    return {path: facts[3] for path, facts in snapshot(top).items()}


@pytest.mark.crash
@pytest.mark.parametrize("stop", [1, 20, 61, 63, 66])
def test_a_killed_restore_is_finished_by_the_next(here, there, kill_a_restore, stop):
    store, manifest = kill_a_restore(stop)

    restore_tree(there, ["d"], manifest, store)

    wanted, restored = snapshot(here), snapshot(there)
    assert {path: restored[path] for path in wanted if path != b"d"} == {p: f for p, f in wanted.items() if p != b"d"}
    assert (there / "d" / "mine").read_bytes() == b"m"
    assert not (there / ".s3batch" / "restore").exists()


@pytest.mark.crash
@pytest.mark.parametrize("stop", [1, 20, 61, 63, 66])
def test_a_killed_restore_can_be_undone(here, there, kill_a_restore, stop):
    kill_a_restore(stop)

    undo_leftovers(str(there / ".s3batch" / "restore"), str(there))

    assert contents(there) == {
        b"d": None,
        b"d/1": None,
        b"d/1/01": (b"older", b"d/1/01"),
        b"d/2": (b"a file where a directory belongs", b"d/2"),
        b"d/mine": (b"m", b"d/mine"),
    }


@pytest.mark.crash
def test_a_killed_restore_is_undone_when_the_next_one_fails(there, kill_a_restore):
    store, manifest = kill_a_restore(20)

    with pytest.raises(ConnectionError):
        restore_tree(there, ["d"], manifest, store, fail_after=0)

    assert contents(there)[b"d/1/01"] == (b"older", b"d/1/01")
    assert sorted(contents(there)) == [b"d", b"d/1", b"d/1/01", b"d/2", b"d/mine"]


def test_files_that_were_right_when_a_restore_was_killed_are_not_fetched_again(here, there, tmp_path):
    store = Store()
    built = rebuild(here, ["d"], store)
    restore_tree(there, ["d"], built.stored, store)
    (there / "d" / "4" / "59").unlink()

    again = restore_tree(there, ["d"], built.stored, store)

    assert again.plan.files() == 1


def test_another_archive_first_undoes_what_a_killed_restore_left(here, there, tmp_path):
    store = Store()
    fill(tmp_path / "other", {"d/other": b"o"})
    other = rebuild(tmp_path / "other", ["d"], store)
    folder = there / ".s3batch" / "restore"
    undo = UndoLog(str(folder), str(there), ["d"], "some archive")
    undo.make_dir("d")
    undo.will_make(["d/half"])
    fill(there, {"d/half": b"ha"})
    undo.close()

    restore_tree(there, ["d"], other.stored, store)

    assert sorted(snapshot(there)) == [b"d", b"d/other"]


def test_a_directory_closed_to_us_is_opened_and_closed_again(here, there):
    fill(there, {"d/1/01": b"older"})
    store = Store()
    (here / "d" / "1").chmod(0o555)
    built = rebuild(here, ["d"], store)
    (there / "d" / "1").chmod(0o555)

    restore_tree(there, ["d"], built.stored, store)

    assert snapshot(there) == snapshot(here)


def test_a_chunk_unpacked_twice_is_unpacked(here, there):
    """Its worker died before it could say that it was done: the same operation is carried out again."""
    store = Store()
    built = rebuild(here, ["d"], store)
    original = unpack.unpack_chunk
    times = []

    def twice(*args):
        times.append(original(*args).files)
        return original(*args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(unpack, "unpack_chunk", twice)
        restore_tree(there, ["d"], built.stored, store)

    assert len(times) == len(built.manifest.chunks)
    assert snapshot(there) == snapshot(here)


@pytest.mark.parametrize(
    ("free", "error"),
    [
        pytest.param({"f_bavail": 1000}, "bytes at", id="no bytes left"),
        pytest.param({"f_favail": 10}, "inodes at", id="no inodes left"),
        pytest.param({"f_favail": 0, "f_files": 0}, None, id="a file system without inodes"),
    ],
)
def test_a_full_disk_is_noticed_before_anything_is_written(here, there, monkeypatch, free, error):
    store = Store()
    built = rebuild(here, ["d"], store)
    facts = {"f_bavail": 1 << 30, "f_frsize": 1, "f_files": 1 << 20, "f_favail": 1 << 20} | free
    monkeypatch.setattr(os, "statvfs", lambda path: SimpleNamespace(**facts))

    if error:
        with pytest.raises(ArchiveError, match=error):
            restore_tree(there, ["d"], built.stored, store)
        assert (snapshot(there), store.gets) == ({}, 0)
    else:
        restore_tree(there, ["d"], built.stored, store)


def test_a_missing_path_leaves_no_empty_parents(here, there):
    store = Store()
    built = rebuild(here, ["d", "gone/for/good"], store)

    restore_tree(there, ["d", "gone/for/good"], built.stored, store)

    assert sorted(os.listdir(there)) == [".s3batch", "d"]
