"""What a sync does beside its stages: keep a backup, clear the way, look again for late requests, tell CloudFront."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from s3batch.base.failpoints import reach_failpoint
from s3batch.model import Stage
from s3batch.plan import late_requests

if TYPE_CHECKING:
    from s3batch.commands.sync.job import SyncJob
    from s3batch.coordinator.coordinator import Coordinator
    from s3batch.plan.planner import Planner
    from s3batch.worker.context import BackupPlace


def keep_backup_manifest(job: SyncJob) -> AbstractContextManager[None]:
    """Have the backup's manifest say when the job begins and ends, if it makes a backup."""
    if not _makes_backup(job):
        return nullcontext()
    from s3batch.commands.undo.manifest import keep_manifest  # noqa: PLC0415 - few jobs make a backup

    return keep_manifest(job)


def find_backup_place(job: SyncJob) -> BackupPlace | None:
    """Return the place of the job's backup, if it makes one."""
    if not _makes_backup(job):
        return None
    from s3batch.plan.backup_spec import parse_backup  # noqa: PLC0415 - as above

    return parse_backup(job.settings, job.wanted.target).place(job.journal.jobs.current_id)


def _makes_backup(job: SyncJob) -> bool:
    return bool(job.settings.backup) and not job.settings.dry_run


def clear_the_way(job: SyncJob, coordinator: Coordinator, planning: Planner) -> None:
    """Delete the orphans that block uploads on a store that is a file system, after all other uploads."""
    if planning.walked is None or planning.blocked is None:
        return
    if blocking := planning.blocked.find_blocking(planning.walked):
        coordinator.add(blocking)
        coordinator.run(Stage.DELETE)
        job.journal.orphans.mark_seen([each.key for each in blocking])  # they are no orphans any more


def repair_late_changes(job: SyncJob, coordinator: Coordinator, planning: Planner) -> None:
    """Repair the late changes of killed runs, and those of a run that this one overtook."""
    _look_at_doubts(job, coordinator, planning)
    fence = job.fence
    if fence is not None and (seconds := fence.seconds_risen) is not None and not job.settings.list_digest:
        from s3batch.commands.sync import last_look  # noqa: PLC0415 - few jobs have a fence

        last_look.look_at_late_writes(job, coordinator, last_look.LATEST - seconds)


def _look_at_doubts(job: SyncJob, coordinator: Coordinator, planning: Planner) -> None:
    journal, clock = job.journal, job.bucket.clock
    doubts = [each for each in late_requests.find_doubts(journal) if not journal.doubts.is_left_to_next(each)]
    if not doubts or planning.walked is None or job.settings.dry_run:
        return
    if (seconds := late_requests.seconds_to_wait(doubts, clock.now().low)) > 0:
        job.output.detail(f"waiting {seconds:.0f} s for {len(doubts)} requests of an earlier run that may still land")
        job.runner.signals.sleep(seconds)  # a signal ends it
    now = clock.now().low
    coordinator.add(late_requests.plan_late_checks(job.wanted, journal, lambda: job.bucket, doubts, job.make_replan()))
    reach_failpoint("looking-again")
    for stage in (Stage.MAIN, Stage.DELETE):
        coordinator.run(stage)
    late_requests.settle_doubts(journal, doubts, now)


def invalidate_cloudfront(job: SyncJob) -> None:
    """Tell CloudFront what changed, or say that a dry run would."""
    settings = job.settings
    if not settings.cloudfront_distribution:
        return
    from s3batch.commands.sync import cloudfront  # noqa: PLC0415 - few jobs have a distribution

    def make_session() -> Any:
        from s3batch.s3 import boto  # noqa: PLC0415 - boto3, which few jobs need

        return boto.make_session(job.bucket.login.current(), job.bucket.endpoint.region, settings.profile)

    if not settings.dry_run:
        for made in cloudfront.send_invalidations(settings, job.journal, job.wanted.prefix, make_session):
            job.output.detail(f"invalidation {made} of CloudFront distribution {settings.cloudfront_distribution}")
    elif cloudfront.is_due(settings, job.journal, changed=job.changed):
        job.write_plan_line("invalidate", cloudfront.wildcard_path(job.wanted.prefix), settings.cloudfront_paths)
