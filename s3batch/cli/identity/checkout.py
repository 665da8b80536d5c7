"""The facts in a git checkout: its remote, its branch, its default branch. Read without the git program.

A checkout is content of the machine. Its files are read up to a limit, and only if they belong to this user, to root or
to the owner of the workspace (as git itself demands). Their includes are not followed.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass, field

from s3batch.files.bounded import read_regular_file

_LIMIT = 1 << 20
"""The longest file of git's that is read, in bytes."""
_SECTION = re.compile(r'\[\s*(?P<name>[A-Za-z0-9.-]+)(?:\s+"(?P<sub>(?:[^"\\\n]|\\.)*)")?\s*\]')
_BRANCHES = "refs/heads/"
_NOT_IN_A_BRANCH = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|^[./]|/\.|[./]\Z|\.lock\Z")
"""Text that no branch name may hold. A repository with reftables has ``refs/heads/.invalid``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkout:
    """Facts of a checkout; an empty field means that git does not say."""

    remotes: dict[str, str] = field(default_factory=dict)
    """URL of each remote, by its name."""
    branch: str = ""
    """The branch of HEAD; empty if it is detached."""
    default_branches: dict[str, str] = field(default_factory=dict)
    """The branch that HEAD of each remote is on, by the remote's name."""

    @property
    def remote(self) -> str:
        """The name of the remote that tells whose repository it is: ``origin``, else the only one."""
        if "origin" in self.remotes:
            return "origin"
        return next(iter(self.remotes)) if len(self.remotes) == 1 else ""

    @property
    def url(self) -> str:
        """The URL of that remote, as git has it; it may hold credentials."""
        return self.remotes.get(self.remote, "")

    @property
    def default_branch(self) -> str:
        """The default branch of that remote."""
        return self.default_branches.get(self.remote, "")


def read_checkout(directory: str) -> Checkout | None:
    """Return the facts of the checkout around ``directory``, or ``None`` if there is none that may be trusted."""
    git = _find_git_directory(os.path.abspath(directory))
    if git is None:
        return None
    common = _common_directory(git)
    remotes = _remote_urls(_read_trusted_text(os.path.join(common, "config")))
    heads = {name: _default_branch(common, name) for name in remotes if _is_component(name)}
    return Checkout(
        remotes=remotes,
        branch=_branch_of(_read_trusted_text(os.path.join(git, "HEAD")), _BRANCHES),
        default_branches={name: branch for name, branch in heads.items() if branch},
    )


def _find_git_directory(directory: str) -> str | None:
    """Return the git directory of the nearest ``.git`` above; ``None`` if that is not to be believed."""
    owners = {os.geteuid(), 0, *_owner_of(directory)}
    while True:
        entry = os.path.join(directory, ".git")
        if os.path.lexists(entry):
            found = _follow_git_file(entry)
            # also the ``.git`` file itself: its writer chooses the repository
            trusted = found and {os.lstat(entry).st_uid, *_owner_of(entry), *_owner_of(found)} <= owners
            return found if trusted else None
        parent = os.path.dirname(directory)
        if parent == directory:
            return None
        directory = parent


def _follow_git_file(entry: str) -> str | None:
    """Return the directory that ``.git`` is, or that a ``.git`` file of a worktree or submodule names."""
    if os.path.isdir(entry):
        return entry
    label, _, named = _read_trusted_text(entry).partition(":")
    if label != "gitdir" or not named.strip():
        return None
    found = os.path.join(os.path.dirname(entry), named.strip())
    return found if os.path.isdir(found) else None


def _common_directory(git: str) -> str:
    """Return the directory of config and refs: a worktree has its own HEAD and shares the rest."""
    named = _read_trusted_text(os.path.join(git, "commondir")).strip()
    common = os.path.join(git, named) if named else git
    return common if {*_owner_of(common)} <= {os.geteuid(), 0, *_owner_of(git)} else git


def _owner_of(path: str) -> tuple[int, ...]:
    try:
        return (os.stat(path).st_uid,)
    except OSError:
        return (-1,)


def _default_branch(common: str, remote: str) -> str:
    return _branch_of(
        _read_trusted_text(os.path.join(common, "refs", "remotes", remote, "HEAD")), f"refs/remotes/{remote}/"
    )


def _branch_of(head: str, start: str) -> str:
    """Return the branch of a symbolic ref below ``start``; empty for a bare commit or another ref."""
    name = head.removeprefix("ref:").strip()
    if not head.startswith("ref:") or not name.startswith(start):
        return ""
    branch = name.removeprefix(start)
    return "" if _NOT_IN_A_BRANCH.search(branch) else branch


def _is_component(name: str) -> bool:
    return bool(name) and name not in {".", ".."} and "/" not in name and "\0" not in name


def _read_trusted_text(path: str) -> str:
    """Return a file's text; empty if it cannot be read or is not trusted."""
    try:
        if stat.S_ISDIR(os.stat(path).st_mode):
            return ""
        return os.fsdecode(read_regular_file(path, _LIMIT)).removeprefix("\ufeff")
    except (OSError, ValueError):
        return ""


def _remote_urls(config: str) -> dict[str, str]:
    """Return the first URL of each remote in a config file; includes are not followed."""
    remotes: dict[str, str] = {}
    section = ""
    for line in _logical_lines(config):
        header = _SECTION.match(line)
        if header:
            section = _remote_name(header)
        name, assigned, value = line[header.end() if header else 0 :].partition("=")
        if section and assigned and name.strip().lower() == "url" and section not in remotes:
            remotes[section] = _git_value(value)
    return {name: url for name, url in remotes.items() if url}


def _remote_name(header: re.Match[str]) -> str:
    if header["sub"] is not None:
        return re.sub(r"\\(.)", r"\1", header["sub"]) if header["name"].lower() == "remote" else ""
    name = header["name"].lower()
    return name.removeprefix("remote.") if name.startswith("remote.") else ""


def _logical_lines(text: str) -> list[str]:
    joined = text.replace("\r\n", "\n").replace("\\\n", "")
    return [line.strip() for line in joined.split("\n") if line.strip() and line.strip()[0] not in "#;"]


def _git_value(text: str) -> str:
    """Return a value as git reads it: quotes off, comments gone, escapes undone."""
    out, quoted, escaped, kept = "", False, False, 0
    for letter in text.strip():
        if escaped:
            out, escaped, kept = out + {"n": "\n", "t": "\t", "b": "\b"}.get(letter, letter), False, len(out) + 1
        elif letter == "\\":
            escaped = True
        elif letter == '"':
            quoted, kept = not quoted, len(out)
        elif letter in "#;" and not quoted:
            break
        else:
            out += letter
            kept = len(out) if quoted or not letter.isspace() else kept
    return out[:kept]
