"""The paths a cache may hold, and where they may go. Pure text.

A root is a path the user listed. It is relative to the workspace (``vendor/bundle``; ``.`` is all of it) or, where
the user wrote it so, absolute. Every path of an archive lies at or below a root and is written as the root is.
Nothing here looks at the disk; :mod:`.directories` makes sure that the disk agrees.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Container, Iterable, Sequence

from s3batch.base.errors import ArchiveError, SettingsError
from s3batch.files.private import OWN_DIRECTORY

KEEP, INSIDE, SKIP = "keep", "inside", "skip"
"""Policies for symbolic links: all, only those that point into the roots by their text, none."""


def parse_roots(listed: Iterable[str], workspace: str) -> tuple[str, ...]:
    """Return the listed paths in one spelling, sorted, without those that lie in another one."""
    return without_nested({_parse_listed_root(path.strip(), workspace) for path in listed if path.strip()}, workspace)


def without_nested(roots: Iterable[str], workspace: str) -> tuple[str, ...]:
    """Return the paths that lie in no other one, sorted."""
    places = {posixpath.normpath(posixpath.join(workspace, root)): root for root in roots}
    return tuple(
        sorted(root for place, root in places.items() if not is_below(posixpath.dirname(place), places.keys()))
    )


def _parse_listed_root(path: str, workspace: str) -> str:
    if "\0" in path:
        raise SettingsError(f"cache: {path!r} is not a path")
    absolute = posixpath.normpath(posixpath.join(workspace, path)).replace("//", "/")
    root = posixpath.relpath(absolute, workspace) if is_inside(absolute, workspace) else absolute
    if root == "/":
        raise SettingsError("cache: the whole file system cannot be cached", hint="list the directories you need")
    if absolute == root and not path.startswith("/"):
        raise SettingsError(f"cache: {path} leaves the workspace {workspace}", hint="write it as an absolute path")
    if is_inside(root, OWN_DIRECTORY):
        raise SettingsError(f"cache: {path} is where s3batch keeps its own files", hint="remove it from cache")
    return root


def is_inside(path: str, root: str) -> bool:
    """Return whether ``path`` is ``root`` or lies below it, by whole components."""
    if root == ".":
        return not path.startswith("/")
    return path == root or path.startswith(root + "/" if root != "/" else root)


def is_inside_any(path: str, roots: Sequence[str]) -> bool:
    """Return whether ``path`` is at or below one of ``roots``."""
    return any(is_inside(path, root) for root in roots)


def is_below(path: str, roots: Container[str]) -> bool:
    """Return True for a path at or below one of ``roots``; the same as :func:`is_inside_any`, for many roots."""
    if path not in roots and not path.startswith("/") and "." in roots:
        return True
    while path not in roots:
        above = posixpath.dirname(path)
        if above in {path, ""}:
            return False
        path = above
    return True


def join_path(directory: str, name: str) -> str:
    """Return the path of an entry; the workspace itself is the directory ``""``."""
    if not directory:
        return name
    return directory + name if directory == "/" else f"{directory}/{name}"


def split_path(path: str) -> tuple[str, str]:
    """Return directory and name; the reverse of :func:`join_path`."""
    directory, slash, name = path.rpartition("/")
    # a third of the cost of posixpath.split, which a walk and a restore call for each directory
    return (directory or slash, name) if not directory.endswith("/") else posixpath.split(path)


def is_safe_name(name: str) -> bool:
    """Return whether ``name`` is one component that stays where it is."""
    return name not in ("", ".", "..") and "/" not in name and "\0" not in name


def check_path(path: str) -> None:
    """Raise unless every component of ``path`` is a plain name."""
    parts = path.removeprefix("/").split("/")
    if not all(is_safe_name(part) for part in parts):
        raise ArchiveError(f"the path {path!r} in the archive is not safe")


def encode_names(texts: Sequence[str]) -> bytes:
    """Return names joined by NUL, as the bytes the file system had."""
    return os.fsencode("\0".join(texts))


def decode_names(blob: bytes | bytearray | memoryview, count: int) -> list[str]:
    """Return the names that :func:`encode_names` joined; ``count`` tells no name from one that is empty."""
    texts = os.fsdecode(bytes(blob)).split("\0") if count else []
    if len(texts) != count or (not count and len(blob)):
        raise ArchiveError(f"a list of names has {len(texts):,} names instead of {count:,}")
    return texts


def points_inside(directory: str, target: str, roots: Sequence[str]) -> bool:
    """Return whether a symbolic link in ``directory`` stays in ``roots``, by its text alone. The disk is not read."""
    if target.startswith("/"):
        return False
    reached = posixpath.normpath(join_path(directory, target))
    return not reached.startswith("..") and is_inside_any(reached, roots)


def link_is_wanted(policy: str, directory: str, target: str, roots: Sequence[str]) -> bool:
    """Return whether the policy takes a symbolic link in ``directory``."""
    return policy == KEEP or (policy == INSIDE and points_inside(directory, target, roots))
