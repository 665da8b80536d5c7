"""The completion script of zsh."""

from __future__ import annotations

from collections.abc import Mapping

from s3batch.cli.completion.words import SHELLS, FlagWords, list_families, list_first_words, list_flags
from s3batch.settings.schema import COMMANDS

_SCRIPT = """\
#compdef s3batch
# zsh completion of s3batch, written by: s3batch completion zsh
_s3batch() {{
    local command=$words[2]
    local -a found
    if (( CURRENT == 2 )); then
        found=({first})
        _describe -t commands command found
        return
    fi
    case $command in
        {families})
            if (( CURRENT == 3 )); then
                case $command in
{seconds}
                esac
                _describe -t commands command found
                return
            fi
            command="$words[2] $words[3]"
            shift words
            (( CURRENT -= 1 )) ;;
    esac
    shift words
    (( CURRENT -= 1 ))
    case $command in
        help) _values command {names} all ;;
        completion) _values shell {shells} ;;
{commands}
        *) _files ;;
    esac
}}
if [ "$funcstack[1]" = _s3batch ]; then
    _s3batch "$@"
else
    compdef _s3batch s3batch
fi
"""


def format_zsh_completion() -> str:
    """Return the script."""
    first = list_first_words()
    return _SCRIPT.format(
        first=_describe_words({**first, "help": "show the help of a command"}), families="|".join(list_families()),
        names=" ".join(first), shells=" ".join(SHELLS),
        seconds="\n".join(
            f"{' ' * 20}{word}) found=({_describe_words(second)}) ;;" for word, second in list_families().items()
        ),
        commands="\n".join(_format_command(command) for command in COMMANDS if list_flags(command)),
    )  # fmt: skip


def _describe_words(words: Mapping[str, str]) -> str:
    return " ".join(_quote_for_zsh(f"{word}:{text}") for word, text in words.items())


def _format_command(command: str) -> str:
    specs = [_format_spec(row, flag) for row in list_flags(command) for flag in row.flags]
    lines = " \\\n".join(f"                {spec}" for spec in [*specs, "'*:file:_files'"])
    return f'        "{command}") _arguments -S \\\n{lines} ;;'


def _format_spec(row: FlagWords, flag: str) -> str:
    text = row.help.replace("\\", "\\\\").replace("[", "\\[").replace("]", "\\]")
    if not row.value:
        return _quote_for_zsh(f"*{flag}[{text}]")
    action = f"({' '.join(row.choices)})" if row.choices else "_files"
    value = row.value.replace(":", "\\:").replace("|", " or ") if not row.choices else "value"
    equals = "=" if flag.startswith("--") else ""
    return _quote_for_zsh(f"*{flag}{equals}[{text}]:{value}:{action}")


def _quote_for_zsh(text: str) -> str:
    quoted = text.replace("'", "'\\''")
    return f"'{quoted}'"
