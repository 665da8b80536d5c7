"""Many keys at once of which no rule protects one, as nearly all orphans are: a look at each costs six times as much."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from s3batch.plan.spec import SyncSpec

_SPECIAL = ("/.", "\n.", "/\n", "\n\n", "\n/")
"""Texts of paths in lines: of s3batch's own keys, ignore files, markers of directories, and names that begin with a slash."""


def are_plain_keys(wanted: SyncSpec, keys: Sequence[str]) -> bool:
    """Return true if all keys are names of files that the job selects, with nothing special; else look at each.

    All of them are below the target.
    """
    front = len(wanted.prefix)
    paths = [key[front:] for key in keys] if front else keys
    text = "\n".join(["", *paths, ""])
    if wanted.prefix.startswith("/") or any(each in text for each in _SPECIAL):
        return False
    return all(map(wanted.selection.wants_all_in, {path.rpartition("/")[0] for path in paths}))
