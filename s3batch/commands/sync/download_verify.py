"""``s3batch verify s3://BUCKET/PREFIX DIRECTORY``: compare the directory with the prefix, write nothing.

It is a rehearsal of a download with ``delete``, in a journal of its own: each operation in its plan is a difference. An
object is read where nothing else proves what it holds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from s3batch.commands.sync.cluster import open_target_cluster
from s3batch.commands.sync.download import DownloadJob
from s3batch.commands.verify import ComparingJob, make_verify_settings, open_verify
from s3batch.coordinator.job_runner import JobRunner
from s3batch.plan.download_spec import DownloadSpec
from s3batch.plan.file_list import open_file_list
from s3batch.reporting.json_stream import Spool
from s3batch.settings.direction import settings_of_source

if TYPE_CHECKING:
    from s3batch.executors.dask.cluster import Cluster
    from s3batch.reporting.console import Output
    from s3batch.settings.table import Settings
    from s3batch.source.path_list import PathList
    from s3batch.worker.context import Brief


def run_download_verify(settings: Settings, output: Output) -> int:
    """Compare, name each difference, and say whether there was any."""
    settings, paths = open_file_list(settings)
    wanted = DownloadSpec.from_settings(make_verify_settings(settings))
    with open_target_cluster(wanted) as cluster, open_verify(wanted.settings, output) as runner:
        runner.begin(wanted.place.url, wanted.root, endpoint=settings_of_source(settings).endpoint_url)
        return runner.run(DownloadVerifyJob(wanted, runner, paths=paths, cluster=cluster))


class DownloadVerifyJob(ComparingJob, DownloadJob):
    """A rehearsal that goes on after failures, since it changes nothing."""

    def __init__(
        self, wanted: DownloadSpec, runner: JobRunner, *, cluster: Cluster | None, paths: PathList | None
    ) -> None:
        super().__init__(wanted, runner, cluster=cluster, paths=paths)
        self.differences = Spool()

    @property
    def is_thorough(self) -> bool:
        """True: one failure keeps nothing else from being looked at."""
        return True

    def make_brief(self) -> Brief:
        """Return what the workers have to know: they read objects where nothing else proves the content."""
        return super().make_brief()._replace(reads_back=True)
