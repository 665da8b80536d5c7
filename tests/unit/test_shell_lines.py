"""Lines to type: what the console prints of them, a shell reads as the same words."""

from __future__ import annotations

import os
import subprocess

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from s3batch.reporting.console import Output
from s3batch.settings.shell_lines import format_shell_line

WORDS = st.binary(min_size=1, max_size=40).map(lambda name: os.fsdecode(name.replace(b"\0", b"0")))
"""The names that a file may have."""


@pytest.mark.parametrize(
    ("word", "line"),
    [
        ("plan", "s3batch apply plan"),
        ("/tmp/ü/a-b.plan", "s3batch apply '/tmp/ü/a-b.plan'"),
        ("my plan", "s3batch apply 'my plan'"),
        ("it's", """s3batch apply 'it'"'"'s'"""),
        ("", "s3batch apply ''"),
        ("$HOME", "s3batch apply '$HOME'"),
        ("a\nb", "s3batch apply $'a\\012b'"),
        ("jj\u202e/x's.db", "s3batch apply $'jj\\342\\200\\256/x\\047s.db'"),
        ("x\udcff1", "s3batch apply $'x\\3771'"),
        ("a##[b", "s3batch apply $'a\\043\\043[b'"),
    ],
)
def test_a_word_is_quoted_where_a_shell_or_the_console_would_change_it(word: str, line: str) -> None:
    assert format_shell_line("s3batch", "apply", word) == line


@given(WORDS, WORDS)
@example("a\U000e0100\x01", "##[group]\U000e0100")
def test_what_the_console_prints_comes_back_from_a_shell(one: str, other: str) -> None:
    printed = Output().clean(f"to finish it: {format_shell_line('printf', '%s/%s', one, other)}")
    line = printed.removeprefix("to finish it: ")

    assert line.isprintable()
    read = subprocess.run(["bash", "-c", line], capture_output=True, check=True)
    assert os.fsdecode(read.stdout) == f"{one}/{other}"
