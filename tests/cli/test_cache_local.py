"""``local_dir``: chunks kept on the runner. They save fetches, never decide what is restored, and keep to a limit."""

from __future__ import annotations

import multiprocessing
import os
import resource
import shutil
import time
from pathlib import Path

import pytest

from s3batch.cache.local_chunks import LocalChunks
from tests.archive.cycle import noise, snapshot
from tests.cli.caches import DRONE, bucket, cached, fake, in_days, shell, small_segments

__all__ = ["bucket", "cached", "fake", "in_days", "shell", "small_segments"]
MAIN = DRONE | {"DRONE_COMMIT_BRANCH": "main"}
FILES = {f"v/{number}": noise(400_000, number) for number in range(4)}
IDS = [f"{number:02x}" * 32 for number in range(9)]


@pytest.fixture
def local(tmp_path) -> Path:
    return tmp_path / "runner"


@pytest.fixture
def step(shell, fake, local):
    """``step("restore")``: a step of the build on this runner."""

    def run(word: str, *more: str, directory: Path = local):
        fake.requests.clear()
        return shell(word, "--cache", "v", "--local-dir", str(directory), *more, env=MAIN)

    return run


@pytest.fixture
def filled(cached, local, workspace):
    """A cache of one chunk, which the runner keeps; the workspace is empty."""
    cached("main", FILES, "--local-dir", str(local))
    before = snapshot(workspace / "v")
    forget(workspace)
    return before


def forget(workspace) -> None:
    for name in ("v", ".s3batch"):
        shutil.rmtree(workspace / name, ignore_errors=True)


def kept(local: Path) -> list[Path]:
    return sorted((local / ".s3batch" / "chunks").iterdir())


def gets(fake) -> list[str]:
    return [seen.key[:5] for seen in fake.requests if seen.name == "GetObject"]


def test_a_rebuild_fills_it_and_a_restore_fetches_only_the_manifest(step, fake, filled, local, workspace):
    assert len(kept(local)) == 1

    done = step("restore")

    assert (done.code, gets(fake)) == (0, ["v1/k/"])
    assert "0 chunks (0 B) fetched, 1 taken from local_dir" in done.err
    assert snapshot(workspace / "v") == filled


def test_a_restore_fills_it(step, fake, filled, local, workspace):
    shutil.rmtree(local)
    assert step("restore").code == 0
    assert gets(fake) == ["v1/k/", "v1/c/"]
    forget(workspace)

    assert step("restore").code == 0
    assert gets(fake) == ["v1/k/"]


def test_the_list_of_files_is_kept_too(step, fake, cached, local, workspace, small_segments):
    cached("main", {f"v/{number}": b"%d" % number for number in range(60)}, "--local-dir", str(local))
    before = snapshot(workspace / "v")
    forget(workspace)
    assert len(kept(local)) > 3
    for path in kept(local)[::2]:
        path.write_bytes(b"rubbish")

    assert step("restore").code == 0
    assert snapshot(workspace / "v") == before
    forget(workspace)
    assert step("restore").code == 0
    assert gets(fake) == ["v1/k/"]


def test_without_the_setting_nothing_is_kept(shell, cached, tmp_path):
    cached("main", FILES)

    assert sorted(path.name for path in tmp_path.iterdir()) == ["state", "work"]


def test_a_dry_run_and_a_look_leave_it_alone(step, filled, local):
    before = [(path, path.stat().st_mtime_ns) for path in kept(local)]

    assert step("restore", "--dry-run").code == 0
    assert step("restore", "--lookup-only").code == 0

    assert [(path, path.stat().st_mtime_ns) for path in kept(local)] == before


# --- the limit ---------------------------------------------------------------------------------


def test_the_limit_holds_after_each_step(step, cached, local, workspace):
    cached("main", FILES, "--local-dir", str(local), "--local-max", "1MiB")
    assert kept(local) == []  # one chunk of 1.6 MB
    cached("main", {"v/small": noise(300_000, 77)}, "--local-dir", str(local), "--local-max", "1MiB")
    assert sum(path.stat().st_size for path in kept(local)) <= 1 << 20
    forget(workspace)

    for limit in ("4MiB", "350KB", "1B"):
        assert step("restore", "--local-max", limit).code == 0
        assert sum(path.stat().st_size for path in kept(local)) <= {"4MiB": 4 << 20, "350KB": 350_000, "1B": 1}[limit]
    assert len((workspace / "v/small").read_bytes()) == 300_000


def test_what_was_used_longest_ago_goes(tmp_path):
    chunks = LocalChunks(str(tmp_path / ".s3batch" / "chunks"), 350)
    for number, name in enumerate(IDS[:3]):
        chunks.put(name, bytes(100))
        os.utime(tmp_path / ".s3batch" / "chunks" / name, ns=(number * 10**9, number * 10**9))
    assert chunks.get(IDS[0])  # used now

    chunks.put(IDS[3], bytes(100))
    chunks.trim()

    assert [name for name in IDS[:4] if chunks.get(name)] == [IDS[0], IDS[2], IDS[3]]


def test_one_process_does_not_write_far_beyond_the_limit(tmp_path):
    chunks = LocalChunks(str(tmp_path / ".s3batch" / "chunks"), 1000)

    for name in IDS:
        chunks.put(name, bytes(400))

    assert sum(path.stat().st_size for path in kept(tmp_path)) <= 1000


def test_files_of_others_stay_and_unfinished_ones_go_after_an_hour(tmp_path):
    chunks = LocalChunks(str(tmp_path / ".s3batch" / "chunks"), 10)
    chunks.put(IDS[0], bytes(10))
    folder = tmp_path / ".s3batch" / "chunks"
    (folder / "notes.txt").write_bytes(bytes(100))
    for name in ("a" * 64 + "." + "0" * 16, "b" * 64 + "." + "0" * 16):
        (folder / name).write_bytes(b"half")
    os.utime(folder / ("a" * 64 + "." + "0" * 16), (time.time() - 4000, time.time() - 4000))

    chunks.trim()

    assert [path.name for path in kept(tmp_path)] == [IDS[0], "b" * 64 + "." + "0" * 16, "notes.txt"]


# --- damage ------------------------------------------------------------------------------------


def to_link(path: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(path.read_bytes())
    path.unlink()
    path.symlink_to(tmp_path / "elsewhere")


def to_hard_link(path: Path, tmp_path: Path) -> None:
    os.link(path, tmp_path / "elsewhere")


def to_pipe(path: Path, tmp_path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def to_directory(path: Path, tmp_path: Path) -> None:
    path.unlink()
    path.mkdir()


def to_huge_hole(path: Path, tmp_path: Path) -> None:
    os.truncate(path, 1 << 40)


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda path, _: path.write_bytes(b""), id="empty"),
        pytest.param(lambda path, _: path.write_bytes(path.read_bytes()[:-9]), id="cut off"),
        pytest.param(lambda path, _: path.write_bytes(b"?" + path.read_bytes()[1:]), id="no frame"),
        pytest.param(lambda path, _: path.write_bytes(bytes(1000)), id="zeros"),
        pytest.param(lambda path, _: path.chmod(0o666), id="others may write it"),
        pytest.param(
            lambda path, _: os.chown(path, 4711, 4711),
            id="of another user",
            marks=pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
        ),
        pytest.param(to_link, id="a symbolic link"),
        pytest.param(to_hard_link, id="a hard link"),
        pytest.param(to_pipe, id="a pipe"),
        pytest.param(to_directory, id="a directory"),
        pytest.param(to_huge_hole, id="a terabyte"),
    ],
)
def test_what_is_not_ours_or_not_whole_costs_a_fetch(step, fake, filled, local, workspace, tmp_path, damage):
    damage(kept(local)[0], tmp_path)

    done = step("restore")

    assert (done.code, gets(fake)) == (0, ["v1/k/", "v1/c/"])
    assert snapshot(workspace / "v") == filled


def test_other_bytes_under_a_name_cost_a_fetch_and_are_replaced(step, fake, cached, local, workspace):
    cached("main", FILES, "--local-dir", str(local))
    (right,) = kept(local)
    cached("other", {"v/other": noise(50_000, 99)}, "--local-dir", str(local))
    other = next(path for path in kept(local) if path != right)
    content = right.read_bytes()
    right.write_bytes(other.read_bytes())
    before = snapshot(workspace / "v")
    (workspace / "v/other").unlink()
    cached("main", {"v/0": FILES["v/0"]}, "--local-dir", str(local))
    right.write_bytes(other.read_bytes())
    before.pop(b"other")
    forget(workspace)

    assert step("restore").code == 0

    assert gets(fake) == ["v1/k/", "v1/c/"]
    assert {path: facts[3] for path, facts in snapshot(workspace / "v").items()} == {
        path: facts[3] for path, facts in before.items()
    }
    assert right.read_bytes() == content


def to_linked_directory(local: Path, tmp_path: Path) -> None:
    (local / ".s3batch").rename(tmp_path / "moved")
    (local / ".s3batch").symlink_to(tmp_path / "moved")


def to_open_directory(local: Path, tmp_path: Path) -> None:
    (local / ".s3batch" / "chunks").chmod(0o777)


def to_file(local: Path, tmp_path: Path) -> None:
    shutil.rmtree(local)
    local.write_bytes(b"a file")


@pytest.mark.parametrize("damage", [to_linked_directory, to_open_directory, to_file])
def test_a_directory_of_no_use_is_one_warning(step, fake, filled, local, workspace, tmp_path, damage):
    damage(local, tmp_path)

    done = step("restore")

    assert (done.code, gets(fake)) == (0, ["v1/k/", "v1/c/"])
    assert done.err.count("local_dir") == 1
    assert f"local_dir {local} is not used: " in done.err
    assert snapshot(workspace / "v") == filled


def _fill_up(directory: str, limit: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    chunks = LocalChunks(directory, 1 << 20)
    chunks.put(IDS[0], bytes(5000))
    assert chunks.get(IDS[0]) is None


def test_what_does_not_fit_on_the_disk_leaves_nothing(tmp_path):
    filler = multiprocessing.get_context("fork").Process(
        target=_fill_up, args=(str(tmp_path / ".s3batch" / "chunks"), 1000)
    )
    filler.start()
    filler.join()

    assert filler.exitcode == 0
    assert kept(tmp_path) == []


def _put_often(directory: str, seed: int) -> None:
    chunks = LocalChunks(directory, 40_000)
    for number in range(60):
        name = IDS[(number * seed) % 5]
        chunks.put(name, name.encode() * 100)
        assert chunks.get(name) in {None, name.encode() * 100}
        chunks.trim()


def test_builds_share_it_side_by_side(tmp_path):
    directory = str(tmp_path / ".s3batch" / "chunks")
    context = multiprocessing.get_context("fork")
    builds = [context.Process(target=_put_often, args=(directory, seed)) for seed in (1, 2, 3)]
    for build in builds:
        build.start()
    for build in builds:
        build.join()

    assert [build.exitcode for build in builds] == [0, 0, 0]
    chunks = LocalChunks(directory, 40_000)
    chunks.trim()
    assert {path.name for path in kept(tmp_path)} <= set(IDS[:5])
    assert all(path.read_bytes() == path.name.encode() * 100 for path in kept(tmp_path))
    assert sum(path.stat().st_size for path in kept(tmp_path)) <= 40_000


def test_it_may_lie_in_what_is_cached_and_is_no_part_of_it(cached, step, workspace, bucket, shell):
    cached("main", FILES, "--local-dir", "v/local")
    assert (workspace / "v/local/.s3batch/chunks").is_dir()

    cached("main", FILES, "--local-dir", "v/local")

    entries = shell("inspect", "octo/site/main", "--json").json["cache"]["entries"]
    assert not [row["path"] for row in entries if ".s3batch" in row["path"]]
