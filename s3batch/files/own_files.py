"""The files of a job that may lie in its tree: the journal, the plan it writes, and what is beside each while they change."""

from __future__ import annotations

import os
import re
from collections.abc import Callable

from s3batch.base.named_tuple import NamedTuple
from s3batch.files.private import BESIDE_JOURNAL

_BESIDE_PLAN = r"|\.new-[0-9]+"
"""The pattern of suffixes of the names beside a plan: the one under which it is written."""


class OwnFiles(NamedTuple):
    """Files of s3batch that a walk leaves alone. Nothing sends, fetches or deletes them."""

    names: tuple[str, ...]
    """How their names begin."""
    directories: tuple[str, ...]
    """The real directory of each."""
    suffixes: tuple[str, ...]
    """The pattern of what may follow each name."""

    def hold(self, name: str, find_directory: Callable[[], str]) -> bool:
        """Return whether a file is one of them; its real directory is asked for if its name is that of one."""
        for known, directory, suffix in zip(self.names, self.directories, self.suffixes, strict=True):
            if name.startswith(known) and re.fullmatch(suffix, name[len(known) :]) and find_directory() == directory:
                return True
        return False


def find_own_files(journal: str, plan: str) -> OwnFiles:
    """Return the own files of a job whose journal and plan have these paths; an empty path is none."""
    found = [(*os.path.split(os.path.realpath(journal)), BESIDE_JOURNAL)] if journal else []
    if plan:
        directory, name = os.path.split(plan)
        found.append((os.path.realpath(directory), name, _BESIDE_PLAN))
    return OwnFiles(
        tuple(name for _, name, _ in found), tuple(place for place, _, _ in found), tuple(each for _, _, each in found)
    )
