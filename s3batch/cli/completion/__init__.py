"""Completion scripts for bash, zsh and fish, and the man page, all written from the table of settings."""

from __future__ import annotations

from collections.abc import Sequence

from s3batch.base.errors import SettingsError
from s3batch.cli.completion.bash import format_bash_completion
from s3batch.cli.completion.fish import format_fish_completion
from s3batch.cli.completion.words import SHELLS
from s3batch.cli.completion.zsh import format_zsh_completion

_FORMATS = {"bash": format_bash_completion, "zsh": format_zsh_completion, "fish": format_fish_completion}


def format_completion(words: Sequence[str]) -> str:
    """Return the script of the shell that is the only word. Raises SettingsError for any others."""
    shells = f"{', '.join(SHELLS[:-1])} or {SHELLS[-1]}"
    if not words:
        raise SettingsError("the shell is missing", hint=f"write s3batch completion {shells}")
    if len(words) > 1:
        raise SettingsError(f"completion got an unexpected argument {words[1]!r}", hint="name one shell")
    if words[0] not in _FORMATS:
        raise SettingsError(f"there is no completion for {words[0]!r}", hint=f"write {shells}")
    return _FORMATS[words[0]]()
