"""Files of variables."""

from __future__ import annotations

import pytest

from s3batch.base.errors import SettingsError
from s3batch.cli import env_file


@pytest.mark.parametrize(
    ("text", "variables"),
    [
        pytest.param("A=1", {"A": "1"}, id="one line"),
        pytest.param("A=1\nB=2\n", {"A": "1", "B": "2"}, id="two lines"),
        pytest.param("A=1\r\nB=2\r\n", {"A": "1", "B": "2"}, id="lines of Windows"),
        pytest.param("# no\n\n  # no\nA=1", {"A": "1"}, id="comments and empty lines"),
        pytest.param("export A=1", {"A": "1"}, id="export"),
        pytest.param("  A = 1  ", {"A": "1"}, id="spaces around"),
        pytest.param("A=b c # d", {"A": "b c"}, id="a comment behind a value"),
        pytest.param("A=b#c", {"A": "b#c"}, id="a # inside a value"),
        pytest.param("A=", {"A": ""}, id="empty"),
        pytest.param("A=#c", {"A": ""}, id="empty, with a comment"),
        pytest.param("A='b # $c\\n'", {"A": "b # $c\\n"}, id="single quotes keep all"),
        pytest.param('A="b\\n\\"c\\" # d" # e', {"A": 'b\n"c" # d'}, id="double quotes"),
        pytest.param('A="b\nc"\nD=e', {"A": "b\nc", "D": "e"}, id="over two lines"),
        pytest.param("A=1\nA=2", {"A": "2"}, id="the later line wins"),
        pytest.param('A={"b": "c"}', {"A": '{"b": "c"}'}, id="JSON"),
        pytest.param("\ufeffA=1", {"A": "1"}, id="a byte order mark"),
        pytest.param("PLUGIN_CACHE-KEY=k", {"PLUGIN_CACHE-KEY": "k"}, id="a dash in the name"),
        pytest.param("", {}, id="an empty file"),
    ],
)
def test_variables_are_read(text, variables):
    assert env_file.parse_env_file(text, ".env") == variables


@pytest.mark.parametrize(
    ("text", "line"),
    [
        pytest.param("A=1\nnonsense\n", 2, id="no equals sign"),
        pytest.param("=1", 1, id="no name"),
        pytest.param('A="b" c', 1, id="something behind the quotes"),
    ],
)
def test_a_line_that_is_none_is_named(text, line):
    with pytest.raises(SettingsError, match=rf"line {line} of env_file \.env cannot be read; write NAME=value"):
        env_file.parse_env_file(text, ".env")
