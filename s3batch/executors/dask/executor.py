"""The executor on a Dask cluster: each Dask worker process hosts one worker, and tasks carry the messages.

    coordinator ──call: exchange(works)──> scheduler ──> Dask worker ──> hosted worker, its own thread
                <──────── results ────────           <──             <── whatever is done by now

An exchange carries hundreds of pieces of work, waits a moment, and returns finished results. The hosted worker goes on
meanwhile, so there is no barrier between exchanges. It is a call that the scheduler passes on, and no task: a task takes
ten messages where a call takes four, and six times the CPU (26 ms and 4). One task, which needs no thread, stays beside
each worker for as long as it lasts: so the cluster does not look idle. When Dask loses a process, its work is reported as
lost.

Dask's own threads only put messages into one queue; everything else runs on the coordinator's thread.
"""

from __future__ import annotations

import contextlib
import queue
import time
import uuid
from functools import partial
from typing import TYPE_CHECKING, Any

from s3batch.base.errors import JobFailedError
from s3batch.base.named_tuple import NamedTuple
from s3batch.executors import SILENCE, PollResult, Status, WorkerState, format_hang_warning
from s3batch.executors.dask import hosted_worker
from s3batch.executors.dask.cluster import accompany_worker
from s3batch.executors.dask.exchange import ExchangeRequest, ExchangeResponse, SealedValue, make_empty_response
from s3batch.executors.dask.target_check import ViewAnswer
from s3batch.executors.messages import MessagingExecutor
from s3batch.executors.worker_process import pack_works, unpack_results, unpack_works
from s3batch.s3.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from s3batch.executors.dask.cluster import Cluster
    from s3batch.executors.dask.exchange import CoordinatorView
    from s3batch.model import Work
    from s3batch.worker.context import Brief

_MEMBERS_EVERY = 1.0
_IDLE = 30.0
"""Seconds without an exchange after which a worker is started again: it may have given up the coordinator."""
_DISMISS = 3.0
"""Seconds to tell the workers to end; one that is not reached ends by itself."""
_REFUSED = 10.0
"""Seconds before a Dask worker that did not see the shared place is asked again."""
_ABANDONED = 60.0
"""Seconds without any worker before the job stops."""
_PRIORITY = 10
"""Before the tasks of others, because it takes no thread."""


class _Seat:
    """One worker of the job in a Dask worker, and the work it is to be given."""

    def __init__(self, address: str, now: float) -> None:
        self.address = address
        self.token = uuid.uuid4().hex
        self.state = WorkerState(address)
        self.open = False
        self.number = 0
        self.asked = False
        """An exchange is under way; at most one, so nothing overtakes."""
        self.companion: Any = None
        """The task that shows Dask that the worker is at work."""
        self.answered = now
        self.works: list[Work] = []
        self.words: dict[str, Any] = {}
        """Messages for the next exchange."""

    def release(self) -> None:
        """Let Dask forget the task."""
        if self.companion is not None:
            self.companion.release()
            self.companion = None


class _OpenResult(NamedTuple):
    """A worker is there, unless the answer says why not."""

    seat: _Seat
    answer: ViewAnswer


class _ExchangeResult(NamedTuple):
    seat: _Seat
    answer: ExchangeResponse


class _Members(NamedTuple):
    """The Dask workers there are; ``None`` when the scheduler did not say."""

    addresses: tuple[str, ...] | None


class DaskExecutor(MessagingExecutor):
    """The job's workers, in as many Dask workers as there were at the start. A lost one makes room for another."""

    def __init__(self, cluster: Cluster, brief: Brief, count: int) -> None:
        """``brief.limit`` and ``brief.bandwidth`` are per worker; ``count``: the most workers there are."""
        super().__init__(brief)
        self._cluster = cluster
        self._count = count
        self._client = cluster.client
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
        if not seat.asked:
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

    def drain(self) -> None:
        """Keep work that was not handed out, and have the workers hand back work that they did not begin."""
        self._draining = True
        for seat in self._seats.values():
            seat.state.take_back(seat.works)
            self._dropped += seat.works
            seat.works = []
        self.tell_all("drain")

    def close(self) -> None:
        """End the job's workers; the Dask workers stay."""
        if self._client.status == "running":  # a cluster that is gone has ended them already
            with contextlib.suppress(Exception):
                self._client.sync(self._dismiss, callback_timeout=_DISMISS)
        for seat in self._seats.values():
            seat.release()
        self._seats.clear()

    def tell_all(self, word: str, payload: object = None) -> None:
        """Send a message to every worker there is."""
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
        ][: max(0, self._count - len(self._seats))]
        if free and not self._draining:
            place, brief = self._cluster.place.make_view(), SealedValue(self._brief)
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
            answer = answers.get(seat.address, ViewAnswer("it is gone"))
            answer = answer if isinstance(answer, ViewAnswer) else ViewAnswer(str(answer))
        except Exception as error:  # noqa: BLE001 - after any error there is no worker
            answer = ViewAnswer(f"{type(error).__name__}: {error}")
        self._arrived.put(_OpenResult(seat, answer))

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
            if not seat.open or seat.asked:
                continue
            if not seat.state.given and now - seat.answered > _IDLE:
                seat.release()
                del self._seats[seat.address]
            elif seat.state.given:
                self._ask(seat)
        if self._wanted:
            self._fill()

    def _ask(self, seat: _Seat) -> None:
        seat.number += 1
        ask = SealedValue(ExchangeRequest(pack_works(seat.works), seat.words))
        seat.words, seat.works = {}, []
        seat.asked = True
        self._client.loop.add_callback(self._exchange, seat, seat.number, ask)

    async def _exchange(self, seat: _Seat, number: int, request: SealedValue) -> None:
        """Carry out an exchange, on Dask's thread. It is repeated once: it is numbered, so the worker does it once."""
        call = partial(
            self._client.run, hosted_worker.exchange_work, seat.token, number, request, workers=[seat.address],
            on_error="return",
        )  # fmt: skip
        answer = make_empty_response("it is gone")
        for _ in range(2):
            try:
                answered = (await call()).get(seat.address)
            except Exception as error:  # noqa: BLE001 - after any error the answer is missing
                answered = error
            if isinstance(answered, SealedValue):
                answer = answered.open()
                break
            answer = make_empty_response(f"{type(answered).__name__}: {answered}")
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
                self._compare_members(arrival.addresses, news)
        elif self._seats.get(arrival.seat.address) is not arrival.seat:
            return  # given up already
        elif isinstance(arrival, _OpenResult):
            self._opened(arrival.seat, arrival.answer)
        else:
            self._take(arrival.seat, arrival.answer, news)

    def _opened(self, seat: _Seat, answer: ViewAnswer) -> None:
        trouble = answer.trouble or self._cluster.place.find_trouble(answer, seat.address)
        seat.open, seat.answered = not trouble, time.monotonic()
        if trouble:
            if not answer.trouble:
                self._dismiss_one(seat)
            self._trouble = f"{seat.address}: {trouble}"
            self._refused[seat.address] = time.monotonic()
            del self._seats[seat.address]
        else:
            seat.companion = self._client.submit(
                accompany_worker, seat.token, key=f"s3batch-{seat.token}", pure=False, workers=[seat.address],
                allow_other_workers=False, priority=_PRIORITY,
            )  # fmt: skip

    def _take(self, seat: _Seat, answer: ExchangeResponse, news: PollResult) -> None:
        seat.asked, seat.answered = False, time.monotonic()
        results = unpack_results(answer.results)
        status = answer.status or Status(seat.state.begun, seat.state.credit)
        news.sent += seat.state.on_results(results, status, answer.stored)
        news.is_served = news.is_served or status.is_served
        news.results += results
        news.stored += answer.stored
        news.add_tally(Tally(*answer.tally))
        dropped = unpack_works(answer.dropped)
        seat.state.take_back(dropped)
        news.dropped += dropped
        if answer.gone:
            self._dismiss_one(seat)  # it may only be out of reach
            self._lose_worker(seat, news)
        elif answer.silent > SILENCE or (answer.status and answer.status.stuck):
            path = (answer.status.stuck if answer.status else "") or seat.state.find_path(answer.busy_row)
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

    def _compare_members(self, addresses: tuple[str, ...], news: PollResult) -> None:
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
                remedy="wait until it has one",
            )
        self._fill()

    def _cut_off(self, news: PollResult) -> None:
        """Report everything as lost: the scheduler is gone, and its workers with it."""
        for seat in list(self._seats.values()):
            self._lose_worker(seat, news)
        if not self._draining:
            words = f"the connection to the Dask scheduler at {self._cluster.address} is gone"
            raise JobFailedError(words, remedy="wait until it is back")
