"""The beginning of a sync: its cluster, history, lock and fence; then its job is run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

from s3batch.base.errors import DeclinedError, SupersededError
from s3batch.base.failpoints import reach_failpoint
from s3batch.commands.sync.cluster import open_source_cluster
from s3batch.coordinator import history, journal_trust
from s3batch.coordinator.job_runner import JobRunner
from s3batch.coordinator.signals import watch_for_stop
from s3batch.model import JobState
from s3batch.plan.spec import SyncSpec

if TYPE_CHECKING:
    from s3batch.coordinator.fence import Fence
    from s3batch.coordinator.job_description import JobDescription
    from s3batch.executors.dask.cluster import Cluster
    from s3batch.reporting.console import Output

Spec = TypeVar("Spec", bound=SyncSpec)
Spec_contra = TypeVar("Spec_contra", bound=SyncSpec, contravariant=True)


class MakeJob(Protocol[Spec_contra]):
    """Makes the job of a specification: the class of the job."""

    def __call__(
        self, wanted: Spec_contra, runner: JobRunner, *, cluster: Cluster | None, fence: Fence | None
    ) -> JobDescription:
        """Return the job."""


class BeginRow(Protocol[Spec_contra]):
    """Begins a job in the journal, for a target in its one spelling."""

    def __call__(self, runner: JobRunner, wanted: Spec_contra, place: str, /) -> None:
        """Begin it. Raises SettingsError if that is not possible."""


def begin_planned_anew(runner: JobRunner, wanted: SyncSpec, place: str) -> None:
    """Begin a job that makes its plan itself."""
    deletes_anew = not journal_trust.may_journal_decide(runner.journal.path, runner.settings)
    runner.begin(wanted.source.root, place, plan=wanted.plan_digest(), deletes_anew=deletes_anew)


def begin_job(
    wanted: Spec, output: Output, make_job: MakeJob[Spec], begin_row: BeginRow[Spec] = begin_planned_anew
) -> int:
    """Run the job that ``make_job`` gives for a specification, or resume one; return the exit code."""
    settings = wanted.settings
    if settings.backup:
        from s3batch.plan.backup_spec import parse_backup  # noqa: PLC0415 - few want one

        parse_backup(settings, wanted.target)
    fence = _find_fence(wanted)
    place = history.format_target_place(wanted.target)
    with (
        open_source_cluster(wanted, place) as cluster,
        history.open_history(settings, place) as (journal, lock),
        watch_for_stop(max_duration=settings.max_duration) as signals,
    ):
        history.refuse_overtaken(settings.job, journal, lock)
        if cluster is not None:
            cluster.dismiss_dead_runs()
        try:
            if fence is not None:  # before the job: an older run supersedes none that may be resumed
                fence.claim(settings, wanted.target.bucket)
        except SupersededError as error:
            from s3batch.commands.sync.without_job import report_without_job  # noqa: PLC0415 - few runs end so

            if settings.job:  # a fence never goes down, so it could never be resumed
                journal.jobs.supersede(settings.job)
            return report_without_job(settings, output, JobState.SUPERSEDED, error)
        runner = JobRunner(settings, output, journal, signals)
        begin_row(runner, wanted, place)
        if not settings.dry_run:
            lock.note(journal.jobs.current_id, journal.path, journal.jobs.current.started)
        reach_failpoint("begun")
        for warning in (*wanted.target.warnings, *history.format_overlap_warnings(lock)):
            journal.jobs.warn(warning)
        if settings.cloudfront_distribution:
            from s3batch.commands.sync.cloudfront import begin_invalidation  # noqa: PLC0415 - few jobs have one

            begin_invalidation(settings, journal)
        if settings.plugin:
            output.info(f'Synchronizing with bucket "{wanted.target.bucket}"')
        try:
            return runner.run(make_job(wanted, runner, cluster=cluster, fence=fence))
        except DeclinedError as error:
            from s3batch.commands.sync.without_job import forget_job  # noqa: PLC0415 - few runs end so

            return forget_job(journal, settings, output, error)


def _find_fence(wanted: SyncSpec) -> Fence | None:
    if not wanted.settings.newest_wins:
        return None
    from s3batch.coordinator.fence import make_fence  # noqa: PLC0415 - few want it

    return make_fence(wanted)
