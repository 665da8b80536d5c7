"""Cache keys with Go-style templates, as drone-cache has them: fields and five functions, and nothing cleverer.

    v1-{{ .Repo.Name }}-{{ arch }}-{{ checksum "package-lock.json" }}-{{ hashFiles "go.sum" "*/go.sum" }}

``checksum`` is the MD5 of a file. ``hashFiles`` is the SHA-256 of the raw SHA-256 digests of all files its patterns
match (patterns in order, matches sorted, ``*`` and ``**`` stay within one directory level). Both are empty if there is
no such file, with a warning. ``epoch`` are seconds, ``arch`` and ``os`` are Go's names.
"""

from __future__ import annotations

import difflib
import glob
import hashlib
import os
import platform
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NoReturn

from s3batch.base.errors import SettingsError
from s3batch.files.opener import open_regular

FIELDS = (
    "Repo.Avatar", "Repo.Branch", "Repo.Link", "Repo.Name", "Repo.Namespace", "Repo.Owner", "Repo.Private",
    "Repo.Trusted", "Build.Created", "Build.Deploy", "Build.Event", "Build.Finished", "Build.Link", "Build.Number",
    "Build.Started", "Build.Status", "Commit.Author.Avatar", "Commit.Author.Email", "Commit.Author.Name",
    "Commit.Branch", "Commit.Link", "Commit.Message", "Commit.Ref", "Commit.Remote", "Commit.Sha",
)  # fmt: skip
"""Every field a template may name."""
_ACTION = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
_WORD = re.compile(r"""\s*(?:(\.[A-Za-z][A-Za-z.]*)|([A-Za-z]+)|"((?:[^"\\]|\\["\\])*)"|`([^`]*)`)""")
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64", "i386": "386", "i686": "386", "armv7l": "arm", "armv6l": "arm"}


@dataclass(slots=True)
class Rendered:
    """A key, and warnings about it."""

    text: str
    warnings: list[str] = field(default_factory=list)


def render_key(
    template: str, facts: Mapping[str, str], workspace: str, *, now: float, setting: str = "cache_key"
) -> Rendered:
    """Return the key. Raises SettingsError for a malformed template or an unknown field or function."""
    result = Rendered("")
    renderer = _Renderer(template, facts, workspace, now, setting, result.warnings)
    text = _ACTION.sub(renderer.action, template)
    if "{{" in _ACTION.sub("", template):
        renderer.refuse("a {{ has no }}")
    result.text = text
    return result


@dataclass(frozen=True, slots=True)
class _Renderer:
    template: str
    facts: Mapping[str, str]
    workspace: str
    now: float
    setting: str
    warnings: list[str]

    def action(self, found: re.Match[str]) -> str:
        """Return the value of one ``{{ ... }}``."""
        kinds, values = zip(*self._words(found[1]), strict=True) if found[1].strip() else ((), ())
        if kinds == ("field",):
            return self._field(values[0])
        if kinds[:1] != ("function",) or not set(kinds[1:]) <= {"text"}:
            self.refuse(f"{found[0]} is neither a field nor a function call")
        return self._call(values[0], list(values[1:]))

    def refuse(self, why: str) -> NoReturn:
        """Stop; nothing was sent yet."""
        raise SettingsError(f"{self.setting}: {self.template!r} is not a valid template: {why}")

    def _words(self, text: str) -> list[tuple[str, str]]:
        words, end = [], 0
        text = text.strip()
        while end < len(text):
            found = _WORD.match(text, end)
            if not found:
                self.refuse(f"cannot parse {text[end:].strip()!r}")
            field_name, function, quoted, raw = found.groups()
            if field_name is not None:
                words.append(("field", field_name[1:]))
            elif function is not None:
                words.append(("function", function))
            else:
                words.append(("text", re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else raw))
            end = found.end()
        return words

    def _field(self, name: str) -> str:
        if name not in FIELDS:
            self._unknown("field", f".{name}", [f".{known}" for known in FIELDS])
        return self.facts.get(name, "")

    def _call(self, name: str, arguments: list[str]) -> str:
        functions: dict[str, tuple[int | None, Callable[..., str]]] = {
            "checksum": (1, self._checksum),
            "hashFiles": (None, self._hash_files),
            "epoch": (0, lambda: str(int(self.now))),
            "arch": (0, go_arch),
            "os": (0, go_os),
        }
        if name not in functions:
            self._unknown("function", name, list(functions))
        count, function = functions[name]
        if (not arguments) if count is None else len(arguments) != count:
            self.refuse(f"{name} takes {'one or more texts' if count is None else f'{count} texts'}")
        return function(*arguments)

    def _unknown(self, kind: str, name: str, known: list[str]) -> NoReturn:
        close = difflib.get_close_matches(name, known, 1)
        self.refuse(f"there is no {kind} {name}" + (f", did you mean {close[0]}?" if close else ""))

    def _checksum(self, path: str) -> str:
        try:
            with open_regular(os.path.join(self.workspace, path)) as file:
                return hashlib.file_digest(file, "md5").hexdigest()
        except OSError as error:
            self.warnings.append(f"{self.setting}: checksum of {path}: {error.strerror}; its value is empty")
            return ""

    def _hash_files(self, *patterns: str) -> str:
        files = [path for pattern in patterns for path in self._matches(pattern)]
        if not files:
            self.warnings.append(
                f"{self.setting}: no file matches {', '.join(patterns)}; the value of hashFiles is empty"
            )
            return ""
        whole = hashlib.sha256()
        try:
            for path in files:
                with open_regular(path) as file:
                    whole.update(hashlib.file_digest(file, "sha256").digest())
        except OSError as error:
            self.warnings.append(f"{self.setting}: hashFiles of {path}: {error.strerror}; its value is empty")
            return ""
        return whole.hexdigest()

    def _matches(self, pattern: str) -> list[str]:
        """Return the sorted matches. Go negates a class with ``^``, not ``!``, and its ``*`` matches a leading dot."""
        python = pattern.replace("[^", "[!")
        found = glob.glob(python, root_dir=self.workspace, recursive=False, include_hidden=True)
        paths = [os.path.join(self.workspace, path) for path in sorted(found)]
        return [path for path in paths if os.path.isfile(path)]


def go_arch(machine: str = "") -> str:
    """Return the processor as Go names it: ``amd64``, ``arm64``."""
    machine = (machine or platform.machine()).lower()
    return _MACHINES.get(machine, machine)


def go_os() -> str:
    """Return the operating system as Go names it: ``linux``, ``darwin``, ``windows``."""
    return {"win32": "windows"}.get(sys.platform, sys.platform)
