"""What the walk finds, what it refuses to take for absent, and what it never enters."""

from __future__ import annotations

import inspect
import os
import shutil
import socket
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from s3batch import walk as walk_module
from s3batch.errors import JobFailedError
from s3batch.model import FILE
from s3batch.walk import Walk, led_out_warning, walk


class Selection(NamedTuple):
    """Leave out paths and directories by exact name."""

    unwanted: frozenset[str] = frozenset()
    closed: frozenset[str] = frozenset()

    def wants(self, path: str) -> bool:
        return path not in self.unwanted

    def enters(self, directory: str) -> bool:
        return directory not in self.closed


ALL = Selection()
not_root = pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")


def tree(root: Path, *paths: str) -> Path:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(path)
    return root


def paths_of(found: Walk) -> list[str]:
    return [file.path for file in found]


def test_files_come_with_their_stamp_relative_to_the_source(tmp_path: Path) -> None:
    tree(tmp_path, "a/b.txt")
    info = os.stat(tmp_path / "a/b.txt")

    (file,) = walk(str(tmp_path), ALL)

    assert file.path == "a/b.txt"
    assert file.stamp == (FILE, info.st_size, info.st_mtime_ns, info.st_ctime_ns, info.st_dev, info.st_ino)


def test_names_are_sorted_within_each_directory_and_hidden_ones_are_included(tmp_path: Path) -> None:
    tree(tmp_path, "b", "a/z", "a/k", ".git/config", "c/d/e", "a.txt")

    found = walk(str(tmp_path), ALL)

    assert paths_of(found) == [".git/config", "a/k", "a/z", "a.txt", "b", "c/d/e"]
    assert found.complete
    assert not found.problems
    assert not found.vetoes


def test_an_empty_directory_has_no_files_and_is_complete(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    found = walk(str(tmp_path), ALL)

    assert paths_of(found) == []
    assert found.complete


def test_a_walk_is_not_complete_before_its_end(tmp_path: Path) -> None:
    found = walk(str(tree(tmp_path, "a", "b")), ALL)
    next(iter(found))

    assert not found.complete


def test_files_come_in_batches_of_the_size_asked_for(tmp_path: Path) -> None:
    tree(tmp_path, *"abcde")

    assert [len(batch) for batch in walk(str(tmp_path), ALL).batches(2)] == [2, 2, 1]


def test_a_name_that_is_not_utf8_survives(tmp_path: Path) -> None:
    raw = os.fsencode(tmp_path) + b"/caf\xe9.txt"
    with open(raw, "w"):
        pass

    (file,) = walk(str(tmp_path), ALL)

    assert os.fsencode(file.path) == b"caf\xe9.txt"


def test_a_tree_deeper_than_the_stack_of_python_is_walked(tmp_path: Path) -> None:
    deep = "/".join("d" for _ in range(300))
    tree(tmp_path, f"{deep}/leaf")
    limit = sys.getrecursionlimit()

    sys.setrecursionlimit(len(inspect.stack(0)) + 150)
    try:
        paths = paths_of(walk(str(tmp_path), ALL))
    finally:
        sys.setrecursionlimit(limit)

    assert paths == [f"{deep}/leaf"]


def test_a_wide_directory_is_read_in_slices_and_nothing_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(walk_module, "SLICE", 3)
    names = [f"{n:02}" for n in range(20)]
    tree(tmp_path, *names, "05.d/x")

    assert sorted(paths_of(walk(str(tmp_path), ALL))) == sorted([*names, "05.d/x"])


def test_what_the_selection_leaves_out_is_neither_found_nor_entered(tmp_path: Path) -> None:
    tree(tmp_path, "keep", "drop", "node_modules/huge")
    (tmp_path / "node_modules").chmod(0)
    try:
        found = walk(str(tmp_path), Selection(frozenset({"drop"}), frozenset({"node_modules"})))

        assert paths_of(found) == ["keep"]
        assert found.complete
        assert not found.problems
    finally:
        (tmp_path / "node_modules").chmod(0o700)


def test_the_journal_and_every_state_directory_are_passed_by_and_kept(tmp_path: Path) -> None:
    beside = ["j.db", "j.db-wal", "j.db-shm", "j.db-journal", "j.db.lock", "j.db.new-7", "j.db.damaged-2026-wal"]
    tree(tmp_path, "a", "j.db.html", ".s3batch/j.db", "sub/.s3batch/x", "sub/j.db", *beside)

    found = walk(str(tmp_path), ALL, journal=str(tmp_path / "j.db"))

    assert paths_of(found) == ["a", "j.db.html", "sub/j.db"]
    assert found.complete
    assert all(found.keeps(path) for path in [".s3batch/old.db", *beside])
    assert not found.keeps("sub/j.db")


class TestLinks:
    def test_a_link_to_a_file_is_its_content(self, tmp_path: Path) -> None:
        tree(tmp_path, "real.txt")
        (tmp_path / "link").symlink_to("real.txt")

        link, real = walk(str(tmp_path), ALL)

        assert link == real._replace(path="link")

    def test_a_link_to_a_directory_is_entered(self, tmp_path: Path) -> None:
        outside = tree(tmp_path / "outside", "x/y")
        source = tree(tmp_path / "source", "a")
        (source / "there").symlink_to(outside)

        assert paths_of(walk(str(source), ALL)) == ["a", "there/x/y"]

    def test_links_that_lead_out_are_counted_and_the_first_three_named(self, tmp_path: Path) -> None:
        outside = tree(tmp_path / "outside", "x/y", "z")
        source = tree(tmp_path / "source", "a", "sub/b")
        for name in ("one", "three", "four", "two.skip"):
            (source / name).symlink_to(outside / "z")
        (source / "dir").symlink_to(outside / "x")
        (source / "sub/up").symlink_to("../../outside/x/y")
        (source / "sub/inside").symlink_to("../a")
        (source / "by-way").symlink_to("one")
        (source / "device").symlink_to("/dev/null")

        found = walk(str(source), Selection(frozenset({"two.skip"})))
        list(found)

        assert led_out_warning(found) == (
            f"6 symbolic links lead out of the source; what is there was taken: by-way -> {outside}/z, "
            f"dir -> {outside}/x, four -> {outside}/z, ...; symlinks: inside leaves it"
        )

    def test_inside_follows_only_links_that_stay_inside_and_names_the_others(self, tmp_path: Path) -> None:
        outside = tree(tmp_path / "source-2", "x/y", "z")
        source = tree(tmp_path / "source", "a", "sub/b")
        (source / "file").symlink_to(outside / "z")
        (source / "dir").symlink_to(outside / "x")
        (source / "by-way").symlink_to("file")
        (source / "self").symlink_to("a")
        (source / "there").symlink_to("sub")
        (source / "absolute").symlink_to(source / "a")

        found = walk(str(source), ALL, symlinks="inside")

        assert paths_of(found) == ["a", "absolute", "self", "sub/b", "there/b"]
        assert [skipped.warning() for skipped in found.skipped] == [
            f"skipped {path}: it is a symbolic link that leads out of the source, to {place} (symlinks: inside); "
            "a key of that name is kept"
            for path, place in (("by-way", outside / "z"), ("dir", outside / "x"), ("file", outside / "z"))
        ]
        assert found.complete
        assert found.keeps("dir/y")
        assert led_out_warning(found) == ""

    def test_a_source_that_is_a_link_has_its_inside_where_it_leads(self, tmp_path: Path) -> None:
        tree(tmp_path / "real", "a")
        (tmp_path / "real/b").symlink_to("a")
        (tmp_path / "source").symlink_to("real")

        assert paths_of(walk(str(tmp_path / "source"), ALL, symlinks="inside")) == ["a", "b"]

    def test_a_source_that_is_a_link_to_a_directory_is_walked(self, tmp_path: Path) -> None:
        tree(tmp_path / "real", "a")
        (tmp_path / "source").symlink_to("real")

        assert paths_of(walk(str(tmp_path / "source"), ALL)) == ["a"]

    @pytest.mark.parametrize("target", [pytest.param(".", id="itself"), pytest.param("..", id="parent")])
    def test_a_link_into_its_own_ancestors_is_skipped_with_a_warning(self, tmp_path: Path, target: str) -> None:
        tree(tmp_path, "d/a")
        (tmp_path / "d/loop").symlink_to(target)

        found = walk(str(tmp_path), ALL)

        assert paths_of(found) == ["d/a"]
        assert [skipped.path for skipped in found.skipped] == ["d/loop"]
        assert found.complete
        assert found.keeps("d/loop/a")

    def test_a_link_above_the_source_ends_where_it_meets_the_source_again(self, tmp_path: Path) -> None:
        tree(tmp_path, "up/source/a", "up/b")
        (tmp_path / "up/source/link").symlink_to(tmp_path / "up")

        assert paths_of(walk(str(tmp_path / "up/source"), ALL)) == ["a", "link/b"]

    def test_two_links_to_one_directory_are_both_entered(self, tmp_path: Path) -> None:
        outside = tree(tmp_path / "outside", "x")
        (tmp_path / "source").mkdir()
        (tmp_path / "source/one").symlink_to(outside)
        (tmp_path / "source/two").symlink_to(outside)

        assert paths_of(walk(str(tmp_path / "source"), ALL)) == ["one/x", "two/x"]

    @pytest.mark.parametrize(
        "target", [pytest.param("nowhere", id="dangling"), pytest.param("broken", id="its own target")]
    )
    def test_a_broken_link_is_a_problem_and_its_key_is_kept(self, tmp_path: Path, target: str) -> None:
        tree(tmp_path, "a")
        (tmp_path / "broken").symlink_to(target)

        found = walk(str(tmp_path), ALL)

        assert paths_of(found) == ["a"]
        assert found.problems == [("broken", f"broken symbolic link to {target}", "BrokenLink", False)]
        assert found.keeps("broken")
        assert found.keeps("broken/of/the/directory/it/was")
        assert not found.keeps("brokenly")
        assert found.complete

    def test_a_broken_link_nobody_wants_is_no_problem(self, tmp_path: Path) -> None:
        (tmp_path / "broken").symlink_to("nowhere")
        found = walk(str(tmp_path), Selection(frozenset({"broken"})))

        assert paths_of(found) == []
        assert not found.problems

    def test_skip_leaves_out_every_link_says_so_and_keeps_the_keys(self, tmp_path: Path) -> None:
        tree(tmp_path, "d/a")
        for name, target in {"file": "d/a", "directory": "d", "broken": "nowhere"}.items():
            (tmp_path / name).symlink_to(target)

        found = walk(str(tmp_path), ALL, symlinks="skip")

        assert paths_of(found) == ["d/a"]
        assert [skipped.path for skipped in found.skipped] == ["broken", "directory", "file"]
        assert not found.problems
        assert found.keeps("directory/a")
        assert found.keeps("file")


class TestOddFiles:
    def test_a_pipe_and_a_socket_are_skipped_with_a_warning_and_their_keys_kept(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tree(tmp_path, "a")
        os.mkfifo(tmp_path / "pipe")
        monkeypatch.chdir(tmp_path)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind("sock")
            found = walk(".", ALL)
            paths = paths_of(found)

        assert paths == ["a"]
        assert [skipped.warning() for skipped in found.skipped] == [
            "skipped pipe: it is a named pipe (FIFO); a key of that name is kept",
            "skipped sock: it is a socket; a key of that name is kept",
        ]
        assert found.vetoes == ["pipe", "pipe/", "sock", "sock/"]
        assert found.complete

    @not_root
    def test_an_unreadable_directory_is_a_problem_and_keeps_everything_below_it(self, tmp_path: Path) -> None:
        tree(tmp_path, "a", "closed/x")
        (tmp_path / "closed").chmod(0)
        found = walk(str(tmp_path), ALL)
        paths = paths_of(found)
        (tmp_path / "closed").chmod(0o700)

        assert paths == ["a"]
        assert [(problem.path, problem.code) for problem in found.problems] == [("closed", "Unreadable")]
        assert not found.complete
        assert found.keeps("closed/x/y")

    def test_a_directory_that_fails_half_way_is_a_problem_and_is_kept(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tree(tmp_path, "a", "sick/x")
        scandir = os.scandir

        def failing(path: str) -> os._ScandirIterator[str]:
            if path.endswith("sick/"):
                raise OSError(5, "Input/output error")
            return scandir(path)

        monkeypatch.setattr(os, "scandir", failing)
        found = walk(str(tmp_path), ALL)

        assert paths_of(found) == ["a"]
        assert found.problems == [("sick", "cannot read the directory: Input/output error", "Unreadable", True)]
        assert not found.complete
        assert found.vetoes == ["sick", "sick/"]

    def test_a_source_that_cannot_be_listed_keeps_every_key(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def failing(path: str) -> None:
            raise PermissionError(13, "Permission denied")

        found = walk(str(tmp_path), ALL)
        monkeypatch.setattr(os, "scandir", failing)

        assert paths_of(found) == []
        assert not found.complete
        assert found.keeps("anything/at/all")

    def test_a_directory_that_vanishes_during_the_walk_is_a_problem_and_is_kept(self, tmp_path: Path) -> None:
        tree(tmp_path, "a", "b/c", "d")
        found = walk(str(tmp_path), ALL)
        files = iter(found)
        first = next(files)
        shutil.rmtree(tmp_path / "b")

        assert [first.path, *[file.path for file in files]] == ["a", "d"]
        assert [problem[0::2] for problem in found.problems] == [("b", "Vanished")]
        assert found.problems[0].directory
        assert not found.complete
        assert found.keeps("b/c")

    def test_a_file_that_vanishes_during_the_walk_is_a_problem_and_is_kept(self, tmp_path: Path) -> None:
        tree(tmp_path, "a", "b", "c")
        found = walk(str(tmp_path), ALL)
        files = iter(found)
        next(files)
        (tmp_path / "b").unlink()

        assert [file.path for file in files] == ["c"]
        assert found.problems == [("b", "it vanished while its directory was read", "Vanished", False)]
        assert found.keeps("b")
        assert found.complete


class TestSource:
    def test_a_single_file_is_found_under_its_name(self, tmp_path: Path) -> None:
        tree(tmp_path, "d/one.txt", "d/other.txt")
        found = walk(str(tmp_path / "d/one.txt"), ALL)

        assert paths_of(found) == ["one.txt"]
        assert found.single
        assert found.base == str(tmp_path / "d")
        assert found.complete

    def test_a_missing_source_stops_the_job(self, tmp_path: Path) -> None:
        with pytest.raises(JobFailedError, match=r"No such file.*nothing deleted"):
            walk(str(tmp_path / "missing"), ALL)

    def test_a_source_that_is_a_pipe_stops_the_job(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe")

        with pytest.raises(JobFailedError, match="named pipe"):
            walk(str(tmp_path / "pipe"), ALL)
