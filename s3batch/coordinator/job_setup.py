"""The parts that every job begins with, of a sync and of a cache alike: its open journal and its workers here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from s3batch.coordinator import journal_trust
from s3batch.executors.local import LocalExecutor, count_usable_cpus, limit_worker_count
from s3batch.journal import Journal

if TYPE_CHECKING:
    from s3batch.executors import Executor
    from s3batch.settings.bandwidth import Bandwidth
    from s3batch.settings.table import Settings
    from s3batch.worker.context import Brief

IN_FLIGHT_PER_WORKER, _IN_FLIGHT = 128, 512
"""Requests at most, of a worker and of this machine: at 20 ms a request 128 are 6,400 objects a second and worker.
The lane opens them as needed. A worker may have twice as many where the store answers them as quickly."""


def open_journal(settings: Settings, path: str) -> Journal:
    """Open the journal at ``path`` and lock it; for a dry run, open a temporary one in its place."""
    foreign = journal_trust.is_foreign_journal(path, settings)
    if settings.dry_run:
        return Journal.rehearse(path, foreign=foreign)
    journal = Journal.open(path, foreign=foreign)
    try:
        journal.lock()
    except BaseException:
        journal.close()
        raise
    return journal


def choose_bandwidth(settings: Settings) -> Bandwidth:
    """Return the limit of the settings; 0 for none."""
    if not settings.bandwidth:
        return 0.0
    from s3batch.settings.bandwidth import read_bandwidth  # noqa: PLC0415 - few jobs have a limit

    return read_bandwidth(settings.bandwidth)


def build_local_executor(settings: Settings, brief: Brief) -> Executor:
    """Return the executor on this machine, with as many workers and requests in flight as the settings allow."""
    count = settings.workers or count_usable_cpus()
    most = IN_FLIGHT_PER_WORKER * count
    in_flight = settings.max_concurrency or min(_IN_FLIGHT, most)
    brief = brief._replace(stretches=not settings.max_concurrency and 2 * most <= _IN_FLIGHT)
    return build_executor(settings, brief, workers=count, in_flight=in_flight)


def build_executor(settings: Settings, brief: Brief, *, workers: int, in_flight: int) -> Executor:
    """Return the executor on this machine, which shares ``in_flight`` requests and the bandwidth among its workers.

    It has fewer than ``workers`` where there are fewer requests, or so little bandwidth that more would starve.
    """
    bandwidth = choose_bandwidth(settings)
    if settings.executor == "inline":
        from s3batch.executors.inline import InlineExecutor  # noqa: PLC0415 - few jobs want it

        return InlineExecutor(brief._replace(limit=in_flight, bandwidth=bandwidth))
    lowest = bandwidth if isinstance(bandwidth, float) else bandwidth.lowest
    count = limit_worker_count(lowest, min(workers, in_flight))
    return LocalExecutor(brief._replace(limit=max(1, in_flight // count), bandwidth=bandwidth / count), count)
