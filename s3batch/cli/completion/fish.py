"""The completion script of fish."""

from __future__ import annotations

from s3batch.cli.completion.words import SHELLS, FlagWords, list_families, list_first_words, list_flags
from s3batch.settings.schema import COMMANDS

_HEAD = """\
# fish completion of s3batch, written by: s3batch completion fish
function __s3batch_is --description 'whether the command line has this command'
    set -l words (commandline -opc)
    set -e words[1]
    set -l wanted (string split ' ' -- $argv[1])
    test (count $words) -ge (count $wanted)
    and test "$words[1..$(count $wanted)]" = "$argv[1]"
end
function __s3batch_has --description 'whether the command line has exactly these words so far'
    set -l words (commandline -opc)
    set -e words[1]
    test "$words" = "$argv[1]"
end
"""


def format_fish_completion() -> str:
    """Return the script."""
    lines = [_HEAD]
    first = {**list_first_words(), "help": "show the help of a command"}
    lines += [_format_word("", word, text) for word, text in first.items()]
    for family, seconds in list_families().items():
        lines += [_format_word(family, word, text) for word, text in seconds.items()]
    lines += [_format_word("help", word, "") for word in list_first_words()]
    lines += [_format_word("completion", shell, "") for shell in SHELLS]
    lines += [_format_flag(command, row) for command in COMMANDS for row in list_flags(command)]
    return "\n".join(lines) + "\n"


def _format_word(before: str, word: str, text: str) -> str:
    about = f" -d {_quote_for_fish(text)}" if text else ""
    return f"complete -c s3batch -n {_quote_for_fish(f'__s3batch_has {_quote_for_fish(before)}')} -f -a {word}{about}"


def _format_flag(command: str, row: FlagWords) -> str:
    names = " ".join(f"-l {flag[2:]}" if flag.startswith("--") else f"-s {flag[1:]}" for flag in row.flags)
    value = f" -x -a {_quote_for_fish(' '.join(row.choices))}" if row.choices else " -r" if row.value else ""
    return f"complete -c s3batch -n {_quote_for_fish(f'__s3batch_is {_quote_for_fish(command)}')} {names}{value} -d {_quote_for_fish(row.help)}"


def _quote_for_fish(text: str) -> str:
    quoted = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{quoted}'"
