"""``s3batch sync s3://BUCKET/PREFIX DIRECTORY``: make a local directory hold what a prefix holds.

    what dead jobs left ─┐
    list ─> decide ──────┴─> stage MAIN: fetch, compare ─> orphans ─> stage DELETE ─> facts

The journal's table ``object`` holds the listing of the source, and facts about fetched files. Unfinished files are in
TARGET/.s3batch/tmp. What a dead run left there is used again or removed. docs/download.md describes it for users.
"""

from __future__ import annotations

import os
from contextlib import suppress
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Protocol

from s3batch.base.errors import DeclinedError, EndpointError, JobFailedError
from s3batch.base.failpoints import reach_failpoint
from s3batch.base.units import format_count, format_plural
from s3batch.commands.sync.cluster import build_cluster_executor, open_target_cluster
from s3batch.commands.sync.direction_job import DirectionJob, refuse_one_object
from s3batch.coordinator import history
from s3batch.coordinator.job_runner import JobRunner
from s3batch.coordinator.job_setup import build_local_executor
from s3batch.coordinator.multipart import MultipartUploads
from s3batch.coordinator.signals import DiskFullError, watch_for_stop
from s3batch.files.private import PrivateFileError
from s3batch.files.tree import TEMPORARY, TargetTree
from s3batch.model import JobState, Kind, Operation, Stage
from s3batch.objects.attributes import AttributeRules
from s3batch.objects.fetched_proof import ContentProof
from s3batch.plan import deletes, quirk_memory
from s3batch.plan.blocked_downloads import find_blocking_orphans
from s3batch.plan.download_planner import DownloadPlanner, ObjectReplanner
from s3batch.plan.download_row_check import DownloadRowCheck
from s3batch.plan.download_spec import DownloadSpec
from s3batch.plan.empty_source import LEFT_EMPTY
from s3batch.plan.file_list import contact_without_listing, open_file_list
from s3batch.plan.key_names import FoldedNames
from s3batch.plan.listed_keys import ListedKeys
from s3batch.plan.local_orphans import OrphanWalk, plan_local_deletes
from s3batch.s3 import permissions
from s3batch.settings.direction import settings_of_source
from s3batch.worker import fetch
from s3batch.worker.context import Brief, LocalTarget

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from s3batch.base.errors import S3BatchError
    from s3batch.coordinator.coordinator import Coordinator
    from s3batch.coordinator.job_description import Document
    from s3batch.executors import Executor
    from s3batch.executors.dask.cluster import Cluster
    from s3batch.reporting.console import Output
    from s3batch.s3.bucket import Bucket
    from s3batch.s3.listing import ListingPage
    from s3batch.settings.table import Settings
    from s3batch.source.path_list import PathList

NAMED = 20
"""Objects that the warning about unproved content names."""


def run_download(settings: Settings, output: Output) -> int:
    """Run ``s3batch sync`` from S3 to a directory, or resume one; return the exit code."""
    settings, paths = open_file_list(settings)
    wanted = DownloadSpec.from_settings(settings)
    if settings.plan and not settings.job:
        from s3batch.commands.plans.make_from_s3 import save_download_plan  # noqa: PLC0415 - few runs save a plan

        return save_download_plan(wanted, output, paths)
    return begin_download(wanted, output, partial(DownloadJob, paths=paths))


class MakeDownload(Protocol):
    """Makes the job of a download: its class."""

    def __call__(self, wanted: DownloadSpec, runner: JobRunner, *, cluster: Cluster | None) -> DownloadJob:
        """Return the job."""


def begin_download(
    wanted: DownloadSpec, output: Output, make_job: MakeDownload,
    begin_row: Callable[[JobRunner, DownloadSpec], None] | None = None,
) -> int:  # fmt: skip
    """Run the job that ``make_job`` gives for a specification, or resume one; return the exit code.

    ``begin_row`` begins it in the journal; else it is a job that makes its plan itself.
    """
    settings = wanted.settings
    with (
        history.open_history(settings, wanted.root) as (journal, lock),
        open_target_cluster(wanted) as cluster,  # it writes to the target, so the lock comes first
        watch_for_stop(max_duration=settings.max_duration) as signals,
    ):
        history.refuse_overtaken(settings.job, journal, lock)
        if cluster is not None:
            cluster.dismiss_dead_runs()
        runner = JobRunner(settings, output, journal, signals)
        (begin_row or partial(begin_download_row, plan=settings.plan_digest()))(runner, wanted)
        if not settings.dry_run:
            lock.note(journal.jobs.current_id, journal.path, journal.jobs.current.started)
        reach_failpoint("begun")
        for warning in history.format_overlap_warnings(lock):
            journal.jobs.warn(warning)
        job = make_job(wanted, runner, cluster=cluster)
        try:
            return runner.run(job)
        except DeclinedError as error:
            job.tidy_up(keep=True)
            from s3batch.commands.sync.without_job import forget_job  # noqa: PLC0415 - few runs end so

            return forget_job(journal, settings, output, error)


def begin_download_row(runner: JobRunner, wanted: DownloadSpec, plan: str) -> None:
    """Begin a download in the journal, with a digest or the name of its plan."""
    begun = runner.journal.jobs.find(runner.settings.job) if runner.settings.job else None
    is_same = begun is not None and history.find_local_target(begun) == wanted.root  # also if it has become a link
    runner.begin(
        wanted.place.url, begun.target if begun is not None and is_same else wanted.root, endpoint=settings_of_source(wanted.settings).endpoint_url, plan=plan,
        deletes_anew=True, facts_of=f"{wanted.place.url} {wanted.root}{_name_preserved(wanted)}",
    )  # fmt: skip


def _name_preserved(wanted: DownloadSpec) -> str:
    """Return what facts about files are of beside their places: without it, they tell nothing of mode and owner."""
    names = sorted({"mode", "owner"} & set(wanted.settings.preserve))
    return f" {','.join(names)}" if names else ""


class DownloadJob(DirectionJob):
    """One run of a download, from listing to report."""

    wanted: DownloadSpec
    _named: ListedKeys | None = None
    """The objects of a list, in the place of a listing."""
    _proved: dict[str, int] | None = None
    """The proofs of content, once everything is fetched: counting them reads every row."""

    def __init__(
        self, wanted: DownloadSpec, runner: JobRunner, *, cluster: Cluster | None = None, paths: PathList | None = None
    ) -> None:
        super().__init__(wanted, runner)
        self.cluster = cluster
        self.paths = paths
        """The list of files that was read; a resumed job finds it in the journal."""

    @property
    def bucket(self) -> Bucket:
        """The source's bucket; resolved with the first use."""
        if self._bucket is None:
            settings = settings_of_source(self.settings)
            self._bucket = self.runner.open_bucket(self.wanted.place.bucket, self.journal.jobs.warn, settings)
            quirk_memory.choose_lane(self._bucket, quirk_memory.read_quirks_in_force(self.journal), self.settings.lane)
        return self._bucket

    # --- the job ----------------------------------------------------------------------------

    def carry_out(self) -> None:
        """Run the job; the error that stops it is raised."""
        # an earlier job may have had another source: its unfinished files and doubts are only cleared away
        self.journal.check_rows(self.make_row_check().admit, lambda _: True)
        tree = TargetTree(self.wanted.root)
        try:
            pages = self.contact()  # checks the sign-in, before there is a worker
            self.journal.jobs.note_store_date(self.bucket.store_date, lambda: self.bucket.clock.now().high)
            self.journal.jobs.set_state(JobState.RUNNING)
            folded = self._prepare_target(tree)
            with self.runner.open_coordinator(
                self._executor(), self.bucket.login, self._heard, totals=self.totals,
                uploads=MultipartUploads(self.journal, self.settings.part_size, _no_upload, _no_upload),
                replan=ObjectReplanner(self.bucket).replan, changes=self.settings.retries,
            ) as coordinator:  # fmt: skip
                self.run_stages(coordinator, pages, tree, folded)
        finally:
            tree.close()
            if self._bucket is not None:
                self.runner.close_bucket(self._bucket)

    def make_row_check(self) -> DownloadRowCheck:
        """Return the check of rows that an earlier run left."""
        return DownloadRowCheck(self.wanted)

    def contact(self) -> Iterable[ListingPage]:
        """Return the pages of the listing, after the first request for them; a list needs none."""
        wanted, digest = self.wanted, self.settings.list_digest
        if not digest:
            pages = self.list_source()
            first = next(pages, None)
            refuse_one_object(self.wanted.place, first, self.bucket, self._describe_stream)
            return chain([first] if first else [], pages)
        contact_without_listing(wanted, self.paths, self.journal, self.bucket)
        self._named = ListedKeys(
            self.journal, self.totals, self.output.events, self.bucket, digest, wanted.prefix, Kind.DOWNLOAD,
            key=wanted.key, leaves_out=wanted.leaves_out,
        )  # fmt: skip
        return self._named.pages()

    def _describe_stream(self) -> str:
        from s3batch.settings.shell_lines import format_shell_line  # noqa: PLC0415 - only for a command to be typed

        return f"{format_shell_line('s3batch', 'sync', self.wanted.place.url, '-')} > FILE"

    def _prepare_target(self, tree: TargetTree) -> FoldedNames | None:
        """Make the target, and remove what dead runs left in it that this one has no use for."""
        if self.settings.dry_run:
            return None
        try:
            tree.make_root()
            tree.discard_others(self._unfinished())
            return FoldedNames() if tree.is_case_blind() else None
        except PrivateFileError as error:  # exit code 3 and its hint are about journals
            raise JobFailedError(error.message, hint="it was left as it is; move it away") from error
        except OSError as error:
            raise JobFailedError(
                f"the target {self.wanted.root} cannot be written: {error.strerror}", hint="name another directory"
            ) from error

    def _unfinished(self) -> set[str]:
        """Return the names of the unfinished files that this job, or a resume of it, goes on with."""
        return {left.upload_id for left in self.journal.uploads.list_left(of_dead_jobs_only=False)}

    def run_stages(
        self, coordinator: Coordinator, pages: Iterable[ListingPage], tree: TargetTree, folded: FoldedNames | None
    ) -> None:
        """Fetch what is listed while it is listed, then delete the orphans."""
        self.totals.phase = "syncing"
        coordinator.expect(Stage.MAIN, self.journal.jobs.current.left_open)
        planner = DownloadPlanner(
            self.wanted, self.journal, self.totals, tree, folded, events=self.output.events, makes_way=self._makes_way
        )
        steps = planner.steps(coordinator.add, partial(coordinator.expect, Stage.MAIN), pages)
        if self._may_ask:
            steps = self._ask_first(planner, coordinator, pages)
        coordinator.run(Stage.MAIN, steps)
        if planner.blocked:
            self._clear_the_way(coordinator, planner)
        self.left_empty = planner.hidden > 0 and not self.journal.jobs.current.files
        warnings = [LEFT_EMPTY] if self.left_empty else []
        if self._named is not None:
            self.left_empty, warnings = self._named.is_empty, list(self._named.warnings())
        for warning in warnings:
            self.journal.jobs.warn(warning)
        self.warn_of_unproved()
        if not self.has_failed() or self.is_thorough:
            self._delete_orphans(coordinator, tree, folded)

    @property
    def _makes_way(self) -> bool:
        """True if orphans in the way of objects go first. A saved plan has one order, and is refused instead."""
        return self.settings.delete and not (self.is_thorough or self.settings.plan)

    def _clear_the_way(self, coordinator: Coordinator, planner: DownloadPlanner) -> None:
        """Delete the orphans that keep objects from their places, after all others are fetched; then fetch those."""
        cleared: set[str] = set()
        if not self.has_failed():
            deletes = find_blocking_orphans(
                self.wanted, self.journal, planner.tree, planner.folded, {each.blocking for each in planner.blocked}
            )
            cleared.update(each.path for each in deletes)
            if not self.settings.dry_run:
                coordinator.add(deletes)
                coordinator.run(Stage.DELETE)
                planner.tree.close()  # a directory that it holds open may have become empty, and is gone then
        coordinator.run(Stage.MAIN, _add_planned(coordinator, planner, cleared))

    @property
    def _may_ask(self) -> bool:
        settings = self.settings
        return settings.delete and not (settings.dry_run or settings.yes or settings.plugin) and self.output.may_ask

    def _ask_first(
        self, planner: DownloadPlanner, coordinator: Coordinator, pages: Iterable[ListingPage]
    ) -> Iterator[None]:
        """Plan to the end, and ask if there is much to delete; return the steps that are left: none."""
        from s3batch.commands.sync.question import require_consent  # noqa: PLC0415 - few runs have a terminal

        held = 0
        for operations in _collect_planned(planner, partial(coordinator.expect, Stage.MAIN), pages):
            held += len(self.journal.operations.add(operations))
        walk = OrphanWalk(self.wanted, self.journal, planner.tree, planner.folded)
        require_consent(sum(map(len, walk.batches())), f"below {self.wanted.root}", self.output, "files")
        coordinator.expect(Stage.MAIN, held)
        return iter(())

    @property
    def is_thorough(self) -> bool:
        """True if one failure keeps nothing else from being looked at."""
        return False

    def _delete_orphans(self, coordinator: Coordinator, tree: TargetTree, folded: FoldedNames | None) -> None:
        if self.settings.delete and os.path.isdir(self.wanted.root):
            for batch in plan_local_deletes(self.wanted, self.journal, tree, folded):
                coordinator.add(batch)
            reach_failpoint("deleting")
        self.run_deletes(coordinator)

    def run_deletes(self, coordinator: Coordinator) -> None:
        """Carry out the planned deletes, and learn what the job has done."""
        self.journal.jobs.set_stage(Stage.DELETE)
        coordinator.run(Stage.DELETE)
        if self.kept.count:
            self.journal.jobs.warn(deletes.format_kept_warning(self.kept))
        if self.settings.dry_run:
            return
        self.journal.jobs.learn_facts()
        reach_failpoint("learned")
        doubts = [doubt.key for doubt in self.journal.doubts.list_all()]
        self.journal.doubts.mark_checked(doubts)  # no request of a dead run can change a local file
        self.journal.doubts.mark_aborted(doubts)
        if self.settings.list_digest and not self.has_failed():
            self.journal.file_lists.forget(self.settings.list_digest)

    def warn_of_unproved(self) -> None:
        """Warn of objects whose content nothing but their size proves."""
        self._proved = self.journal.outcomes.count_proofs()
        count = self._proved.get(ContentProof.SIZE, 0)
        if not count:
            return
        named = self.journal.outcomes.read_unproved(NAMED)
        more = f" and {format_count(count - len(named))} more" if count > len(named) else ""
        self.journal.jobs.warn(
            f"size only: nothing but the size proves the content of {format_plural(count, 'object')}: "
            f"{', '.join(named)}{more}"
        )

    def has_failed(self) -> bool:
        """Return true if an operation failed; then no delete is begun."""
        failed = self.journal.outcomes.count_failed(Stage.REDIRECT) > 0
        withheld = failed and self.settings.delete and not self.is_thorough  # a thorough job has planned them all
        self._withheld = self._withheld or withheld
        return failed

    def list_source(self) -> Iterator[ListingPage]:
        """Yield the listing of the source. Raises JobFailedError if it is refused."""
        self.totals.phase = "listing"
        try:
            yield from self.bucket.list_objects(self.wanted.prefix)
        except EndpointError as error:
            if error.code not in permissions.DENIED:
                raise
            raise JobFailedError(error.message, hint=error.hint) from error  # the sign-in worked

    # --- parts ------------------------------------------------------------------------------

    def make_brief(self) -> Brief:
        """Return what the workers have to know."""
        settings, root = self.settings, self.wanted.root
        return Brief(
            endpoint=self.bucket.endpoint, root=root, rules=AttributeRules.from_settings(settings, root),
            part_size=settings.part_size, dry_run=settings.dry_run, sends=False, extensions=fetch.EXTENSIONS,
            quirks=quirk_memory.read_quirks_in_force(self.journal),
            target=LocalTarget(root=root, prefix=self.wanted.prefix, preserve=frozenset(settings.preserve)),
        )  # fmt: skip

    def _executor(self) -> Executor:
        if self.cluster:
            return build_cluster_executor(self.cluster, self.settings, self.make_brief())
        return build_local_executor(self.settings, self.make_brief())

    def name_kept(self, operation: Operation) -> str:
        """Return the path of a delete that was skipped."""
        return operation.path

    # --- the end ----------------------------------------------------------------------------

    def stop_of(self, error: Exception) -> S3BatchError | None:
        """Return the error that ends the job with a report; a job that was declined leaves none."""
        stopped = super().stop_of(error)
        if stopped is not None or not isinstance(error, OSError):
            return stopped
        where = f" {error.filename!r}" if error.filename else ""
        return JobFailedError(f"the target {self.wanted.root} cannot be used{where}: {error.strerror}")

    def choose_exit_code(self, stopped: S3BatchError | None, *, failed: bool) -> int:
        """Return the exit code; on the way out remove the unfinished files that no resume needs."""
        code = super().choose_exit_code(stopped, failed=failed)
        if not self.settings.dry_run:
            self.tidy_up(keep=bool(code) and not isinstance(stopped, DiskFullError))
        return code

    def tidy_up(self, *, keep: bool) -> None:
        """Remove unfinished files: all of them, or with ``keep`` those that no resume goes on with."""
        tree = TargetTree(self.wanted.root)
        with suppress(OSError):
            if not keep:
                for left in self.journal.uploads.list_left(of_dead_jobs_only=False):
                    self.journal.uploads.forget(left.operation)
            if tree.find(TEMPORARY) is not None:
                tree.discard_others(self._unfinished() if keep else ())
                tree.remove_temporary()
        tree.close()

    def complete_document(self, document: Document) -> Document:
        """Return the document with the proofs of content, that of a dry run with its plan."""
        found = self.journal.outcomes.count_proofs() if self._proved is None else self._proved
        proved = dict.fromkeys(ContentProof, 0) | found
        return {**super().complete_document(document), "proved": proved}


def _collect_planned(
    planner: DownloadPlanner, expect: object, pages: Iterable[ListingPage]
) -> Iterator[list[Operation]]:
    """Yield what each step of a plan adds."""
    added: list[list[Operation]] = []
    for _ in planner.steps(added.append, expect, pages):  # type: ignore[arg-type]  # a partial
        yield from added
        added.clear()
    yield from added


def _add_planned(coordinator: Coordinator, planner: DownloadPlanner, cleared: set[str]) -> Iterator[None]:
    coordinator.add(planner.decide_blocked(cleared))
    yield


def _no_upload(_: str) -> str:
    return ""
