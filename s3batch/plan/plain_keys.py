"""Many keys at once of which no rule protects one, as nearly all orphans are: a look at each costs six times as much."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from s3batch.plan.spec import SyncSpec

_SPECIAL = ("/.", "\n.", "/\n", "\n\n", "\n/")
"""Texts of paths in lines: of s3batch's own keys, ignore files, markers of directories, and names that begin with a slash."""
_REMEMBERED = 10_000


class PlainKeys:
    """Tells whether all of some keys below the target are names of files that the job selects, with nothing special."""

    def __init__(self, wanted: SyncSpec) -> None:
        self._wants_all_in = wanted.selection.wants_all_in
        self._front = len(wanted.prefix)
        self._may_be = not wanted.prefix.startswith("/")
        self._plain: dict[str, bool] = {}

    def are_plain(self, keys: Sequence[str]) -> bool:
        """Return true if every key is plain; false if each has to be looked at."""
        front = self._front
        paths = [key[front:] for key in keys] if front else keys
        text = "\n".join(["", *paths, ""])
        if not self._may_be or any(each in text for each in _SPECIAL):
            return False
        return all(map(self._is_plain, {path.rpartition("/")[0] for path in paths}))

    def _is_plain(self, directory: str) -> bool:
        found = self._plain.get(directory)
        if found is None:
            if len(self._plain) >= _REMEMBERED:
                self._plain.clear()
            found = self._plain[directory] = self._wants_all_in(directory)
        return found
