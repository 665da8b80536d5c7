"""The help texts, generated from the table of settings.

A command's ``--help`` is short: what it does, three examples, the flags that most people need. ``--help all`` has
every flag. Both are as wide as the terminal.
"""

from __future__ import annotations

import os
import textwrap
from collections.abc import Iterable, Mapping, Sequence

from s3batch.base import units
from s3batch.cli.examples import EXAMPLES
from s3batch.settings.parsing import unknown_name_error
from s3batch.settings.schema import COMMANDS, Form, Setting, Topic, flag_of
from s3batch.settings.table import TABLE, names_of_setting, taken_by

WIDTH = 100
"""Characters of a line in docs/commands.md."""
_NARROWEST, _WIDEST = 60, 120
_PLAIN = 80
"""Characters of a line where there is no terminal."""
_COLUMN = 36
_SHORT_COLUMN = 26
_NAMES_COLUMN = 18
SHORT_HELP = 20
"""Lines of a short help, where the terminal is not narrower than usual."""
_ALL = "all"
USAGE = {
    "sync": "SOURCE TARGET",
    "verify": "SOURCE TARGET",
    "undo": "JOB",
    "backup prune": "s3://BUCKET/PREFIX",
    "plan": "FILE",
    "apply": "FILE",
    "explain": "PATH|KEY [SOURCE TARGET]",
    "doctor": "s3://BUCKET/PREFIX",
    "cache restore": "s3://BUCKET/PREFIX",
    "cache rebuild": "s3://BUCKET/PREFIX",
    "cache clear": "s3://BUCKET/PREFIX",
    "cache list": "s3://BUCKET/PREFIX",
    "cache prune": "s3://BUCKET/PREFIX",
    "cache inspect": "s3://BUCKET/PREFIX [NAME]",
    "resume": "[JOB]",
    "report": "[JOB] --report FILE",
    "jobs show": "[JOB]",
    "jobs forget": "JOB",
    "config": "[COMMAND]",
    "completion": "bash|zsh|fish",
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
_PLUGIN = """\
Run as a step of Drone, Woodpecker or Harness. It takes no arguments: every setting is a PLUGIN_ variable.
The settings restore, rebuild, cache and mount select the cache. Without them it is a sync. The setting mode
names the command itself. s3batch config plugin shows the settings that a step would use."""
_COMPLETION = """\
Print the script with which a shell completes commands and flags. bash: source <(s3batch completion bash). zsh: write
it to a file named _s3batch in a directory of $fpath. fish: write it to ~/.config/fish/completions/s3batch.fish. A
package of s3batch has the three scripts and the man page below share/."""
_FLAGLESS_TEXTS = {"plugin": _PLUGIN, "completion": _COMPLETION}
FLAGLESS = frozenset(_FLAGLESS_TEXTS)
"""Commands without flags."""
_METAVARS = {
    Form.TEXT: "TEXT",
    Form.URL: "URL",
    Form.INTEGER: "N",
    Form.SIZE: "SIZE",
    Form.BANDWIDTH: "RATE",
    Form.DURATION: "TIME",
    Form.DAYS: "TIME",
    Form.LIMIT: "N|N%",
    Form.LIST: "LIST",
    Form.KEYS: "LIST",
    Form.RULES: "TEXT|MAP",
    Form.MAP: "MAP",
}


def choose_help(words: Sequence[str], width: int) -> str:
    """Return the help for the words of a command line before ``--help``, and ``all`` after it."""
    everything = list(words[-1:]) == [_ALL]
    words = words[:-1] if everything else words
    if not words:
        return join_helps(COMMANDS, width) if everything else command_overview(width)
    family = [name for name in COMMANDS if name.startswith(f"{words[0]} ")]
    if family and len(words) == 1:
        return join_helps(family, width) if everything else of_family(words[0], width)
    name = " ".join(words[:2]) if family else words[0]
    if name not in COMMANDS:
        raise unknown_name_error("command", name, COMMANDS)
    return help_of_command(name, width) if everything else short_help_of_command(name, width)


def choose_width(environ: Mapping[str, str], descriptor: int = 1) -> int:
    """Return the characters of a line: those of COLUMNS or of the terminal, within limits."""
    columns = environ.get("COLUMNS", "")
    width = int(columns) if columns.isascii() and columns.isdigit() else 0
    if not width:
        try:
            width = os.get_terminal_size(descriptor).columns
        except OSError:
            width = _PLAIN
    return min(max(width or _PLAIN, _NARROWEST), _WIDEST)


def command_overview(width: int = WIDTH) -> str:
    """Return the list of commands, on one screen."""
    return "\n".join(
        [
            *textwrap.wrap(
                "Copy files to S3 and back, and cache build directories there. A killed job is finished by resume.",
                width,
            ),
            "usage: s3batch COMMAND [flags]",
            "",
            *(_format_row(f"  {name}", text, width, _NAMES_COLUMN) for name, text in COMMANDS.items()),
            "",
            *textwrap.wrap("s3batch COMMAND --help shows examples of a command, --help all every flag.", width),
        ]
    )


def of_family(family: str, width: int = WIDTH) -> str:
    """Return the list of the commands that begin with a word, such as ``cache``."""
    rows = [
        _format_row(f"  {name}", text, width, _NAMES_COLUMN)
        for name, text in COMMANDS.items()
        if name.startswith(f"{family} ")
    ]
    foot = f"s3batch {family} COMMAND --help shows examples of a command, --help all every flag."
    return "\n".join([f"usage: s3batch {family} COMMAND [flags]", "", *rows, "", *textwrap.wrap(foot, width)])


def join_helps(commands: Iterable[str], width: int) -> str:
    """Return the whole helps of several commands."""
    return "\n\n\n".join(help_of_command(command, width) for command in commands)


def short_help_of_command(command: str, width: int = WIDTH) -> str:
    """Return what a command does, three examples, and its most used flags: 20 lines at most on a usual terminal."""
    if command not in EXAMPLES:
        return help_of_command(command, width)
    shown = EXAMPLES[command]
    examples = [f"  s3batch {command} {line}".rstrip() for line in shown.lines]
    head = [_format_usage(command), "", *textwrap.wrap(_to_sentence(COMMANDS[command]), width)]
    lines = [*head, "", "examples:", *examples, ""]
    for name in shown.flags:
        row = _format_short_row(TABLE[name], width)
        lines += row if len(lines) + len(row) <= SHORT_HELP - 2 else []
    return "\n".join([*lines, "", f"s3batch {command} --help all shows every flag."])


def help_of_command(command: str, width: int = WIDTH) -> str:
    """Return the whole help of one command, its flags by topic."""
    if command in FLAGLESS:
        return "\n".join([_format_usage(command), "", *textwrap.wrap(_FLAGLESS_TEXTS[command], width)])
    about = textwrap.wrap(_to_sentence(COMMANDS[command]) + _MORE.get(command, ""), width)
    return "\n".join(
        [_format_usage(command), "", *about, *_format_topics(command, width), "", *textwrap.wrap(_FOOT, width)]
    )


def _format_usage(command: str) -> str:
    return f"usage: s3batch {_with_arguments(command)}{'' if command in FLAGLESS else ' [flags]'}"


def _format_short_row(row: Setting, width: int) -> list[str]:
    """Return the lines about a flag: its name, and what its help says before the first semicolon."""
    left = f"  {row.flag} {metavar_of(row)}".rstrip()
    text = row.help.split(". ")[0].split("; ")[0].rstrip(".") + "."
    return _format_row(left, text, width, _SHORT_COLUMN).split("\n")


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
    return f"{command} {USAGE[command]}" if command in USAGE else command


def _to_sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def _format_topics(command: str, width: int) -> list[str]:
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
                *(_format_row(f"  {_format_flags(row, command)}", _explain_setting(row), width) for row in found),
            ]
        if found and topic is Topic.OUTPUT:
            lines += [
                _format_row("  --config FILE", "Read settings from this TOML file.", width),
                _format_row("  -h, --help [all]", "Show examples, or every flag.", width),
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


def _format_row(left: str, text: str, width: int, column: int = _COLUMN) -> str:
    column = min(column, width // 2)
    lines = textwrap.wrap(text, width - column)
    first = [left] if len(left) > column - 2 else [left.ljust(column) + lines.pop(0)]
    return "\n".join([*first, *(" " * column + line for line in lines)])
