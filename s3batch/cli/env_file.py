r"""Files of ``NAME=value`` lines, as ``env_file`` names them. Pure text.

# a comment              export NAME=value
NAME=value  # comment    NAME='as it is, # and all'    NAME="with \n, and over
                                                       several lines"
"""

from __future__ import annotations

import re

from s3batch.base.errors import SettingsError

_ENTRY = re.compile(
    r"""[^\S\n]*(?:export[^\S\n]+)?(?P<name>[A-Za-z_][A-Za-z0-9_.-]*)[^\S\n]*[=][^\S\n]*
    (?:'(?P<single>[^']*)'|"(?P<double>(?:[^"\\]|\\.)*)"|(?P<plain>(?!['"])[^\n]*?))
    [^\S\n]*(?:(?<=\s)\#[^\n]*)?(?:\n|\Z)""",
    re.VERBOSE | re.DOTALL,
)
_BLANK = re.compile(r"[^\S\n]*(?:\#[^\n]*)?(?:\n|\Z)")
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t"}


def parse_env_file(text: str, path: str) -> dict[str, str]:
    """Return the variables of a file; a later line wins. SettingsError names a malformed line."""
    text = text.removeprefix("\ufeff").replace("\r\n", "\n")
    variables: dict[str, str] = {}
    position = 0
    while position < len(text):
        blank = _BLANK.match(text, position)
        entry = None if blank else _ENTRY.match(text, position)
        if entry:
            variables[entry["name"]] = _unquote_value(entry)
        elif not blank:
            line = text.count("\n", 0, position) + 1
            raise SettingsError(f"line {line} of env_file {path} cannot be read", hint="write NAME=value")
        position = (blank or entry).end()  # type: ignore[union-attr]  # one of them matched
    return variables


def _unquote_value(entry: re.Match[str]) -> str:
    if entry["double"] is not None:
        return re.sub(r"\\(.)", lambda found: _ESCAPES.get(found[1], found[1]), entry["double"], flags=re.DOTALL)
    if entry["single"] is not None:
        return entry["single"]
    return re.sub(r"(^|\s+)#.*", "", entry["plain"]).strip()
