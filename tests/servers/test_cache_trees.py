"""What goes into the cache comes out of it again, in every respect: the real program with its workers, on a real server."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from tests.archive.cycle import OLD, noise, snapshot
from tests.plugins.caching import DRONE
from tests.rig import program

MIB = 1 << 20


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    (tmp_path / "src").mkdir()
    return tmp_path / "src"


@pytest.fixture
def cache(env, bucket, workspace):
    """``cache("rebuild", ["v"], ...)``: the real program in the workspace; its document."""

    def run(word: str, paths: list[str], *more: str) -> dict:
        flags = [part for path in paths for part in ("--cache", path)]
        done = program.run(
            ["cache", word, bucket.url().rstrip("/"), *flags, "--json", "--workers", "2", *more], env | DRONE, workspace
        )  # fmt: skip
        assert done.code == 0, done.stderr
        return json.loads(done.stdout)

    return run


def remove(path: Path) -> None:
    for directory, _, _ in os.walk(path):
        os.chmod(directory, 0o700)
    shutil.rmtree(path)


def file(path: Path, content: bytes = b"", mode: int = 0o644, mtime_ns: int = OLD) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(mode)
    os.utime(path, ns=(mtime_ns, mtime_ns))


def modes_and_times(top: Path) -> None:
    for mode in (0o600, 0o644, 0o755, 0o400, 0o777, 0o000):
        file(top / f"mode-{mode:o}", b"x", mode)
    for number, ns in enumerate((0, 1, 999_999_999, OLD + 7, 2**33 * 10**9 + 5)):
        file(top / f"time-{number}", b"t", mtime_ns=ns)
    file(top / "setuid", b"s", 0o644)


def links(top: Path) -> None:
    file(top / "a", b"A" * 100)
    os.link(top / "a", top / "z-hard")
    (top / "sub").mkdir()
    os.link(top / "a", top / "sub" / "hard")
    for name, target in {"rel": "a", "up": "../elsewhere", "abs": "/etc/hosts", "loop": "loop", "dir": "sub"}.items():
        os.symlink(target, top / name)
        os.utime(top / name, ns=(OLD, OLD), follow_symlinks=False)


def directories(top: Path) -> None:
    for name in ("empty", "empty/in/empty", "closed", "list-only"):
        (top / name).mkdir(parents=True)
    file(top / "closed" / "f", b"F")
    file(top.joinpath(*"deepdeepdeep" * 8, "bottom"), b"B")
    for number in range(300):  # more than the descriptors that are kept
        file(top / "many" / f"{number}" / "f", b"%d" % number)
    (top / "list-only").chmod(0o444)
    (top / "closed").chmod(0o555)
    for path in sorted((path for path in top.rglob("*") if path.is_dir()), reverse=True):
        os.utime(path, ns=(OLD, OLD))


def names(top: Path) -> None:
    for name in (
        b"caf\xe9",
        b"\xff\xfe",
        "größe 漢字".encode(),
        b"new\nline",
        b"tab\t",
        b"quote\"'",
        b" ",
        b"-rf",
        b"\x01",
        b"a" * 255,
    ):
        file(Path(os.fsdecode(os.fsencode(top) + b"/" + name)), name)
    os.symlink(b"caf\xe9", os.fsencode(top) + b"/link-\xe9")


def sizes(top: Path) -> None:
    for size in (0, 1, 64 << 10, 8 * MIB - 1, 8 * MIB, 8 * MIB + 1, 20 * MIB):
        file(top / f"{size}", noise(size, seed=size))
    file(top / "twice", noise(8 * MIB, seed=8 * MIB))


def holes(top: Path) -> None:
    for name, size, stretches in (
        ("hole", 30 * MIB, []),
        ("middle", 20 * MIB, [(9 * MIB, b"middle")]),
        ("ends", 10 * MIB, [(0, b"first"), (10 * MIB - 4, b"last")]),
    ):
        with (top / name).open("wb") as sparse:
            for at, content in stretches:
                sparse.seek(at)
                sparse.write(content)
            sparse.truncate(size)
        os.utime(top / name, ns=(OLD, OLD))


@pytest.mark.parametrize(
    "fill", [modes_and_times, links, directories, names, sizes, holes], ids=lambda each: each.__name__
)
def test_a_tree_comes_back_as_it_was(cache, workspace, fill):
    (workspace / "v").mkdir()
    fill(workspace / "v")
    before = snapshot(workspace)

    made = cache("rebuild", ["v"])
    remove(workspace / "v")
    restored = cache("restore", ["v"])
    again = cache("restore", ["v"])
    rebuilt = cache("rebuild", ["v"])

    assert snapshot(workspace) == before
    assert (restored["cache"]["files"], restored["cache"]["bytes"]) == (made["cache"]["files"], made["cache"]["bytes"])
    assert (again["cache"]["made"], again["cache"]["chunks"]) == (0, 0)
    assert (rebuilt["cache"]["published"], rebuilt["requests"].get("PutObject", 0)) == (False, 0)
    assert made["warnings"] == restored["warnings"] == []


def test_setuid_setgid_and_sticky_are_not_cached(cache, workspace):
    file(workspace / "v" / "su", b"s", 0o6755)
    (workspace / "v").chmod(0o1777)

    cache("rebuild", ["v"])
    remove(workspace / "v")
    cache("restore", ["v"])

    assert {path: facts[1] for path, facts in snapshot(workspace).items()} == {b"v": 0o777, b"v/su": 0o755}


def test_holes_are_holes_again(cache, workspace):
    (workspace / "v").mkdir()
    holes(workspace / "v")

    made = cache("rebuild", ["v"])
    remove(workspace / "v")
    cache("restore", ["v"])

    assert made["operations"]["chunk"]["bytes"] < MIB
    assert (workspace / "v" / "hole").stat().st_blocks * 512 < MIB
    assert (workspace / "v" / "middle").stat().st_blocks * 512 < 10 * MIB


def test_paths_of_every_kind_at_once(cache, workspace, tmp_path):
    outside = tmp_path / "home" / ".m2"
    file(workspace / "one.txt", b"1")
    file(workspace / "deep" / "er" / "in" / "f", b"F")
    file(workspace / "deep" / "not", b"not asked for")
    file(outside / "repo" / "jar", b"J")
    os.symlink("one.txt", workspace / "a-link")
    paths = ["one.txt", "deep/er", "deep/er/in", "gone", str(outside), "a-link", "./one.txt"]
    before = snapshot(workspace), snapshot(outside)

    made = cache("rebuild", paths)
    for path in (workspace / "deep" / "er", outside.parent):
        remove(path)
    (workspace / "one.txt").unlink()
    (workspace / "a-link").unlink()
    cache("restore", paths)

    assert made["warnings"] == ["gone does not exist: it is not cached"]
    assert (without_times_of(b"deep", snapshot(workspace)), snapshot(outside)) == (
        without_times_of(b"deep", before[0]),
        before[1],
    )


def without_times_of(path: bytes, tree: dict) -> dict:
    """A parent of a cached path has a time of its own."""
    return {each: facts for each, facts in tree.items() if each != path}


def test_the_whole_workspace_may_be_cached_but_for_our_own_files(cache, workspace):
    file(workspace / "a", b"A")
    file(workspace / "b" / ".s3batch", b"not ours")

    cache("rebuild", ["."], "--journal", ".s3batch/our.db")
    (workspace / "a").unlink()
    remove(workspace / "b")
    restored = cache("restore", ["."], "--journal", ".s3batch/our.db")

    assert restored["cache"]["files"] == 2
    assert (workspace / "b" / ".s3batch").read_bytes() == b"not ours"


def test_only_what_is_wrong_is_written(cache, workspace):
    for name in "abcdef":
        file(workspace / "v" / name, name.encode() * 1000)
    cache("rebuild", ["v"])
    before = snapshot(workspace)
    inodes = {name: (workspace / "v" / name).stat().st_ino for name in "abcdef"}
    (workspace / "v" / "b").write_bytes(b"longer than it was, by far" * 1000)
    (workspace / "v" / "c").unlink()
    (workspace / "v" / "d").unlink()
    (workspace / "v" / "d").mkdir()
    (workspace / "v" / "e").chmod(0o600)
    os.link(workspace / "v" / "b", workspace.parent / "kept")

    restored = cache("restore", ["v"])

    assert snapshot(workspace) == before
    assert restored["cache"]["made"] == 4
    same = {name for name in "abcdef" if (workspace / "v" / name).stat().st_ino == inodes[name]}
    assert same == {"a", "f"}
    assert (workspace.parent / "kept").read_bytes() == b"longer than it was, by far" * 1000
