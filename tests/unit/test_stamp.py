"""A file's identity is one value, made in one place and compared in one place."""

from __future__ import annotations

import ast
import os
import stat
from pathlib import Path

import pytest

from s3batch.model import (
    DIRECTORY,
    FILE,
    LINK,
    NO_STAMP,
    Stamp,
    has_stamp,
    is_same_file,
    stamp_of,
    stamp_of_object,
)
from tests.rig.stamps import stamp

SOURCE = Path(__file__).parents[2] / "s3batch"
FACTS = frozenset(
    {"st_size", "st_mtime", "st_mtime_ns", "st_ctime", "st_ctime_ns", "mtime_ns", "ctime_ns", "mtimes", "ctimes"}
)
COLUMNS = {
    "archive/change_detection.py": "the stamps of a whole tree are compared as columns",
    "archive/mounts.py": "a directory against the columns of a walk, to see whether it is the same one",
    "archive/verify.py": "a walk against a manifest, which knows no ctime",
    "archive/restore_plan.py": "a walk against a manifest, which knows no ctime",
    "archive/pack_chunk.py": "a file that was opened against the columns of a walk",
    "archive/legacy_tar.py": "a file against a member of a tar archive, which knows no ctime",
    "plan/decide.py": "the time of a file that its object preserves, which is an attribute",
    "commands/plans/apply.py": "the time of an object, not of a file",
    "plan/decide_download.py": "the size of a file against that of its object, which has no stamp",
    "source/reader.py": "whether a file is younger than a tick of the clock",
    "worker/landing.py": "a file against the journal of a saved plan, which keeps neither kind nor size",
    "worker/fetch.py": "the same, and the time that an object gives its file",
    "worker/fetch_parts.py": "the same, of an unfinished file",
    "files/private.py": "whether a file of our own is larger than it may be",
    "archive/scan.py": "whether a file has holes",
    "cache/local_chunks.py": "which files of our own are the oldest",
}
"""Where an archive's columns or members are compared, which are no stamps."""


def comparing_facts(path: Path) -> list[int]:
    """Return the lines in which times or sizes of files are compared."""
    tree = ast.parse(path.read_text())
    compares = [node for node in ast.walk(tree) if isinstance(node, ast.Compare)]
    return [
        node.lineno for node in compares
        if any(isinstance(each, ast.Attribute) and each.attr in FACTS for each in ast.walk(node))
    ]  # fmt: skip


def test_nowhere_else_are_times_and_sizes_of_files_compared() -> None:
    found = {str(path.relative_to(SOURCE)) for path in SOURCE.rglob("*.py") if comparing_facts(path)}

    assert found - COLUMNS.keys() <= {"model.py"}, "use model.is_same_file"


@pytest.mark.parametrize(
    ("change", "same"),
    [
        pytest.param({}, True, id="nothing"),
        pytest.param({"kind": LINK}, False, id="kind"),
        pytest.param({"size": 11}, False, id="size"),
        pytest.param({"mtime_ns": 99}, False, id="mtime"),
        pytest.param({"ctime_ns": 99}, False, id="ctime"),
        pytest.param({"ctime_ns": 0}, False, id="a ctime that is not known"),
        pytest.param({"inode": 99}, False, id="inode"),
        pytest.param({"device": 99}, True, id="the device: each mount numbers it anew"),
    ],
)  # fmt: skip
def test_two_stamps_are_of_the_same_file(change: dict[str, int], same: bool) -> None:
    assert is_same_file(stamp(), stamp()._replace(**change)) is same
    assert is_same_file(stamp()._replace(**change), stamp()) is same


@pytest.mark.parametrize("change", [{}, *({fact: 99} for fact in Stamp._fields), {"ctime_ns": 0}, {"kind": LINK}])
def test_an_open_file_is_compared_as_its_stamp_is(tmp_path: Path, change: dict[str, int]) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    info = (tmp_path / "file").stat()
    planned = stamp_of(info)._replace(**change)

    assert has_stamp(info, planned) is is_same_file(stamp_of(info), planned)


def test_what_is_not_known_is_the_same_as_nothing() -> None:
    unknown = stamp(ctime_ns=0)

    assert not is_same_file(unknown, unknown)
    assert not is_same_file(NO_STAMP, NO_STAMP)


def test_a_stamp_tells_what_an_entry_is(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    (tmp_path / "link").symlink_to("file")
    os.mkfifo(tmp_path / "pipe")

    kinds = {name: stamp_of(os.lstat(tmp_path / name)).kind for name in ("file", "link", "pipe", ".")}

    assert kinds == {"file": FILE, "link": LINK, "pipe": stat.S_IFIFO, ".": DIRECTORY}
    info = os.stat(tmp_path / "file")
    assert stamp_of(info) == Stamp(FILE, 5, info.st_mtime_ns, info.st_ctime_ns, info.st_dev, info.st_ino)


SECOND = 1_000_000_000
LARGEST = 2**63 - 1


def stat_result(inode: int = 6, mtime_ns: int = 5, ctime_ns: int = 7) -> os.stat_result:
    """Return what a file system tells of a regular file."""
    numbers = [stat.S_IFREG, inode, 8, 1, 0, 0, 10, 0, mtime_ns // SECOND, ctime_ns // SECOND]
    times = {"st_mtime_ns": mtime_ns, "st_ctime_ns": ctime_ns}
    return os.stat_result(numbers, times)


ODD = [
    pytest.param({"inode": 2**63}, {"inode": -(2**63)}, id="an inode of GlusterFS"),
    pytest.param({"inode": 2**64 - 2}, {"inode": -2}, id="the largest inodes"),
    pytest.param({"mtime_ns": 10_413_792_000 * SECOND}, {"mtime_ns": LARGEST}, id="the year 2300"),
    pytest.param({"mtime_ns": -11_644_473_600 * SECOND}, {"mtime_ns": -(2**63)}, id="the year 1601"),
    pytest.param({"ctime_ns": LARGEST + 2}, {"ctime_ns": 1 - 2**63}, id="a clock that is far ahead"),
]


@pytest.mark.parametrize(("told", "kept"), ODD)
def test_a_stamp_holds_what_the_journal_can_hold(told: dict[str, int], kept: dict[str, int]) -> None:
    info = stat_result(**told)

    assert stamp_of(info) == stamp()._replace(**kept)
    assert has_stamp(info, stamp_of(info))
    assert all(-(2**63) <= number <= LARGEST for number in stamp_of(info))


@pytest.mark.parametrize("change", [{"inode": 2**63 + 1}, {"ctime_ns": LARGEST + 3}, {"inode": 0}])
def test_two_odd_files_stay_two(change: dict[str, int]) -> None:
    one = stat_result(inode=2**63, ctime_ns=LARGEST + 2)
    other = stat_result(**{"inode": 2**63, "ctime_ns": LARGEST + 2} | change)

    assert not has_stamp(other, stamp_of(one))
    assert not is_same_file(stamp_of(other), stamp_of(one))


@pytest.mark.parametrize("modified", [-62_135_596_800.0, -11_644_473_600.0, 9_278_150_400.0, 253_402_300_799.0])
def test_the_stamp_of_an_object_of_any_year_is_exact(modified: float) -> None:
    seen = stamp_of_object(10, "etag", modified)

    assert -(2**63) <= seen.mtime_ns <= LARGEST
    assert is_same_file(seen, stamp_of_object(10, "etag", modified + 0.4))
    assert not is_same_file(seen, stamp_of_object(10, "etag", modified + 1))
