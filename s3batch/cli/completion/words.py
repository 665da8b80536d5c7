"""The words that a shell may complete: commands, their flags, and the values of those. Equal for every shell."""

from __future__ import annotations

from s3batch.base.named_tuple import NamedTuple
from s3batch.cli.help import FLAGLESS, metavar_of
from s3batch.settings.schema import COMMANDS, Form, Setting, flag_of
from s3batch.settings.table import names_of_setting, taken_by

SHELLS = ("bash", "zsh", "fish")
_OWN_FLAGS = {"help": "show examples, or every flag", "config": "read settings from this TOML file"}


class FlagWords(NamedTuple):
    """One setting as flags of a command."""

    flags: tuple[str, ...]
    """Equal in meaning, the usual one first."""
    help: str
    value: str
    """The placeholder of its value; empty if it takes none."""
    choices: tuple[str, ...]


def list_first_words() -> dict[str, str]:
    """Return the words that may come first, each with what it does; a word of several commands counts once."""
    words: dict[str, str] = {}
    for command, text in COMMANDS.items():
        word, _, second = command.partition(" ")
        words[word] = f"{words[word]}, {second}" if word in words else second or text
    return words


def list_families() -> dict[str, dict[str, str]]:
    """Return the first words of commands of two words, with their second words and what each does."""
    families: dict[str, dict[str, str]] = {}
    for command, text in COMMANDS.items():
        word, _, second = command.partition(" ")
        if second:
            families.setdefault(word, {})[second] = text
    return families


def list_flags(command: str) -> list[FlagWords]:
    """Return the flags of a command, in the order of its help."""
    if command in FLAGLESS:
        return []
    rows = [row for row in taken_by(command).values() if command == "config" or command in row.commands]
    config = FlagWords(("--config",), _OWN_FLAGS["config"], "FILE", ())
    return [
        *(_describe_flags(row, command) for row in rows),
        config,
        FlagWords(("--help", "-h"), _OWN_FLAGS["help"], "", ()),
    ]


def _describe_flags(row: Setting, command: str) -> FlagWords:
    off = row.form is Form.BOOLEAN and row.default
    names = names_of_setting(row, command)
    flags = (flag_of(f"no_{row.name}"),) if off else tuple(flag_of(name) for name in names)
    text = row.help.split(". ")[0].rstrip(".")
    text = f"Do not {text[0].lower()}{text[1:]}" if off else text
    choices = row.choices if row.form in {Form.TEXT, Form.LIST} else ()
    return FlagWords((*flags, *filter(None, [row.short])), text, metavar_of(row), choices)
