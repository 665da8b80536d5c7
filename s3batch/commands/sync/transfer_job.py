"""``s3batch sync s3://A/P s3://B/Q``: make one prefix match another, object by object.

    list the target ─> journal;  list the source, a page at a time ─> decide ─> transfer or compare ─> orphans ─> deletes

It is a sync whose files are objects: the same journal, stages, guards and workers. The workers copy on the server where
one server has both sides, and stream through themselves where not.
"""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING

from s3batch.base.errors import EndpointError, JobFailedError
from s3batch.base.named_tuple import NamedTuple
from s3batch.commands.sync.begin import begin_job
from s3batch.commands.sync.direction_job import refuse_one_object
from s3batch.commands.sync.job import SyncJob
from s3batch.model import (
    Kind,
    Operation,
    Reason,
    Result,
    SourceObject,
    is_same_file,
    is_streamed,
    stamp_of_object,
)
from s3batch.objects.fetched_proof import ContentProof
from s3batch.objects.own_keys import is_own_key
from s3batch.plan import quirk_memory
from s3batch.plan.file_list import open_file_list
from s3batch.plan.listed_keys import ListedKeys, record_by_head
from s3batch.plan.transfer_plan import TransferPlanner, TransferRowCheck
from s3batch.plan.transfer_spec import TransferSpec
from s3batch.s3 import permissions, requests
from s3batch.s3.endpoint import is_one_store
from s3batch.s3.faults import fault_of
from s3batch.s3.responses import etag_of, seconds_of
from s3batch.settings.direction import settings_of_source
from s3batch.worker.context import SourceBucket
from s3batch.worker.source_delete_check import SourceDeleteCheck

if TYPE_CHECKING:
    from collections.abc import Iterator

    from s3batch.coordinator.job_description import Document
    from s3batch.plan.late_requests import Replan
    from s3batch.plan.planner import Planner
    from s3batch.plan.row_check import RowCheck
    from s3batch.reporting.console import Output
    from s3batch.s3.bucket import Bucket
    from s3batch.s3.listing import ListingPage
    from s3batch.settings.table import Settings
    from s3batch.worker.context import Brief
    from s3batch.worker.delete_check import DeleteCheck


_FRESH = 5.0
"""Seconds for which the page that the check of the source has read is used."""


class BegunListing(NamedTuple):
    """A listing of the source, whose first page is there."""

    pages: Iterator[ListingPage | None]
    at: float
    """When it was begun, by the job's clock."""

    def is_fresh(self, now: float) -> bool:
        """Return whether the first page is as good as a new one. Listing a large target takes minutes."""
        return now - self.at < _FRESH


def run_transfer(settings: Settings, output: Output) -> int:
    """Run a sync from bucket to bucket, or resume one if ``settings.job`` is set; return the exit code."""
    settings, paths = open_file_list(settings)
    wanted = TransferSpec.from_settings(settings)
    if settings.plan and not settings.job:
        from s3batch.commands.plans.make_from_s3 import save_transfer_plan  # noqa: PLC0415 - few runs save a plan

        return save_transfer_plan(wanted, output, paths)
    return begin_job(wanted, output, partial(TransferJob, paths=paths))


class TransferJob(SyncJob):
    """One run of a transfer."""

    wanted: TransferSpec
    _source: Bucket | None = None
    _has_learned: bool = False
    """True if what this run has written is among the facts."""
    _begun: BegunListing | None = None
    _has_objects = True
    """False if the source was listed and has none."""
    _named: ListedKeys | None = None
    """The objects of a list, in the place of the source's listing."""

    @property
    def source(self) -> Bucket:
        """The source's bucket; resolved with the first use."""
        if self._source is None:
            settings = settings_of_source(self.settings)
            self._source = self.runner.open_bucket(self.wanted.place.bucket, self.journal.jobs.warn, settings)
            self.source_login = self._source.login
        return self._source

    @property
    def streams(self) -> bool:
        """True if the source is at another store, so that content goes through the workers."""
        return not is_one_store(self.source.endpoint, self.bucket.endpoint)

    def check_source(self) -> None:
        """Raise the error of a source that cannot be listed, before anything is planned."""
        if not self.settings.list_digest:
            place = self.wanted.place
            with _name_missing_permission():
                pages = self.source.list_beside(place.prefix)
                self.bucket.begin_listing(self.wanted.listed)  # the target answers meanwhile
                first = next(page for page in pages if page is not None)
                self._has_objects = bool(first.objects)
                self._begun = BegunListing(chain([first], pages), self.clock())
            folder, _, name = place.key.rpartition("/")
            instead = f"the source s3://{place.bucket}/{folder} with --files-from, and {name} in its list"
            refuse_one_object(place, first, self.source, lambda: instead)

    def has_source_file(self) -> bool:
        """Return whether the source holds an object by now."""
        return self._has_objects

    def close_buckets(self) -> None:
        """Close the buckets that were contacted."""
        super().close_buckets()
        if self._source is not None:
            self.runner.close_bucket(self._source)

    # --- the plan ---------------------------------------------------------------------------

    def make_row_check(self, *, is_foreign: bool) -> RowCheck:
        """Return the check of rows that an earlier run left."""
        return TransferRowCheck(self.wanted, is_foreign=is_foreign)

    def make_planner(self) -> Planner:
        """Return the plan of the objects."""
        if self.settings.list_digest:
            self._named = self._make_named()
        return TransferPlanner(
            self.wanted, self.journal, self.totals, blocked=self.watch_blocked_uploads(), pages=self._list_source,
            streams=self.streams, events=self.output.events, named=self._named,
        )  # fmt: skip

    def _make_named(self) -> ListedKeys:
        wanted = self.wanted
        return ListedKeys(
            self.journal, self.totals, self.output.events, self.source, self.settings.list_digest, wanted.place.prefix,
            Kind.TRANSFER, key=wanted.key, leaves_out=lambda path: is_own_key(path) or not wanted.selection.wants(path),
        )  # fmt: skip

    def may_compare_in_bulk(self) -> bool:
        """Return false: there are no files to read."""
        return False

    def _list_source(self) -> Iterator[ListingPage | None]:
        if self._named is not None:
            for page in self._named.pages():
                self._record_targets(page)
                yield page
            return
        begun, self._begun = self._begun, None
        with _name_missing_permission():
            if begun is not None and begun.is_fresh(self.clock()):
                yield from begun.pages
            else:
                yield from self.source.list_beside(self.wanted.place.prefix)

    def _record_targets(self, page: ListingPage) -> None:
        """Record the objects that are under the keys of a page, in the place of the target's listing."""
        start = len(self.wanted.place.prefix)
        record_by_head(self.journal, self.bucket, [self.wanted.key(each.key[start:]) for each in page.objects])

    def make_replan(self) -> Replan:
        """Return the function that plans an operation again whose object has changed."""
        return self._replan_object

    def _replan_object(self, operation: Operation) -> Operation | Result:
        fresh = replan_object(self.wanted, self.source, self.streams, operation)
        if not isinstance(fresh, Operation) or operation.reason is not Reason.LATE:
            return fresh
        if not self._has_learned:
            self.journal.jobs.learn_facts_so_far(quirk_memory.read_quirks_in_force(self.journal).late)
            self._has_learned = True
        _, known = self.journal.objects.look_up([operation.key])[operation.key]
        written = known is not None and is_same_file(known.local, fresh.stamp)
        return fresh._replace(etag=known.etag if known is not None and written else "")

    # --- the report -------------------------------------------------------------------------

    def complete_document(self, document: Document) -> Document:
        """Return the document with the proofs of content."""
        proved = dict.fromkeys(ContentProof, 0) | self.journal.outcomes.count_proofs()
        return {**super().complete_document(document), "proved": proved}

    # --- the workers ------------------------------------------------------------------------

    def make_brief(self) -> Brief:
        """Return what the workers have to know."""
        source = SourceBucket(self.source.endpoint, self.wanted.place.prefix, copies=not self.streams)
        return super().make_brief()._replace(source=source)

    def make_delete_check(self) -> DeleteCheck:
        """Return the check before deletes: a worker asks the source."""
        return SourceDeleteCheck(listed=self.wanted.listed, prefix=self.wanted.prefix)


@contextmanager
def _name_missing_permission() -> Iterator[None]:
    """Raise JobFailedError for a refused listing: the sign-in worked, so a permission is missing."""
    try:
        yield
    except EndpointError as error:
        if error.code not in permissions.DENIED:
            raise
        raise JobFailedError(error.message, hint=error.hint) from error


def replan_object(wanted: TransferSpec, source: Bucket, streams: bool, operation: Operation) -> Operation | Result:
    """Return the operation for its object as it is now, or its result where there is none any more."""
    call = requests.head_object(wanted.source_key(operation.path))
    head = source.ask(call)
    if head.status == 404:
        if operation.kind is Kind.RECONCILE:
            return Result(operation.id)
        words = f"{operation.path!r} does not exist in the source any more"
        return Result(operation.id, error=words, code="Vanished", status=404)
    if not head.ok:
        fault = fault_of(head)
        return Result(operation.id, error=fault.said_of(call.name), code=fault.code, status=fault.status)
    etag, size = etag_of(head), int(head.headers.get("content-length", 0))
    modified = seconds_of(head.headers.get("last-modified", ""))
    streamed = streams or is_streamed(operation)
    stamp = stamp_of_object(size, etag, modified)
    return operation._replace(size=size, stamp=stamp, upload_id="", spec=SourceObject(etag, streamed))
