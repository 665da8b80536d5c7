"""``s3batch verify s3://A/P s3://B/Q``: compare two prefixes object by object, write nothing.

It is a rehearsal of a transfer with ``delete``, in a journal of its own. Both objects are read where neither side tells
whether they hold the same.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from s3batch.commands.sync.cluster import open_source_cluster
from s3batch.commands.sync.transfer_job import TransferJob
from s3batch.commands.verify import ComparingJob, make_verify_settings
from s3batch.coordinator import history
from s3batch.coordinator.job_runner import JobRunner
from s3batch.coordinator.signals import watch_for_stop
from s3batch.files import private
from s3batch.journal import Journal
from s3batch.model import Stage
from s3batch.plan.file_list import open_file_list
from s3batch.plan.transfer_spec import TransferSpec
from s3batch.reporting.json_stream import Spool

if TYPE_CHECKING:
    from s3batch.coordinator.coordinator import Coordinator
    from s3batch.executors.dask.cluster import Cluster
    from s3batch.plan.planner import Planner
    from s3batch.reporting.console import Output
    from s3batch.settings.table import Settings
    from s3batch.source.path_list import PathList
    from s3batch.worker.context import Brief


def run_transfer_verify(settings: Settings, output: Output) -> int:
    """Compare, name each difference, and say whether there was any."""
    settings, paths = open_file_list(settings)
    wanted = TransferSpec.from_settings(make_verify_settings(settings))
    place = history.format_target_place(wanted.target)
    with (
        open_source_cluster(wanted, place) as cluster,
        private.make_scratch_directory() as folder,
        Journal.open(os.path.join(folder, "verify.db")) as journal,
        watch_for_stop(max_duration=settings.max_duration) as signals,
    ):
        runner = JobRunner(wanted.settings, output, journal, signals)
        runner.begin(wanted.source.root, place)
        return runner.run(TransferVerifyJob(wanted, runner, cluster=cluster, paths=paths))


class TransferVerifyJob(ComparingJob, TransferJob):
    """A rehearsal that goes on after failures, since it changes nothing."""

    def __init__(
        self, wanted: TransferSpec, runner: JobRunner, *, cluster: Cluster | None, paths: PathList | None
    ) -> None:
        super().__init__(wanted, runner, cluster=cluster, paths=paths)
        self.differences = Spool()

    def watch_blocked_uploads(self) -> None:
        """Have no object wait for another one."""

    def make_brief(self) -> Brief:
        """Return what the workers have to know: they read objects where nothing else proves the content."""
        return super().make_brief()._replace(reads_back=True)

    def run_later_stages(self, coordinator: Coordinator, planning: Planner) -> None:
        """Compare everything else."""
        for stage in (Stage.PUBLISH_LAST, Stage.REDIRECT):
            coordinator.run(stage)
        planned = planning.plan_deletes(coordinator.add_deletes)
        self.journal.jobs.set_stage(Stage.DELETE)
        coordinator.run(Stage.DELETE, planned)
