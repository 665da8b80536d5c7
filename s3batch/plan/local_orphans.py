"""``delete`` of a download: the local files that no object answers to, and the guards that keep them all.

    walk of the target ─ minus paths of listed keys, s3batch's own, unselected paths ─> orphans

A link is an orphan itself and never followed. A directory that is on another file system than the target, a mount point,
is not entered: a download cannot write there either. The guards are those of an upload: the listing is complete and nothing
failed, it holds an object, and no more go than ``max_delete`` allows.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from s3batch.base.errors import JobFailedError
from s3batch.base.named_tuple import NamedTuple
from s3batch.base.units import format_plural
from s3batch.files.own_files import find_own_files
from s3batch.model import Kind, Operation, Reason, Stage, Stamp, stamp_of
from s3batch.worker.local_delete import encode_local_state

if TYPE_CHECKING:
    from collections.abc import Iterator

    from s3batch.files.tree import TargetTree
    from s3batch.journal import Journal
    from s3batch.plan.download_spec import DownloadSpec
    from s3batch.plan.key_names import FoldedNames

_BATCH = 500


class LocalOrphan(NamedTuple):
    """A local file or link without an object."""

    path: str
    stamp: Stamp
    levels: int
    """Directories above it that may go if they become empty."""


class OrphanWalk:
    """One walk of the target."""

    def __init__(
        self, wanted: DownloadSpec, journal: Journal, tree: TargetTree, folded: FoldedNames | None = None
    ) -> None:
        """``folded`` are the listed names, for a file system that sees no difference of case."""
        self.files = 0
        """Files and links that the walk has passed."""
        self.unread: list[str] = []
        """Directories that could not be read."""
        self._wanted = wanted
        self._journal = journal
        self._tree = tree
        self._folded = folded
        named = wanted.settings.journal  # a verify has a journal of its own, beside the one that is named
        path = wanted.settings.at_workspace(named) if named else journal.path
        self._own = find_own_files(path, wanted.settings.plan_path)
        self._device = -1

    def batches(self) -> Iterator[list[LocalOrphan]]:
        """Yield the orphans, some at a time."""
        self._device = os.fstat(self._tree.open_directory("")).st_dev
        pending = [("", 0)]
        while pending:
            directory, levels = pending.pop()
            try:
                yield from self._walk_directory(directory, levels, pending)
            except OSError:
                self.unread.append(directory or ".")

    def _walk_directory(
        self, directory: str, levels: int, pending: list[tuple[str, int]]
    ) -> Iterator[list[LocalOrphan]]:
        files: list[LocalOrphan] = []
        below: list[str] = []
        for entry in self._tree.list_directory(directory):
            path = f"{directory}/{entry.name}" if directory else entry.name
            if self._wanted.keeps_out(path) or self._is_own(directory, entry.name):
                continue
            if entry.is_dir(follow_symlinks=False):
                info = _look_at(entry) if self._wanted.selection.enters(path) else None
                if info is not None and info.st_dev == self._device:
                    below.append(path)
                continue
            self.files += 1
            if self._wanted.selection.wants(path) and (info := _look_at(entry)) is not None:
                files.append(LocalOrphan(path, stamp_of(info), levels))
            if len(files) == _BATCH:
                yield self._without_object(files)
                files = []
        yield self._without_object(files)
        markers = self._find_listed([f"{path}/" for path in below])
        pending += [(path, 0 if f"{path}/" in markers else levels + 1) for path in below]

    def _without_object(self, files: list[LocalOrphan]) -> list[LocalOrphan]:
        if limits := self._wanted.limits:
            files = [each for each in files if not limits.hides(each.stamp.size, each.stamp.mtime_ns / 1e9)]
        there = self._find_listed([each.path for each in files])
        return [each for each in files if each.path not in there]

    def _find_listed(self, paths: list[str]) -> set[str]:
        """Return those of the paths that an object answers to."""
        if not paths:
            return set()
        found = self._journal.objects.look_up([self._wanted.key(path) for path in paths])
        there = {path for path in paths if found[self._wanted.key(path)][0] is not None}
        return there if self._folded is None else there | set(filter(self._folded.holds, paths))

    def _is_own(self, directory: str, name: str) -> bool:
        return self._own.hold(name, lambda: os.path.join(self._wanted.root, directory).rstrip("/") or "/")


def _look_at(entry: os.DirEntry[str]) -> os.stat_result | None:
    """Return what an entry is; ``None`` if another program has removed it meanwhile."""
    try:
        return entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return None


def plan_local_deletes(
    wanted: DownloadSpec, journal: Journal, tree: TargetTree, folded: FoldedNames | None
) -> Iterator[list[Operation]]:
    """Plan the deletes, a batch at a time. Raises :class:`JobFailedError` before the first one if a guard refuses."""
    for batch in find_local_orphans(wanted, journal, tree, folded):
        yield [make_local_delete(wanted, each) for each in batch]


def find_local_orphans(
    wanted: DownloadSpec, journal: Journal, tree: TargetTree, folded: FoldedNames | None
) -> Iterator[list[LocalOrphan]]:
    """Yield the orphans that may go. Raises :class:`JobFailedError` before the first one if a guard refuses."""
    first = OrphanWalk(wanted, journal, tree, folded)
    count = sum(map(len, first.batches()))
    if first.unread:
        raise JobFailedError(
            f"{format_plural(len(first.unread), 'directory')} of the target could not be read, so nothing was deleted: "
            f"{', '.join(first.unread[:3])}",
            remedy="give the rights to read it",
        )
    if count:
        _check_guards(wanted, journal, count, first.files)
    yield from OrphanWalk(wanted, journal, tree, folded).batches()


def make_local_delete(wanted: DownloadSpec, orphan: LocalOrphan) -> Operation:
    """Return the delete of a local file, with the facts that the check before it compares."""
    state = encode_local_state(orphan.stamp, orphan.levels)
    return Operation(Kind.DELETE, wanted.key(orphan.path), Reason.ORPHAN, orphan.path, stage=Stage.DELETE, etag=state)


def _check_guards(wanted: DownloadSpec, journal: Journal, count: int, existing: int) -> None:
    settings = wanted.settings
    if not journal.jobs.current.files and not settings.allow_empty_source:
        raise JobFailedError(
            f"the source {wanted.place.url} holds no object; refusing to delete {format_plural(count, 'file')} below "
            f"{wanted.root}",
            hint="set allow_empty_source if that is what you want",
        )
    if wanted.delete_limit.exceeded(count, existing):
        raise JobFailedError(
            f"{count} of {existing} files would be deleted, which is more than max_delete {settings.max_delete} allows; "
            "nothing was deleted",
            hint="check with --dry-run, then raise max_delete",
        )
