"""``delete``: the orphans below the target, and the guards that keep them all.

    listing ─ minus keys of files, redirects, s3batch's own, unreadable paths, unselected paths ─> orphans

The guards stand before the first delete: the walk is complete and nothing failed, the source holds a file, and
no more go than ``max_delete`` allows. A key outside the target's prefix is never an orphan.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from s3batch.base.errors import JobFailedError
from s3batch.base.units import format_plural
from s3batch.model import PlannedDeletes
from s3batch.objects.own_keys import MARKED_BY, OwnMarks
from s3batch.objects.redirects import collect_protected_keys
from s3batch.plan.plain_keys import are_plain_keys
from s3batch.settings.s3_limits import DELETE_BATCH
from s3batch.source.walk_record import CountedPaths, UnreadablePaths
from s3batch.worker.delete_check import CHANGED_MEANWHILE, modified_ns

if TYPE_CHECKING:
    from collections.abc import Iterator

    from s3batch.journal import Journal
    from s3batch.model import ListedObject, Operation
    from s3batch.plan.spec import SyncSpec

WITHHELD = "nothing was deleted, because not all other operations succeeded"


_NAMED = 3
"""Keys that a warning names."""


def format_kept_warning(kept: CountedPaths) -> str:
    """Return the warning about deletes that a last look has kept back."""
    more = kept.count - _NAMED
    others = f" and {more} more" if more > 0 else ""
    return f"{CHANGED_MEANWHILE}: {', '.join(kept.first[:_NAMED])}{others}; not deleted"


def plan_deletes(wanted: SyncSpec, journal: Journal) -> Iterator[PlannedDeletes]:
    """Return the deletes, those of one request at a time. Raises :class:`JobFailedError` if a guard refuses."""
    if wanted.is_one_key:
        return iter(())
    marks = check_delete_guards(wanted, journal)
    for words in marks.words():
        journal.jobs.warn(words)
    return _gather_deletes(_find_orphans(wanted, journal, marks))


def _gather_deletes(pages: Iterator[list[ListedObject]]) -> Iterator[PlannedDeletes]:
    """Yield the deletes of these objects in as few requests as they fit in."""
    left: list[ListedObject] = []
    for page in pages:
        left += page
        while len(left) >= DELETE_BATCH:
            yield _put_in_columns(left[:DELETE_BATCH])
            del left[:DELETE_BATCH]
    if left:
        yield _put_in_columns(left)


def _put_in_columns(objects: list[ListedObject]) -> PlannedDeletes:
    keys, _, etags, moments = zip(*objects, strict=True)
    return PlannedDeletes(keys, etags, tuple(map(modified_ns, moments)))


def check_delete_guards(wanted: SyncSpec, journal: Journal) -> OwnMarks:
    """Return the marks that were found, and raise :class:`JobFailedError` if a guard refuses.

    The deletes are counted only where their number may matter: that takes as long as planning them.
    """
    empty = not journal.jobs.current.files and not wanted.settings.allow_empty_source
    if not empty and wanted.delete_limit.limit is None:
        return _find_marks(wanted, journal)
    count, marks = count_deletes(wanted, journal)
    if count:
        enforce_delete_limit(wanted, journal, count)
    return marks


def count_deletes(wanted: SyncSpec, journal: Journal) -> tuple[int, OwnMarks]:
    """Return how many objects would be deleted, and the marks that were found."""
    marks = _find_marks(wanted, journal)
    return 0 if wanted.is_one_key else sum(map(len, _find_orphans(wanted, journal, marks))), marks


def find_deletable_objects(wanted: SyncSpec, journal: Journal) -> Iterator[ListedObject]:
    """Yield the objects without a file that no rule protects."""
    for batch in _find_orphans(wanted, journal, _find_marks(wanted, journal)):
        yield from batch


def _find_marks(wanted: SyncSpec, journal: Journal) -> OwnMarks:
    """Return the marks of s3batch among the objects without a file."""
    marks = OwnMarks()
    for key in () if wanted.is_one_key else journal.orphans.find_orphans_with(wanted.prefix, MARKED_BY):
        marks.see(key)
    return marks


def make_delete_operation(listed: ListedObject) -> Operation:
    """Return the delete of an object, with the facts that the check before it compares."""
    (operation,) = _put_in_columns([listed]).make_operations([0])
    return operation


def enforce_delete_limit(wanted: SyncSpec, journal: Journal, count: int) -> None:
    """Raise :class:`JobFailedError` if a guard refuses to delete so many."""
    settings = wanted.settings
    if not journal.jobs.current.files and not settings.allow_empty_source:
        raise JobFailedError(
            f"the source {wanted.source.root} holds no file; refusing to delete {format_plural(count, 'object')} below "
            f"{wanted.target.url}",
            hint="set allow_empty_source if that is what you want",
        )
    existing = journal.objects.count_listed()
    if wanted.delete_limit.exceeded(count, existing):
        raise JobFailedError(
            f"{count} of {existing} objects would be deleted, which is more than max_delete "
            f"{settings.max_delete} allows; nothing was deleted",
            hint="check with --dry-run, then raise max_delete",
        )


def _find_orphans(wanted: SyncSpec, journal: Journal, marks: OwnMarks) -> Iterator[list[ListedObject]]:
    """Yield the objects without a file that no rule protects."""
    protected = collect_protected_keys(wanted.redirects) | {wanted.prefix}  # a folder's marker, as consoles make them
    limits, now, selects = wanted.limits, journal.jobs.current.store_date, wanted.selects
    own, paths = marks.owns, wanted.key_paths
    for batch in journal.orphans.read_orphans(wanted.prefix):
        if limits:
            batch = [each for each in batch if not limits.hides(each.size, each.modified, now)]  # noqa: PLW2901
        keys = [each.key for each in batch]
        vetoes = UnreadablePaths(journal.orphans.find_kept(keys))
        covers = vetoes.covers if vetoes.paths else None
        if not (covers or marks) and protected.isdisjoint(keys) and are_plain_keys(wanted, keys):
            if batch:
                yield batch
            continue
        orphans = [
            each
            for each in batch
            if (key := each.key) not in protected
            and not own(key)
            and selects(key)
            and not (covers and covers(key))
            and not (key[-1] == "/" and each.size == 0 and paths.has_directory(key))
            and not (key[0] == "/" and paths.has_file_behind_slash(key))
        ]
        if orphans:
            yield orphans


# --- a source of another kind than before -----------------------------------------------------


def refuse_file_source(wanted: SyncSpec, journal: Journal) -> None:
    """Raise :class:`JobFailedError` if ``delete`` is set and the source was a directory and is one file now.

    The kind of the source is remembered until a run may delete for the file.
    """
    name, settings = f"source {journal.jobs.current.target} {wanted.source.root}", wanted.settings
    before = journal.recall(name) or ("directory" if _was_directory(wanted, journal) else "")
    if before == "directory" and wanted.single and settings.delete and not settings.allow_file_source:
        raise JobFailedError(
            f"the source {wanted.source.root} was a directory and is one file now; refusing to delete what was below "
            f"{wanted.target.url}",
            hint="set allow_file_source (--allow-file-source) if that is what you want",
        )
    now = "directory" if not wanted.single or (before == "directory" and not settings.delete) else "file"
    if now != before:
        journal.remember(name, now)


def _was_directory(wanted: SyncSpec, journal: Journal) -> bool:
    """Return whether an earlier job found several files, for a journal that does not say what the source was."""
    same = (
        each
        for each in journal.jobs.list_all()
        if (each.source, each.target) == (wanted.source.root, journal.jobs.current.target)
    )
    return any(each.files > 1 for each in same)
