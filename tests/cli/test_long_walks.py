"""A tree so long that its walk goes on in a process of its own, beside a listing of several pages.

The program has a process of its own here: beside the threads of a test it would not fork.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from s3batch.executors.local import count_usable_cpus
from tests.rig import program
from tests.rig.fake_s3 import ACCESS_KEY, SECRET_KEY, FakeS3

FILES = 5000

Sync = Callable[..., program.Finished]


@pytest.fixture
def store() -> Iterator[FakeS3]:
    with FakeS3() as fake:
        yield fake


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for number in range(FILES):
        path = tmp_path / "tree" / f"d{number // 500:02d}" / f"f{number:05d}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"content {number}")
    return tmp_path / "tree"


@pytest.fixture
def sync(store: FakeS3, tree: Path, tmp_path: Path) -> Sync:
    """``sync("--dry-run", S3BATCH_ACL="private")``: the program's run from ``tree`` to ``s3://b/site``."""
    keys = {"S3BATCH_ACCESS_KEY": ACCESS_KEY, "S3BATCH_SECRET_KEY": SECRET_KEY, "S3BATCH_ENDPOINT_URL": store.url}
    environment = program.clean_environment(tmp_path) | keys | {"S3BATCH_PROGRESS": "none"}

    def run(*flags: str, **more: str) -> program.Finished:
        arguments = ["sync", tree.name, "s3://b/site", "--delete", "--json", "--workers", "1", *flags]
        return program.run(arguments, environment | more, tmp_path)

    return run


def change(tree: Path, store: FakeS3) -> None:
    """Change files, and objects behind the back of the journal, at places all over the tree."""
    files, objects = sorted(tree.glob("*/*")), store.objects["b"]
    keys = [f"site/{each.relative_to(tree)}" for each in files]
    for at in (0, 2100, 4444, FILES - 1):
        files[at].write_text("changed")
    for at in (1, 3000, FILES - 2):
        files[at].unlink()
    for path in (tree / "a", tree / "d03" / "new", tree / "z" / "new"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"added as {path.name} {path.parent.name}")
    for at in (2, 2222, 4800):
        del objects[keys[at]]
    for at in (3, 3333):
        objects[keys[at]] = objects[keys[7]]
    objects["site/d05/of somebody else"] = objects[keys[4990]]


def read_files(tree: Path) -> dict[str, bytes]:
    return {f"site/{each.relative_to(tree)}": each.read_bytes() for each in tree.rglob("*") if each.is_file()}


def read_objects(store: FakeS3) -> dict[str, bytes]:
    return {key: each.body for key, each in store.objects["b"].items()}


@pytest.mark.skipif(count_usable_cpus() < 2, reason="one core: the walk stays in its process")
def test_changes_at_all_places_of_a_long_tree_are_found_and_a_walk_that_dies_deletes_nothing(
    sync: Sync, store: FakeS3, tree: Path, tmp_path: Path
) -> None:
    assert sync().json["operations"]["upload"]["done"] == FILES
    sync()  # reads once more what was young
    store.requests.clear()
    assert sync().json["unchanged"] == FILES
    assert {each.name for each in store.requests} == {"ListObjectsV2"}
    change(tree, store)
    before, died = read_objects(store), tmp_path / "died"

    failed = sync(S3BATCH_TEST_CRASH_AT=f"walking-on:1:{died}")

    assert died.exists(), "the rest was walked in a process of its own"
    assert failed.code == 1, failed.stderr
    assert "the process that walks the source was killed" in failed.stderr
    assert read_objects(store).keys() == before.keys()  # what was planned before it died may be sent

    finished = sync()

    assert finished.code == 0, finished.stderr
    assert finished.json["operations"]["delete"]["done"] == 4
    assert read_objects(store) == read_files(tree)
    assert len(read_files(tree)) == FILES
