"""The listing of a sync's target: its pages are asked for, recorded in the journal, and joined by an object manifest."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from s3batch.base.errors import EndpointError, JobFailedError
from s3batch.base.failpoints import reach_failpoint
from s3batch.s3 import permissions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from s3batch.commands.sync.object_manifest import EarlyManifest
    from s3batch.journal import Journal
    from s3batch.plan.spec import SyncSpec
    from s3batch.reporting.progress import Totals
    from s3batch.s3.bucket import Bucket
    from s3batch.s3.listing import ListingPage
    from s3batch.source.path_list import PathList


class TargetListing:
    """The listing of one run. A job with a list of files has none: it asks for each key."""

    def __init__(self, wanted: SyncSpec, journal: Journal, bucket: Bucket, totals: Totals) -> None:
        self._wanted = wanted
        self._settings = wanted.settings
        self._journal = journal
        self._bucket = bucket
        self._totals = totals
        self._early: EarlyManifest | None = None
        """The object manifest, if it is read beside the listing."""

    def contact(self, paths: PathList | None) -> Iterable[ListingPage]:
        """Check the sign-in, before there is a worker; return the pages of the listing. ``paths`` is the list of files."""
        if self._settings.list_digest:
            from s3batch.plan.file_list import contact_without_listing  # noqa: PLC0415 - few jobs have a list

            contact_without_listing(self._wanted, paths, self._journal, self._bucket)
            return ()
        pages = self.list_pages()
        first_page = next(pages, None)
        return chain([first_page] if first_page else [], pages)

    def list_pages(self) -> Iterator[ListingPage]:
        """Yield the pages. Raises JobFailedError if the listing is refused: the sign-in worked, so a permission is missing."""
        try:
            yield from self._bucket.list_objects(self._wanted.listed, guess_end=self._choose_guess())
        except EndpointError as error:
            if error.code not in permissions.DENIED:
                raise
            raise JobFailedError(error.message, hint=error.hint) from error

    def _choose_guess(self) -> Callable[[str], str | None]:
        """Return what guesses the ends of pages: the last listing, or the manifest of the last one of another machine."""
        if self._settings.object_manifest:
            from s3batch.commands.sync.object_manifest import begin_manifest  # noqa: PLC0415 - few jobs keep one

            self._early = begin_manifest(self._wanted, self._journal, self._bucket)
            if self._early is not None:
                return self._early.guess
        return self._journal.objects.listing.guess_page_end

    def is_known(self) -> bool:
        """Return whether the journal knows of the objects listed so far what it will know at the end of the listing."""
        return not self._settings.object_manifest or (self._early is not None and self._early.is_used)

    def record_pages(self, pages: Iterable[ListingPage]) -> Iterator[None]:
        """Record the listing, a page at each step."""
        self._totals.phase = "listing"
        self._journal.objects.begin_listing()
        if self._settings.list_digest:
            return  # not complete: nothing counts as absent
        for page in pages:
            if self._early is not None:
                self._early.record_listing(page.objects)
            else:
                self._journal.objects.record_listing(page.objects)
            reach_failpoint("listed-page")
            yield
        self._journal.objects.complete_listing()
        reach_failpoint("listed")
        if self._settings.object_manifest:
            from s3batch.commands.sync.object_manifest import complete_manifest  # noqa: PLC0415 - few jobs keep one

            complete_manifest(self._wanted, self._journal, self._bucket, self._early)
            self._early = None
        self._totals.phase = "syncing"
