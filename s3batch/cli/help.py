"""The help texts, generated from the table of settings, equal on every Python and in every terminal."""

from __future__ import annotations

import textwrap

from s3batch import units
from s3batch.settings.schema import COMMANDS, Form, Setting, Topic, flag_of
from s3batch.settings.table import names_of_setting, taken_by

WIDTH = 100
_COLUMN = 36
_USAGE = {
    "sync": "SOURCE TARGET",
    "verify": "SOURCE TARGET",
    "explain": "PATH|KEY [SOURCE TARGET]",
    "doctor": "s3://BUCKET/PREFIX",
    "cache restore": "s3://BUCKET/PREFIX",
    "cache rebuild": "s3://BUCKET/PREFIX",
    "cache clear": "s3://BUCKET/PREFIX",
    "cache list": "s3://BUCKET/PREFIX",
    "cache prune": "s3://BUCKET/PREFIX",
    "cache inspect": "s3://BUCKET/PREFIX [NAME]",
    "resume": "[JOB]",
    "jobs show": "[JOB]",
    "jobs forget": "JOB",
    "config": "[COMMAND]",
}
_FOOT = (
    "Each flag --foo-bar can also be given as the variable S3BATCH_FOO_BAR, or as foo_bar below [s3batch] or "
    "[s3batch.COMMAND] in a TOML file: --config FILE, else S3BATCH_CONFIG, else config.toml in "
    "$XDG_CONFIG_HOME/s3batch. Flags win over variables, variables over the file. Sizes: 16MiB, 5MB; durations: 90s, 7d."
)
_MORE = {
    "resume": " The settings of the job's command may be repeated; a different value is an error. A journal below the "
    "working directory is used only if they are repeated, or if --journal names it."
}
_PLUGIN = """usage: s3batch plugin

Run as a step of Drone, Woodpecker or Harness. It takes no arguments: every setting is a PLUGIN_ variable.
The settings restore, rebuild, cache and mount select the cache. Without them it is a sync. The setting mode
names the command itself. s3batch config plugin shows the settings that a step would use."""
_METAVARS = {
    Form.TEXT: "TEXT",
    Form.URL: "URL",
    Form.INTEGER: "N",
    Form.SIZE: "SIZE",
    Form.DURATION: "TIME",
    Form.DAYS: "TIME",
    Form.LIMIT: "N|N%",
    Form.LIST: "LIST",
    Form.KEYS: "LIST",
    Form.RULES: "TEXT|MAP",
    Form.MAP: "MAP",
}


def command_overview() -> str:
    """Return the list of commands, on one screen."""
    rows = [_format_row(f"  {_with_arguments(name)}", text) for name, text in COMMANDS.items()]
    return "\n".join(
        [
            "Upload files to S3 and cache build directories there. A killed job is finished by resume.",
            "usage: s3batch COMMAND [flags]",
            "",
            *rows,
            "",
            "s3batch COMMAND --help shows the flags of a command, s3batch --version the version.",
        ]
    )


def of_family(family: str) -> str:
    """Return the list of the commands that begin with a word, such as ``cache``."""
    rows = [
        _format_row(f"  {_with_arguments(name)}", text)
        for name, text in COMMANDS.items()
        if name.startswith(f"{family} ")
    ]
    foot = f"s3batch {family} COMMAND --help shows the flags of a command."
    return "\n".join([f"usage: s3batch {family} COMMAND [flags]", "", *rows, "", foot])


def help_of_command(command: str) -> str:
    """Return the help of one command, its flags by topic."""
    if command == "plugin":
        return _PLUGIN
    usage = f"usage: s3batch {_with_arguments(command)} [flags]"
    about = textwrap.wrap(_to_sentence(COMMANDS[command]) + _MORE.get(command, ""), WIDTH)
    return "\n".join([usage, "", *about, *_format_topics(command), "", *textwrap.wrap(_FOOT, WIDTH)])


def default_of(row: Setting) -> str:
    """Return the default as a person would write it; empty if there is none."""
    if row.shown_default:
        return row.shown_default
    value = row.default
    if value in ("", None, ()) or (value == 0 and row.form is not Form.BOOLEAN):
        return ""
    if row.form is Form.BOOLEAN:
        return "true" if value else ""
    if row.form is Form.SIZE:
        return units.format_size(value).replace(" ", "")
    return _format_seconds(value) if row.form in {Form.DURATION, Form.DAYS} else str(value)


def metavar_of(row: Setting) -> str:
    """Return the placeholder for the value of a flag; empty if the flag takes none."""
    return "|".join(row.choices) if row.choices and row.form is Form.TEXT else _METAVARS.get(row.form, "")


def _format_seconds(seconds: float) -> str:
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:g}{unit}"
    return f"{seconds:g}s"


def _with_arguments(command: str) -> str:
    return f"{command} {_USAGE[command]}" if command in _USAGE else command


def _to_sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def _format_topics(command: str) -> list[str]:
    rows = [
        row
        for row in taken_by(command).values()
        if (_is_common(row) if command == "config" else command in row.commands)
    ]
    lines: list[str] = []
    for topic in Topic:
        found = [row for row in rows if row.topic is topic]
        if found:
            lines += [
                "",
                f"{topic.value}:",
                *(_format_row(f"  {_format_flags(row, command)}", _explain_setting(row)) for row in found),
            ]
        if found and topic is Topic.OUTPUT:
            lines += [
                _format_row("  --config FILE", "Read settings from this TOML file."),
                _format_row("  -h, --help", "Show this help."),
            ]
    return lines


def _is_common(row: Setting) -> bool:
    """Return whether the help of ``config`` shows a setting. It takes every flag, but shows those of its own output."""
    return row.topic is Topic.OUTPUT and row.name != "progress"


def _format_flags(row: Setting, command: str) -> str:
    off = row.form is Form.BOOLEAN and row.default
    names = [
        flag_of(f"no_{row.name}" if off else row.name),
        *(flag_of(name) for name in names_of_setting(row, command)[1:]),
    ]
    return " ".join(filter(None, (", ".join(filter(None, [row.short, *names])), metavar_of(row))))


def _explain_setting(row: Setting) -> str:
    text = f"Do not {row.help[0].lower()}{row.help[1:]}" if row.form is Form.BOOLEAN and row.default else row.help
    default = "" if row.form is Form.BOOLEAN else default_of(row)
    return f"{text} [{default}]" if default else text


def _format_row(left: str, text: str) -> str:
    lines = textwrap.wrap(text, WIDTH - _COLUMN)
    first = [left] if len(left) > _COLUMN - 2 else [left.ljust(_COLUMN) + lines.pop(0)]
    return "\n".join([*first, *(" " * _COLUMN + line for line in lines)])
