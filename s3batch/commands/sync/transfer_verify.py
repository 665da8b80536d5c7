"""``s3batch verify s3://A/P s3://B/Q``: compare two prefixes object by object, write nothing.

It is a rehearsal of a transfer with ``delete``, in a journal of its own. Both objects are read where neither side tells
whether they hold the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from s3batch.commands.sync.cluster import open_source_cluster
from s3batch.commands.sync.transfer_job import TransferJob
from s3batch.commands.verify import ComparingSync, make_verify_settings, open_verify
from s3batch.coordinator import history
from s3batch.plan.file_list import open_file_list
from s3batch.plan.transfer_spec import TransferSpec

if TYPE_CHECKING:
    from s3batch.reporting.console import Output
    from s3batch.settings.table import Settings
    from s3batch.worker.context import Brief


def run_transfer_verify(settings: Settings, output: Output) -> int:
    """Compare, name each difference, and say whether there was any."""
    settings, paths = open_file_list(settings)
    wanted = TransferSpec.from_settings(make_verify_settings(settings))
    place = history.format_target_place(wanted.target)
    with open_source_cluster(wanted, place) as cluster, open_verify(wanted.settings, output) as runner:
        runner.begin(wanted.source.root, place)
        return runner.run(TransferVerifyJob(wanted, runner, cluster=cluster, paths=paths))


class TransferVerifyJob(ComparingSync, TransferJob):
    """A comparison of objects with those of the source."""

    def make_brief(self) -> Brief:
        """Return what the workers have to know: they read objects where nothing else proves the content."""
        return super().make_brief()._replace(reads_back=True)
