"""What the walk finds, what it refuses to take for absent, and what it never enters."""

from __future__ import annotations

import inspect
import os
import shutil
import socket
import sys
from itertools import chain, permutations
from pathlib import Path
from typing import NamedTuple

import pytest

from s3batch.base.errors import JobFailedError
from s3batch.model import DIRECTORY, FILE
from s3batch.source.size_and_age import FileLimits
from s3batch.source.walk import Walk, walk_source
from s3batch.source.walk_record import SHOWN, UnreadablePaths, WalkRecord
from tests.rig.stamps import stamp_at


class Selection(NamedTuple):
    """Leave out paths and directories by exact name."""

    unwanted: frozenset[str] = frozenset()
    closed: frozenset[str] = frozenset()

    def wants(self, path: str) -> bool:
        return path not in self.unwanted

    def wants_all_in(self, directory: str) -> bool:
        prefix = f"{directory}/" if directory else ""
        return not any(path.startswith(prefix) for path in self.unwanted)

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

    (file,) = walk_source(str(tmp_path), ALL)

    assert file.path == "a/b.txt"
    assert file.stamp == (FILE, info.st_size, info.st_mtime_ns, info.st_ctime_ns, info.st_dev, info.st_ino)


def test_names_are_sorted_within_each_directory_and_hidden_ones_are_included(tmp_path: Path) -> None:
    tree(tmp_path, "b", "a/z", "a/k", ".git/config", "c/d/e", "a.txt")

    found = walk_source(str(tmp_path), ALL)

    assert paths_of(found) == [".git/config", "a/k", "a/z", "a.txt", "b", "c/d/e"]
    assert found.complete
    assert not found.problems
    assert not found.kept.paths


def test_an_empty_directory_has_no_files_and_is_complete(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    found = walk_source(str(tmp_path), ALL)

    assert paths_of(found) == []
    assert found.complete


def test_a_walk_is_not_complete_before_its_end(tmp_path: Path) -> None:
    found = walk_source(str(tree(tmp_path, "a", "b")), ALL)
    next(iter(found))

    assert not found.complete


def test_files_come_in_batches_of_the_size_asked_for(tmp_path: Path) -> None:
    tree(tmp_path, *"abcde")

    assert [len(batch) for batch in walk_source(str(tmp_path), ALL).batches(2)] == [2, 2, 1]


def test_a_name_that_is_not_utf8_survives(tmp_path: Path) -> None:
    raw = os.fsencode(tmp_path) + b"/caf\xe9.txt"
    with open(raw, "w"):
        pass

    (file,) = walk_source(str(tmp_path), ALL)

    assert os.fsencode(file.path) == b"caf\xe9.txt"


def test_a_tree_deeper_than_the_stack_of_python_is_walked(tmp_path: Path) -> None:
    deep = "/".join("d" for _ in range(300))
    tree(tmp_path, f"{deep}/leaf")
    limit = sys.getrecursionlimit()

    sys.setrecursionlimit(len(inspect.stack(0)) + 150)
    try:
        paths = paths_of(walk_source(str(tmp_path), ALL))
    finally:
        sys.setrecursionlimit(limit)

    assert paths == [f"{deep}/leaf"]


def test_a_wide_directory_is_read_in_slices_and_nothing_is_lost(tmp_path: Path) -> None:
    names = [f"{n:02}" for n in range(20)]
    tree(tmp_path, *names, "05.d/x")

    assert sorted(paths_of(Walk(str(tmp_path), ALL, slice_size=3))) == sorted([*names, "05.d/x"])


def test_what_the_selection_leaves_out_is_neither_found_nor_entered(tmp_path: Path) -> None:
    tree(tmp_path, "keep", "drop", "node_modules/huge")
    (tmp_path / "node_modules").chmod(0)
    try:
        found = walk_source(str(tmp_path), Selection(frozenset({"drop"}), frozenset({"node_modules"})))

        assert paths_of(found) == ["keep"]
        assert found.complete
        assert not found.problems
    finally:
        (tmp_path / "node_modules").chmod(0o700)


def test_the_journal_and_every_state_directory_are_passed_by_and_kept(tmp_path: Path) -> None:
    beside = ["j.db", "j.db-wal", "j.db-shm", "j.db-journal", "j.db.lock", "j.db.new-7", "j.db.damaged-2026-wal"]
    tree(tmp_path, "a", "j.db.html", ".s3batch/j.db", "sub/.s3batch/x", "sub/j.db", *beside)

    found = walk_source(str(tmp_path), ALL, journal=str(tmp_path / "j.db"))

    assert paths_of(found) == ["a", "j.db.html", "sub/j.db"]
    assert found.complete
    assert all(found.kept.covers(path) for path in [".s3batch/old.db", *beside])
    assert not found.kept.covers("sub/j.db")


def test_the_plan_and_the_name_it_is_written_under_are_passed_by_and_kept(tmp_path: Path) -> None:
    beside = ["sub/a.plan", "sub/a.plan.new-7"]
    others = ["a.plan", "sub/a.plan.new-7.txt", "sub/a.plan.new-", "sub/a.planned"]
    tree(tmp_path, *beside, *others)

    found = walk_source(str(tmp_path), ALL, journal=str(tmp_path / "j.db"), plan=str(tmp_path / "sub" / "a.plan"))

    assert sorted(paths_of(found)) == sorted(others)
    assert found.complete
    assert all(found.kept.covers(path) for path in beside)


class TestLinks:
    def test_a_link_to_a_file_is_its_content(self, tmp_path: Path) -> None:
        tree(tmp_path, "real.txt")
        (tmp_path / "link").symlink_to("real.txt")

        link, real = walk_source(str(tmp_path), ALL)

        assert link == real._replace(path="link")

    def test_a_link_to_a_directory_is_entered(self, tmp_path: Path) -> None:
        outside = tree(tmp_path / "outside", "x/y")
        source = tree(tmp_path / "source", "a")
        (source / "there").symlink_to(outside)

        assert paths_of(walk_source(str(source), ALL)) == ["a", "there/x/y"]

    def test_links_that_lead_out_are_counted_and_the_first_named(self, tmp_path: Path) -> None:
        outside = tree(tmp_path / "outside", "x/y", "z")
        source = tree(tmp_path / "source", "a", "sub/b")
        for name in ("one", "three", "four", "two.skip"):
            (source / name).symlink_to(outside / "z")
        (source / "dir").symlink_to(outside / "x")
        (source / "sub/up").symlink_to("../../outside/x/y")
        (source / "sub/inside").symlink_to("../a")
        (source / "by-way").symlink_to("one")
        (source / "device").symlink_to("/dev/null")

        found = walk_source(str(source), Selection(frozenset({"two.skip"})))
        list(found)

        assert list(found.warnings())[-1] == (
            f"6 symbolic links lead out of the source; their content was included: by-way -> {outside}/z, "
            f"dir -> {outside}/x, four -> {outside}/z, one -> {outside}/z, sub/up -> {outside}/x/y, "
            f"three -> {outside}/z; symlinks: inside excludes it"
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

        found = walk_source(str(source), ALL, symlinks="inside")

        assert paths_of(found) == ["a", "absolute", "self", "sub/b", "there/b"]
        assert list(found.warnings()) == [
            (
                "skipped 3 paths, each of them a symbolic link that leads out of the source (symlinks: inside); keys of these "
                f"names are kept: by-way -> {outside}/z, dir -> {outside}/x, file -> {outside}/z"
            )
        ]
        assert found.complete
        assert found.kept.covers("dir/y")

    def test_a_source_that_is_a_link_has_its_inside_where_it_leads(self, tmp_path: Path) -> None:
        tree(tmp_path / "real", "a")
        (tmp_path / "real/b").symlink_to("a")
        (tmp_path / "source").symlink_to("real")

        assert paths_of(walk_source(str(tmp_path / "source"), ALL, symlinks="inside")) == ["a", "b"]

    def test_a_source_that_is_a_link_to_a_directory_is_walked(self, tmp_path: Path) -> None:
        tree(tmp_path / "real", "a")
        (tmp_path / "source").symlink_to("real")

        assert paths_of(walk_source(str(tmp_path / "source"), ALL)) == ["a"]

    @pytest.mark.parametrize("target", [pytest.param(".", id="itself"), pytest.param("..", id="parent")])
    def test_a_link_into_its_own_ancestors_is_skipped_with_a_warning(self, tmp_path: Path, target: str) -> None:
        tree(tmp_path, "d/a")
        (tmp_path / "d/loop").symlink_to(target)

        found = walk_source(str(tmp_path), ALL)

        assert paths_of(found) == ["d/a"]
        assert [names.first for names in found.skipped.values()] == [["d/loop"]]
        assert found.complete
        assert found.kept.covers("d/loop/a")

    def test_a_link_above_the_source_ends_where_it_meets_the_source_again(self, tmp_path: Path) -> None:
        tree(tmp_path, "up/source/a", "up/b")
        (tmp_path / "up/source/link").symlink_to(tmp_path / "up")

        assert paths_of(walk_source(str(tmp_path / "up/source"), ALL)) == ["a", "link/b"]

    def test_two_links_to_one_directory_are_both_entered(self, tmp_path: Path) -> None:
        outside = tree(tmp_path / "outside", "x")
        (tmp_path / "source").mkdir()
        (tmp_path / "source/one").symlink_to(outside)
        (tmp_path / "source/two").symlink_to(outside)

        assert paths_of(walk_source(str(tmp_path / "source"), ALL)) == ["one/x", "two/x"]

    def test_packages_that_link_to_each_other_are_walked_by_few_paths(self, tmp_path: Path) -> None:
        packages = "abcdefghi"
        for package in packages:
            tree(tmp_path, f"{package}/index.js", f"{package}/node_modules/own/x")
        for one, other in permutations(packages, 2):
            (tmp_path / one / "node_modules" / other).symlink_to(f"../../{other}")

        found = walk_source(str(tmp_path), ALL)
        paths = paths_of(found)

        assert {f"{package}/index.js" for package in packages} <= set(paths)
        for package in packages:
            walked = [path for path in paths if path.endswith((f"{package}/index.js", f"/{package}/index.js"))]
            assert 2 <= len(walked) <= 16
        chains = [path.split("/node_modules/") for path in paths if path.endswith("index.js")]
        assert all(len({name.split("/")[0] for name in names}) == len(names) for names in chains)
        assert any("16 paths lead to already" in warning for warning in found.warnings())
        assert found.complete

    @pytest.mark.parametrize("inside", [True, False])
    def test_sixteen_links_to_a_directory_are_walked_and_the_rest_named(self, tmp_path: Path, inside: bool) -> None:
        target = tree(tmp_path / "source/z-real" if inside else tmp_path / "real", "sub/x")
        (tmp_path / "source").mkdir(exist_ok=True)
        for number in range(20):
            (tmp_path / f"source/link{number:02d}").symlink_to(target)

        found = walk_source(str(tmp_path / "source"), ALL)

        paths = paths_of(found)
        assert len(paths) == 16
        assert ("z-real/sub/x" in paths) is inside
        (warning,) = [each for each in found.warnings() if each.startswith("skipped")]
        assert "link19" in warning
        assert found.kept.covers("link19/sub/x")

    @pytest.mark.parametrize(
        "target", [pytest.param("nowhere", id="dangling"), pytest.param("broken", id="its own target")]
    )
    def test_a_broken_link_is_a_problem_and_its_key_is_kept(self, tmp_path: Path, target: str) -> None:
        tree(tmp_path, "a")
        (tmp_path / "broken").symlink_to(target)

        found = walk_source(str(tmp_path), ALL)

        assert paths_of(found) == ["a"]
        assert found.problems == [("broken", f"broken symbolic link to {target!r}", "BrokenLink", False)]
        assert found.kept.covers("broken")
        assert found.kept.covers("broken/of/the/directory/it/was")
        assert not found.kept.covers("brokenly")
        assert found.complete

    def test_a_broken_link_nobody_wants_is_no_problem(self, tmp_path: Path) -> None:
        (tmp_path / "broken").symlink_to("nowhere")
        found = walk_source(str(tmp_path), Selection(frozenset({"broken"})))

        assert paths_of(found) == []
        assert not found.problems

    def test_skip_leaves_out_every_link_says_so_and_keeps_the_keys(self, tmp_path: Path) -> None:
        tree(tmp_path, "d/a")
        for name, target in {"file": "d/a", "directory": "d", "broken": "nowhere"}.items():
            (tmp_path / name).symlink_to(target)

        found = walk_source(str(tmp_path), ALL, symlinks="skip")

        assert paths_of(found) == ["d/a"]
        assert list(found.warnings()) == [
            (
                "skipped 3 paths, each of them a symbolic link (symlinks: skip); keys of these names are kept: "
                "broken, directory, file"
            )
        ]
        assert not found.problems
        assert found.kept.covers("directory/a")
        assert found.kept.covers("file")


class TestLook:
    @pytest.mark.parametrize("symlinks", ["follow", "inside", "skip"])
    def test_each_file_is_found_where_the_walk_finds_it(self, tmp_path: Path, symlinks: str) -> None:
        outside = tree(tmp_path / "outside", "x/y", "z")
        source = tree(tmp_path / "source", "a", "sub/deep/b")
        (source / "file").symlink_to(outside / "z")
        (source / "dir").symlink_to(outside / "x")
        (source / "there").symlink_to("sub")
        os.mkfifo(source / "pipe")
        found = walk_source(str(source), ALL, symlinks=symlinks)
        files = {file.path: file for file in found}

        for path in ("a", "sub/deep/b", "file", "dir/y", "there/deep/b", "pipe", "gone", "a/below", "dir/gone"):
            later = walk_source(str(source), ALL, symlinks=symlinks)
            assert later.look(path) == files.get(path)
            assert (path in files) is not (bool(later.problems) or bool(later.skipped))

    def test_a_directory_shows_as_one(self, tmp_path: Path) -> None:
        found = walk_source(str(tree(tmp_path, "d/a")), ALL).look("d")

        assert found is not None
        assert found.stamp.kind == DIRECTORY

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            pytest.param(
                lambda path: os.symlink("/etc/passwd", path), "it is a symbolic link (symlinks: skip)", id="link"
            ),
            pytest.param(os.mkfifo, "it is a named pipe (FIFO)", id="pipe"),
        ],
    )
    def test_what_a_file_has_become_is_said_in_the_words_of_the_walk(self, tmp_path: Path, change, words) -> None:
        tree(tmp_path, "a")
        looker = walk_source(str(tmp_path), ALL, symlinks="skip")
        (tmp_path / "a").unlink()
        change(tmp_path / "a")

        assert looker.look("a") is None
        assert list(looker.warnings()) == [f"skipped a: {words}; a key of that name is kept"]

    @pytest.mark.parametrize("name", ["pipe", "large"])
    def test_a_second_look_at_what_is_left_out_does_not_say_that_it_is_gone(self, tmp_path: Path, name: str) -> None:
        os.mkfifo(tmp_path / "pipe")
        (tmp_path / "large").write_bytes(b"large")
        looker = walk_source(str(tmp_path), ALL, limits=FileLimits(max_size=4))

        assert [looker.look(name), looker.look(name)] == [None, None]
        assert looker.problems == []

    def test_one_file_as_source(self, tmp_path: Path) -> None:
        looker = walk_source(str(tree(tmp_path, "a") / "a"), ALL, symlinks="skip")
        before = looker.look("a")
        assert before is not None
        assert before.stamp == stamp_at(tmp_path / "a")

        (tmp_path / "a").unlink()
        (tmp_path / "a").symlink_to("/etc/passwd")

        assert looker.look("a") is None
        assert "a symbolic link" in next(looker.warnings())


def test_what_is_skipped_is_one_line_a_kind_with_the_first_names(tmp_path: Path) -> None:
    for number in range(30):
        (tmp_path / f"link{number:02d}").symlink_to("/etc/passwd")

    found = walk_source(str(tmp_path), ALL, symlinks="skip")
    list(found)

    (warning,) = found.warnings()
    assert warning.startswith(
        "skipped 30 paths, each of them a symbolic link (symlinks: skip); keys of these names are kept: "
    )
    assert warning.endswith(f"link{SHOWN - 1:02d}, ...")
    assert all(found.kept.covers(f"link{number:02d}") for number in range(30))


def test_a_walk_that_finds_no_file_ends_a_batch_all_the_same(tmp_path: Path) -> None:
    for number in range(2_000):
        (tmp_path / f"unwanted{number}").touch()
    for number in range(600):
        (tmp_path / f"empty{number}").mkdir()

    batches = list(
        walk_source(str(tmp_path), Selection(frozenset(f"unwanted{number}" for number in range(2_000)))).batches(500)
    )

    assert len(batches) >= 5
    assert not any(batches)


def test_what_is_kept_covers_itself_and_what_is_below() -> None:
    kept = UnreadablePaths(["a/b"])

    assert [kept.covers(path) for path in ("a/b", "a/b/c", "a/b/c/d", "a", "a/bc", "b")] == [True] * 3 + [False] * 3
    assert UnreadablePaths([""]).covers("anything")
    assert not UnreadablePaths().covers("")


class TestOddFiles:
    def test_a_pipe_and_a_socket_are_skipped_with_a_warning_and_their_keys_kept(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tree(tmp_path, "a")
        os.mkfifo(tmp_path / "pipe")
        monkeypatch.chdir(tmp_path)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind("sock")
            found = walk_source(".", ALL)
            paths = paths_of(found)

        assert paths == ["a"]
        assert list(found.warnings()) == [
            "skipped pipe: it is a named pipe (FIFO); a key of that name is kept",
            "skipped sock: it is a socket; a key of that name is kept",
        ]
        assert found.kept.paths == {"pipe", "sock"}
        assert found.complete

    @not_root
    def test_an_unreadable_directory_is_a_problem_and_keeps_everything_below_it(self, tmp_path: Path) -> None:
        tree(tmp_path, "a", "closed/x")
        (tmp_path / "closed").chmod(0)
        found = walk_source(str(tmp_path), ALL)
        paths = paths_of(found)
        (tmp_path / "closed").chmod(0o700)

        assert paths == ["a"]
        assert [(problem.path, problem.code) for problem in found.problems] == [("closed", "Unreadable")]
        assert not found.complete
        assert found.kept.covers("closed/x/y")

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
        found = walk_source(str(tmp_path), ALL)

        assert paths_of(found) == ["a"]
        assert found.problems == [("sick", "cannot read the directory: Input/output error", "Unreadable", True)]
        assert not found.complete
        assert found.kept.paths == {"sick"}

    def test_a_source_that_cannot_be_listed_keeps_every_key(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def failing(path: str) -> None:
            raise PermissionError(13, "Permission denied")

        found = walk_source(str(tmp_path), ALL)
        monkeypatch.setattr(os, "scandir", failing)

        assert paths_of(found) == []
        assert not found.complete
        assert found.kept.covers("anything/at/all")

    def test_a_directory_that_vanishes_during_the_walk_is_a_problem_and_is_kept(self, tmp_path: Path) -> None:
        tree(tmp_path, "a", "b/c", "d")
        found = walk_source(str(tmp_path), ALL)
        batches = found.batches(1)
        first = next(batches)
        shutil.rmtree(tmp_path / "b")

        assert [file.path for file in chain(first, *batches)] == ["a", "d"]
        assert [problem[0::2] for problem in found.problems] == [("b", "Vanished")]
        assert found.problems[0].directory
        assert not found.complete
        assert found.kept.covers("b/c")

    def test_a_file_that_vanishes_during_the_walk_is_a_problem_and_is_kept(self, tmp_path: Path) -> None:
        tree(tmp_path, "a", "b", "c")
        found = walk_source(str(tmp_path), ALL)
        batches = found.batches(1)
        next(batches)
        (tmp_path / "b").unlink()

        assert [file.path for file in chain(*batches)] == ["c"]
        assert found.problems == [("b", "it is gone", "Vanished", False)]
        assert found.kept.covers("b")
        assert found.complete


class TestSource:
    def test_a_single_file_is_found_under_its_name(self, tmp_path: Path) -> None:
        tree(tmp_path, "d/one.txt", "d/other.txt")
        found = walk_source(str(tmp_path / "d/one.txt"), ALL)

        assert paths_of(found) == ["one.txt"]
        assert found.single
        assert found.base == str(tmp_path / "d")
        assert found.complete

    def test_a_missing_source_stops_the_job(self, tmp_path: Path) -> None:
        with pytest.raises(JobFailedError, match=r"No such file.*nothing deleted"):
            walk_source(str(tmp_path / "missing"), ALL)

    def test_a_source_that_is_a_pipe_stops_the_job(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe")

        with pytest.raises(JobFailedError, match="named pipe"):
            walk_source(str(tmp_path / "pipe"), ALL)


def test_a_path_that_is_looked_at_again_is_counted_once():
    record = WalkRecord()
    for name in ("pipe", "pipe", "other", "pipe"):
        record.skip(name, "a named pipe (FIFO)")

    assert list(record.warnings()) == [
        "skipped 2 paths, each of them a named pipe (FIFO); keys of these names are kept: pipe, other"
    ]
