"""The completion script of bash."""

from __future__ import annotations

from collections.abc import Iterator

from s3batch.cli.completion.words import SHELLS, FlagWords, list_families, list_first_words, list_flags
from s3batch.settings.schema import COMMANDS

_SCRIPT = """\
# bash completion of s3batch, written by: s3batch completion bash
_s3batch() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD-1]}} command=${{COMP_WORDS[1]}} words="" start=""
    COMPREPLY=()
    if [ "$word" = "=" ]; then
        word=""
    elif [ "$before" = "=" ]; then
        before=${{COMP_WORDS[COMP_CWORD-2]}}
    elif [[ $word == --*=* ]]; then  # COMP_WORDBREAKS has no =
        before=${{word%%=*}} start=${{word%%=*}}= word=${{word#*=}}
    fi
    if [ "$COMP_CWORD" = 1 ]; then
        COMPREPLY=($(compgen -W "{first} help --help --version" -- "$word"))
        return
    fi
    case $command in
        {families})
            if [ "$COMP_CWORD" = 2 ]; then
                case $command in
{seconds}
                esac
                COMPREPLY=($(compgen -W "$words --help" -- "$word"))
                return
            fi
            command="$command ${{COMP_WORDS[2]}}" ;;
        help)
            COMPREPLY=($(compgen -W "{first} all" -- "$word"))
            return ;;
        completion)
            COMPREPLY=($(compgen -W "{shells}" -- "$word"))
            return ;;
    esac
    case "$command $before" in
{values}
    esac
    if [ -n "$words" ]; then
        COMPREPLY=($(compgen -P "$start" -W "$words" -- "$word"))
        return
    fi
    if [ -n "$start" ]; then
        local IFS=$'\n'
        COMPREPLY=($(compgen -P "$start" -f -- "$word"))
        return
    fi
    case $word in
        -*) ;;
        *) return ;;  # a file
    esac
    case $command in
{flags}
    esac
    COMPREPLY=($(compgen -W "$words" -- "$word"))
}}
complete -o bashdefault -o default -F _s3batch s3batch
"""


def format_bash_completion() -> str:
    """Return the script."""
    flags = {command: list_flags(command) for command in COMMANDS}
    return _SCRIPT.format(
        first=" ".join(list_first_words()), families="|".join(list_families()), shells=" ".join(SHELLS),
        seconds="\n".join(_format_case(20, word, second) for word, second in list_families().items()),
        values="\n".join(
            _format_case(8, *each) for command, rows in flags.items() for each in _list_choices(command, rows)
        ),
        flags="\n".join(
            _format_case(8, f'"{command}"', [flag for row in rows for flag in row.flags])
            for command, rows in flags.items()
            if rows
        ),
    )  # fmt: skip


def _list_choices(command: str, rows: list[FlagWords]) -> Iterator[tuple[str, tuple[str, ...]]]:
    for row in rows:
        if row.choices:
            yield "|".join(f'"{command} {flag}"' for flag in row.flags), row.choices


def _format_case(indent: int, pattern: str, words: object) -> str:
    joined = " ".join(words)  # type: ignore[arg-type]  # a list, a tuple or the keys of a map
    return f'{" " * indent}{pattern}) words="{joined}" ;;'
