"""The workers of a sync on a Dask cluster: the check of the shared directory before anything else, and the executor."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from s3batch.coordinator.job_setup import choose_bandwidth

if TYPE_CHECKING:
    from collections.abc import Iterator

    from s3batch.executors import Executor
    from s3batch.executors.dask.cluster import Cluster
    from s3batch.executors.dask.shared_place import SharedPlace
    from s3batch.plan.download_spec import DownloadSpec
    from s3batch.plan.spec import SyncSpec
    from s3batch.settings.table import Settings
    from s3batch.worker.context import Brief

# ruff: noqa: PLC0415 - few jobs want a cluster


@contextmanager
def open_source_cluster(wanted: SyncSpec, target: str) -> Iterator[Cluster | None]:
    """Open the Dask cluster, if the workers run there, and check that they see the source."""
    if wanted.settings.executor != "dask":
        yield None
        return
    from s3batch.executors.dask.shared_place import SharedSource

    journal = wanted.settings.journal_path(target)
    place = SharedSource(wanted.source.root, journal, wanted.settings.symlinks)
    with _connect(wanted.settings, place, target) as cluster:
        yield cluster


@contextmanager
def open_target_cluster(wanted: DownloadSpec) -> Iterator[Cluster | None]:
    """Open the Dask cluster, if the workers run there, and check that they write to the same target.

    A dry run writes nothing: there the files of the target are compared, if there is one.
    """
    settings = wanted.settings
    if settings.executor != "dask":
        yield None
        return
    from s3batch.executors.dask.shared_place import SharedSource, SharedTarget

    place: SharedPlace = SharedTarget(wanted.root)
    if settings.dry_run:
        root = wanted.root if os.path.isdir(wanted.root) else wanted.place.url
        place = SharedSource(root, settings.journal_path(wanted.root), "skip")
    with _connect(settings, place, wanted.root) as cluster:
        yield cluster


@contextmanager
def _connect(settings: Settings, place: SharedPlace, target: str) -> Iterator[Cluster]:
    from s3batch.executors.dask.cluster import connect_cluster

    cluster = connect_cluster(settings, place, target)
    try:
        yield cluster
    finally:
        cluster.close()


def build_cluster_executor(cluster: Cluster, settings: Settings, brief: Brief) -> Executor:
    """Return the executor on a cluster, which shares requests in flight and the bandwidth among its workers."""
    from s3batch.coordinator.job_setup import IN_FLIGHT_PER_WORKER
    from s3batch.executors.dask.executor import DaskExecutor

    in_flight = settings.max_concurrency or IN_FLIGHT_PER_WORKER * cluster.count
    count = min(cluster.count, in_flight)
    share = choose_bandwidth(settings) / count
    return DaskExecutor(cluster, brief._replace(limit=max(1, in_flight // count), bandwidth=share), count)
