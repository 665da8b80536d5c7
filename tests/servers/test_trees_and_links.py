"""Trees in which a file becomes a directory, or a link leads out: the real program, on each server there is."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.rig import buckets, program


@pytest.fixture(params=["ministack", "rclone"])
def target(request, server_named):
    """A bucket on a store of objects, and on one that is a file system."""
    bucket = buckets.make_bucket(server_named(request.param))
    yield bucket
    buckets.remove_bucket(bucket)


@pytest.fixture
def sync(target, clean_env, tmp_path) -> Callable[..., program.Finished]:
    """``sync(*flags)``: the tree at the source's place to ``site/``."""

    def run(*flags: str, crash_at: str = "", command: str = "sync") -> program.Finished:
        environment = (
            clean_env | target.server.environment() | ({"S3BATCH_TEST_CRASH_AT": crash_at} if crash_at else {})
        )
        words = [command, tmp_path / "tree", f"s3://{target.name}/site"] if command == "sync" else [command]
        return program.run([*words, "--json", "--workers", "2", *flags], environment, tmp_path)

    return run


def build(tree: Path, files: dict[str, bytes]) -> None:
    shutil.rmtree(tree, ignore_errors=True)
    for path, body in files.items():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_bytes(body)


CHANGES = pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param({"docs": b"1"}, {"docs/index.html": b"2", "docs/a/b": b"3"}, id="a file becomes a directory"),
        pytest.param({"docs/index.html": b"1", "docs/a/b": b"2"}, {"docs": b"3"}, id="a directory becomes a file"),
    ],
)


@CHANGES
@pytest.mark.parametrize("crash_at", ["", "deleting"])
def test_a_file_and_a_directory_of_one_name_converge_also_after_a_kill(target, sync, tmp_path, before, after, crash_at):
    build(tmp_path / "tree", {**before, "stays": b"stays"})
    assert sync("--delete").code == 0
    build(tmp_path / "tree", {**after, "stays": b"stays"})

    killed = sync("--delete", crash_at=crash_at)
    ended = sync("--delete")
    again = sync("--delete")

    assert killed.code == (-signal.SIGKILL if crash_at else 0), killed.stderr
    assert ended.code == 0, ended.stderr
    assert target.contents() == {f"site/{path}": body for path, body in {**after, "stays": b"stays"}.items()}
    assert again.json["operations"]["upload"]["planned"] == again.json["operations"]["delete"]["planned"] == 0


@pytest.fixture
def linked(tmp_path) -> Path:
    """A source with five links that lead out, and two that do not."""
    build(tmp_path / "outside", {"file": b"outside", "dir/deep": b"deep"})
    build(tmp_path / "tree", {"a": b"a", "sub/b": b"b"})
    tree = tmp_path / "tree"
    for name in ("one", "two", "three", "four"):
        (tree / name).symlink_to("../outside/file")
    (tree / "dir").symlink_to("../outside/dir")
    (tree / "sub/up").symlink_to("../a")
    (tree / "there").symlink_to("sub")
    return tree


INSIDE = {"site/a": b"a", "site/sub/b": b"b", "site/sub/up": b"a", "site/there/b": b"b", "site/there/up": b"a"}
OUT = {"site/dir/deep": b"deep"} | dict.fromkeys(["site/one", "site/two", "site/three", "site/four"], b"outside")


def of_links(finished: program.Finished) -> list[str]:
    return [each for each in json.loads(finished.stdout)["warnings"] if "link" in each]


def test_links_that_lead_out_are_followed_and_said_in_one_warning(target, sync, linked):
    done = sync()

    (warning,) = of_links(done)
    assert (done.code, target.contents()) == (0, INSIDE | OUT), done.stderr
    assert warning.startswith("5 symbolic links lead out of the source")
    assert all(name in warning for name in ("dir -> ", "four -> ", "one -> "))
    assert done.stderr.count("lead out of the source") == 1


def test_with_inside_links_that_lead_out_are_left_and_named_and_their_objects_stay(target, sync, linked):
    assert sync().code == 0

    done = sync("--symlinks", "inside", "--delete")

    assert (done.code, target.contents()) == (0, INSIDE | OUT), done.stderr
    assert len(of_links(done)) == 1
    assert all(name in of_links(done)[0] for name in ("dir", "four", "one", "three", "two"))
