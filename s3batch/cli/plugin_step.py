"""The settings of a plugin step, from the variables of its CI. Pure: a mapping goes in, values come out.

Drone, Woodpecker and Harness pass a step's settings as ``PLUGIN_*``, each in its own form (docs/plugins.md). Lists are
joined by commas or are JSON, and maps are JSON. Drone keeps a dash in a name, Woodpecker writes an underscore. Which
plugin is meant follows from the settings: ``mode`` says it outright; ``restore``, ``rebuild``, ``cache`` or ``mount``
mean the cache; anything else means the sync.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from s3batch.base.errors import SettingsError
from s3batch.settings.parsing import GivenText, first_given, parse_setting, unknown_name_error
from s3batch.settings.schema import Setting, variable_of
from s3batch.settings.table import TABLE, names_of_setting, taken_by
from s3batch.settings.texts import plain_text

NOTHING_TO_DO = ""
"""The command of a cache step that wants neither restore nor rebuild."""

_PREFIX = "PLUGIN_"
_MODES = MappingProxyType(
    {
        "sync": "sync",
        "restore": "cache restore",
        "rebuild": "cache rebuild",
        "clear": "cache clear",
        "flush": "cache clear",
        "resume": "resume",
        "doctor": "doctor",
    }
)
_CACHE_WORDS = ("restore", "rebuild", "cache")
"""Settings of which one makes a step a cache step."""

_OTHERS = MappingProxyType(
    {
        "archive_format": "remove it: s3batch reads every format and writes its own",
        "auto_cache": "name the paths with cache",
        "backend": "remove it: s3batch speaks S3 only",
        "disablessl": "write the endpoint with http://",
        "fail_restore_if_key_not_present": "write fail_on_miss: true",
        "fallback_path": "write restore_keys",
        "filename": "remove it: the name of a cache is its cache_key",
        "filesystem_cache_root": "remove it: s3batch speaks S3 only",
        "flush": "write mode: clear",
        "flush_age": "run s3batch cache prune --ttl",
        "flush_path": "write cache_key",
        "folders": "write cache",
        "local_root": "write the paths with cache relative to the workspace",
        "path": "write cache_key",
        "remote_root": "write prefix",
        "root": "write bucket and prefix",
        "skip_symlinks": "write symlinks: skip",
        "strict_key_matching": "remove it: keys match exactly, restore_keys are prefixes",
    }
)
"""Settings of the replaced plugins that have another name here, and the name to use instead."""


def from_environment(environ: Mapping[str, str]) -> tuple[str, dict[str, GivenText]]:
    """Return the command of a plugin step and its settings. Raises SettingsError if they are ambiguous.

    The command is :data:`NOTHING_TO_DO` for a cache step that has neither restore nor rebuild.
    """
    variables = _with_underscores(environ)
    _refuse_unknown_plugin(variables)
    command = _choose_command(variables)
    if command != "doctor":  # it examines a step as it stands, whichever it is
        _refuse_other_family(command, variables)
    found = {
        row.name: first_given(_variables_of_step(row, like), variables)
        for row, like in _setting_rows(command, variables)
    }
    given = {name: GivenText(value.text, _spelling_of(value.origin, environ)) for name, value in found.items() if value}
    if "verbose" in given:
        given["verbose"] = _as_count(given["verbose"])
    if command == "doctor" and "target" not in given and (prefix := _given_value("prefix", variables)):
        given["target"] = prefix  # where a cache step writes
    return command, given


def _setting_rows(command: str, variables: Mapping[str, str]) -> list[tuple[Setting, str]]:
    """Return the settings a step takes, each with the command whose names and aliases apply."""
    if command != "resume":
        return [(row, command) for row in taken_by(command).values()] if command else []
    finished = ("cache restore", "cache rebuild") if _is_cache(variables) else ("sync",)
    own = [(row, command) for row in taken_by(command).values() if command in row.commands]
    words = [(TABLE[name], "plugin") for name in ("restore", "rebuild")]
    return [*own, *words, *((row, like) for like in finished for row in taken_by(like).values())]


def _is_cache(variables: Mapping[str, str]) -> bool:
    """Return whether a step that resumes has the settings of a cache step."""
    return any(_given_value(name, variables) for name in _CACHE_WORDS)


def env_file(environ: Mapping[str, str]) -> GivenText | None:
    """Return the file of variables that a plugin step names."""
    row = TABLE["env_file"]
    return first_given((*row.plugin_names, row.variable), _with_underscores(environ))


def _with_underscores(environ: Mapping[str, str]) -> dict[str, str]:
    """Replace dashes in names: Drone upper-cases a key and keeps them, so ``cache-key`` is ``PLUGIN_CACHE-KEY``."""
    dashed = {
        _underscore_name(name): text for name, text in environ.items() if name.startswith(_PREFIX) and text.strip()
    }
    return {**dashed, **{name: text for name, text in environ.items() if text.strip()}}


def _underscore_name(name: str) -> str:
    return name.replace("-", "_").replace(".", "_")


def _spelling_of(name: str, environ: Mapping[str, str]) -> str:
    """Return the variable as the CI wrote it, which a user will look for."""
    if environ.get(name, "").strip():
        return name
    return next((written for written in environ if _underscore_name(written) == name), name)


def _refuse_unknown_plugin(variables: Mapping[str, str]) -> None:
    known = {name for row in TABLE.values() for name in _plugin_variables(row)}
    for name in sorted(variables):
        if not name.startswith(_PREFIX) or _underscore_name(name) != name or name in known:
            continue
        setting = name.removeprefix(_PREFIX).lower()
        if setting in _OTHERS:
            raise SettingsError(f"there is no setting {setting} (from {name})", hint=_OTHERS[setting])
        names = [known_name.removeprefix(_PREFIX).lower() for known_name in known if known_name.startswith(_PREFIX)]
        raise unknown_name_error("setting", setting, names, origin=name)


def _choose_command(variables: Mapping[str, str]) -> str:
    words = {name: _given_value(name, variables) for name in _CACHE_WORDS}
    restore, rebuild = (_is_true(name, words[name]) for name in ("restore", "rebuild"))
    mode = first_given(("PLUGIN_MODE", "S3BATCH_MODE"), variables)
    if mode:
        return _parse_mode(mode, restore=restore, rebuild=rebuild)
    if restore and rebuild:
        raise SettingsError("restore and rebuild are both true", hint="use one step to restore and one to rebuild")
    if restore or rebuild:
        return "cache restore" if restore else "cache rebuild"
    return NOTHING_TO_DO if any(words.values()) else "sync"


def _parse_mode(mode: GivenText, *, restore: bool, rebuild: bool) -> str:
    word = plain_text(mode.text).lower()
    if word not in _MODES:
        raise SettingsError(
            f"mode cannot be {mode.text!r} (from {mode.origin})",
            hint="write sync, restore, rebuild, clear, resume or doctor",
        )
    for name, wanted in (("restore", restore), ("rebuild", rebuild)):
        if wanted and word not in {name, "doctor", "resume"}:
            raise SettingsError(f"mode is {word} (from {mode.origin}), and {name} is true", hint="remove one of them")
    return _MODES[word]


def _refuse_other_family(command: str, variables: Mapping[str, str]) -> None:
    """Raise SettingsError for a setting of the other plugin: one image serves two, but a step is one of them."""
    family = "cache" if command not in {"sync", "resume"} or (command == "resume" and _is_cache(variables)) else "sync"
    families = {name: _plugin_families(name) for name in sorted(variables) if name.startswith(_PREFIX)}
    stray = next((name for name, found in families.items() if found and family not in found), None)
    if stray:
        own = next((name for name, found in families.items() if found == {family}), None)
        here = f"{_describe_variable(own)} one of the {family}" if own else f"this step is for the {family}"
        raise SettingsError(
            f"{_describe_variable(stray)} is a setting of the {min(families[stray])}, and {here}",
            hint="use one step for each",
        )


def _plugin_families(variable: str) -> frozenset[str]:
    """Return the plugins that a variable is a setting of: ``sync``, ``cache``, or both."""
    rows = [row for row in TABLE.values() if variable in _plugin_variables(row)]
    commands = {command.partition(" ")[0] for row in rows for command in row.commands}
    if any(row.name in _CACHE_WORDS for row in rows):
        commands.add("cache")
    return frozenset(commands & {"sync", "cache"})


def _describe_variable(variable: str) -> str:
    return f"{variable.removeprefix(_PREFIX).lower()} (from {variable})"


def _plugin_variables(row: Setting) -> tuple[str, ...]:
    return (*row.plugin_names, *row.plugin_cache)


def _variables_of_step(row: Setting, command: str) -> tuple[str, ...]:
    """Return the variables that may set a setting in a plugin step, the strongest first."""
    aliases = set(row.aliases) - set(names_of_setting(row, command))
    own = tuple(name for name in row.plugin_names if name not in {f"{_PREFIX}{alias.upper()}" for alias in aliases})
    cache = row.plugin_cache if command.startswith(("cache ", "doctor")) else ()
    return (*own, *cache, *map(variable_of, names_of_setting(row, command)), *row.also)


def _given_value(name: str, variables: Mapping[str, str]) -> GivenText | None:
    return first_given((*TABLE[name].plugin_names, TABLE[name].variable), variables)


def _is_true(name: str, given: GivenText | None) -> bool:
    return bool(given and parse_setting(TABLE[name], given.text, given.origin))


def _as_count(given: GivenText) -> GivenText:
    """Return the count that DEBUG means: any text that is neither number nor boolean means yes."""
    try:
        parse_setting(TABLE["verbose"], given.text, given.origin)
    except SettingsError:
        return GivenText("1", given.origin)
    return given
