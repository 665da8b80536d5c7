"""Flags, variables and config file of one command: the only door to configargparse.

Each command has a parser of its own (configargparse does not carry a config file over to sub-parsers), made from the
table of settings. It sorts out who wins, flag > variable > config file, and nothing else: every value stays the text
it was, together with where it came from, and :func:`s3batch.settings.parsing.parse_setting` makes values of them.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple, TextIO

import configargparse

from s3batch import units
from s3batch.errors import SettingsError
from s3batch.settings.parsing import GivenText, split_keys, split_list, unknown_name_error, wrong_value_error
from s3batch.settings.schema import Form, Setting, flag_of, variable_of
from s3batch.settings.table import TABLE, names_of_setting, spellings_of, taken_by
from s3batch.settings.texts import plain_text

_SHORT = {row.short: row.flag for row in TABLE.values() if row.short}
CONFIG = "config"
"""``--config FILE`` names the file of settings and is not a setting itself."""
_END = "--"
"""Stands after the last word; no flag takes it for a value."""
_ORDER = "order of list values"
"""The attribute of a namespace that notes :attr:`ParsedArguments.order`."""
_VALUELESS = frozenset({Form.BOOLEAN, Form.COUNT})


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
    named = {word.partition("=")[0] for word in spelled if _is_flag(word)}
    parser = _CommandParser(command, variables, file, named)
    namespace, rest = parser.parse_known_args(
        args=spelled,
        env_vars={variable_of(name): plain_text(given.text) for name, given in variables.items()},
        config_file_contents=file.text if file else "",
    )
    words = [word for word in rest if not _is_flag(word)]
    for word in rest:
        if _is_flag(word):
            raise unknown_flag(word, command)
    order = tuple(getattr(namespace, _ORDER, ()))
    return ParsedArguments(parser.given(namespace), [word for word in [*words, *after] if word], order)


def value_of_flag(argv: Sequence[str], name: str) -> str:
    """Return the value of a flag that must be known before all others; empty if it is not given."""
    flag, value = flag_of(name), ""
    flags, _ = _split_arguments(argv)
    for word, following in pairwise([*flags, ""]):
        if word == flag:
            value = following
        elif word.startswith(f"{flag}="):
            value = word.partition("=")[2]
    return value


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
    """Yield the words with flags in their long form. Flags with an empty value are left out: empty is unset."""
    known = spellings_of(command)
    skip = False
    for word, following in pairwise([*words, _END]):
        flag, equals, value = word.partition("=")
        row = known.get(flag.removeprefix("--").replace("-", "_")) if flag.startswith("--") else None
        if skip:
            skip = False
        elif _is_short(word):
            yield from (_SHORT[f"-{letter}"] for letter in word[1:])
        elif row and equals and not value.strip():
            continue
        elif row and equals and row.form in _VALUELESS:
            yield from _switch_flag(row, value, row.flag)
        elif row and row.form not in _VALUELESS and not following.strip():
            skip = True
        else:
            yield word


def _is_short(word: str) -> bool:
    return len(word) > 1 and word[0] == "-" and all(f"-{letter}" in _SHORT for letter in word[1:])


def _switch_flag(row: Setting, text: str, origin: str) -> list[str]:
    """Return the flag for a value of a flag that takes none: ``true`` is ``--foo``, ``false`` is ``--no-foo``."""
    text = plain_text(text)
    try:
        if row.form is Form.COUNT:
            return [row.flag] * _repeat_count(text)
        return [row.flag if units.parse_boolean(text) else flag_of(f"no_{row.name}")]
    except ValueError as error:
        raise wrong_value_error(row, text, origin, str(error)) from None


def _repeat_count(text: str) -> int:
    try:
        return int(units.parse_boolean(text))
    except ValueError:
        return max(units.parse_integer(text), 0)


class _Switch(configargparse.Action):  # type: ignore[misc]  # configargparse has no types
    """``--foo`` and ``--no-foo``; of a setting whose own name begins with ``no``, ``--no-foo`` and ``--no-no-foo``."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        off = "--no-no-" if self.dest.startswith("no_") else "--no-"
        setattr(namespace, self.dest, "false" if (option_string or "").startswith(off) else "true")


class _Count(configargparse.Action):  # type: ignore[misc]  # configargparse has no types
    """``--verbose --verbose`` is 2."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        setattr(namespace, self.dest, str(int(getattr(namespace, self.dest) or 0) + 1))


class _Collect(configargparse.Action):  # type: ignore[misc]  # configargparse has no types
    """A flag that may come several times: all values as one JSON list."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        before, more = split_list(getattr(namespace, self.dest) or ""), split_list(plain_text(values))
        setattr(namespace, self.dest, json.dumps([*before, *more]))
        setattr(namespace, _ORDER, [*getattr(namespace, _ORDER, ()), *[self.dest] * len(more)])


class _CollectKeys(configargparse.Action):  # type: ignore[misc]  # configargparse has no types
    """The same for cache keys."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        before = split_keys(getattr(namespace, self.dest) or "")
        setattr(namespace, self.dest, json.dumps([*before, *split_keys(plain_text(values))]))


class _Tables(configargparse.ConfigFileParser):  # type: ignore[misc]  # configargparse has no types
    """Gives configargparse the entries of the config file."""

    command = ""
    path = ""

    def parse(self, stream: TextIO) -> dict[str, str]:
        text = stream.read()
        if not text:
            return {}
        from s3batch.cli.config_file import config_entries  # noqa: PLC0415 - tomllib comes with it, and few have a file

        return config_entries(text, self.command, self.path)


class _CommandParser(configargparse.ArgumentParser):  # type: ignore[misc]  # configargparse has no types
    """The settings of one command; complains with a SettingsError and never exits."""

    def __init__(
        self, command: str, variables: Mapping[str, GivenText], file: ConfigFile | None, named: Collection[str]
    ) -> None:
        """``named`` are the flags on the command line: the others are not added, which saves a tenth of a millisecond each."""
        self._command = command
        self._variables = variables
        self._path = file.path if file else ""
        super().__init__(
            prog=f"s3batch {command}",
            add_help=False,
            allow_abbrev=False,
            add_config_file_help=False,
            add_env_var_help=False,
            config_file_parser_class=type("_", (_Tables,), {"command": command, "path": self._path}),
        )
        self.add_argument(flag_of(CONFIG), default=None)
        for row in taken_by(command).values():
            self._add(row, named, always=file is not None or row.name in variables)

    def _add(self, row: Setting, named: Collection[str], *, always: bool) -> None:
        names = names_of_setting(row, self._command)
        flags = [flag_of(name) for name in names]
        if row.form is Form.BOOLEAN:
            flags += [flag_of(f"no_{name}") for name in names]
        if not always and not any(flag in named for flag in flags):
            return
        actions = {Form.BOOLEAN: _Switch, Form.COUNT: _Count, Form.LIST: _Collect, Form.KEYS: _CollectKeys}
        more: dict[str, Any] = {"action": actions[row.form]} if row.form in actions else {}
        if row.form in _VALUELESS:
            more["nargs"] = 0
        self.add_argument(*flags, dest=row.name, default=None, env_var=row.variable, **more)

    def given(self, namespace: Any) -> dict[str, GivenText]:
        """Return every setting that was given, with its origin."""
        origins = dict(self._origins())
        texts = {name: getattr(namespace, name, None) for name in taken_by(self._command)}
        return {
            name: GivenText(text, origins.get(name, TABLE[name].flag))
            for name, text in texts.items()
            if text is not None
        }

    def _origins(self) -> Iterator[tuple[str, str]]:
        for source, settings in self.get_source_to_settings_dict().items():
            for key, (action, _) in settings.items():
                if source == "environment_variables" or source.startswith("config_file"):
                    yield action.dest, self._origin(key)

    def _origin(self, key: str) -> str:
        """Return the origin of ``key``, which is a variable's name or a key of the config file."""
        name = key.removeprefix("S3BATCH_").lower()
        if key.startswith("S3BATCH_") and name in self._variables:
            return self._variables[name].origin
        return f"config file {self._path}"

    def error(self, message: str) -> None:
        raise SettingsError(message, hint=f"see s3batch {self._command} --help")

    def get_possible_config_keys(self, action: Any) -> list[str]:
        return [action.dest] if action.dest in TABLE else []

    def convert_item_to_command_line_arg(self, action: Any, key: str, value: str) -> list[str]:
        row = TABLE[action.dest]
        if not value.strip():
            return []
        return _switch_flag(row, value, self._origin(key)) if row.form in _VALUELESS else [f"{row.flag}={value}"]
