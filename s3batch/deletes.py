"""``delete``: which objects below the target are orphans, and when none of them may go.

    listing ─ minus keys of files, redirects, our own, what could not be looked at, what is not selected ─> orphans

The guards stand before the first delete: the walk is complete and nothing failed, the source holds a file, and
no more go than ``max_delete`` allows. A key outside the target's prefix is never an orphan.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from s3batch.errors import JobFailedError
from s3batch.model import Kind, Operation, Reason, Stage
from s3batch.redirects import protected_keys
from s3batch.wanted import KEPT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from s3batch.journal import Journal
    from s3batch.model import Listed
    from s3batch.walk import Walk
    from s3batch.wanted import Wanted

WITHHELD = "nothing was deleted, because not everything else went well"


def plan(wanted: Wanted, journal: Journal, walked: Walk) -> Iterator[list[Operation]]:
    """The deletes, page by page. Raises :class:`JobFailedError` before the first one where a guard refuses."""
    if wanted.is_one_key:
        return
    count = sum(map(len, _orphans(wanted, journal, walked)))
    if count:
        _guard(wanted, journal, count)
    for batch in _orphans(wanted, journal, walked):
        yield [Operation(Kind.DELETE, each.key, Reason.ORPHAN, stage=Stage.DELETE, etag=each.etag) for each in batch]


def _guard(wanted: Wanted, journal: Journal, count: int) -> None:
    settings = wanted.settings
    if not journal.job.files and not settings.allow_empty_source:
        raise JobFailedError(
            f"the source {wanted.source.root} holds no file; refusing to delete {count} objects below "
            f"{wanted.target.bucket}/{wanted.prefix}",
            hint="set allow_empty_source if that is what you want",
        )
    existing = journal.count_listed()
    if wanted.delete_limit.exceeded(count, existing):
        raise JobFailedError(
            f"{count} of {existing} objects would be deleted, which is more than max_delete "
            f"{settings.max_delete} allows; nothing was deleted",
            hint="look at it with --dry-run, then raise max_delete",
        )


def _orphans(wanted: Wanted, journal: Journal, walked: Walk) -> Iterator[list[Listed]]:
    """What no file answers to and no rule protects."""
    protected = protected_keys(wanted.redirects)
    vetoes = [wanted.key(veto) for veto in walked.vetoes] if wanted.target.stripped else []
    for batch in journal.orphans(wanted.prefix):
        kept = [each for each in batch if each.key not in protected and _may_go(each.key, wanted, walked, vetoes)]
        if kept:
            yield kept


def _may_go(key: str, wanted: Wanted, walked: Walk, vetoes: list[str]) -> bool:
    """Whether no rule keeps ``key``; ``vetoes`` are the walk's as keys, where paths are not simply their ends.

    The prefix itself is a folder's marker, as consoles make them, and stays.
    """
    path = key[len(wanted.prefix) :]
    if not path or path.startswith(KEPT) or not wanted.selects(key) or walked.keeps(path):
        return False
    if key.startswith("/") and os.path.isfile(os.path.join(wanted.source.base, key.lstrip("/"))):
        return False  # drone-s3-sync once wrote such keys, and takes them for the file's
    return not any(key == veto or (veto.endswith("/") and key.startswith(veto)) for veto in vetoes)
