"""Carries out calls: many at once, on one thread, with no barrier between them.

An operation is a coroutine that awaits :func:`~s3batch.s3.calls.send_request` (one S3 call),
:func:`~s3batch.s3.event_loop.run_in_thread` or :func:`~s3batch.s3.event_loop.sleep`. Each has at most one call under
way, and a connection for it.

    start(coroutine) ──call──> sign, send on a kept connection ──response──> coroutine goes on
                         └─ lane "reference", or an unclear response: boto3 on a thread decides

:mod:`.event_loop` runs coroutines, :mod:`.connection_pool` keeps connections, :mod:`.congestion_window` and
:mod:`.bandwidth_queue` limit requests and bytes, :mod:`.write_gate` holds back writes, :mod:`.expected_heads` is the short
way of a HEAD, :mod:`.boto_fallback` decides what boto3 sends. :class:`Transport` sends, judges, and resumes the coroutine.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any

from s3batch.s3 import bounds, clock, validation
from s3batch.s3.bandwidth_queue import BandwidthQueue
from s3batch.s3.boto_fallback import BotoFallback
from s3batch.s3.calls import catch_request_error, may_repeat, send_request
from s3batch.s3.congestion_window import CongestionWindow
from s3batch.s3.connection import BrokenConnectionError
from s3batch.s3.connection_pool import ConnectionPool
from s3batch.s3.dialer import BundleError
from s3batch.s3.event_loop import READ, WRITE, EventLoop
from s3batch.s3.expected_heads import receive_expected, send_expected
from s3batch.s3.faults import SKEWED, THROTTLED_STATUSES, Fault, RequestError, fault_of
from s3batch.s3.masking import validate_masked
from s3batch.s3.plain_heads import PlainHeadWriter
from s3batch.s3.plain_request import GeneralWay, PlainRequests
from s3batch.s3.request_heads import HeadWriter
from s3batch.s3.requests import Request, Response
from s3batch.s3.sigv4 import Credentials, UnsafeTextError, refuse_breaks
from s3batch.s3.tally import GATEWAY_STATUSES, Tally, leaves_in_doubt, list_written_keys
from s3batch.s3.write_gate import WriteGate

if TYPE_CHECKING:
    from collections.abc import Callable

    from s3batch.s3.boto_fallback import Send
    from s3batch.s3.connection_pool import PooledConnection
    from s3batch.s3.endpoint import Endpoint
    from s3batch.s3.event_loop import Task
    from s3batch.s3.head_forms import ExpectedHead
    from s3batch.settings.bandwidth import Bandwidth

_READS = frozenset({"GET", "HEAD"})
_ELSEWHERE = ("AuthorizationHeaderMalformed", "BadRequest")
"""The codes of a store in another region beside a redirect; HEAD can only show BadRequest."""
_MOMENT = 0.25
"""Seconds that a caller waits at most before it looks whether its job is to stop."""
_STALE_TRIES, _LESSONS = 3, 2
"""The latter: corrections that one call may learn: the bucket's region, the store's clock."""


class Transport:
    """Carries out calls to one bucket. Not thread-safe: one thread owns it.

    A request that succeeds takes the hottest path of the program: about 20 µs of CPU, measured with 20,000 PUTs of 4 KiB.
    A method call takes 0.05 µs of that. So this path calls each collaborator directly, and once.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        carrier: Callable[[Endpoint], Send],
        *,
        limit: int = 64,
        bandwidth: Bandwidth = 0.0,
        clock: Callable[[], float] = time.monotonic,
        target: Transport | None = None,
    ) -> None:
        """``carrier`` makes the function for calls through boto3; ``bandwidth`` is bytes per second, 0 for no limit, or a timetable.

        With a ``target`` this is the transport of the source: it shares loop, window, bandwidth and counts with it.
        """
        self.endpoint = endpoint
        self.source: Transport | None = None
        """The transport of the source, where that is in S3 too."""
        self.requests: Counter[str] = Counter() if target is None else target.requests
        """Requests sent, by S3's name; :meth:`take_tally` clears it."""
        self.unheard: list[str] = []
        """See :attr:`Tally.unheard`."""
        self.wire = [0]
        """Bytes of bodies on the wire so far, in its only place. What a source sends travels on as a body of the target's."""
        self.loop: EventLoop = target.loop if target else EventLoop(self._begin, clock, threads=max(4, min(limit, 32)))
        self.window: CongestionWindow = target.window if target else CongestionWindow(limit, clock)
        self.writes = WriteGate(clock)
        self.fallback = BotoFallback(carrier, endpoint)
        self._clock = clock
        self._bandwidth = BandwidthQueue(bandwidth, self.loop) if bandwidth else None
        if target is not None:
            self._bandwidth = target._bandwidth  # noqa: SLF001 - of this class
            target.source, self.loop.on_source_call = self, self._begin
        grant = self._bandwidth.limiter.grant if self._bandwidth else None
        self._pool = ConnectionPool(endpoint, self.loop, self._on_event, grant, self.wire)
        general = GeneralWay(self._begin, self._pump, self._on_broken)
        self.plain = PlainRequests(self._pool, self.loop, self.window, self.writes, self.requests, self.wire, general)
        self._heads = self._make_heads(endpoint)
        if target is None:
            self.loop.on_expected_head = self._begin_expected
        self._checked = 0.0
        self.check: Callable[[], None] = lambda: None
        """Called while a caller waits for an answer; it may raise what stops the job."""

    def use(self, endpoint: Endpoint) -> None:
        """Take a changed endpoint: fresh credentials, the bucket's real region, the other lane."""
        self._pool.use(endpoint)
        self.fallback.use(endpoint)
        self.endpoint = endpoint
        self._heads = self._make_heads(endpoint)

    def _make_heads(self, endpoint: Endpoint) -> HeadWriter:
        heads = HeadWriter(endpoint)
        is_short = heads.signer and endpoint.lane != "reference" and self._bandwidth is None
        self.plain.use(PlainHeadWriter(endpoint, heads.signer) if heads.signer and is_short else None)
        return heads

    def take_tally(self) -> Tally:
        """Return what was counted and left unanswered since the last call."""
        overruled = self.fallback.overruled
        tally = Tally(dict(self.requests), dict(overruled), self.unheard)
        self.requests.clear()
        overruled.clear()
        self.unheard = []
        return tally

    def update_credentials(self, credentials: Credentials) -> None:
        """Sign all further requests with ``credentials``."""
        if credentials != self.endpoint.credentials:
            self.use(self.endpoint._replace(credentials=credentials))

    # --- coroutines -------------------------------------------------------------------------

    @property
    def has_capacity(self) -> bool:
        """True if the store seems to take one more request at a time."""
        return self.loop.active - self.loop.parked < self.window.size

    def throttle(self, retry_after: float = 0.0) -> None:
        """Send fewer requests at a time; and not more again within ``retry_after`` seconds."""
        self.window.throttle(self.loop.active, retry_after)

    def call(self, request: Request) -> Response:
        """Carry out one call and wait for its answer: for the coordinator's own few requests."""
        response: Response = self.run(send_request(request))
        return response

    def run(self, coroutine: Any) -> Any:
        """Run ``coroutine`` to its end and return its result."""
        box: list[Any] = []
        self.loop.start(catch_request_error(coroutine), box.append)
        while not box:
            self.wait_a_moment()
        if isinstance(box[0], RequestError):
            raise box[0]
        return box[0]

    def wait_a_moment(self, most: float = _MOMENT) -> None:
        """Take a turn of up to ``most`` seconds while a caller waits; what stops its job raises."""
        self.turn(most)
        self.check()

    def turn(self, timeout: float) -> None:
        """Wait up to ``timeout`` seconds for something to happen, and deal with all that has."""
        pool, source = self._pool, self.source
        waits = pool.connections or (source is not None and source._pool.connections)  # noqa: SLF001 - of this class
        now = self.loop.turn(min(timeout, pool.check_every) if waits else timeout)
        if now - self._checked > pool.check_every:
            self._checked = now
            self._drop_overdue(now)
            if source is not None:
                source._drop_overdue(now)  # noqa: SLF001 - as above

    def _drop_overdue(self, now: float) -> None:
        for connection, error in self._pool.find_overdue(now):
            self._on_lost(connection, error)

    def close(self) -> None:
        """Close every connection and drop running requests."""
        self._pool.close()
        if self.source is not None:
            self.source._pool.close()  # noqa: SLF001 - of this class
        self.loop.close()

    # --- sending ----------------------------------------------------------------------------

    def _begin_expected(self, task: Task, wish: ExpectedHead) -> None:
        """Send a HEAD in the short way, or as any other request."""
        may = self._bandwidth is None and self.endpoint.lane != "reference"
        if may and send_expected(self._pool, self._heads, task, wish, self._clock()):
            self.requests[wish.request.name] += 1
        else:
            self._begin(task, wish.request)

    def _begin(self, task: Task, request: Request) -> None:
        self.requests[request.name] += 1
        if self._bandwidth is not None and self._bandwidth.must_wait:
            self._bandwidth.hold(lambda: self._go(task, request))
        else:
            self._go(task, request)

    def _go(self, task: Task, request: Request) -> None:
        if request.method not in _READS and not self.writes.is_open:
            self.writes.hold(lambda: self._go(task, request))
        elif self.endpoint.lane != "reference" and (not request.bucket or self.endpoint.path_style):
            self._send(task, request)
        else:
            self._send_through_boto(task, request)

    def _send(self, task: Task, request: Request, *, anew: bool = False) -> None:
        """Send on a kept connection, or on a new one."""
        now = self._clock()
        try:
            head = self._heads.of(request)
            connection = self._pool.connect() if anew else self._pool.take(now)
        except UnsafeTextError as error:
            self._fail(task, request, Fault("UnsafeRequest", str(error)))
            return
        except OSError as error:
            code = "Untrusted" if isinstance(error, BundleError) else "Connection"
            fault = Fault(code, f"cannot reach {self.endpoint.name()}: {error.strerror or error}")
            self._fail(task, request, fault)
            return
        connection.task = task
        connection.progress = now
        connection.begun = now
        body_time = len(request.body) / bounds.SLOWEST if self._bandwidth is None else math.inf
        connection.deadline = now + self._pool.patience + body_time
        connection.begin(head, request.body, request=request)
        if not connection.handshaking:
            self._pump(connection)

    def _pump(self, connection: PooledConnection) -> None:
        """Send as much as possible, and watch the socket for the next event."""
        try:
            blocked = connection.send()
        except BrokenConnectionError as error:
            self._on_broken(connection, error)
            return
        if blocked and connection.starved and self._bandwidth is not None:
            self._pool.watch(connection, READ)
            self._bandwidth.hold(lambda: self._go_on(connection), first=True)
            return
        if not connection.is_sending:
            connection.deadline = connection.progress + self._pool.patience
            self.plain.note_sent(connection)
        self._pool.watch(connection, READ | WRITE if blocked else READ)

    def _go_on(self, connection: PooledConnection) -> None:
        if connection.task is not None:
            connection.progress = self._clock()
            self._pump(connection)

    def _fail(self, task: Task, request: Request, fault: Fault) -> None:
        self.loop.fail(task, RequestError(request.name, request.key, fault))

    # --- events of a connection -------------------------------------------------------------

    def _on_event(self, connection: PooledConnection, events: int) -> None:
        task = connection.task
        if task is None:  # an idle connection has nothing to say but goodbye
            self._pool.drop(connection)
            return
        connection.progress = self._clock()
        if connection.handshaking or events & WRITE:
            self._pump(connection)
            if connection.watched < 0 or connection.handshaking:
                return
        if events & READ:
            plain, wish = connection.plain, connection.expects
            response: Response | float | None
            try:
                if plain is not None:
                    response = self.plain.receive(connection, plain)
                else:
                    response = connection.receive() if wish is None else receive_expected(connection, wish)
            except BrokenConnectionError as error:
                self._on_lost(connection, error)
                return
            if connection.choked and self._bandwidth is not None:
                self._pool.watch(connection, 0)
                self._bandwidth.hold(partial(self._read_on, connection), first=True)
            elif response is not None:
                connection.task = None
                self._pool.put_back(connection)
                seconds = connection.progress - connection.begun
                if isinstance(response, float):
                    self.window.grow(seconds)
                    self.loop.resume(task, response)
                elif task.call is not None:
                    self._judge(task, task.call, response, seconds)

    def _read_on(self, connection: PooledConnection) -> None:
        """Read on where the bandwidth limit ended a read; the time for the answer begins again."""
        if connection.watched == 0 and connection.task is not None:
            connection.choked = False
            connection.deadline = self._clock() + self._pool.patience
            self._pool.watch(connection, READ)
            self._on_event(connection, READ)

    def _on_broken(self, connection: PooledConnection, error: BrokenConnectionError) -> None:
        """Handle a broken send; the store may have answered first with a refusal, which is then the answer."""
        try:
            response = None if connection.opening else connection.receive()
        except BrokenConnectionError:
            response = None
        if response is None:
            self._on_lost(connection, error)
            return
        task, connection.task = connection.task, None
        self._pool.drop(connection)
        if task is not None and task.call is not None:
            self._judge(task, task.call, response)

    def _on_lost(self, connection: PooledConnection, error: BrokenConnectionError) -> None:
        """Handle a connection that broke without a response: send the request again, or fail it."""
        task, connection.task = connection.task, None
        self._pool.drop(connection)
        if task is None or task.call is None:
            return
        task.tries += 1
        if not (connection.opening or connection.is_sending):  # no store can have a part of a request
            self.unheard += list_written_keys(task.call)
        if connection.opening:
            again = task.tries < connection.dialer.failed(connection.address) and not error.distrusted
        else:
            stale = error.used and not error.timed_out and not error.malformed
            again = stale and task.tries < _STALE_TRIES and may_repeat(task.call)
        if again:
            self._send_again(task, task.call)
            return
        if error.malformed:
            unfit = validation.too_large if error.oversize else validation.malformed_response
            self._fail(task, task.call, unfit(task.call, str(error)).fault)
            return
        code = "Timeout" if error.timed_out else "Untrusted" if error.distrusted else "Connection"
        words = "cannot reach" if connection.opening else "no answer from"
        self._fail(task, task.call, Fault(code, f"{words} {self.endpoint.name()}: {error}"))

    def _send_again(self, task: Task, request: Request) -> None:
        """Send the request of a lost connection once more."""
        if request.method in _READS or self.writes.is_open:
            self.requests[request.name] += 1
            self._send(task, request, anew=True)
        else:
            self.writes.hold(lambda: self._send_again(task, request))

    # --- judging the response ---------------------------------------------------------------

    def _judge(self, task: Task, request: Request, response: Response, seconds: float = 0.0) -> None:
        if validation.is_stored(request, response) or (
            self._bandwidth is None
            and (validation.is_found(request, response) or validation.is_fetched(request, response))
        ):
            self.window.grow(seconds)
            self.loop.resume(task, response)
            return
        try:
            response = validate_masked(request, response, self.endpoint)
        except RequestError as error:  # a proxy's page, for instance: the store may have the request
            self.unheard += list_written_keys(request)
            self._fail(task, request, error.fault)
            return
        if response.status in GATEWAY_STATUSES:
            self.unheard += list_written_keys(request)
        if self._bandwidth is not None and request.name != "GetObject":  # that was granted as it came
            self._bandwidth.limiter.spend(len(response.body))
        if self._count(response, seconds) or response.status == 404:
            self.loop.resume(task, response)
        elif task.lessons < _LESSONS and not request.bucket and self._learns(response):
            task.lessons += 1
            self._begin(task, request)
        elif self.fallback.doubts(response):
            self._ask_boto(task, request, response)
        else:
            self.loop.resume(task, response)

    def _count(self, response: Response, seconds: float = 0.0) -> bool:
        """Adjust the window to the answer; return whether it was a success."""
        if response.ok:
            self.window.grow(seconds)
            return True
        if response.status in THROTTLED_STATUSES or (response.status != 404 and fault_of(response).throttled):
            self.throttle(fault_of(response).retry_after)
        return False

    def _learns(self, response: Response) -> bool:
        """Return whether the refusal shows how to ask better: in another region, or by the store's clock."""
        fault = fault_of(response)
        if fault.region and (response.status in (301, 307) or fault.code in _ELSEWHERE):
            if fault.region != self.endpoint.region:  # else another call in flight has taught it already
                self.use(self.endpoint.moved_to(fault.region))
            return True
        if fault.code != SKEWED or (offset := clock.offset_of(response.headers)) is None:
            return False
        self._heads.learn_time(offset)
        return True

    # --- boto3 ------------------------------------------------------------------------------

    def _send_through_boto(self, task: Task, request: Request) -> None:
        try:
            refuse_breaks("the request", request.query, *request.headers, *request.headers.values())
        except UnsafeTextError as error:
            self._fail(task, request, Fault("UnsafeRequest", str(error)))
            return
        if self._bandwidth is not None:
            self._bandwidth.limiter.spend(len(request.body))
        self._ask_boto(task, request)

    def _ask_boto(self, task: Task, request: Request, refusal: Response | None = None) -> None:
        """Let boto3 send the call on a thread; ``refusal`` is the native client's answer."""

        def send() -> Response:
            return validate_masked(request, self.fallback.send(request), self.endpoint)

        self.loop.submit(send, partial(self._on_boto, task, refusal))

    def _on_boto(
        self, task: Task, refusal: Response | None, response: Response | None, error: BaseException | None
    ) -> None:
        """Go on with boto3's answer, or with the refusal before it if boto3 got none."""
        if task.call is not None and leaves_in_doubt(response, error):
            self.unheard += list_written_keys(task.call)
        if refusal is not None:
            response = self.fallback.settle(refusal, response)
            if self.fallback.takes_all and self.endpoint.lane != "reference":
                self.use(self.endpoint.through("reference"))
            error = None
        elif response is not None:
            if self._bandwidth is not None:
                self._bandwidth.limiter.spend(len(response.body))
            self._count(response)
            self.wire[0] += len(task.call.body) if task.call is not None else 0
        self.loop.resume(task, response, error)
