"""A list of paths: what is in it, and what is refused before any request."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from s3batch.journal import Journal
from s3batch.settings.table import Settings
from s3batch.source.filters import Selection
from s3batch.source.listed_walk import ListedWalk
from s3batch.source.path_list import read_path_list


def read(tmp_path: Path, content: bytes, *, nul: bool = False) -> list[str]:
    (tmp_path / "list").write_bytes(content)
    return [path for page in read_path_list(str(tmp_path / "list"), nul=nul).pages() for path in page]


@pytest.mark.parametrize(
    ("content", "paths"),
    [
        (b"", []),
        (b"a\nb/c\n", ["a", "b/c"]),
        (b"a\r\n\r\nb", ["a", "b"]),
        (b"./a\n.//b//c/./d\n", ["a", "b/c/d"]),
        (b"# no comment\n !x \n", ["# no comment", " !x "]),
        (b"a..b\n...\n", ["a..b", "..."]),
        (b"\xff\xfe\n", [os.fsdecode(b"\xff\xfe")]),
    ],
)
def test_a_line_is_a_path(tmp_path: Path, content: bytes, paths: list[str]) -> None:
    assert read(tmp_path, content) == paths


def test_a_key_stays_as_it_is_and_an_ordinary_list_has_the_same_digest(tmp_path: Path) -> None:
    (tmp_path / "list").write_bytes(b"./a\r\na//b\nd/\n.\n\n c \n")
    kept = read_path_list(str(tmp_path / "list"), nul=False, keys=True)

    assert [path for page in kept.pages() for path in page] == ["./a", "a//b", "d/", ".", " c "]
    (tmp_path / "list").write_bytes(b"a/b\nc\n")
    digests = {read_path_list(str(tmp_path / "list"), nul=False, keys=keys).digest for keys in (False, True)}
    assert len(digests) == 1


def test_with_nul_a_path_may_hold_anything_else(tmp_path: Path) -> None:
    assert read(tmp_path, b"a\nb\0c\r\0\0d", nul=True) == ["a\nb", "c\r", "d"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"a\n/etc/passwd\n", "line 2 is '/etc/passwd'; write paths relative to the source"),
        (b"a/../../b\n", r"line 1 is 'a/../../b'; write paths relative"),
        (b"..\n", "without .."),
        (b".\n", "this is the source itself"),
        (b"a\0b\0", "write --files-from0"),
        (b"x" * 70_000, "more than 65,536 bytes"),
    ],
)
def test_what_is_no_path_below_the_source_is_refused(tmp_path: Path, content: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read(tmp_path, content)


def test_paths_across_blocks_and_pages_are_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    many = [f"directory/{number:05}" for number in range(1234)]
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO("\n".join(many).encode())))

    found = read_path_list("-", nul=False)

    assert [path for page in found.pages() for path in page] == many
    assert [len(page) for page in found.pages()] == [500, 500, 234]
    (tmp_path / "list").write_text("\r\n".join(many))
    assert read_path_list(str(tmp_path / "list"), nul=False).digest == found.digest


def test_a_closed_stdin_is_an_error_of_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", None)

    with pytest.raises(OSError, match="stdin is closed"):
        read_path_list("-", nul=False)


def test_the_journal_keeps_a_list_until_no_job_needs_it(tmp_path: Path) -> None:
    with Journal.open(str(tmp_path / "journal.db")) as journal:
        journal.jobs.begin("sync", "/s", "b/", "", {"list_digest": "one"}, "1")
        journal.file_lists.store("one", [["b", "a"], ["b", os.fsdecode(b"\xff"), "a/c"]])
        journal.file_lists.store("one", [["ignored"]])
        assert list(journal.file_lists.pages("one")) == [["a", "a/c", "b", os.fsdecode(b"\xff")]]

        journal.file_lists.store("two", [[f"{number:04}" for number in range(1100)]])
        assert journal.file_lists.has("one")
        assert [len(page) for page in journal.file_lists.pages("two")] == [500, 500, 100]

        journal.jobs.begin("sync", "/s", "b/", "", {"list_digest": "three"}, "1")
        journal.file_lists.store("three", [[]])
        assert [journal.file_lists.has(name) for name in ("one", "two", "three")] == [False, False, True]
        journal.file_lists.forget("three")
        assert not journal.file_lists.has("three")


def test_each_path_is_looked_at_as_a_walk_would(tmp_path: Path) -> None:
    (tmp_path / "d" / ".s3batch").mkdir(parents=True)
    for name in ("a", "d/b", "d/hidden.log", "d/.s3batch/own", "not-named"):
        (tmp_path / name).write_text(name)
    (tmp_path / "link").symlink_to("a")
    (tmp_path / "broken").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / ".s3batchignore").write_text("*.log")
    named = ["a", "d/b", "d", "gone", "gone/too", "link", "broken", "pipe", "d/hidden.log", "d/.s3batch/own", "a/below"]

    walked = ListedWalk(str(tmp_path), Selection.from_settings(Settings(), str(tmp_path)), iter([named]))

    assert [file.path for page in walked.batches(500) for file in page] == ["a", "d/b", "link"]
    assert {(each.path, each.code) for each in walked.take_problems()} == {
        ("d", "Unreadable"), ("gone", "Vanished"), ("gone/too", "Vanished"), ("broken", "BrokenLink"), ("a/below", "Vanished"),
    }  # fmt: skip
    assert walked.complete
    assert [words for words in walked.warnings() if "pipe" not in words] == [
        "2 paths that files_from names are hidden by filters: d/hidden.log, d/.s3batch/own"
    ]
