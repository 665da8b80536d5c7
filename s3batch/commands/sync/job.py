"""``s3batch sync``: make the target match the source. ``s3batch resume`` runs the same code.

    what dead jobs left ─┐
    list ─> journal ─────┤
    walk ────────────────┴─ decide ─> stage MAIN, PUBLISH_LAST, REDIRECT ─> orphans ─> stage DELETE ─> CloudFront

Each step begins when the one before it went well: deletes only after a complete walk, a complete listing and
not one failure. Every run is a job of its own. What a dead one had planned goes out at once, beside the listing and
the walk, which add what has no operation yet.
"""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from functools import partial
from typing import TYPE_CHECKING

from s3batch.base.failpoints import reach_failpoint
from s3batch.base.units import format_count
from s3batch.commands.sync import side_steps
from s3batch.commands.sync.begin import begin_job
from s3batch.commands.sync.direction_job import DirectionJob
from s3batch.commands.sync.target_listing import TargetListing
from s3batch.coordinator import journal_trust, stale_probes, stale_uploads
from s3batch.coordinator.job_setup import build_local_executor
from s3batch.coordinator.multipart import MultipartUploads
from s3batch.coordinator.multipart_upload import TransferSizes
from s3batch.executors.local import start_beside
from s3batch.model import JobState, Stage
from s3batch.plan import deletes, quirk_memory
from s3batch.plan.planner import Planner, Replanner, take_over_rows
from s3batch.plan.row_check import RowCheck
from s3batch.plan.spec import SyncSpec
from s3batch.s3.bucket import Bucket
from s3batch.source.locate import require_listable_source
from s3batch.worker.context import Brief
from s3batch.worker.delete_check import DeleteCheck

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from s3batch.coordinator.coordinator import Coordinator
    from s3batch.coordinator.fence import Fence
    from s3batch.coordinator.job_description import Document
    from s3batch.coordinator.job_runner import JobRunner
    from s3batch.executors import Executor
    from s3batch.executors.dask.cluster import Cluster
    from s3batch.plan.blocked_uploads import BlockedUploads
    from s3batch.plan.late_requests import Replan
    from s3batch.plan.renames import RenameFinder
    from s3batch.reporting.console import Output
    from s3batch.s3.credentials import Login
    from s3batch.s3.listing import ListingPage
    from s3batch.settings.table import Settings
    from s3batch.source.path_list import PathList

_MANY_ASKED = 100
"""Requests that are worth a sentence."""
_AFTER_ALL = Stage.DELETE + 1


def run_sync(settings: Settings, output: Output) -> int:
    """Run ``s3batch sync`` of a local source, or resume one if ``settings.job`` is set; return the exit code."""
    paths = None
    if settings.files_from or settings.files_from0:
        from s3batch.plan.file_list import open_file_list  # noqa: PLC0415 - few jobs have a list

        settings, paths = open_file_list(settings)
    wanted = SyncSpec.from_settings(settings)
    if not settings.list_digest:
        require_listable_source(wanted.source, settings)
    if settings.plan and not settings.job:
        from s3batch.commands.plans.make import save_plan  # noqa: PLC0415 - few runs save a plan

        return save_plan(wanted, output, paths)
    return begin_job(wanted, output, partial(SyncJob, paths=paths))


class SyncJob(DirectionJob):
    """One run of a sync job, from listing to report."""

    wanted: SyncSpec
    source_login: Login | None = None
    """The sign-in of a source in S3."""
    _replanner: Replanner | None = None

    def __init__(
        self, wanted: SyncSpec, runner: JobRunner, *, cluster: Cluster | None = None, paths: PathList | None = None,
        fence: Fence | None = None, clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        super().__init__(wanted, runner)
        self.cluster = cluster
        self.fence = fence
        """The fence that is looked at each second, and before each later stage."""
        self.clock = clock
        """See :attr:`s3batch.coordinator.deps.CoordinatorDeps.clock`."""
        self.paths = paths
        """The list of files that was read; a resumed job finds it in the journal."""
        self._listing: TargetListing | None = None

    @property
    def bucket(self) -> Bucket:
        """The target's bucket; resolved with the first use."""
        if self._bucket is None:
            self._bucket = self.runner.open_bucket(self.wanted.target.bucket, self.journal.jobs.warn)
            quirk_memory.choose_lane(self._bucket, quirk_memory.read_quirks_in_force(self.journal), self.settings.lane)
        return self._bucket

    @property
    def listing(self) -> TargetListing:
        """The listing of the target."""
        if self._listing is None:
            self._listing = TargetListing(self.wanted, self.journal, self.bucket, self.totals)
        return self._listing

    # --- the job ----------------------------------------------------------------------------

    def carry_out(self) -> None:
        """Run the job; the error that stops it is raised."""
        is_foreign = not journal_trust.may_journal_decide(self.journal.path, self.settings)
        self.journal.check_rows(self.make_row_check(is_foreign=is_foreign).admit, self.wanted.owns)
        try:
            self.check_source()
            pages = self.listing.contact(self.paths)
            self.journal.jobs.note_store_date(self.bucket.store_date, lambda: self.bucket.clock.now().high)
            self.journal.jobs.set_state(JobState.RUNNING)
            with side_steps.keep_backup_manifest(self), self._open_coordinator() as coordinator:
                self._run_stages(coordinator, pages)
        finally:
            for warning in self._replanner.warnings() if self._replanner else ():
                self.journal.jobs.warn(warning)
            self.close_buckets()

    def check_source(self) -> None:
        """Raise the error of a source that the job refuses, before anything is planned."""
        deletes.refuse_file_source(self.wanted, self.journal)

    def has_source_file(self) -> bool:
        """Return whether the source holds a file by now; it is looked for up to the first one."""
        return bool(self.settings.list_digest) or next(iter(self.wanted.walk(self.journal.path)), None) is not None

    def close_buckets(self) -> None:
        """Close the buckets that were contacted."""
        if self._bucket is not None:
            self.runner.close_bucket(self._bucket)

    def _run_stages(self, coordinator: Coordinator, pages: Iterable[ListingPage]) -> None:
        if self.journal.jobs.current.stage == Stage.DELETE:
            if self.settings.allow_empty_source or self.has_source_file():
                self._go_on_deleting(coordinator)
                pages = self.listing.list_pages()
            else:
                self.journal.jobs.set_stage(Stage.MAIN)  # planned anew, they are refused
        self.totals.phase = "syncing"
        coordinator.expect(Stage.MAIN, self.journal.jobs.current.left_open)
        planning = self.make_planner()
        planning.start_fork = start_beside
        if self.may_compare_in_bulk():
            planning.compare, planning.knows_listed = coordinator.compare, self.listing.is_known
        coordinator.run(Stage.MAIN, self._plan_steps(coordinator, planning, self.listing.record_pages(pages)))
        self.left_empty = planning.left_empty
        self.run_later_stages(coordinator, planning)
        if not self.settings.dry_run:
            self.remove_stale_probes()

    def remove_stale_probes(self) -> None:
        """Remove the probes that dead runs and dead workers have left, also where something of this job failed."""
        stale_probes.remove_stale_probes(self.journal, self.bucket, self.wanted.prefix)

    def make_row_check(self, *, is_foreign: bool) -> RowCheck:
        """Return the check of rows that an earlier run left; another program may have written a foreign journal."""
        return RowCheck(self.wanted, is_foreign=is_foreign)

    def make_planner(self) -> Planner:
        """Return the plan of the files."""
        return Planner(
            self.wanted, self.journal, self.totals, blocked=self.watch_blocked_uploads(), renames=self.find_renames(),
            events=self.output.events,
        )  # fmt: skip

    def find_renames(self) -> RenameFinder | None:
        """Return what finds the objects that new files may have been renamed from."""
        if not self.settings.delete:
            return None
        from s3batch.plan.renames import RenameFinder  # noqa: PLC0415 - only a job with delete looks for renames

        return RenameFinder.for_job(self.wanted, self.journal)

    def make_replan(self) -> Replan:
        """Return the function that plans an operation again whose file has changed."""
        self._replanner = self._replanner or Replanner(self.wanted, self.journal.path)
        return self._replanner.replan

    def may_compare_in_bulk(self) -> bool:
        """Return true if ETags may be MD5s: with keys of the customer they are not."""
        return not self.bucket.endpoint.customer_key

    def watch_blocked_uploads(self) -> BlockedUploads | None:
        """Return what has uploads wait that another object keeps out."""
        if self.settings.list_digest or self.settings.dry_run or not self.settings.delete:
            return None
        from s3batch.plan.blocked_uploads import BlockedUploads  # noqa: PLC0415 - only orphans keep uploads out

        return BlockedUploads(self.wanted, self.journal, lambda: self.bucket)

    def _plan_steps(self, coordinator: Coordinator, planning: Planner, listing: Iterator[None]) -> Iterator[None]:
        """Return the steps of planning, beside which operations are sent. On a terminal a question may come first."""
        expect = partial(coordinator.expect, Stage.MAIN)
        settings = self.settings
        if settings.delete and not (settings.dry_run or settings.yes or settings.plugin) and self.output.may_ask:
            from s3batch.commands.sync.question import ask_before_deletes  # noqa: PLC0415 - few runs have a terminal

            return ask_before_deletes(planning, coordinator, listing, self.output)
        return planning.steps(coordinator.add, expect, listing)

    def _pass_fence(self) -> None:
        """Stop the job if a newer run has begun since."""
        if self.fence is not None:
            self.fence.pass_through(self.bucket)

    def _watch_fence(self) -> None:
        """Stop the job soon if a newer run begins."""
        if self.fence is not None:
            self.fence.watch(self.bucket, self.clock)

    def _go_on_deleting(self, coordinator: Coordinator) -> None:
        """Finish the deletes of a dead job whose walk and listing were complete; each is looked at before it is sent."""
        self._pass_fence()
        self.totals.phase = "deleting"
        coordinator.expect(Stage.DELETE, self.journal.jobs.current.left_open)
        coordinator.run(Stage.DELETE, take_over_rows(self.journal, partial(coordinator.expect, Stage.DELETE)))
        self.journal.jobs.set_stage(Stage.MAIN)

    def run_later_stages(self, coordinator: Coordinator, planning: Planner) -> None:
        """Run the stages after the first, and what follows them; each begins when those before it went well."""
        for stage in (Stage.PUBLISH_LAST, Stage.REDIRECT):
            if self._failed(before=stage):
                return
            self._pass_fence()
            if stage == Stage.PUBLISH_LAST:
                side_steps.clear_the_way(self, coordinator, planning)
            coordinator.run(stage)
            if stage == Stage.PUBLISH_LAST:
                reach_failpoint("published")
        if self._failed(before=Stage.DELETE):
            return
        self._pass_fence()
        planning.require_complete_walk()
        deletes_planned = planning.plan_deletes(coordinator.add_deletes)
        self.journal.jobs.set_stage(Stage.DELETE)
        coordinator.run(Stage.DELETE, deletes_planned)
        side_steps.repair_late_changes(self, coordinator, planning)
        if self.kept.count:
            self.journal.jobs.warn(deletes.format_kept_warning(self.kept))
        if not self.settings.dry_run:
            stale_uploads.abort_stale_uploads(self.journal, self.bucket, self._list_unclaimed)
        if self.wrote:
            quirk_memory.note_times_compared(self.journal)
        self.journal.jobs.learn_facts(quirk_memory.read_quirks_in_force(self.journal).late)
        reach_failpoint("learned")
        if self._failed(before=_AFTER_ALL):
            return
        side_steps.invalidate_cloudfront(self)
        if self.settings.object_manifest:
            from s3batch.commands.sync.object_manifest import store_manifest  # noqa: PLC0415 - few jobs keep one

            store_manifest(self.wanted, self.journal, self.bucket)
        if self.settings.list_digest:
            self.journal.file_lists.forget(self.settings.list_digest)

    def _failed(self, *, before: int) -> bool:
        """Return whether an earlier stage left something undone: then this stage and the deletes are not begun.

        What a newer run has kept a job from doing is no failure: then the job stops as superseded.
        """
        failed = self.journal.outcomes.count_failed(before - 1) > 0
        if failed:
            self._pass_fence()
        if failed and self.settings.delete and before <= Stage.DELETE:
            self._withheld = True
        return failed

    # --- multipart uploads of others --------------------------------------------------------

    def _list_unclaimed(self) -> stale_uploads.Unclaimed:
        return stale_uploads.find_unclaimed_uploads(self.journal, self.bucket, self.wanted.listed)

    # --- parts ------------------------------------------------------------------------------

    def make_brief(self) -> Brief:
        """Return what the workers have to know."""
        return Brief(
            endpoint=self.bucket.endpoint, root=self.wanted.source.root, rules=self.wanted.rules,
            part_size=self.settings.part_size, symlinks=self.settings.symlinks, dry_run=self.settings.dry_run,
            delete_check=self.make_delete_check(), quirks=quirk_memory.read_quirks_in_force(self.journal),
            backup=side_steps.find_backup_place(self), fence=self.fence.mark() if self.fence is not None else None,
            compares_times=not self.settings.dry_run and not quirk_memory.are_times_compared(self.journal),
        )  # fmt: skip

    def _executor(self, brief: Brief) -> Executor:
        if self.cluster:
            from s3batch.commands.sync.cluster import build_cluster_executor  # noqa: PLC0415 - few jobs have a cluster

            return build_cluster_executor(self.cluster, self.settings, brief)
        return build_local_executor(self.settings, brief)

    def _open_coordinator(self) -> AbstractContextManager[Coordinator]:
        rules, sizes, brief = self.wanted.rules, self.settings, self.make_brief()
        unclaimed = stale_uploads.UnclaimedUploads(self._list_unclaimed, self.runner.signals)
        transfers = TransferSizes(copy_part_size=sizes.copy_part_size, threshold=sizes.multipart_threshold)
        uploads = MultipartUploads(self.journal, sizes.part_size, rules.fingerprint, unclaimed.take, transfers)
        return self.runner.open_coordinator(
            self._executor(brief), self.bucket.login, self._heard, totals=self.totals, clock=self.clock, uploads=uploads,
            whole=lambda operation: rules.attributes(operation.path).gzip, replan=self.make_replan(),
            has_file=self.wanted.key_paths.has_file if self.cluster else None, source_login=self.source_login,
            deletes_alone=brief.is_guarded, look=self._watch_fence if self.fence is not None else None,
            heard_deletes=self._heard_deletes,
        )  # fmt: skip

    def print_end(self, document: Document) -> None:
        """Print the end block for people; on a fresh runner of a CI, a setting would save most of the requests."""
        super().print_end(document)
        asked = self.journal.facts.asked
        if self.settings.plugin and asked >= _MANY_ASKED and not self.settings.object_manifest:
            self.output.info(f"object_manifest: true would have saved {format_count(asked)} of the requests")

    def make_delete_check(self) -> DeleteCheck:
        """Return the check before deletes. Workers of a cluster may not see the current source."""
        return DeleteCheck(listed=self.wanted.listed, paths=None if self.cluster else self.wanted.key_paths)
