"""A check that this system can make the names and links of a cache: it tries them in a directory of its own.

Most names can be made anywhere and are not tried: ASCII without the characters and endings that some system refuses.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Callable, Iterable
from itertools import islice

from s3batch.archive.tree import HARDLINK, Tree

_PLAIN = re.compile(r"[ !#-)+-.0-9;=@-\[\]-{}~]{0,199}[!#-)+\-0-9;=@-\[\]-{}~]")
"""Names that every system takes, as far as is known."""
_MOST = 10_000
"""Names to try; a cache that has more odd ones fails where the first wrong one is made, and is undone."""


def find_unmakeable(tree: Tree, rows: Iterable[int], probe: int) -> str:
    """Return why something cannot be made in ``probe``, an open and empty directory; empty if nothing is known of."""
    chosen = list(rows)
    reasons = (_why_no_links(tree, chosen, probe), _why_no_names(tree, chosen, probe), _why_alike(tree, chosen, probe))
    return next(filter(None, reasons), "")


def _why_no_links(tree: Tree, rows: list[int], probe: int) -> str:
    row = next((row for row in rows if row in tree.targets), None)
    if row is not None and not _is_done(probe, "link", lambda: os.symlink("target", "link", dir_fd=probe)):
        return f"{tree.path(row)} is a symbolic link, which this system cannot create"
    row = next((row for row in rows if tree.kinds[row] == HARDLINK), None)
    if row is not None and not _is_done(probe, "hard", lambda: _probe_hard_link(probe)):
        return f"{tree.path(row)} is a hard link, which this system cannot create"
    return ""


def _probe_hard_link(probe: int) -> None:
    _make_probe_file(probe, "file")
    try:
        os.link("file", "hard", src_dir_fd=probe, dst_dir_fd=probe)
    finally:
        os.unlink("file", dir_fd=probe)


def _why_no_names(tree: Tree, rows: list[int], probe: int) -> str:
    odd = {tree.names[row]: row for row in rows if not _PLAIN.fullmatch(tree.names[row])}
    for name, row in islice(odd.items(), _MOST):
        if not _is_made(probe, name):
            return f"{tree.path(row)!r} has a name that this system cannot create"
    return ""


def _why_alike(tree: Tree, rows: list[int], probe: int) -> str:
    """Return the error for two names of one directory that are equal on this system, by case or by Unicode normal form."""
    wanted = set(rows)
    for _, first, last in tree.spans():
        seen: dict[str, int] = {}
        for row in range(first, last):
            if row not in wanted:
                continue
            other = seen.setdefault(unicodedata.normalize("NFC", tree.names[row]).casefold(), row)
            if other != row and _are_one(probe, tree.names[other], tree.names[row]):
                return f"{tree.path(other)!r} and {tree.path(row)!r} are the same name on this system"
    return ""


def _are_one(probe: int, one: str, other: str) -> bool:
    _make_probe_file(probe, one)
    try:
        os.stat(other, dir_fd=probe, follow_symlinks=False)
    except FileNotFoundError:
        return False
    finally:
        os.unlink(one, dir_fd=probe)
    return True


def _is_made(probe: int, name: str) -> bool:
    """Return True if the name can be made and is listed as it was written."""
    listed: list[str] = []

    def make() -> None:
        _make_probe_file(probe, name)
        whole = os.open(".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=probe)
        try:
            listed.extend(os.listdir(whole))
        finally:
            os.close(whole)

    return _is_done(probe, name, make) and name in listed


def _make_probe_file(probe: int, name: str) -> None:
    os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600, dir_fd=probe))


def _is_done(probe: int, name: str, make: Callable[[], None]) -> bool:
    try:
        make()
        os.unlink(name, dir_fd=probe)
    except (OSError, ValueError):
        return False
    return True
