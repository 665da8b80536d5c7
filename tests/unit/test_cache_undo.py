"""Undoing a restore: only what the user listed is touched, whatever a record says, and across file systems."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from s3batch.archive.paths import is_below
from s3batch.archive.undo_log import UndoLog, undo_leftovers

RECORD = b"\0"


def below(*roots):
    return lambda path: is_below(path, frozenset(roots))


@pytest.fixture
def there(tmp_path: Path) -> Path:
    (tmp_path / "there" / "vendor").mkdir(parents=True)
    return tmp_path / "there"


def record(there: Path, *entries: str) -> str:
    """A record as whoever wrote the code to be built may have checked it in."""
    folder = there / ".s3batch" / "cache.undo"
    folder.mkdir(parents=True)
    (folder / "record").write_bytes(b"".join(os.fsencode(entry) + b"\0" for entry in ("another archive", *entries)))
    (folder / "1").write_bytes(b"hostile")
    return str(folder)


HOSTILE = [
    pytest.param(["R{out}", "F{out}/victim"], id="removes a file elsewhere"),
    pytest.param(["R{out}", "A{out}/victim"], id="puts a file elsewhere"),
    pytest.param(["R{out}", "D{out}/empty"], id="removes a directory elsewhere"),
    pytest.param(["Rvendor", "R{out}", "Fvendor/x"], id="a root elsewhere"),
    pytest.param(["Rvendor", "Fvendor/../../out/victim"], id="goes up"),
    pytest.param(["Rvendor", "Fsrc/main.c"], id="a file of the workspace that is not cached"),
    pytest.param(["Rvendor", "M511 0 {out}"], id="changes a mode elsewhere"),
    pytest.param(["Rvendor", "Mrubbish"], id="no mode at all"),
    pytest.param(["Rvendor", "X"], id="no kind of ours"),
    pytest.param(["Rvendor", ""], id="an empty entry"),
]


@pytest.mark.parametrize("entries", HOSTILE)
def test_a_record_about_anything_else_is_forgotten_and_harms_nobody(there, tmp_path, entries):
    out = tmp_path / "out"
    for place in (out, there / "src", out / "empty"):
        place.mkdir(parents=True)
    (out / "victim").write_text("dear")
    (there / "src" / "main.c").write_text("dear")
    before = [(path, path.stat().st_mode) for path in sorted(tmp_path.rglob("*")) if ".s3batch" not in path.parts]
    folder = record(there, *(entry.format(out=out) for entry in entries))

    undo_leftovers(folder, str(there), within=below("vendor"))

    after = [(path, path.stat().st_mode) for path in sorted(tmp_path.rglob("*")) if ".s3batch" not in path.parts]
    assert after == before
    assert (out / "victim").read_text() == (there / "src" / "main.c").read_text() == "dear"


def test_a_record_of_ours_is_honoured_parents_of_the_paths_included(there):
    (there / "deep").mkdir()
    (there / "deep" / "er").mkdir()
    (there / "deep" / "er" / "made").write_text("half")
    (there / "vendor" / "kept").write_text("made by us")
    folder = record(there, "Rdeep/er", "Rvendor", "Ddeep", "Ddeep/er", "Fdeep/er/made", "Avendor/kept")

    undo_leftovers(folder, str(there), within=below("deep/er", "vendor"))

    assert not (there / "deep").exists()
    assert (there / "vendor" / "kept").read_bytes() == b"hostile"
    assert not Path(folder).exists()


@pytest.fixture
def elsewhere() -> Path:
    """A directory on another file system than the temporary one."""
    memory = Path("/dev/shm")
    if not memory.is_dir() or memory.stat().st_dev == Path("/tmp").stat().st_dev:
        pytest.skip("there is no second file system")
    place = memory / f"s3batch-test-{os.getpid()}"
    place.mkdir()
    yield place
    for path in sorted(place.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
    place.rmdir()


def test_what_made_room_on_another_file_system_comes_back(there, elsewhere):
    root = str(elsewhere / "root")
    (elsewhere / "root" / "dir").mkdir(parents=True)
    (elsewhere / "root" / "file").write_text("mine")
    os.utime(elsewhere / "root" / "file", ns=(1, 123_456_789))
    (elsewhere / "root" / "dir" / "in").write_text("in")
    os.symlink("file", elsewhere / "root" / "link")
    folder = str(there / ".s3batch" / "cache.undo")

    undo = UndoLog(folder, str(there), [root], "an archive", within=below(root))
    for name in ("file", "dir", "link"):
        undo.move_aside(f"{root}/{name}")
        undo.will_make([f"{root}/{name}"])
        (elsewhere / "root" / name).write_text("of the cache")
    undo.close()
    undo_leftovers(folder, str(there), within=below(root))

    assert (elsewhere / "root" / "file").read_text() == "mine"
    assert (elsewhere / "root" / "file").stat().st_mtime_ns == 123_456_789
    assert (elsewhere / "root" / "dir" / "in").read_text() == "in"
    assert os.readlink(elsewhere / "root" / "link") == "file"
