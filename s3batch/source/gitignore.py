"""Two kinds of patterns, each compiled once: the star glob of the settings, and gitignore's.

    star       per-file settings    only ``*`` is special and it crosses ``/``; the whole text must match
    gitignore  include, exclude     ``*`` ``?`` ``[...]`` stay inside a segment, ``**`` crosses; ``/`` anchors, ``!`` negates

Both become regular expressions, which pickle. Matching is case-sensitive. Pure text: no file is looked at.

A tree may bring its own patterns. So whatever stands between two stars is taken where it first occurs and not looked for
again (an atomic group): the result is the same, and no pattern takes a time that grows with a power of its stars.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import groupby

from s3batch.base.named_tuple import NamedTuple

_PIECE = r"(?s)\\(?P<quoted>.)|(?P<star>\*+)|(?P<one>\?)|\[(?P<no>[!^]?)(?P<set>\]?[^\]]*)\]|(?P<text>.)"
_SPECIAL_IN_SET = r"([\\\[^&~|])"
_END = {(False, False): "/?", (True, False): "/", (False, True): "(?:/.*)?", (True, True): "/.*"}
"""The end of a regex, by whether only directories match and whether everything below them matches."""
_WILD = r"[*?\[\\]"


class _ParsedPattern(NamedTuple):
    """One gitignore pattern, taken apart."""

    negated: bool
    anchored: bool
    directory: bool
    segments: tuple[str, ...]

    def regex(self, *, below: bool) -> str:
        """Return the regex. Directories end with ``/``; with ``below`` everything under a match matches too."""
        start = "" if self.anchored else "(?:.*/)?"
        return start + _translate_path(self.segments) + _END[self.directory, below]

    def root(self) -> tuple[str, ...] | None:
        """Return the leading segments that every match begins with; ``None`` if it may match anywhere."""
        if not self.anchored:
            return None
        wild = (n for n, segment in enumerate(self.segments) if re.search(_WILD, segment))
        return self.segments[: next(wild, len(self.segments))]


def _translate_path(segments: tuple[str, ...]) -> str:
    """Return the regex of segments: those between two ``**`` are taken at the first directory where they match."""
    *runs, last = _split_at_double_stars(segments)
    if not runs:
        return _translate_run(last)
    first, *between = ("".join(f"{_translate_segment(segment)}/" for segment in run) for run in runs)
    middle = "".join(f"(?>(?:[^/]*/)*?{run})" for run in between if run)
    return first + middle + (f"(?:.*/)?{_translate_run(last)}" if last else "[^/].*")


def _split_at_double_stars(segments: tuple[str, ...]) -> list[list[str]]:
    """Return the runs of segments between ``**``; the first and the last may be empty."""
    runs: list[list[str]] = [[]]
    for segment in segments:
        if segment == "**":
            runs.append([])
        else:
            runs[-1].append(segment)
    return runs


def _translate_run(segments: list[str]) -> str:
    return "/".join(map(_translate_segment, segments))


def _translate_segment(segment: str) -> str:
    if segment == "*":  # a lone star must not take the nothing behind a directory's slash
        return "[^/]+"
    pieces = [""]
    for token in re.finditer(_PIECE, segment):
        if token["star"]:
            pieces.append("")
        else:
            pieces[-1] += _translate_token(token)
    head, *others = pieces
    if not others:
        return head
    *middle, tail = others
    return head + "".join(f"(?>[^/]*?{piece})" for piece in middle if piece) + f"[^/]*{tail}"


def _translate_token(token: re.Match[str]) -> str:
    """Return the regex of one character."""
    if token["one"]:
        return "[^/]"
    if token["set"]:
        return "(?!/)[" + ("^" if token["no"] else "") + re.sub(_SPECIAL_IN_SET, r"\\\1", token["set"]) + "]"
    return re.escape(token["quoted"] or token[0])


def _parse_ignore_line(pattern: str) -> _ParsedPattern:
    negated = pattern.startswith("!")
    body = pattern[negated:]
    inner = body.removesuffix("/")
    segments = tuple(segment for segment in inner.split("/") if segment)
    return _ParsedPattern(negated, "/" in inner, body.endswith("/"), segments)


class Patterns(NamedTuple):
    """A list of gitignore patterns: the last one that matches a path says yes, or no if it is negated."""

    groups: tuple[tuple[bool, re.Pattern[str]], ...] = ()
    """Runs of neighbours that say the same, as one expression each; the last first."""
    roots: tuple[tuple[str, ...] | None, ...] = ()
    """Where matches of the patterns that say yes begin."""
    back: tuple[tuple[str, ...] | None, ...] = ()
    """Where matches of the negated patterns begin."""

    @classmethod
    def of(cls, patterns: Iterable[str], *, below: bool = False) -> Patterns:
        """Compile patterns; with ``below`` all in a matching directory matches. Raises ValueError for a bad pattern."""
        return cls.of_lines((pattern.strip() for pattern in patterns), below=below)

    @classmethod
    def of_lines(cls, texts: Iterable[str], *, below: bool = False) -> Patterns:
        """Compile patterns whose spaces count. Raises ValueError for a bad one."""
        lines = [line for text in texts if (line := _parse_ignore_line(text)).segments]
        groups = [
            (not negated, _compile_alternatives([line.regex(below=below) for line in run]))
            for negated, run in groupby(reversed(lines), key=lambda line: line.negated)
        ]
        return cls(
            tuple(groups),
            tuple(line.root() for line in lines if not line.negated),
            tuple(line.root() for line in lines if line.negated),
        )

    def verdict(self, path: str) -> bool | None:
        """Return the verdict of the last matching pattern, ``None`` without a match. A directory ends with ``/``."""
        for says, regex in self.groups:
            if regex.fullmatch(path):
                return says
        return None

    def excludes(self, path: str) -> bool | None:
        """Return :meth:`verdict` as gitignore has it: nothing comes back from inside a directory that is excluded."""
        if not self.groups:
            return None
        end = path.find("/") + 1
        while 0 < end < len(path):
            if self.verdict(path[:end]):
                return True
            end = path.find("/", end) + 1
        return self.verdict(path)


def reaches_below(roots: Iterable[tuple[str, ...] | None], directory: str) -> bool:
    """Return whether a match that begins at one of these roots may lie below a directory."""
    segments = tuple(directory.split("/"))
    return any(root is None or all(map(str.__eq__, root, segments)) for root in roots)


def split_ignore_lines(text: str) -> list[str]:
    """Return the patterns of a gitignore file. Comments, empty lines and spaces at the end of a line are left out."""
    lines = (line.removesuffix("\r") for line in text.removeprefix("\ufeff").split("\n"))
    return [_strip_end(line) for line in lines if line and not line.startswith("#")]


def _strip_end(line: str) -> str:
    bare = line.rstrip(" ")
    escaped = (len(bare) - len(bare.rstrip("\\"))) % 2
    return bare + " " * (escaped and len(bare) < len(line))


def _compile_alternatives(regexes: list[str]) -> re.Pattern[str]:
    try:
        return re.compile("|".join(regexes), re.DOTALL)
    except re.error as error:
        raise ValueError(f"a pattern is not valid: {error.msg}") from None
