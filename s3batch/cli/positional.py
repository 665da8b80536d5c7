"""The arguments of a command line that are no flags: places, a job, a file. Each becomes a setting or a fact of the run."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from s3batch.base.errors import SettingsError
from s3batch.cli.parser import ParsedArguments, empty_value_error
from s3batch.settings.direction import is_in_s3
from s3batch.settings.parsing import GivenText
from s3batch.settings.table import TABLE, taken_by
from s3batch.settings.texts import plain_text

_FIRST_WORDS = {
    **dict.fromkeys(("resume", "undo", "report", "jobs show", "jobs forget"), "job"),
    **dict.fromkeys(("explain", "plan", "apply"), "argument"),
}
"""Commands whose first argument is no setting, and the fact that it is."""


def assign_words(command: str, said: ParsedArguments) -> tuple[dict[str, GivenText], dict[str, str]]:
    """Assign the arguments that are not flags to settings; return the facts too: the job, or another subject.

    Raise SettingsError if one is empty, or if the only place could be either side.
    """
    words = list(said.words)
    _refuse_empty_words(command, words)
    facts = {_FIRST_WORDS[command]: words.pop(0)} if words and command in _FIRST_WORDS else {}
    given = dict(said.given)
    taken = taken_by(command) if command != "resume" else {}
    if words and "source" in taken and _is_source(command, words):
        given["source"] = _agreed_value("source", words.pop(0), given)
    elif words and "source" in taken and "source" not in given and command != "doctor":
        raise _one_place_error(command, words[0])
    place = "target" if "target" in taken else "prefix"
    if words and place in taken and (is_in_s3(words[0]) or "source" in taken):
        given[place] = _agreed_value(place, words.pop(0), given)
    if words and command == "cache inspect":
        said_once = _agreed_value("cache_key", words.pop(0), given)
        given["cache_key"] = said_once._replace(text=json.dumps([said_once.text]))  # a name may hold commas
    if words:
        raise SettingsError(f"{command} got an unexpected argument {words[0]!r}", hint=f"see s3batch {command} --help")
    return given, facts


def _refuse_empty_words(command: str, words: Sequence[str]) -> None:
    """Raise SettingsError for an empty argument: without it, the others would mean something else."""
    at = next((at for at, word in enumerate(words) if not plain_text(word)), None)
    if at is None:
        return
    from s3batch.cli.help import USAGE  # noqa: PLC0415 - only a wrong command line needs it

    names = [name.strip("[]") for name in USAGE.get(command, "").split()]
    raise empty_value_error(names[at] if at < len(names) else f"argument {at + 1} of {command}")


def _one_place_error(command: str, url: str) -> SettingsError:
    """Return the error for one place in S3 and no other: it may be the source, whose target is forgotten."""
    return SettingsError(
        f"{command} got one place, {url}, and no source",
        hint="write SOURCE and TARGET, such as . for the working directory",
    )


def _is_source(command: str, words: Sequence[str]) -> bool:
    """Return whether the first word is the source: of two words, and of one that is no place in S3."""
    return len(words) > 1 or (command != "doctor" and not is_in_s3(words[0]))


def _agreed_value(name: str, word: str, given: Mapping[str, GivenText]) -> GivenText:
    """Return the argument as a value. A flag of the same setting must have the same value."""
    flag = TABLE[name].flag
    if name in given and given[name].origin == flag and given[name].text != word:
        raise SettingsError(f"{name} is {word!r} and also {given[name].text!r} (from {flag})", hint="give only one")
    return GivenText(word, f"argument {name.upper()}", exact=True)
