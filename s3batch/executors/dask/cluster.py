"""Workers on an existing Dask cluster: each Dask worker process hosts one worker, and tasks carry the messages.

    coordinator ──task: exchange(works)──> scheduler ──> Dask worker ──> hosted worker, its own thread
                <──────── results ────────           <──             <── whatever is done by now

A task is one exchange: it carries hundreds of pieces of work, waits a moment, and returns finished results. The hosted
worker goes on meanwhile, so there is no barrier between tasks, and every task is short. Each is pinned to the process
that has the worker. When Dask loses that process, its work is reported as lost.

Dask's own threads only put messages into one queue; everything else runs on the coordinator's thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import socket
import time
import uuid
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from s3batch import __version__
from s3batch.errors import EndpointError, JobFailedError, SettingsError
from s3batch.executors import SILENCE, PollResult, Status, WorkerState, format_hang_warning
from s3batch.executors.dask import hosted_worker, source_check
from s3batch.executors.dask.hosted_worker import CoordinatorView, ExchangeRequest, ExchangeResponse, SealedValue
from s3batch.executors.worker_process import pack_works, unpack_results, unpack_works

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from s3batch.model import Work
    from s3batch.objects.target import Target
    from s3batch.quirks import Quirks
    from s3batch.s3.sigv4 import Credentials
    from s3batch.settings.table import Settings
    from s3batch.worker.context import Brief

_CONNECT = 10.0
"""Seconds to reach the scheduler."""
_LOOK = 60.0
"""Seconds for all workers to look at the source."""
_MEMBERS_EVERY = 1.0
_IDLE = 30.0
"""Seconds without an exchange after which a worker is started again: it may have given up the coordinator."""
_DISMISS = 3.0
"""Seconds to tell the workers to end; one that is not reached ends by itself."""
_REFUSED = 10.0
"""Seconds before a Dask worker that did not see the source is asked again."""
_ABANDONED = 60.0
"""Seconds without any worker before the job stops."""
_PRIORITY = 10
"""Before the tasks of others, for they are short."""
_INSTALL = "pip install 's3batch[dask]', here and on the cluster"
_SHARED = "the source must be on a file system that every Dask worker sees at the same path, or use --executor local"


# --- the cluster -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Cluster:
    """A Dask cluster that fits the job."""

    client: Any
    address: str
    """The scheduler's."""
    root: str
    """The source."""
    but: str
    """Paths beginning with this change all the time: the journal's."""
    members: tuple[str, ...]
    """The Dask workers that have been looked at."""
    count: int
    """The maximum number of Dask workers to use."""
    symlinks: str = "follow"
    """The link policy of the walk: workers open files under it."""
    owner: str = ""
    """This machine and the job's target: of its jobs, only the newest counts."""

    def place(self) -> CoordinatorView:
        """Return the place that every worker must see."""
        return CoordinatorView(
            __version__, self.root, source_check.take_samples(self.root, self.but, self.symlinks), self.symlinks
        )

    def executor(self, brief: Brief, count: int) -> DaskExecutor:
        """Return the executor, with at most ``count`` workers here."""
        return DaskExecutor(replace(self, count=count), brief)

    def close(self) -> None:
        """Leave it."""
        with contextlib.suppress(Exception):  # it may have ended already
            self.client.close()


def connect_cluster(settings: Settings, root: str, journal: str, target: Target) -> Cluster:
    """Return the cluster of ``settings.scheduler`` after a check that its workers can read the source at ``root``.

    Raises SettingsError if they cannot, and EndpointError if there is no cluster.
    """
    client = _make_dask_client(settings)
    owner = f"{socket.gethostname()} {settings.endpoint_url} {target.bucket}/{target.prefix}"
    cluster = Cluster(client, settings.scheduler, root, journal, (), settings.workers or 0, settings.symlinks, owner)
    try:
        members = _list_dask_workers(cluster)
        _dismiss_dead_runs(cluster)
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


def _dismiss_dead_runs(cluster: Cluster) -> None:
    """End the workers of this target's dead runs. One that is not reached ends within seconds."""
    ask = partial(cluster.client.run, hosted_worker.dismiss_older_workers, cluster.owner, on_error="ignore")
    with contextlib.suppress(OSError, TimeoutError):
        cluster.client.sync(ask, callback_timeout=_LOOK)


def _check_workers_twice(cluster: Cluster, members: tuple[str, ...]) -> None:
    """Raise :class:`SettingsError` unless all ``members`` see the source; a file may change once meanwhile."""
    if _check_workers(cluster, members) and (trouble := _check_workers(cluster, members)):
        raise trouble


def _check_workers(cluster: Cluster, members: tuple[str, ...]) -> SettingsError | None:
    ask = partial(
        cluster.client.run,
        hosted_worker.check_coordinator_view,
        cluster.place(),
        workers=list(members),
        on_error="return",
    )
    try:
        answers = cluster.client.sync(ask, callback_timeout=_LOOK)
    except (OSError, TimeoutError) as error:
        raise EndpointError(f"the Dask workers do not answer: {error}") from None
    for member in members:
        words = answers.get(member, "it is gone")
        if words:
            hint = _INSTALL if isinstance(words, Exception) else _SHARED
            return SettingsError(f"Dask worker {member}: {words}", hint=hint)
    return None


# --- the executor ----------------------------------------------------------------------------


class _Seat:
    """One worker of the job in a Dask worker, and the work it is to be given."""

    def __init__(self, address: str, now: float) -> None:
        self.address = address
        self.token = uuid.uuid4().hex
        self.state = WorkerState(address)
        self.open = False
        self.number = 0
        self.asked: Any = None
        """The task under way; at most one, so nothing overtakes."""
        self.answered = now
        self.works: list[Work] = []
        self.words: dict[str, Any] = {}
        """Messages for the next exchange."""

    def release(self) -> None:
        """Let Dask forget the task."""
        if self.asked is not None:
            self.asked.release()
            self.asked = None


class _OpenResult(NamedTuple):
    """A worker is there, unless ``trouble`` says why not."""

    seat: _Seat
    trouble: str


class _ExchangeResult(NamedTuple):
    seat: _Seat
    answer: ExchangeResponse


class _Members(NamedTuple):
    """The Dask workers there are; ``None`` when the scheduler did not say."""

    addresses: tuple[str, ...] | None


class DaskExecutor:
    """The job's workers, in as many Dask workers as there were at the start. A lost one makes room for another."""

    def __init__(self, cluster: Cluster, brief: Brief) -> None:
        """``brief.limit`` and ``brief.bandwidth`` are per worker."""
        self._cluster = cluster
        self._client = cluster.client
        self._brief = brief
        self._arrived: queue.SimpleQueue[_OpenResult | _ExchangeResult | _Members] = queue.SimpleQueue()
        self._members = cluster.members
        self._asked_for_members = self._manned = time.monotonic()
        self._seats: dict[str, _Seat] = {}
        self._refused: dict[str, float] = {}
        self._trouble = "they have gone"
        self._dropped: list[Work] = []
        self._wanted = False
        """There is work, or has been: workers are kept."""
        self._draining = False

    # --- the coordinator's requests ------------------------------------------------------------

    def workers(self) -> Sequence[WorkerState]:
        """Return the existing workers; have some started if there are none."""
        if not self._seats:
            if not self._wanted:
                self._wanted, self._manned = True, time.monotonic()
            self._fill()
        return [seat.state for seat in self._seats.values() if seat.open]

    def dispatch(self, worker: WorkerState, works: list[Work]) -> None:
        """Hand ``works`` to one of them with its next exchange."""
        seat = self._seats[worker.name]
        seat.works += works
        if seat.asked is None:
            self._ask(seat)

    def poll(self, timeout: float) -> PollResult:
        """Return the results that arrived. Raises JobFailedError if the cluster is lost."""
        news = PollResult(dropped=self._dropped)
        self._dropped = []
        self._ask_for_members()
        for arrival in self._collect_arrivals(0.0 if news.dropped else timeout):
            self._hear(arrival, news)
        if self._client.status != "running":
            self._cut_off(news)
        else:
            self._hand_out()
        return news

    def sign_in_again(self, credentials: Credentials) -> None:
        """Tell every worker, and those still to be begun."""
        self._brief = replace(self._brief, endpoint=replace(self._brief.endpoint, credentials=credentials))
        self._tell_all("credentials", credentials)

    def sign_in_to_source(self, credentials: Credentials) -> None:
        """Tell every worker, and those still to be started, the credentials of a transfer's source."""
        if self._brief.source is not None:
            self._brief = replace(self._brief, source=self._brief.source.with_credentials(credentials))
        self._tell_all("source credentials", credentials)

    def learn(self, quirks: Quirks) -> None:
        """Tell every worker, and those still to be begun."""
        self._brief = replace(self._brief, quirks=quirks)
        self._tell_all("quirks", quirks)

    def throttle(self) -> None:
        """Halve every worker's window."""
        self._tell_all("narrow")

    def drain(self) -> None:
        """Keep work that was not handed out, and have the workers hand back work that they did not begin."""
        self._draining = True
        for seat in self._seats.values():
            seat.state.take_back(seat.works)
            self._dropped += seat.works
            seat.works = []
        self._tell_all("drain")

    def close(self) -> None:
        """End the job's workers; the Dask workers stay."""
        if self._client.status == "running":  # a cluster that is gone has ended them already
            with contextlib.suppress(Exception):
                self._client.sync(self._dismiss, callback_timeout=_DISMISS)
        for seat in self._seats.values():
            seat.release()
        self._seats.clear()

    def _tell_all(self, word: str, payload: object = None) -> None:
        for seat in self._seats.values():
            seat.words[word] = payload

    # --- members and seats --------------------------------------------------------------------

    def _ask_for_members(self) -> None:
        now = time.monotonic()
        if now - self._asked_for_members > _MEMBERS_EVERY:
            self._asked_for_members = now
            self._client.loop.add_callback(self._find_members)

    async def _find_members(self) -> None:
        """Find the members, on Dask's thread."""
        try:
            self._arrived.put(_Members(tuple(await self._client.nthreads())))
        except Exception:  # noqa: BLE001 - the client's status tells when it matters
            self._arrived.put(_Members(None))

    def _fill(self) -> None:
        """Begin workers where there are none yet."""
        now = time.monotonic()
        free = [
            address
            for address in self._members
            if address not in self._seats and now - self._refused.get(address, -_REFUSED) >= _REFUSED
        ][: max(0, self._cluster.count - len(self._seats))]
        if free and not self._draining:
            place, brief = self._cluster.place(), SealedValue(self._brief)
            for address in free:
                seat = self._seats[address] = _Seat(address, now)
                self._client.loop.add_callback(self._begin, seat, place, brief)

    async def _begin(self, seat: _Seat, place: CoordinatorView, brief: SealedValue) -> None:
        """Begin a worker, on Dask's thread. It is not sent as a task: one that a Dask worker cannot unpickle breaks it."""
        try:
            answers = await self._client.run(
                hosted_worker.begin_worker,
                seat.token,
                self._cluster.owner,
                place,
                brief,
                workers=[seat.address],
                on_error="return",
            )
            self._arrived.put(_OpenResult(seat, str(answers.get(seat.address, "it is gone"))))
        except Exception as error:  # noqa: BLE001 - after any error there is no worker
            self._arrived.put(_OpenResult(seat, f"{type(error).__name__}: {error}"))

    def _dismiss_one(self, seat: _Seat) -> None:
        """Tell one worker to end, without waiting for it."""
        run = partial(
            self._client.run, hosted_worker.dismiss_workers, [seat.token], workers=[seat.address], on_error="ignore"
        )
        self._client.loop.add_callback(run)

    async def _dismiss(self) -> None:
        """Tell all workers to end, on Dask's thread."""
        addresses = [seat.address for seat in self._seats.values()]
        tokens = [seat.token for seat in self._seats.values()]
        if addresses:
            await self._client.run(hosted_worker.dismiss_workers, tokens, workers=addresses, on_error="ignore")

    # --- handing out ----------------------------------------------------------------------------

    def _hand_out(self) -> None:
        """Start an exchange with every worker that has none and needs one."""
        now = time.monotonic()
        for seat in list(self._seats.values()):
            if not seat.open or seat.asked is not None:
                continue
            if not seat.state.given and now - seat.answered > _IDLE:
                del self._seats[seat.address]
            elif seat.state.given:
                self._ask(seat)
        if self._wanted:
            self._fill()

    def _ask(self, seat: _Seat) -> None:
        seat.number += 1
        ask = SealedValue(ExchangeRequest(pack_works(seat.works), seat.words))
        seat.words, seat.works = {}, []
        seat.asked = self._client.submit(
            hosted_worker.exchange_work, seat.token, seat.number, ask, key=f"s3batch-{seat.token}-{seat.number}", pure=False,
            workers=[seat.address], allow_other_workers=False, priority=_PRIORITY,
        )  # fmt: skip
        seat.asked.add_done_callback(partial(self._listen, seat))

    def _listen(self, seat: _Seat, task: Any) -> None:
        """Wait for the answer of an exchange, on Dask's thread."""
        try:
            answer: ExchangeResponse = task.result().open()
        except BaseException as error:  # noqa: BLE001 - also a cancelled task means that its works are lost
            answer = hosted_worker.make_empty_response(f"{type(error).__name__}: {error}")
        self._arrived.put(_ExchangeResult(seat, answer))

    # --- taking back ----------------------------------------------------------------------------

    def _collect_arrivals(self, timeout: float) -> Iterator[_OpenResult | _ExchangeResult | _Members]:
        with contextlib.suppress(queue.Empty):
            yield self._arrived.get(timeout=timeout) if timeout > 0 else self._arrived.get_nowait()
            while True:
                yield self._arrived.get_nowait()

    def _hear(self, arrival: _OpenResult | _ExchangeResult | _Members, news: PollResult) -> None:
        if isinstance(arrival, _Members):
            if arrival.addresses is not None:
                self._count(arrival.addresses, news)
        elif self._seats.get(arrival.seat.address) is not arrival.seat:
            return  # given up already
        elif isinstance(arrival, _OpenResult):
            self._opened(arrival.seat, arrival.trouble)
        else:
            self._take(arrival.seat, arrival.answer, news)

    def _opened(self, seat: _Seat, trouble: str) -> None:
        seat.open, seat.answered = not trouble, time.monotonic()
        if trouble:
            self._trouble = f"{seat.address}: {trouble}"
            self._refused[seat.address] = time.monotonic()
            del self._seats[seat.address]

    def _take(self, seat: _Seat, answer: ExchangeResponse, news: PollResult) -> None:
        seat.release()
        seat.answered = time.monotonic()
        results = unpack_results(answer.results)
        seat.state.on_results(results, answer.status or Status(seat.state.begun, seat.state.credit))
        news.results += results
        news.count(answer.requests, answer.doubts)
        dropped = unpack_works(answer.dropped)
        seat.state.take_back(dropped)
        news.dropped += dropped
        if answer.gone:
            self._lose_worker(seat, news)
        elif answer.silent > SILENCE or (answer.status and answer.status.stuck):
            work = seat.state.find(answer.busy_row)
            path = (answer.status.stuck if answer.status else "") or (work.operation.path if work else "")
            news.warnings.append(
                format_hang_warning(f"the worker in {seat.address}", max(SILENCE, answer.silent), path)
            )
            self._dismiss_one(seat)
            self._lose_worker(seat, news)

    def _lose_worker(self, seat: _Seat, news: PollResult) -> None:
        del self._seats[seat.address]
        seat.release()
        seat.state.begun = seat.state.totals[0] - len(seat.works)  # it may have begun the work that it was sent
        news.lose(seat.state)

    def _count(self, addresses: tuple[str, ...], news: PollResult) -> None:
        """Compare the members of the cluster with the workers of the job."""
        self._members = addresses
        for seat in [each for address, each in self._seats.items() if address not in addresses]:
            self._lose_worker(seat, news)
        if any(seat.open for seat in self._seats.values()):
            self._manned = time.monotonic()
        elif time.monotonic() - self._manned > _ABANDONED and not self._draining:
            raise JobFailedError(
                f"the Dask cluster at {self._cluster.address} has had no worker for this job for {_ABANDONED:g} s "
                f"({self._trouble})",
                hint="resume when it has one",
            )
        self._fill()

    def _cut_off(self, news: PollResult) -> None:
        """Report everything as lost: the scheduler is gone, and its workers with it."""
        for seat in list(self._seats.values()):
            self._lose_worker(seat, news)
        if not self._draining:
            words = f"the connection to the Dask scheduler at {self._cluster.address} is gone"
            raise JobFailedError(words, hint="resume when it is back")
