"""Decisions for many objects of a download at once, where nearly all are as their files are.

    a page of the listing ─ as the journal knows object and file, and the file is so ──> unchanged
                          └ anything else ─────────> decided one by one, see :mod:`s3batch.plan.download_planner`

It decides nothing that the decision for one object would not decide alike. A page is taken as a whole only if all its keys
are plain paths that the job selects. SQLite reads one range of rows for it, and each file is looked at once.
"""

from __future__ import annotations

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

_LOOK_AT = 200
"""Files that are looked at before their directories are opened anew: not many, where each takes a millisecond."""


class BulkFetchDecision:
    """Finds the unchanged objects of each page of one job."""

    def __init__(self, wanted: DownloadSpec, journal: Journal, tree: TargetTree) -> None:
        self._wanted = wanted
        self._objects = journal.objects
        self._tree = tree
        self._applies = wanted.settings.trust_journal and not (wanted.limits or wanted.selection.runs)

    def find_unchanged(self, objects: Sequence[ListedObject]) -> set[ListedObject]:
        """Return objects whose files are right. One that is not returned may be unchanged all the same.

        No key may begin another one, or be of an operation that a dead job has planned.
        """
        if not (self._applies and objects):
            return set()
        known = self._objects.read_fetched([each.key for each in objects], SAME_SECOND)
        start = len(self._wanted.prefix)
        probable = [each for each in objects if each in known] if known else []
        paths = [each.key[start:] for each in probable]
        if not self._are_selected(paths):
            return set()
        files = [
            file for at in range(0, len(paths), _LOOK_AT) for file in self._tree.read_files(paths[at : at + _LOOK_AT])
        ]
        return {each for each, file in zip(probable, files, strict=True) if file == known[each]}

    def _are_selected(self, paths: Sequence[str]) -> bool:
        """Return true if the job takes each of these paths for certain."""
        if not are_plain_paths(paths) or OWN_DIRECTORY in "\n".join(paths):  # an ignore file has it in its name
            return False
        if any(path.startswith(each) for each in self._wanted.state for path in paths):
            return False
        ignored = self._wanted.selection.ignored
        directories = {path.rpartition("/")[0] for path in paths}
        return ignored is None or all(map(ignored.has_no_rule_in, directories))
