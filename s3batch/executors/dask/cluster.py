"""An existing Dask cluster: its connection, and the check that its workers have this s3batch and see the same place."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from s3batch import __version__
from s3batch.base.errors import EndpointError, SettingsError
from s3batch.executors.dask import hosted_worker
from s3batch.executors.dask.target_check import ViewAnswer

if TYPE_CHECKING:
    from collections.abc import Callable

    from s3batch.executors.dask.shared_place import SharedPlace
    from s3batch.settings.table import Settings

_CONNECT = 10.0
"""Seconds to reach the scheduler."""
_LOOK = 60.0
"""Seconds for all workers to look at the place."""
_INSTALL = "pip install 's3batch[dask]', here and on the cluster"


@dataclass(frozen=True, slots=True)
class Cluster:
    """A Dask cluster that fits the job."""

    client: Any
    address: str
    """The scheduler's."""
    place: SharedPlace
    """The directory that every worker must see."""
    members: tuple[str, ...]
    """The Dask workers that have been looked at."""
    count: int
    """The maximum number of Dask workers to use."""
    owner: str = ""
    """This machine and the job's target: of its jobs, only the newest counts. Empty for one that only looks."""

    def dismiss_dead_runs(self) -> None:
        """End the workers of this target's dead runs; the caller has its lock. One that is not reached ends in seconds."""
        if not self.owner:
            return
        ask = partial(self.client.run, hosted_worker.dismiss_older_workers, self.owner, on_error="ignore")
        with contextlib.suppress(OSError, TimeoutError):
            self.client.sync(ask, callback_timeout=_LOOK)

    def close(self) -> None:
        """Leave it."""
        self.place.close()
        with contextlib.suppress(Exception):  # it may have ended already
            self.client.close()


def connect_cluster(settings: Settings, place: SharedPlace, target: str) -> Cluster:
    """Return the cluster of ``settings.scheduler`` after a check that its workers see ``place``.

    ``target`` is the job's in its one spelling. Raises SettingsError if a worker does not see the place, and
    EndpointError if there is no cluster.
    """
    client = _make_dask_client(settings)
    owner = "" if settings.dry_run else f"{socket.gethostname()} {settings.endpoint_of_target(target)} {target}"
    cluster = Cluster(client, settings.scheduler, place, (), settings.workers or 0, owner)
    try:
        members = _list_dask_workers(cluster)
        _check_workers_twice(cluster, members)
    except BaseException:
        cluster.close()
        raise
    return replace(cluster, members=members, count=settings.workers or len(members))


def _make_dask_client(settings: Settings) -> Any:
    address = settings.scheduler
    try:
        import distributed  # noqa: PLC0415 - an optional dependency, with its own error
    except ImportError as error:
        raise SettingsError(f"executor dask needs the package distributed: {error}", hint=_INSTALL) from None
    for name in ("distributed", "distributed.client"):  # s3batch reports their warnings itself
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        asyncio.run(_check_scheduler_address(distributed.Security(), distributed.comm.connect, address))
        return distributed.Client(address, timeout=_CONNECT, set_as_default=False, name="s3batch")
    except (ValueError, TypeError) as error:
        raise settings.bad("scheduler", f"write it like tcp://HOST:8786: {error}") from None
    except OSError as error:
        raise EndpointError(f"cannot reach the Dask scheduler at {address}: {error}") from None


async def _check_scheduler_address(security: Any, connect: Callable[..., Any], address: str) -> None:
    """Raise the error of a wrong ``address``; a client that fails to connect does not end cleanly."""
    comm = await connect(address, timeout=_CONNECT, **security.get_connection_args("client"))
    await comm.close()


def _list_dask_workers(cluster: Cluster) -> tuple[str, ...]:
    """Return the Dask workers to use now. Nothing is sent to a cluster without s3batch: it would break its workers."""
    try:
        theirs = cluster.client.run_on_scheduler(hosted_worker.report_version)
    except OSError as error:
        raise EndpointError(f"cannot reach the Dask scheduler at {cluster.address}: {error}") from None
    except Exception as error:  # noqa: BLE001 - it is what the scheduler raised, mostly ModuleNotFoundError
        raise SettingsError(f"the Dask scheduler at {cluster.address} has no s3batch: {error}", hint=_INSTALL) from None
    if theirs != __version__:
        raise SettingsError(f"the Dask scheduler has s3batch {theirs}, and this is {__version__}", hint=_INSTALL)
    members = sorted(cluster.client.nthreads())
    if not members:
        hint = "start one, or let an adaptive cluster keep at least one"
        raise EndpointError(f"the Dask cluster at {cluster.address} has no workers", hint=hint)
    return tuple(members[: cluster.count or None])


def _check_workers_twice(cluster: Cluster, members: tuple[str, ...]) -> None:
    """Raise :class:`SettingsError` unless all ``members`` see the place; a file may change once meanwhile."""
    if _check_workers(cluster, members) and (trouble := _check_workers(cluster, members)):
        raise trouble


def _check_workers(cluster: Cluster, members: tuple[str, ...]) -> SettingsError | None:
    try:
        view = cluster.place.make_view()
    except OSError as error:
        return SettingsError(f"the shared directory cannot be written: {error}", hint=cluster.place.hint)
    ask = partial(
        cluster.client.run,
        hosted_worker.check_coordinator_view,
        view,
        workers=list(members),
        on_error="return",
    )
    try:
        answers = cluster.client.sync(ask, callback_timeout=_LOOK)
    except (OSError, TimeoutError) as error:
        raise EndpointError(f"the Dask workers do not answer: {error}") from None
    for member in members:
        answer = answers.get(member, ViewAnswer("it is gone"))
        if isinstance(answer, Exception):
            return SettingsError(f"Dask worker {member}: {answer}", hint=_INSTALL)
        if words := answer.trouble or cluster.place.find_trouble(answer, "the worker"):
            return SettingsError(f"Dask worker {member}: {words}", hint=cluster.place.hint)
    return None


def accompany_worker(token: str) -> None:
    """Last as long as the worker of a token, as a task without a thread of the Dask worker's: it shows who is at work."""
    import distributed  # noqa: PLC0415 - as above

    distributed.secede()
    hosted_worker.wait_for_worker(token)
