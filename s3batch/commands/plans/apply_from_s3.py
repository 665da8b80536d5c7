"""``s3batch apply FILE`` of a plan whose source is in S3: a download, or bucket to bucket.

A drift is another object in the source, another object or file in the target, or, for a delete, an object in the source.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from s3batch.base.errors import JobFailedError
from s3batch.commands.plans.apply import ApplyJob, announce_plan, enter_again, enter_plan
from s3batch.commands.plans.drifts import fail_drifted_deletes
from s3batch.commands.sync.begin import begin_job
from s3batch.commands.sync.download import DownloadJob, begin_download, begin_download_row
from s3batch.commands.sync.transfer_job import TransferJob
from s3batch.journal.operations import LEFT_OUT
from s3batch.model import Stage, stamp_of
from s3batch.plan.download_row_check import PlannedDownloadCheck
from s3batch.plan.download_spec import DownloadSpec
from s3batch.plan.file_list import check_sign_in_of_plan
from s3batch.plan.planner import take_over_rows
from s3batch.plan.transfer_plan import PlannedTransferCheck
from s3batch.plan.transfer_spec import TransferSpec
from s3batch.settings.direction import Direction, find_direction, format_place, settings_of_source
from s3batch.worker.fetch_exact import EXACT_EXTENSIONS
from s3batch.worker.local_delete import encode_local_state

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from s3batch.commands.plans.plan_file import SavedPlan
    from s3batch.coordinator.coordinator import Coordinator
    from s3batch.coordinator.job_runner import JobRunner
    from s3batch.files.tree import TargetTree
    from s3batch.model import Operation
    from s3batch.plan.key_names import FoldedNames
    from s3batch.reporting.console import Output
    from s3batch.s3.listing import ListingPage
    from s3batch.settings.table import Settings
    from s3batch.worker.context import Brief

_STAGES = (Stage.MAIN, Stage.DELETE)


def apply_from_s3(settings: Settings, output: Output, plan: SavedPlan | None) -> int:
    """Carry out a plan, or go on with the one in the journal; return the exit code."""
    if find_direction(settings) is Direction.DOWNLOAD:
        return _apply_download(DownloadSpec.from_settings(settings), output, plan)
    wanted = TransferSpec.from_settings(settings)
    if plan is not None:
        target = format_place(f"{wanted.target.bucket}/{wanted.prefix}")
        announce_plan(plan, output, f"{wanted.place.url} to {target}", settings.endpoint_url)
    return begin_job(wanted, output, ApplyTransfer, partial(_enter_transfer, plan))


def _enter_transfer(plan: SavedPlan | None, runner: JobRunner, wanted: TransferSpec, place: str) -> None:
    begin = partial(runner.begin, wanted.source.root, place)
    if plan is None:
        enter_again(runner, begin)
    else:
        enter_plan(plan, runner, begin, PlannedTransferCheck(wanted))


def _apply_download(wanted: DownloadSpec, output: Output, plan: SavedPlan | None) -> int:
    if plan is not None:
        endpoint = settings_of_source(wanted.settings).endpoint_url
        announce_plan(plan, output, f"{wanted.place.url} to {wanted.root}", endpoint)
    return begin_download(wanted, output, ApplyDownload, partial(_enter_download, plan))


def _enter_download(plan: SavedPlan | None, runner: JobRunner, wanted: DownloadSpec) -> None:
    begin = partial(begin_download_row, runner, wanted)
    if plan is None:
        enter_again(runner, begin)
    else:
        enter_plan(plan, runner, begin, PlannedDownloadCheck(wanted))


class ApplyTransfer(ApplyJob, TransferJob):
    """A transfer whose operations are in the journal when it begins."""

    wanted: TransferSpec

    def make_row_check(self, *, is_foreign: bool) -> PlannedTransferCheck:
        """Return the check of rows that an earlier job has left."""
        return PlannedTransferCheck(self.wanted, is_foreign=is_foreign)

    def find_drifts(self, planned: list[Operation]) -> Iterator[tuple[Operation, str]]:
        """Yield the deletes that are not as they were planned, each with the reason."""
        start, place = len(self.wanted.prefix), self.wanted.place
        names = {place.prefix + each.key[start:]: each for each in planned}
        back = {each.key for each in self.source.look_up(list(names), place.prefix)}
        yield from (
            (each, "there is an object for this key in the source now") for name, each in names.items() if name in back
        )
        yield from ApplyJob.find_drifts(self, [each for name, each in names.items() if name not in back])


class ApplyDownload(DownloadJob):
    """A download whose operations are in the journal when it begins."""

    def make_row_check(self) -> PlannedDownloadCheck:
        """Return the check of rows that an earlier job has left."""
        return PlannedDownloadCheck(self.wanted)

    def contact(self) -> Iterable[ListingPage]:
        """Check the sign-in; return no page of the listing: the plan is made."""
        check_sign_in_of_plan(self.wanted, self.bucket, self.list_source())
        return ()

    def make_brief(self) -> Brief:
        """Return what the workers have to know: they refuse what has drifted."""
        return super().make_brief()._replace(exact=True, extensions=EXACT_EXTENSIONS)

    def run_stages(
        self, coordinator: Coordinator, pages: Iterable[ListingPage], tree: TargetTree, folded: FoldedNames | None
    ) -> None:
        """Carry out the operations in the journal, the deletes after everything else."""
        self.totals.phase = "applying"
        for _ in take_over_rows(self.journal, lambda _: None):
            pass
        self.totals.planning = False
        for stage in _STAGES:
            coordinator.expect(stage, self.journal.outcomes.count_open(stage))
        coordinator.run(Stage.MAIN)
        self.warn_of_unproved()
        if self.has_failed():
            return
        if fail_drifted_deletes(self, partial(self._find_drifts, tree)):
            self._withheld = True
            return
        self.run_deletes(coordinator)

    def _find_drifts(self, tree: TargetTree, planned: list[Operation]) -> Iterator[tuple[Operation, str]]:
        listed = {each.key for each in self.bucket.look_up([each.key for each in planned], self.wanted.prefix)}
        for operation in planned:
            try:
                found = tree.find(operation.path)
            except OSError as error:
                raise JobFailedError(f"{operation.path!r} cannot be looked at: {error.strerror}") from error
            why, levels = "", int(operation.etag.partition(":")[0])
            if self.wanted.selection.is_hidden(operation.path):
                why = LEFT_OUT
            elif operation.key in listed:
                why = "there is an object for this file now"
            elif found is None:
                why = "" if operation.recheck else "the file is gone"
            elif encode_local_state(stamp_of(found), levels) != operation.etag:
                why = "the file has changed"
            if why:
                yield operation, why
