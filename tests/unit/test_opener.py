"""Files are opened under the link policy, whatever becomes of their path meanwhile."""

from __future__ import annotations

import errno
import os
import pickle
import threading
from pathlib import Path

import pytest

from s3batch.files import opener as opening
from s3batch.files.opener import Opener


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for path in ("tree/a/b/file", "tree/top", "outside/b/file", "outside/file"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(path)
    return tmp_path / "tree"


def read(opener: Opener, path: str) -> str:
    fd = opener.open(path)
    try:
        return os.read(fd, 100).decode()
    finally:
        os.close(fd)


@pytest.mark.parametrize("policy", ["follow", "inside", "skip"])
def test_a_plain_file_is_opened_under_every_policy(root: Path, policy: str) -> None:
    opener = Opener(str(root), policy)

    assert [read(opener, path) for path in ("a/b/file", "top", "a/b/file")] == [
        "tree/a/b/file",
        "tree/top",
        "tree/a/b/file",
    ]


@pytest.mark.parametrize("place", ["a", "a/b", "a/b/file"])
@pytest.mark.parametrize("warm", [True, False])
def test_no_link_in_any_component_is_followed_where_links_are_not(root: Path, place: str, warm: bool) -> None:
    opener = Opener(str(root), "skip")
    if warm:
        read(opener, "a/b/file")
    (root / place).rename(root / "moved")
    (root / place).symlink_to(root / "moved")
    opener.start_afresh()

    with pytest.raises(OSError) as caught:
        opener.open("a/b/file")

    assert caught.value.errno in (errno.ELOOP, errno.ENOTDIR)


@pytest.mark.parametrize(
    ("place", "target", "inside"),
    [
        ("a", "moved", True), ("a/b", "../moved", True), ("a/b/file", "../../moved", True),
        ("a", "../outside", False), ("a/b", "../../outside/b", False), ("a/b/file", "../../../outside/file", False),
        ("a", "../outside/../tree/moved", True),
    ],
)  # fmt: skip
def test_inside_follows_a_link_that_stays_inside(root: Path, place: str, target: str, inside: bool) -> None:
    (root / place).rename(root / "moved")
    (root / place).symlink_to(target)
    opener = Opener(str(root), "inside")

    if inside:
        assert read(opener, "a/b/file") == "tree/a/b/file"
        return
    with pytest.raises(OSError, match="symbolic links"):
        opener.open("a/b/file")


def test_a_directory_that_was_replaced_is_found_afresh(root: Path) -> None:
    opener = Opener(str(root), "skip")
    read(opener, "a/b/file")
    (root / "a").rename(root / "old")
    (root / "a/b").mkdir(parents=True)
    (root / "a/b/file").write_text("new")

    assert opener.start_afresh()
    assert read(opener, "a/b/file") == "new"
    opener.start_afresh()
    assert not opener.start_afresh()


def test_a_pipe_is_opened_without_waiting_for_a_writer(root: Path) -> None:
    os.mkfifo(root / "pipe")

    for policy in ("follow", "skip"):
        os.close(Opener(str(root), policy).open("pipe"))


def test_few_descriptors_stay_open_and_a_path_may_be_deeper_than_that(root: Path) -> None:
    deep = "/".join(["d"] * (opening._KEPT + 20))
    (root / deep).mkdir(parents=True)
    (root / deep / "file").write_text("deep")
    before = len(os.listdir("/proc/self/fd"))
    opener = Opener(str(root), "skip")

    assert read(opener, deep + "/file") == "deep"
    assert read(opener, "top") == "tree/top"
    assert len(os.listdir("/proc/self/fd")) - before <= opening._KEPT
    opener.start_afresh()
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("policy", ["follow", "inside", "skip"])
def test_the_one_file_a_user_named_may_be_a_link(root: Path, policy: str) -> None:
    (root / "link").symlink_to("top")

    assert read(Opener(str(root / "link"), policy), "link") == "tree/top"


def test_threads_share_no_descriptor(root: Path) -> None:
    opener, errors = Opener(str(root), "skip"), []

    def work() -> None:
        try:
            for _ in range(300):
                assert read(opener, "a/b/file") == "tree/a/b/file"
                opener.start_afresh()
        except BaseException as error:  # noqa: BLE001 - told below
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert errors == []


def test_it_crosses_a_process_boundary(root: Path) -> None:
    opener = Opener(str(root), "skip")
    read(opener, "top")

    assert read(pickle.loads(pickle.dumps(opener)), "top") == "tree/top"
