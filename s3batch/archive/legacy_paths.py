"""Places the members of another tool's archive in this workspace. Pure text.

Two families wrote them: relative names as they were listed (an absolute path with its first slash cut off), and
absolute names of a workspace that may have been elsewhere. The latter are recognised by the listed path in them,
component by component. The part before it is the old workspace, the same for every member.
"""

from __future__ import annotations

from collections.abc import Sequence

from s3batch.archive.paths import is_inside
from s3batch.base.errors import ArchiveError
from s3batch.files.private import OWN_DIRECTORY

_Parts = tuple[str, ...]


class Placement:
    """Maps names to paths below ``roots``. Stateful: the first member shows where the old workspace was."""

    def __init__(self, roots: Sequence[str], workspace: str) -> None:
        self._roots = [(root, _path_components(root)) for root in roots]
        self._workspace = _path_components(workspace)
        self._old: dict[str, _Parts] = {}

    def place(self, name: str) -> str | None:
        """Return the path, ``None`` if it is below no root; raise :class:`ArchiveError` for a name that goes up."""
        parts = _path_components(name)
        if ".." in parts or "\0" in name:
            raise ArchiveError(f"the name {name!r} in the archive is not safe")
        for root, wanted in self._roots:
            below = self._below(root, wanted, parts, absolute=name.startswith("/"))
            if below is None:
                continue
            path = "/".join((*wanted, *below))
            path = f"/{path}" if root.startswith("/") else path
            return None if is_inside(path, OWN_DIRECTORY) else path or "."
        return None

    def _below(self, root: str, wanted: _Parts, parts: _Parts, *, absolute: bool) -> _Parts | None:
        """Return the components after the root's own, or ``None``."""
        if root.startswith("/"):
            return _components_after(parts, wanted)
        if root not in self._old:
            old = self._old_workspace(wanted, parts, absolute=absolute)
            if old is None:
                return None
            self._old[root] = old
        return _components_after(parts, self._old[root] + wanted)

    def _old_workspace(self, wanted: _Parts, parts: _Parts, *, absolute: bool) -> _Parts | None:
        """Return the components before the root, in the first member that has it: in these tools the root itself."""
        if not absolute:
            return next(
                (old for old in ((), self._workspace) if _components_after(parts, old + wanted) is not None), None
            )
        count = len(wanted)
        if parts[len(parts) - count :] == wanted:
            return parts[: len(parts) - count]
        if _components_after(parts, self._workspace + wanted) is not None:
            return self._workspace
        places = range(len(parts) - count + 1)
        return next((parts[:at] for at in places if parts[at : at + count] == wanted), None)


def _path_components(path: str) -> _Parts:
    return tuple(part for part in path.split("/") if part not in ("", "."))


def _components_after(parts: _Parts, start: _Parts) -> _Parts | None:
    return parts[len(start) :] if parts[: len(start)] == start else None
