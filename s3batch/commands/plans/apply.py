"""``s3batch apply FILE``: carry out a saved plan, and nothing else. ``s3batch resume`` finishes it from the journal.

    plan file ─checked─> journal, all of it ─> stages as in a sync ─> deletes, if nothing has drifted

An operation is refused ("drifted") if its file or its object is not as it was planned. A worker looks right before it
changes the object. The deletes are looked at together before the first of them.
"""

from __future__ import annotations

from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Protocol

from s3batch.base.errors import SettingsError
from s3batch.base.failpoints import reach_failpoint
from s3batch.commands.plans.drifts import fail_drifted_deletes
from s3batch.commands.plans.plan_file import read_plan
from s3batch.commands.sync.begin import begin_job
from s3batch.commands.sync.job import SyncJob
from s3batch.commands.sync.side_steps import invalidate_cloudfront, keep_backup_manifest
from s3batch.coordinator import journal_trust, stale_uploads
from s3batch.journal.operations import LEFT_OUT
from s3batch.model import JobState, Stage
from s3batch.plan import quirk_memory
from s3batch.plan.file_list import check_sign_in_of_plan
from s3batch.plan.planner import take_over_rows
from s3batch.plan.row_check import PlannedRowCheck, RowCheck
from s3batch.plan.spec import SyncSpec
from s3batch.settings.direction import format_place, is_in_s3
from s3batch.settings.table import Settings
from s3batch.worker.delete_check import modified_ns

if TYPE_CHECKING:
    from collections.abc import Iterator

    from s3batch.commands.plans.plan_file import SavedPlan
    from s3batch.coordinator.coordinator import Coordinator
    from s3batch.coordinator.job_runner import JobRunner
    from s3batch.model import Operation
    from s3batch.reporting.console import Output
    from s3batch.worker.context import Brief


class BeginPlanned(Protocol):
    """Begins a job in the journal, under the name of its plan."""

    def __call__(self, *, plan: str) -> None:
        """Begin it."""


class PlanCheck(Protocol):
    """Tells operations that a job could have planned from others."""

    def admit(self, operation: Operation) -> Operation | None:
        """Return the operation. Raises ValueError for another one."""


_STAGES = (Stage.MAIN, Stage.PUBLISH_LAST, Stage.REDIRECT, Stage.DELETE)
_BATCH = 1000


def run_apply(settings: Settings, output: Output) -> int:
    """Carry out a plan, or resume that if ``settings.job`` is set; return the exit code."""
    if settings.job:
        return _apply_in_direction(settings, output, None)
    if settings.dry_run:
        raise SettingsError(
            f"apply has no dry run, but dry_run is true (from {settings.origin('dry_run')})",
            hint="s3batch plan FILE shows what apply would do",
        )
    if not settings.argument:
        raise SettingsError("no plan is named", hint="write s3batch apply FILE")
    plan = read_plan(settings.at_workspace(settings.argument), private=True)
    return _apply_in_direction(_make_settings_of_plan(plan, settings), output, plan)


def _apply_in_direction(settings: Settings, output: Output, plan: SavedPlan | None) -> int:
    """Carry out a plan, or go on with the one in the journal, in the direction of the settings."""
    if is_in_s3(settings.source):
        from s3batch.commands.plans.apply_from_s3 import apply_from_s3  # noqa: PLC0415 - an upload does not pay for it

        return apply_from_s3(settings, output, plan)
    wanted = SyncSpec.from_settings(settings)
    if plan is None:
        return begin_job(wanted, output, ApplyJob, begin_again)
    target = format_place(f"{wanted.target.bucket}/{wanted.prefix}")
    announce_plan(plan, output, f"{wanted.source.root} to {target}", settings.endpoint_url)
    return begin_job(wanted, output, ApplyJob, partial(begin_apply, plan))


def announce_plan(plan: SavedPlan, output: Output, sides: str, endpoint: str) -> None:
    """Tell which plan is carried out, and where."""
    output.info(f"applying the plan of {plan.header['made']}: {sides} at {endpoint or 'AWS'}")


def _make_settings_of_plan(plan: SavedPlan, given: Settings) -> Settings:
    """Return the settings of the plan, with credentials, speed and output as given. Raises SettingsError."""
    public = plan.header["settings"]
    try:
        if public.get("command") != "apply" or public.get("dry_run"):
            raise ValueError("they are of another command")
        return Settings.from_public(public, given)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise SettingsError(f"the plan {plan.path} is damaged: its settings cannot be read ({error})") from error


def begin_apply(plan: SavedPlan, runner: JobRunner, wanted: SyncSpec, place: str) -> None:
    """Begin the job of an upload's plan."""
    enter_plan(plan, runner, partial(runner.begin, wanted.source.root, place), PlannedRowCheck(wanted))


def enter_plan(plan: SavedPlan, runner: JobRunner, begin: BeginPlanned, check: PlanCheck) -> None:
    """Begin the job with all of its operations, or not at all. A plan is applied once."""
    journal, name = runner.journal, f"plan {plan.digest}"
    applied = journal.recall(name)
    if applied is not None:
        raise SettingsError(
            f"the plan {plan.path} has been applied by job {applied}",
            hint="make a new plan; an interrupted job is finished by s3batch resume",
        )
    with journal.batch():
        begin(plan=name)
        journal.remember(name, journal.jobs.current_id)
        operations = plan.operations()
        while batch := list(islice(operations, _BATCH)):
            if runner.signals.seen:  # a million operations take a while, and nothing of the job is kept
                raise runner.signals.error()
            try:
                journal.operations.add([each for each in map(check.admit, batch) if each is not None])
            except ValueError as error:
                raise SettingsError(f"the plan {plan.path} is damaged: {error}; nothing was sent") from error
        files, size, unchanged = (plan.facts[name] for name in ("files", "bytes", "unchanged"))
        journal.jobs.add_tally(files=files, bytes=size, unchanged=unchanged)
        journal.jobs.set_planned()


def begin_again(runner: JobRunner, _: SyncSpec, place: str) -> None:
    """Begin a job that goes on with the operations of another one."""
    source = runner.journal.jobs.find(runner.settings.job).source  # an undo reads none, and has that of the job
    enter_again(runner, partial(runner.begin, source, place))


def enter_again(runner: JobRunner, begin: BeginPlanned) -> None:
    """Begin it under the plan of the job that is resumed: nothing is planned anew, unless that died while it planned."""
    journal = runner.journal
    before = journal.jobs.find(runner.settings.job)
    with journal.batch():
        begin(plan=before.plan)
        if before.planned:
            journal.jobs.set_planned()


class ApplyJob(SyncJob):
    """A job whose operations are in the journal when it begins."""

    def carry_out(self) -> None:
        """Run the job; the error that stops it is raised."""
        is_foreign = not journal_trust.may_journal_decide(self.journal.path, self.settings)
        self.journal.check_rows(self.make_row_check(is_foreign=is_foreign).admit, self.wanted.owns)
        try:
            check_sign_in_of_plan(self.wanted, self.bucket, self.listing.list_pages())  # before there is a worker
            self.journal.jobs.note_store_date(self.bucket.store_date, lambda: self.bucket.clock.now().high)
            self.journal.jobs.set_state(JobState.RUNNING)
            with keep_backup_manifest(self), self._open_coordinator() as coordinator:
                self.run_planned_stages(coordinator)
                self.remove_stale_probes()
        finally:
            self.close_buckets()

    def make_row_check(self, *, is_foreign: bool) -> RowCheck:
        """Return the check of rows that an earlier job has left."""
        return PlannedRowCheck(self.wanted, is_foreign=is_foreign)

    def make_brief(self) -> Brief:
        """Return what the workers have to know: they refuse what has drifted."""
        return super().make_brief()._replace(exact=True)

    def run_planned_stages(self, coordinator: Coordinator) -> None:
        """Carry out the operations in the journal, stage by stage."""
        self.totals.phase = "applying"
        for _ in take_over_rows(self.journal, lambda _: None):
            pass
        self.totals.planning = False
        for stage in _STAGES:
            coordinator.expect(stage, self.journal.outcomes.count_open(stage))
        for stage in _STAGES:
            if self._failed(before=stage):
                break
            if stage != Stage.MAIN:
                self._pass_fence()
            if stage == Stage.DELETE and self.refuse_drifted_deletes():
                break
            coordinator.run(stage)
        if self.wrote:
            quirk_memory.note_times_compared(self.journal)
        stale_uploads.abort_stale_uploads(self.journal, self.bucket, self._list_unclaimed)
        self.journal.jobs.learn_facts(quirk_memory.read_quirks_in_force(self.journal).late)
        reach_failpoint("learned")
        if not self._failed(before=Stage.DELETE + 1):
            invalidate_cloudfront(self)

    def refuse_drifted_deletes(self) -> bool:
        """Fail the deletes whose object or file is not as it was planned; return whether there is one."""
        drifted = fail_drifted_deletes(self, self.find_drifts)
        self._withheld = self._withheld or drifted
        return drifted

    def find_drifts(self, planned: list[Operation]) -> Iterator[tuple[Operation, str]]:
        """Yield the deletes that are not as they were planned, each with the reason."""
        listed = {each.key: each for each in self.bucket.look_up([each.key for each in planned], self.wanted.listed)}
        for operation in planned:
            found, why = listed.get(operation.key), ""
            if self.wanted.hides(operation.key):
                why = LEFT_OUT
            elif self.cluster is None and self.wanted.key_paths.has_file(operation.key):
                why = "there is a file for this key now"
            elif found is None:
                why = "" if operation.recheck else "the object is gone"
            elif (found.etag, modified_ns(found.modified)) != (operation.etag, operation.stamp.mtime_ns):
                why = "the object has changed"
            if why:
                yield operation, why
