"""The config file: TOML, with ``[s3batch]`` for every command and a table below it for each one's own.

    [s3batch]                 for all commands; a command ignores settings that it does not take
    [s3batch.sync]            stronger than [s3batch], only settings of sync
    [s3batch.cache]           for all cache commands; the setting ``cache`` belongs here too
    [s3batch.cache.rebuild]   stronger than [s3batch.cache]

One file is read: the one of ``--config``, else of ``S3BATCH_CONFIG``, else ``config.toml`` in the user's config
directory (``$XDG_CONFIG_HOME/s3batch``) if it is there. Values come out as the text that a flag would have.
"""

from __future__ import annotations

import json
import tomllib
from typing import Any

from s3batch.base.errors import SettingsError
from s3batch.settings.parsing import unknown_name_error
from s3batch.settings.schema import COMMANDS, LISTS, Form, Setting
from s3batch.settings.table import TABLE, spellings_of

_ROOT = "s3batch"
_TOO_LATE = "env_file"
"""It is read before the config file, so it cannot be named there."""


def config_entries(text: str, command: str, path: str) -> dict[str, str]:
    """Return the settings that ``command`` takes from a config file. SettingsError names the file and the key."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(
            f"config file {path} is not valid TOML: {error}", hint="correct it, or give another --config"
        ) from None
    stray = next((key for key in document if key != _ROOT), None)
    if stray is not None:
        raise SettingsError(f"config file {path} has {stray} outside [{_ROOT}]", hint=f"put it below [{_ROOT}]")
    table = document.get(_ROOT, {})
    if not isinstance(table, dict):
        raise SettingsError(f"config file {path}: {_ROOT} is not a table", hint=f"begin with a line [{_ROOT}]")
    return _merge_tables(table, "", command, path)


def _merge_tables(table: dict[str, Any], scope: str, command: str, path: str) -> dict[str, str]:
    """Merge the tables that apply to ``command``. Every key is checked, whichever command it is for."""
    below = [name for name in COMMANDS if name == scope or name.startswith(f"{scope} ") or not scope]
    depth = len(scope.split())
    subtables = {name.split()[depth] for name in below if len(name.split()) > depth}
    known = {name: row for each in below for name, row in spellings_of(each).items()}
    own: dict[str, str] = {}
    deeper: dict[str, str] = {}
    for key, value in table.items():
        name = key.replace("-", "_")
        if isinstance(value, dict) and key in subtables:
            found = _merge_tables(value, f"{scope} {key}".strip(), command, path)
            deeper |= found if f"{command} ".startswith(f"{scope} {key} ".lstrip()) else {}
        elif name not in known or name == _TOO_LATE:
            raise _unknown_key(name, known, scope, path)
        elif name in spellings_of(command):
            own[spellings_of(command)[name].name] = text_of_value(known[name], value, f"config file {path}")
    return own | deeper


def _unknown_key(name: str, known: dict[str, Setting], scope: str, path: str) -> SettingsError:
    origin = f"[{'.'.join([_ROOT, *scope.split()])}] of config file {path}"
    if name == _TOO_LATE:
        return SettingsError(f"{name} cannot be set in a config file (from {origin})", hint="use --env-file")
    if any(name in row.names for row in TABLE.values()):
        return SettingsError(f"{scope} takes no {name} (from {origin})", hint="put it in the table of its own command")
    return unknown_name_error("setting", name, known, origin=origin)


def text_of_value(row: Setting, value: Any, origin: str) -> str:
    """Return a value as the text of a flag: maps and lists as JSON, times as ISO 8601."""
    misplaced = (isinstance(value, dict) and row.form not in {Form.RULES, Form.MAP}) or (
        isinstance(value, list) and row.form not in LISTS
    )
    if misplaced:
        kind = "table" if isinstance(value, dict) else "list"
        raise SettingsError(f"{row.name} cannot be a {kind} (from {origin})", hint=f"write {_article_of(row)}")
    if isinstance(value, str):
        return value
    return json.dumps(value, default=str) if isinstance(value, dict | list | bool) else str(value)


def _article_of(row: Setting) -> str:
    return f"a {row.form.value}" if row.form in {Form.TEXT, Form.SIZE, Form.DURATION} else row.form.value
