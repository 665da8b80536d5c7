"""The keys in a bucket that belong to s3batch itself: no sync deletes them, wherever they are below its target.

R/.s3batch/...                a manifest, a fence: never an orphan
R/.s3batch/cache              R holds a cache: all below R/v1/
R/v1/k/... beside R/v1/c/...  the same, of a cache without that mark
R/.s3batch-backup             R is a backup: all below R
"""

from __future__ import annotations

import re

from s3batch.files.private import OWN_DIRECTORY

OWN = f"{OWN_DIRECTORY}/"
"""The directory of s3batch below a target, and at a cache's root."""
PROBE = f"{OWN}probe-"
"""The beginning of the names of objects that show what a store does. They are deleted at once."""
CACHE_MARK = f"{OWN}cache"
"""The mark at a cache's root: objects below ``v1/`` there belong to the cache."""
BACKUP_MARK = ".s3batch-backup"

MARKED_BY = (OWN_DIRECTORY, "v1/")
"""Texts of which a key has one, if :meth:`OwnMarks.see` may find a mark in it."""
_HALF_OF_A_CACHE = r"((?:.*/)?)v1/([kc])/"


def is_own_key(key: str) -> bool:
    """Return true if a key lies in a directory of s3batch."""
    return OWN in key and f"/{OWN}" in f"/{key}"


class OwnMarks:
    """Collects marks from a listing's keys, then tells which keys are s3batch's own."""

    def __init__(self) -> None:
        self._roots: dict[str, str] = {}
        """Prefixes of own keys, and what lies there."""
        self._halves: dict[str, str] = {}

    def see(self, key: str) -> None:
        """Note a mark in ``key``; call it for every key of a listing that holds a text of :data:`MARKED_BY`."""
        if OWN in key and f"/{key}".endswith(f"/{CACHE_MARK}"):
            self._roots[key.removesuffix(CACHE_MARK) + "v1/"] = "a cache"
        elif key.endswith(BACKUP_MARK) and f"/{key}".endswith(f"/{BACKUP_MARK}"):
            self._roots[key.removesuffix(BACKUP_MARK)] = "a backup"
        elif "v1/" in key and (found := re.match(_HALF_OF_A_CACHE, key)):
            root, half = found.groups()
            if self._halves.setdefault(root, half) != half:
                self._roots.setdefault(f"{root}v1/", "a cache")

    def __bool__(self) -> bool:
        """Return whether there is anything of s3batch outside ``.s3batch/`` directories."""
        return bool(self._roots)

    def owns(self, key: str) -> bool:
        """Return true if ``key`` belongs to s3batch."""
        if is_own_key(key):
            return True
        return bool(self._roots) and any(key.startswith(root) for root in self._roots)

    def words(self) -> list[str]:
        """Return a warning for each place."""
        return [f"kept {root or 'the whole bucket'}: it is {what} of s3batch" for root, what in self._roots.items()]
