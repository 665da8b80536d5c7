"""Bytes of names that are not UTF-8, as people see them."""

from __future__ import annotations

import pytest

from s3batch.base.shown_bytes import show_bytes


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        pytest.param("caf\udce9.txt", r"caf\xe9.txt", id="a name"),
        pytest.param(repr("caf\udce9.txt"), r"'caf\xe9.txt'", id="a name in a message"),
        pytest.param(repr("a\\\udce9"), r"'a\\\xe9'", id="a byte after a backslash"),
        pytest.param(repr(r"a\udce9"), r"'a\\udce9'", id="a name that looks like it"),
        pytest.param("caf\u00e9 \U0001f480", "caf\u00e9 \U0001f480", id="other characters"),
        pytest.param("\ud83d", "\ud83d", id="half a character"),
    ],
)
def test_a_byte_that_is_not_utf_8_is_shown_as_such(text, shown):
    assert show_bytes(text) == shown
