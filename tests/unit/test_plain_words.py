"""The quick way of a plain command line, beside configargparse: both say the same, or it leaves the line alone."""

from __future__ import annotations

import random

import pytest

from s3batch.base.errors import SettingsError
from s3batch.cli import parser
from s3batch.settings.parsing import GivenText
from s3batch.settings.schema import COMMANDS, Form, flag_of
from s3batch.settings.table import TABLE, spellings_of, taken_by

VALUES = ("x", "", " ", "-", "-v", "-5", "a b", "a=b", "true", "no", "3", "s3://b/c", "ä", "--json", '["x"]')


def read(way, *arguments):
    """What a way says, or the sentence with which it refuses."""
    try:
        return way(*arguments)
    except SettingsError as error:
        return str(error)


def make_line(chance: random.Random, command: str) -> list[str]:
    words: list[str] = []
    for name in chance.choices(sorted(spellings_of(command)), k=chance.randrange(5)):
        flag = (
            chance.choice([flag_of(name), flag_of(f"no_{name}"), f"--{name}"])
            if chance.random() < 0.2
            else flag_of(name)
        )
        value = chance.choice(VALUES[:1] * 12 + VALUES)
        words += chance.choice([[flag], [f"{flag}={value}"], [flag, value], [flag, value], [value]])
    return words


@pytest.mark.parametrize("seed", range(40))
def test_what_the_quick_way_reads_configargparse_reads_alike(seed):
    chance, plain = random.Random(seed), 0
    for _ in range(60):
        command = chance.choice([name for name in COMMANDS if spellings_of(name)])
        words = read(lambda *line: list(parser._spelled_out(*line)), make_line(chance, command), command)
        if isinstance(words, str):
            continue
        names = chance.sample(sorted(taken_by(command)), k=min(3, len(taken_by(command))))
        names += chance.sample(sorted(TABLE), k=2)  # a plugin step has those of other commands too
        variables = {
            name: GivenText(
                chance.choice(["x", "a b", "1", "true", "off", " ", "a,b", '["c"]', "{{x}},y"]),
                f"S3BATCH_{name.upper()}",
            )
            for name in names
        }
        variables = variables if chance.random() < 0.5 else {}

        found = read(parser.read_plain_words, command, words, variables)
        if found is not None:
            plain += 1
            other = read(parser._read_any_words, command, words, variables, None)
            is_ordered = not any(TABLE[name].form is Form.LIST for name in variables)  # an order counts of flags only
            both_refuse = isinstance(found, str) and isinstance(other, str)  # perhaps each another variable
            if not (both_refuse or is_ordered) and isinstance(found, tuple) and isinstance(other, tuple):
                found, other = found[:2], other[:2]
            assert both_refuse or found == other, (command, words, variables)
    assert plain > 10


@pytest.mark.parametrize(
    ("words", "given", "rest"),
    [
        (["a", "--region", "r", "s3://b/"], {"region": "r"}, ["a", "s3://b/"]),
        (["--region=r", "--region", "q"], {"region": "q"}, []),
        (["--delete", "--verbose", "--verbose"], {"delete": "true", "verbose": "2"}, []),
        (["--no-sign-request"], {"no_sign_request": "true"}, []),
        (["--region=--"], {"region": "--"}, []),
        (["--include", "x", "--include=a,b"], {"include": '["x", "a", "b"]'}, []),
    ],
)
def test_a_plain_line_is_read_without_configargparse(words, given, rest):
    found = parser.read_plain_words("sync", words, {})

    assert found is not None
    assert ({name: one.text for name, one in found.given.items()}, found.words) == (given, rest)


@pytest.mark.parametrize(
    "words",
    [["--include", "-x"], ["--no-delete"], ["--region", "-x"], ["--region"], ["--nothing"], ["--max_delete", "3"]],
)
def test_any_other_line_is_left_to_configargparse(words):
    assert parser.read_plain_words("sync", words, {}) is None
