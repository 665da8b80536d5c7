"""Decisions beside the listing: unchanged files are told and alike ones compared while it goes on; the others wait.

    listing ─ a page ─> rows of the journal, final up to the page's last key
    walk ──── a batch ─> its keys are behind that key ─ unchanged ──────> decided
                                                      ├ perhaps equal ──> compared with its object by a worker
                                                      └ any other ──────> put off until the listing is complete
                      └> its keys are beyond it ──────────────────────> the next page first

Both go in about the same order, so one core can list while others walk and compare. A file that is new waits for the
end of the listing, and so does each delete. A listing in no order, or many files put off, only means that it is read to
its end first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from s3batch.journal.current_listing import find_last_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from s3batch.journal import Journal
    from s3batch.plan.spec import SyncSpec
    from s3batch.source.file_batch import FileBatch
    from s3batch.source.walk import Walk
    from s3batch.source.walk_ahead import WalkAhead

MOST_PUT_OFF = 2000
"""Files that wait for the end of the listing: no further batch is taken once there are as many."""
_LONG_LISTING = 2000
"""Objects listed so far after which the walk may go on in a process of its own. A first upload lists none."""
_OVER = object()


class BesideListing:
    """The files of one walk that are decided while the listing goes on."""

    def __init__(self, wanted: SyncSpec, journal: Journal, walked: Walk, ahead: WalkAhead) -> None:
        self.put_off: list[FileBatch] = []
        """Files that are to be decided, in the order of the walk."""
        self._wanted = wanted
        self._journal = journal
        self.walked = walked
        self._ahead = ahead
        self._count = 0
        """Files put off."""
        self._may = not wanted.settings.list_digest

    def steps(self, listing: Iterator[None], take: Callable[[FileBatch, Sequence[str]], FileBatch]) -> Iterator[None]:
        """Record the listing to its end; ``take`` decides what it can of a batch with these keys, and returns the others."""
        batch, keys, last = None, list[str](), b""
        is_listed = self._journal.objects.listing.has_reached
        while True:
            if batch is None and self._goes_on():
                batch = self._ahead.next_batch()
                if batch is not None:
                    keys = self._wanted.keys(batch.paths)
                    last = find_last_key(keys)
                self.let_walk_ahead()
            if batch is not None and is_listed(last):
                self._put_off(take(batch, keys))
                batch = None
            elif next(listing, _OVER) is _OVER:
                break
            yield
        if batch is not None:
            self._put_off(take(batch, keys))

    def let_walk_ahead(self) -> None:
        """Have the walk go on beside this process once the listing has shown that there is much to compare."""
        if self._journal.objects.listing.shown >= _LONG_LISTING:
            self._ahead.go_ahead()

    def _put_off(self, files: FileBatch) -> None:
        if len(files):
            self.put_off.append(files)
            self._count += len(files)

    def _goes_on(self) -> bool:
        """Return true if more may be decided before the listing is complete; its troubles are told after it."""
        walked = self.walked
        has_trouble = walked.problems or walked.kept.paths
        return self._may and not has_trouble and self._count < MOST_PUT_OFF
