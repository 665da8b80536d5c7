"""Laws of the patterns: our star is fnmatch's star, our gitignore is git's own."""

from __future__ import annotations

import fnmatch
import random
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3batch.objects.star_glob import compile_star_glob
from s3batch.settings.table import Settings
from s3batch.source.filters import Selection

NARROW = st.text("ab/*", max_size=8)


@given(pattern=NARROW, text=st.text("ab/", max_size=10))
def test_a_star_glob_is_literals_with_anything_between(pattern: str, text: str) -> None:
    plain = ".*".join(map(re.escape, pattern.split("*")))

    assert bool(compile_star_glob(pattern).fullmatch(text)) is bool(re.fullmatch(plain, text, re.DOTALL))
    assert bool(compile_star_glob(pattern).fullmatch(text)) is fnmatch.fnmatchcase(text, pattern)


@given(text=st.text(max_size=10))
def test_any_text_without_a_star_matches_itself(text: str) -> None:
    assert compile_star_glob(text.replace("*", "")).fullmatch(text.replace("*", ""))


PIECES = ["a", "b", "*", "?", "**", "[ab]", "[!a]", "a*", "*b", "a?", "ab", "[a-b]b", r"\a"]
FILES = ["a", "ab", "b/a", "b/ab/a", "b/ab/b", "aa/a", "aa/b/ab", "bb/b/a/b", "bb/ab", "ba/a/a/a", "b/b/b"]


def some_pattern(choice: random.Random) -> str:
    segments = "/".join(choice.choices(PIECES, k=choice.choice([1, 1, 2, 3])))
    return choice.choice(["", "", "!"]) + choice.choice(["", "", "/"]) + segments + choice.choice(["", "", "/"])


def ignored_by_git(repository: Path, patterns: list[str]) -> set[str]:
    (repository / ".gitignore").write_text("\n".join(patterns) + "\n")
    listing = subprocess.run(
        ["git", "-c", "core.excludesFile=", "check-ignore", "--no-index", "--stdin"],
        cwd=repository, input="\n".join(FILES), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert listing.returncode in (0, 1), listing.stderr
    return set(listing.stdout.splitlines())


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("git"), reason="git is the judge")
def test_exclude_leaves_out_exactly_what_git_ignores(tmp_path: Path) -> None:
    choice = random.Random(20261121)
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    for file in FILES:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    for _ in range(300):
        patterns = [some_pattern(choice) for _ in range(choice.randint(1, 4))]
        selection = Selection.from_settings(Settings(exclude=tuple(patterns)))

        assert {file for file in FILES if not selection.wants(file)} == ignored_by_git(tmp_path, patterns), patterns


LINE = st.text("ab*?/!", min_size=1, max_size=6)
PATH = st.lists(st.sampled_from(["a", "b", "ab", "ba"]), min_size=2, max_size=4).map("/".join)


@given(include=st.lists(LINE, max_size=3), exclude=st.lists(LINE, max_size=3), path=PATH)
def test_above_every_wanted_file_all_directories_are_entered(include: list[str], exclude: list[str], path: str) -> None:
    selection = Selection.from_settings(Settings(include=tuple(include), exclude=tuple(exclude)))
    above = [path[:end] for end, character in enumerate(path) if character == "/"]

    if selection.wants(path):
        assert all(map(selection.enters, above))
