"""``.s3batchignore``: what git would leave out by a ``.gitignore``, and never less."""

from __future__ import annotations

import os
import pickle
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from s3batch.base.errors import JobFailedError
from s3batch.settings.table import Settings
from s3batch.source.filters import Selection
from s3batch.source.ignore_files import IGNORE_FILE, IgnoreFiles
from s3batch.source.walk import walk_source

Make = Callable[[dict[str, str]], Path]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def files(contents: dict[str, str]) -> Path:
        for path, text in contents.items():
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_bytes(text.encode())
        return tmp_path

    return files


def walked(root: Path, **settings: tuple[str, ...]) -> set[str]:
    selection = Selection.from_settings(Settings(**settings), str(root))
    return {file.path for file in walk_source(str(root), selection)}


PLAIN = dict.fromkeys(
    [
        "a.log",
        "a.txt",
        "build/x",
        "build/keep",
        "d/a.log",
        "d/e/a.log",
        "d/e/b.txt",
        "d/build/x",
        "#x",
        " s",
        "t ",
        "!n",
    ],
    "x",
)


@pytest.mark.parametrize(
    "ignore",
    [
        pytest.param({"": "*.log\n"}, id="by name, everywhere"),
        pytest.param({"": "/build\n"}, id="anchored"),
        pytest.param({"": "build/\n!build/keep\n"}, id="nothing comes back from an excluded directory"),
        pytest.param({"": "build/*\n!build/keep\n"}, id="it does from one whose content is excluded"),
        pytest.param({"d": "*.log\n"}, id="in a directory"),
        pytest.param({"d": "/e/\n/a.log\n"}, id="anchored there"),
        pytest.param({"": "*.log\n", "d": "!a.log\n"}, id="the deeper one wins"),
        pytest.param({"": "*.log\n", "d": "!*.log\n", "d/e": "*.log\n"}, id="and the deepest"),
        pytest.param({"": "d/\n", "d": "!*\n"}, id="the one of an excluded directory counts for nothing"),
        pytest.param({"": "e\n", "d": "!e\n"}, id="a directory is taken back"),
        pytest.param({"": "# *.txt\n\\#x\n\\!n\n"}, id="a comment, and signs that are meant"),
        pytest.param({"": " s\nt\\ \n*.log   \n"}, id="spaces"),
        pytest.param({"": "\ufeff*.log\r\n*.txt\r\n"}, id="of Windows"),
        pytest.param({"": "**/e/**\nd/**/x\n"}, id="two stars"),
        pytest.param({"": "*\n!*/\n!*.txt\n"}, id="only one kind"),
        pytest.param({"": "\n/\n"}, id="nothing in it"),
    ],
)
def test_it_leaves_out_what_git_leaves_out(make: Make, ignore: dict[str, str]) -> None:
    root = make(PLAIN | {os.path.join(where, IGNORE_FILE): text for where, text in ignore.items()})
    make({os.path.join(where, ".gitignore"): text for where, text in ignore.items()})
    subprocess.run(["git", "init", "-q", root], check=True, capture_output=True)
    listed = subprocess.run(
        ["git", "-C", root, "-c", "core.excludesFile=", "ls-files", "-z", "--others", "--exclude-standard"],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    of_git = {path for path in listed.stdout.split("\0") if path and path in PLAIN}

    found = {path for path in walked(root) if not path.startswith(".git/")} & set(PLAIN)

    assert found == of_git


def test_it_is_not_sent_itself_and_leaves_no_orphan(make: Make) -> None:
    root = make({IGNORE_FILE: "", f"d/{IGNORE_FILE}": "", "d/a": ""})
    ignored = Selection.from_settings(Settings(include=("*",)), str(root))

    assert walked(root) == walked(root, include=("*",)) == {"d/a"}
    assert not ignored.wants(f"gone/{IGNORE_FILE}")


def test_flags_take_back_what_it_leaves_out(make: Make) -> None:
    root = make({IGNORE_FILE: "build/\n*.log\n", "build/x": "", "build/deep/y": "", "a.log": "", "b": ""})

    assert walked(root) == {"b"}
    assert walked(root, exclude=("!a.log",)) == {"a.log", "b"}
    assert walked(root, include=("build/deep/", "b")) == {"build/deep/y", "b"}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param("[z-a]\n", "d/.s3batchignore is not valid: a pattern is not valid", id="a pattern"),
        pytest.param("x" * (1 << 20) + "x", "d/.s3batchignore: it has more than 1,048,576 bytes", id="too large"),
        pytest.param(None, "d/.s3batchignore: it is not a regular file", id="a directory"),
    ],
)
def test_one_that_cannot_be_used_stops_the_job(make: Make, content: str | None, words: str) -> None:
    root = make({"d/a": ""})
    if content is None:
        (root / "d" / IGNORE_FILE).mkdir()
    else:
        make({f"d/{IGNORE_FILE}": content})

    with pytest.raises(JobFailedError, match=words):
        walked(root)


def test_a_fifo_in_its_place_does_not_block(make: Make) -> None:
    root = make({"a": ""})
    os.mkfifo(root / IGNORE_FILE)

    with pytest.raises(JobFailedError, match="not a regular file"):
        walked(root)


@pytest.mark.parametrize("path", ["a/b", "gone/b", "\0/b", "x" * 300 + "/b", "../b", "/etc/b", "a//b", ""])
def test_a_key_that_can_be_no_path_here_is_not_hidden(make: Make, path: str) -> None:
    root = make({"inside/a": "", IGNORE_FILE: "*\n"}) / "inside"

    assert not IgnoreFiles(str(root)).hides(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_directory_that_cannot_be_searched_has_none(make: Make) -> None:
    root = make({"d/a": "", f"d/{IGNORE_FILE}": "*"})
    (root / "d").chmod(0o600)

    assert not IgnoreFiles(str(root)).hides("d/a")


def test_it_survives_pickling(make: Make) -> None:
    ignored = IgnoreFiles(str(make({IGNORE_FILE: "*.log\n"})))

    assert pickle.loads(pickle.dumps(ignored)).hides("a.log")


def test_its_memory_is_bounded(make: Make) -> None:
    root = make({IGNORE_FILE: "x\n", f"d/{IGNORE_FILE}": "y\n"})
    ignored = IgnoreFiles(str(root), most=3)

    assert [ignored.hides(f"d/{n}/{n}/{name}") for n in range(10) for name in "xyz"] == [True, True, False] * 10
