"""configargparse, which sorts out flags, variables and the config file of one command. This is the only door to it.

It is imported where :func:`s3batch.cli.parser.read_plain_words` does not read the words: with argparse and what both import it takes
8 ms, and reading a command line takes 4 more.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any, TextIO

import configargparse

from s3batch.base.errors import SettingsError
from s3batch.cli.parser import CONFIG, ORDER, VALUELESS, ConfigFile, gather_values, switch_flag
from s3batch.settings.parsing import GivenText
from s3batch.settings.schema import Form, Setting, flag_of
from s3batch.settings.table import TABLE, names_of_setting, taken_by


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
        text, more = gather_values(TABLE[self.dest].form, getattr(namespace, self.dest) or "", values)
        setattr(namespace, self.dest, text)
        setattr(namespace, ORDER, [*getattr(namespace, ORDER, ()), *[self.dest] * len(more)])


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


class CommandParser(configargparse.ArgumentParser):  # type: ignore[misc]  # configargparse has no types
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
        actions = {Form.BOOLEAN: _Switch, Form.COUNT: _Count, Form.LIST: _Collect, Form.KEYS: _Collect}
        more: dict[str, Any] = {"action": actions[row.form]} if row.form in actions else {}
        if row.form in VALUELESS:
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
        """Raise SettingsError, where argparse would exit."""
        found = re.fullmatch("argument ([^:]+): expected one argument", message)
        begins = f"write {found[1].rpartition('/')[2]}=VALUE if the value begins with '-', or " if found else ""
        raise SettingsError(message, hint=f"{begins}see s3batch {self._command} --help")

    def get_possible_config_keys(self, action: Any) -> list[str]:
        """Return the key of a setting in the config file."""
        return [action.dest] if action.dest in TABLE else []

    def convert_item_to_command_line_arg(self, action: Any, key: str, value: str) -> list[str]:
        """Return the words that say what a variable or the config file says."""
        row = TABLE[action.dest]
        if not value.strip():
            return []
        return switch_flag(row, value, self._origin(key)) if row.form in VALUELESS else [f"{row.flag}={value}"]
