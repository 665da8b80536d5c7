"""Decisions for many objects of a download at once, where nearly all are as their files are.

    a page of the listing ─ as the journal knows object and file, and the file is so ──> unchanged
                          └ anything else ─────────> decided one by one, see :mod:`s3batch.plan.download_planner`

It decides nothing that the decision for one object would not decide alike. A page is taken as a whole only if all its keys
are plain paths that the job selects. SQLite reads one range of rows for it, and each file is looked at once.
"""

from __future__ import annotations

from itertools import chain, compress
from operator import not_
from typing import TYPE_CHECKING

from s3batch.files.private import OWN_DIRECTORY
from s3batch.plan.decide_download import SAME_SECOND
from s3batch.plan.key_names import are_plain_paths

if TYPE_CHECKING:
    from collections.abc import Sequence

    from s3batch.files.tree import TargetTree
    from s3batch.journal import Journal
    from s3batch.model import ListedObject
    from s3batch.plan.download_spec import DownloadSpec

    Files = list[tuple[ListedObject, str]]

_LOOK_AT = 200
"""Files that are looked at before their directories are opened anew: not many, where each takes a millisecond."""


class BulkFetchDecision:
    """Selects the objects of a page, and finds the unchanged ones of them."""

    def __init__(self, wanted: DownloadSpec, journal: Journal, tree: TargetTree) -> None:
        self._wanted = wanted
        self._objects = journal.objects
        self._tree = tree
        self._selects = not (wanted.limits or wanted.selection.runs)
        self._trusts = wanted.settings.trust_journal and (wanted.settings.dry_run or journal.facts.has_facts())
        """A rehearsal gets its facts with the listing."""

    def select_files(self, objects: Sequence[ListedObject]) -> Files | None:
        """Return the objects with their paths if the job takes each of them for certain; else ``None``.

        No key may begin another one.
        """
        start = len(self._wanted.prefix)
        paths = [each.key[start:] for each in objects]
        return list(zip(objects, paths, strict=True)) if self._selects and self._are_selected(paths) else None

    def find_unchanged(self, files: Files) -> tuple[Files, Files]:
        """Return the objects whose files are right, and the others, of which one may be unchanged all the same.

        No key may be of an operation that a dead job has planned.
        """
        known = self._objects.read_fetched([listed.key for listed, _ in files], SAME_SECOND) if self._trusts else []
        is_known = [size is not None for size, *_ in known]
        if not any(is_known):
            return [], files
        stamps = self._look_at([path for _, path in compress(files, is_known)])
        if stamps == known:
            return files, []
        found = iter(stamps)
        right = [has and next(found) == before for has, before in zip(is_known, known, strict=True)]
        return list(compress(files, right)), list(compress(files, map(not_, right)))

    def _look_at(self, paths: list[str]) -> list[tuple[int, int, int, int] | None]:
        pieces = (paths[at : at + _LOOK_AT] for at in range(0, len(paths), _LOOK_AT))
        return list(chain.from_iterable(map(self._tree.read_files, pieces)))

    def _are_selected(self, paths: Sequence[str]) -> bool:
        if not are_plain_paths(paths) or OWN_DIRECTORY in "\n".join(paths):  # an ignore file has it in its name
            return False
        if any(path.startswith(each) for each in self._wanted.state for path in paths):
            return False
        return all(map(self._wanted.selection.wants_all_in, {path.rpartition("/")[0] for path in paths}))
