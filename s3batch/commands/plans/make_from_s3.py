"""``--plan FILE`` of a sync whose source is in S3: a download, or bucket to bucket."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from s3batch.commands.plans.make import PlanSaver, SyncPlanSaver, begin_plan_file
from s3batch.commands.sync.begin import begin_job
from s3batch.commands.sync.download import DownloadJob, begin_download
from s3batch.commands.sync.transfer_job import TransferJob
from s3batch.plan.download_planner import BAD_NAME
from s3batch.settings.direction import settings_of_source

if TYPE_CHECKING:
    from s3batch.plan.download_spec import DownloadSpec
    from s3batch.plan.transfer_spec import TransferSpec
    from s3batch.reporting.console import Output
    from s3batch.source.path_list import PathList


def save_download_plan(wanted: DownloadSpec, output: Output, paths: PathList | None) -> int:
    """Plan a download into the file that ``plan`` names; return the exit code."""
    rehearsed = wanted._replace(settings=wanted.settings._replace(dry_run=True))
    endpoint = settings_of_source(wanted.settings).endpoint_url
    with begin_plan_file(wanted.settings, wanted.place.url, wanted.root, endpoint) as writer:
        return begin_download(rehearsed, output, partial(PlanningDownload, writer=writer, paths=paths))


def save_transfer_plan(wanted: TransferSpec, output: Output, paths: PathList | None) -> int:
    """Plan a transfer into the file that ``plan`` names; return the exit code."""
    rehearsed = wanted._replace(settings=wanted.settings._replace(dry_run=True))
    target = f"{wanted.target.bucket}/{wanted.prefix}"
    with begin_plan_file(wanted.settings, wanted.place.url, target, wanted.settings.endpoint_url) as writer:
        return begin_job(rehearsed, output, partial(PlanningTransfer, writer=writer, paths=paths))


class PlanningDownload(PlanSaver, DownloadJob):
    """The plan of a download. It leaves out what the download itself refuses by its name."""

    left_out = (BAD_NAME,)


class PlanningTransfer(SyncPlanSaver, TransferJob):
    """The plan of a transfer."""
