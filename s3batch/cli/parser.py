"""Flags, variables and config file of one command.

Each command has a parser of its own (configargparse does not carry a config file over to sub-parsers), made from the
table of settings. It sorts out who wins, flag > variable > config file, and nothing else: every value stays the text
it was, together with where it came from, and :func:`s3batch.settings.parsing.parse_setting` makes values of them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

from s3batch.base import units
from s3batch.base.errors import SettingsError
from s3batch.base.named_tuple import NamedTuple
from s3batch.settings.parsing import (
    GivenText,
    parse_level,
    split_keys,
    split_list,
    unknown_name_error,
    wrong_value_error,
)
from s3batch.settings.schema import Form, Setting, flag_of, variable_of
from s3batch.settings.table import GUARDS, TABLE, spellings_of, taken_by
from s3batch.settings.texts import plain_text

_SHORT = {row.short: row.flag for row in TABLE.values() if row.short}
CONFIG = "config"
"""``--config FILE`` names the file of settings and is not a setting itself."""
_END = "--"
"""Stands after the last word; no flag takes it for a value."""
ORDER = "order of list values"
"""The attribute of a namespace that notes :attr:`ParsedArguments.order`."""
VALUELESS = frozenset({Form.BOOLEAN, Form.COUNT})
GATHERED = frozenset({Form.LIST, Form.KEYS})


class ConfigFile(NamedTuple):
    """A config file that was read."""

    path: str
    text: str


class ParsedArguments(NamedTuple):
    """The settings of a command by name, and the arguments that are not flags, in order."""

    given: dict[str, GivenText]
    words: list[str]
    order: tuple[str, ...] = ()
    """For each value of each list that flags give, in their order: the name of its setting."""


def merge_settings(
    command: str, argv: Sequence[str], variables: Mapping[str, GivenText], file: ConfigFile | None
) -> ParsedArguments:
    """Merge the settings of ``command`` from flags, variables (by name of setting) and a config file."""
    flags, after = _split_arguments(argv)
    spelled = list(_spelled_out(flags, command))
    said = read_plain_words(command, spelled, variables) if file is None else None
    if said is None:
        said = _read_any_words(command, spelled, variables, file)
    return said._replace(words=[*said.words, *after])


def read_plain_words(command: str, words: Sequence[str], variables: Mapping[str, GivenText]) -> ParsedArguments | None:
    """Return what ``words`` and ``variables`` say; ``None`` if the words are not of the plain kinds.

    Plain are ``--foo VALUE``, ``--foo=VALUE``, switches that are on, and words that are no flags. Everything else
    (``--no-foo``, a value that begins with a dash, a flag that is not known) is left to configargparse, which takes ten
    times as long. Of the plain kinds both say the same.
    """
    known = spellings_of(command)
    given: dict[str, GivenText] = {}
    rest: list[str] = []
    order: list[str] = []
    left = iter(words)
    for word in left:
        if not _is_flag(word):
            rest.append(word)
            continue
        flag, equals, value = word.partition("=")
        name = flag.removeprefix("--").replace("-", "_")
        row = known.get(name)
        if row is None or flag != flag_of(name):
            return None
        before = given[row.name].text if row.name in given else ""
        if row.form in VALUELESS:
            value = str(int(before or 0) + 1) if row.form is Form.COUNT else "true"
        elif not equals:
            value = next(left, _END)
            if value.startswith("-"):
                return None
        if row.form in GATHERED:
            value, more = gather_values(row.form, before, value)
            order += [row.name] * len(more)
        given[row.name] = GivenText(value, row.flag)
    taken = taken_by(command)
    for name, one in variables.items():
        # a plugin step has variables of other commands too: `mode: resume` has `rebuild`
        if name not in given and name in taken and (text := _read_variable(taken[name], one)):
            given[name] = one._replace(text=text)
    return ParsedArguments(given, rest, tuple(order))


def _read_variable(row: Setting, given: GivenText) -> str:
    """Return the text of a variable as its flag would have it; empty if it says nothing."""
    text = plain_text(given.text)
    if not text.strip():
        return ""
    if row.form is Form.BOOLEAN:
        return "true" if switch_flag(row, text, given.origin) == [row.flag] else "false"
    if row.form is Form.COUNT:
        return str(len(switch_flag(row, text, given.origin)) or "")
    return gather_values(row.form, "", text)[0] if row.form in GATHERED else text


def gather_values(form: Form, before: str, text: str) -> tuple[str, list[str]]:
    """Return the values of a list with those of one more text, as a JSON list, and the new ones of a plain list."""
    split = split_keys if form is Form.KEYS else split_list
    more = split(plain_text(text))
    return json.dumps([*split(before), *more]), list(more) if form is Form.LIST else []


def _read_any_words(
    command: str, words: Sequence[str], variables: Mapping[str, GivenText], file: ConfigFile | None
) -> ParsedArguments:
    from s3batch.cli.argument_parser import CommandParser  # noqa: PLC0415 - most command lines are plain

    named = {word.partition("=")[0] for word in words if _is_flag(word)}
    parser = CommandParser(command, variables, file, named)
    namespace, rest = parser.parse_known_args(
        args=list(words),
        env_vars={variable_of(name): plain_text(given.text) for name, given in variables.items()},
        config_file_contents=file.text if file else "",
    )
    for word in rest:
        if _is_flag(word):
            raise unknown_flag(word, command)
    return ParsedArguments(parser.given(namespace), rest, tuple(getattr(namespace, ORDER, ())))


def value_of_flag(argv: Sequence[str], name: str) -> str:
    """Return the value of a flag that must be known before all others; empty if it is not given.

    Raise SettingsError if its value is empty: the file that it should name may hold guards.
    """
    flag, value = flag_of(name), ""
    flags, _ = _split_arguments(argv)
    for word, following in pairwise([*flags, _END]):
        if word != flag and not word.startswith(f"{flag}="):
            continue
        value = following if word == flag else word.partition("=")[2]
        if not value.strip():
            raise empty_value_error(flag)
    return "" if value == _END else value


def has_flag(argv: Sequence[str], *flags: str) -> bool:
    """Return whether one of these flags is given, before any ``--``."""
    return any(word in flags for word in _split_arguments(argv)[0])


def unknown_flag(word: str, command: str) -> SettingsError:
    """Return the error for a flag that the command does not have. It does not show its value, which may be a secret."""
    from s3batch.cli.foreign_flags import explain_foreign_flag  # noqa: PLC0415 - only a wrong flag needs it

    flag = word.partition("=")[0]
    name = flag.lstrip("-").replace("-", "_")
    if (hint := explain_foreign_flag(flag)) and command != "resume":
        return SettingsError(f"{command} takes no {flag}", hint=hint)
    row = next((row for row in TABLE.values() for alias in row.names if name in {alias, f"no_{alias}"}), None)
    if row and command == "resume":
        return SettingsError(
            f"resume uses the settings of its job, so {flag} cannot be given",
            hint="remove it, or start a new job",
        )
    if row:
        return SettingsError(f"{command} takes no {flag}", hint=f"it is a flag of {', '.join(sorted(row.commands))}")
    flags = [flag_of(each) for each in spellings_of(command)] + [flag_of(CONFIG), "--help", "--version"]
    return unknown_name_error("flag", flag, flags, prefix="--")


def _split_arguments(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the words before ``--`` and after it."""
    words = list(argv)
    end = words.index("--") if "--" in words else len(words)
    return words[:end], words[end + 1 :]


def _is_flag(word: str) -> bool:
    return word.startswith("-") and word != "-"


def _spelled_out(words: Sequence[str], command: str) -> Iterator[str]:
    """Yield the words with flags in their long form. Flags with an empty value are left out: empty is unset.

    Raise SettingsError if that would take away a guard.
    """
    known = spellings_of(command)
    skip = False
    for word, following in pairwise([*words, _END]):
        flag, equals, value = word.partition("=")
        row = known.get(flag.removeprefix("--").replace("-", "_")) if flag.startswith("--") else None
        if skip:
            skip = False
        elif _is_short(word):
            yield from (_SHORT[f"-{letter}"] for letter in word[1:])
        elif row and equals and not plain_text(value):
            _refuse_empty_guard(row, flag)
        elif row and equals and row.form in VALUELESS:
            yield from switch_flag(row, value, row.flag)
        elif row and row.form not in VALUELESS and not equals and not plain_text(following):
            _refuse_empty_guard(row, flag)
            skip = True
        else:
            yield word


def _refuse_empty_guard(row: Setting, flag: str) -> None:
    if row.name in GUARDS:
        raise empty_value_error(flag)


def empty_value_error(name: str) -> SettingsError:
    """Return the error for an argument that is empty."""
    return SettingsError(f"{name} is empty", hint="is a variable unset?")


def _is_short(word: str) -> bool:
    return len(word) > 1 and word[0] == "-" and all(f"-{letter}" in _SHORT for letter in word[1:])


def switch_flag(row: Setting, text: str, origin: str) -> list[str]:
    """Return the flag for a value of a flag that takes none: ``true`` is ``--foo``, ``false`` is ``--no-foo``."""
    text = plain_text(text)
    try:
        if row.form is Form.COUNT:
            return [row.flag] * parse_level(text)
        return [row.flag if units.parse_boolean(text) else flag_of(f"no_{row.name}")]
    except ValueError as error:
        raise wrong_value_error(row, text, origin, str(error)) from None
