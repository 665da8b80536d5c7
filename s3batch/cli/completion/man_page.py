"""The man page ``s3batch.1``, in the macros of man(7)."""

from __future__ import annotations

import re

from s3batch.cli.examples import EXAMPLES
from s3batch.cli.help import FLAGLESS, USAGE, default_of, metavar_of
from s3batch.settings.schema import COMMANDS, Form, Setting, Topic, flag_of
from s3batch.settings.table import TABLE

EXIT_STATUS = {
    "0": "Everything is done, or there was nothing to do.",
    "1": "Some operations failed. The rest is done, and the journal keeps them.",
    "2": "A setting or an argument is wrong. Nothing was sent.",
    "3": "The journal is locked, damaged or too new.",
    "4": "The endpoint cannot be reached, or it refuses the sign-in. Nothing was sent.",
    "70": "A bug in s3batch.",
    "124": "The time of --max-duration is over. The journal keeps what is left.",
    "129, 130, 143": "SIGHUP, SIGINT or SIGTERM. The journal keeps what is left.",
}
_FILES = {
    "$XDG_CONFIG_HOME/s3batch/config.toml": "Settings, below [s3batch] and [s3batch.COMMAND].",
    "$XDG_STATE_HOME/s3batch/": "The journals, one for each target.",
}


def format_man_page(version: str) -> str:
    """Return the page of this version."""
    parts = [
        f'.TH S3BATCH 1 "" "s3batch {version}" "User Commands"',
        ".SH NAME\ns3batch \\- copy files to S3 and back, cache build directories, finish what was killed",
        ".SH SYNOPSIS\n" + "\n.br\n".join(_format_synopsis(command) for command in COMMANDS),
        ".SH DESCRIPTION\n"
        + _escape("A journal records every operation before it is sent. After a crash, s3batch resume sends what is missing."),
        ".SH COMMANDS\n" + "\n".join(_format_item(f"\\fB{name}\\fR", text) for name, text in COMMANDS.items()),
        ".SH OPTIONS\n" + _escape("Each option is also the variable S3BATCH_ and its name, and a key of the config file.")
        + "\n" + "\n".join(_format_topic(topic) for topic in Topic),
        ".SH EXIT STATUS\n" + "\n".join(_format_item(code, text) for code, text in EXIT_STATUS.items()),
        ".SH FILES\n" + "\n".join(_format_item(f"\\fI{_escape(name)}\\fR", text) for name, text in _FILES.items()),
        ".SH EXAMPLES\n.nf\n" + "\n".join(_format_examples(command) for command in EXAMPLES) + "\n.fi",
        ".SH SEE ALSO\n" + _escape("https://github.com/s3batch/s3batch/tree/main/docs"),
    ]  # fmt: skip
    return "\n".join(parts) + "\n"


def _format_synopsis(command: str) -> str:
    words = [USAGE.get(command, ""), "" if command in FLAGLESS else "[flags]"]
    return f"\\fBs3batch {command}\\fR {_escape(' '.join(filter(None, words)))}".rstrip()


def _format_topic(topic: Topic) -> str:
    rows = [row for row in TABLE.values() if row.topic is topic]
    return f".SS {topic.value}\n" + "\n".join(_format_setting(row) for row in rows)


def _format_setting(row: Setting) -> str:
    off = row.form is Form.BOOLEAN and row.default
    flags = [flag_of(f"no_{row.name}")] if off else [flag_of(name) for name in row.names]
    shown = ", ".join(f"\\fB{_escape(flag)}\\fR" for flag in [*filter(None, [row.short]), *flags])
    value = f" \\fI{_escape(metavar_of(row))}\\fR" if metavar_of(row) else ""
    default = f" Default: {default_of(row)}." if default_of(row) and row.form is not Form.BOOLEAN else ""
    text = f"Do not {row.help[0].lower()}{row.help[1:]}" if off else row.help
    return _format_item(shown + value, f"{text}{default} For: {', '.join(sorted(row.commands)) or 'every command'}.")


def _format_examples(command: str) -> str:
    return "\n".join(_escape(f"s3batch {command} {line}".rstrip()) for line in EXAMPLES[command].lines)


def _format_item(head: str, text: str) -> str:
    return f".TP\n{head}\n{_escape(text)}"


def _escape(text: str) -> str:
    """Return a text whose characters stand for themselves, at the beginning of a line too."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace("`", "\\(ga")
    escaped = escaped.replace("^", "\\(ha").replace("~", "\\(ti")
    return re.sub(r"^\.", r"\\&.", escaped)
