"""The event loop that carries out calls: many at once, one thread, no barrier between them.

An operation is a coroutine that awaits :func:`send_request` (one S3 call), :func:`run_in_thread` (a blocking function)
or :func:`sleep`. The transport runs as many as it is given. Each has at most one call under way, so the number of
running coroutines is the number of connections.

    start(coroutine) ──ask(call)──> sign, send on a kept connection ──answer──> coroutine goes on
                          │
                          └─ reference lane, or an unclear answer: boto3 on a thread decides

``window`` is the number of requests that the store accepts in flight: it opens by one with each answer,
is halved when the store says SlowDown, and then grows by one per round, as TCP does it.
"""

from __future__ import annotations

import contextlib
import heapq
import math
import selectors
import socket
import ssl
import time
import types
from collections import Counter, deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from s3batch.quirks import OVERRULED
from s3batch.s3 import bounds, clock, validation
from s3batch.s3.connection import BrokenConnectionError, Connection
from s3batch.s3.dialer import BundleError, Dialer
from s3batch.s3.errors import SKEWED, Fault, RequestError, fault_of, hides_error, puzzling
from s3batch.s3.gather import Gather, Gathering
from s3batch.s3.lazy_boto import without_secrets
from s3batch.s3.rate_limit import RateLimiter
from s3batch.s3.request_heads import HeadWriter
from s3batch.s3.requests import Request, Response, get_object, head_object
from s3batch.s3.sigv4 import Credentials, UnsafeTextError, refuse_breaks

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator, MutableSequence

    from s3batch.s3.dialer import Address
    from s3batch.s3.endpoint import Endpoint

    Carry = Callable[[Request], Response]

READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE
FIRST_WINDOW = 8
_READS = frozenset({"GET", "HEAD"})
_ELSEWHERE = ("AuthorizationHeaderMalformed", "BadRequest")
"""The codes of a store in another region beside a redirect; HEAD can only show BadRequest."""
_STALE_TRIES = 3
_KEPT_FOR = 60.0
"""Seconds: a device between the ends may drop an idle connection without telling either."""
_OPEN_WITHIN = 15.0
"""Seconds: a store that has not taken the connection by then is not there."""
_LESSONS = 2
"""Corrections that one call may learn: the bucket's region, the store's clock."""
_AGREED = 3
"""After so many refusals of one code that boto3 met too, boto3 is not asked about that code again."""


class ThreadCall(NamedTuple):
    """A blocking function to run on a thread."""

    function: Callable[[], Any]


class Sleep(NamedTuple):
    """Seconds to wait."""

    seconds: float


@types.coroutine
def send_request(call: Request) -> Generator[Request, Response, Response]:
    """Return S3's answer to ``call``, with any status. Raises :class:`RequestError` if none came.

    HEAD errors have no body, so an expired token looks like a missing permission. A GET then learns the error code.
    """
    answer = yield call
    # an expired token is a 400, a missing permission a 403
    if call.method == "HEAD" and answer.status in (400, 403) and call.key:
        words = yield get_object(call.key, 0, 0)
        answer = (yield call) if words.ok or words.status == 404 else words
    elif call.name in _TELL_ETAG and answer.ok and not validation.etag_in(answer):
        answer = validation.proved_by(call, answer, (yield head_object(call.key)))
    return answer


_TELL_ETAG = frozenset({"CopyObject", "CompleteMultipartUpload"})
"""Calls whose document names the new ETag; rclone and Ceph leave it out, and then HEAD has to show the object."""


@types.coroutine
def run_in_thread(function: Callable[[], Any]) -> Generator[ThreadCall, Any, Any]:
    """Run ``function`` on a thread and return its result; its exceptions are raised here."""
    return (yield ThreadCall(function))


@types.coroutine
def sleep(seconds: float) -> Generator[Sleep, None, None]:
    """Wait."""
    yield Sleep(seconds)


class Task:
    """A running coroutine and the call it waits for."""

    __slots__ = ("call", "coroutine", "done", "lessons", "row", "tries")

    def __init__(self, coroutine: Coroutine[Any, Any, Any], done: Callable[[Any], None], row: int) -> None:
        self.coroutine = coroutine
        self.done = done
        self.row = row
        self.call: Request | None = None
        self.tries = 0
        self.lessons = 0


class PooledConnection(Connection):
    """A connection of the lane, with its task and the events that the selector watches."""

    __slots__ = ("address", "begun", "deadline", "dialler", "task", "watched")

    task: Task | None
    watched: int
    deadline: float
    """When the response has to be complete, without the time for its bytes so far; monotonic seconds."""
    begun: float
    """When its request was begun; monotonic seconds."""
    address: Address
    dialler: Dialer


class Transport:
    """Carries out calls to one bucket. Not thread-safe: one thread owns it.

    An exception that a coroutine does not catch is a bug and comes out of :meth:`turn`.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        carrier: Callable[[Endpoint], Carry],
        *,
        limit: int = 64,
        bandwidth: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``carrier`` makes the function for calls through boto3; ``bandwidth`` is bytes per second, 0 for no limit."""
        self.limit = limit
        self.window: float = min(FIRST_WINDOW, limit)
        self.active = 0
        """Coroutines running."""
        self.requests: Counter[str] = Counter()
        """Requests sent, by S3's name; the reporter clears it."""
        self.doubts: Counter[str] = Counter()
        """Refusals of the lean lane that boto3 overruled, by S3's code; the reporter clears it."""
        self.throttled = 0
        self.page: MutableSequence[int] = [0, 0]
        """Its second place says which row the loop is busy with, for who looks on from outside; 0 for none."""
        self._changes_until = self._changes_until_at_most = math.inf
        self._unchanged: deque[Callable[[], None]] = deque()
        """Calls that would change the bucket, held back while they may not be sent."""
        self._carrier = carrier
        self._clock = clock
        self._slow_start = True
        self._narrowed = 0.0
        self._narrow_until = 0.0
        """The store asked for patience: until then the window does not open."""
        self._selector = selectors.DefaultSelector()
        self._idle: list[PooledConnection] = []
        self._lines: set[PooledConnection] = set()
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._timer_number = 0
        self._checked = 0.0
        self._overruled = 0
        self._agreed: Counter[str] = Counter()
        self._pace = RateLimiter(bandwidth, clock) if bandwidth else None
        self._held: deque[Callable[[], None]] = deque()
        """Those who wait for bandwidth; one in the midst of a body is first."""
        self._threads: ThreadPoolExecutor | None = None
        self._threadless = False
        self._from_threads: deque[tuple[Task, Any, BaseException | None, Response | None]] = deque()
        self._waker: tuple[socket.socket, socket.socket] | None = None
        self._dialler = Dialer(endpoint, clock)
        self._carry = carrier(endpoint)
        self.endpoint = endpoint
        self.use(endpoint)

    def use(self, endpoint: Endpoint) -> None:
        """Take a changed endpoint: fresh credentials, the bucket's real region, the other lane."""
        if (endpoint.server_name, endpoint.port) != (self.endpoint.server_name, self.endpoint.port):
            self._dialler = Dialer(endpoint, self._clock)
            for line in self._idle.copy():
                self._drop(line)
        if endpoint.through(self.endpoint.lane) != self.endpoint:
            self._carry = self._carrier(endpoint)
        self.endpoint = endpoint
        self._patience = endpoint.timeout + bounds.GRACE
        """Seconds that a response may take beside the time for its bytes."""
        self._check_every = min(1.0, endpoint.timeout / 4)
        """Seconds between checks for responses that take too long."""
        self._heads = HeadWriter(endpoint)

    def sign_in_again(self, credentials: Credentials) -> None:
        """Sign all further requests with ``credentials``."""
        if credentials != self.endpoint.credentials:
            self.use(replace(self.endpoint, credentials=credentials))

    # --- coroutines -------------------------------------------------------------------------

    @property
    def has_room(self) -> bool:
        """True if the store seems to take one more request at a time."""
        return self.active < self.window

    def start(self, coroutine: Coroutine[Any, Any, Any], done: Callable[[Any], None], row: int = 0) -> None:
        """Run ``coroutine``; ``done`` gets its result. ``row`` is the row of its operation."""
        self.active += 1
        self._resume(Task(coroutine, done, row))

    @property
    def may_change(self) -> bool:
        """True if calls that change the bucket are sent now."""
        return self._clock() < self._changes_until

    def forbid_changes(self) -> None:
        """Send no call that changes the bucket, ever again. Any thread may say so."""
        self._changes_until_at_most = self._changes_until = -math.inf

    def allow_changes(self, until: float) -> None:
        """Send calls that change the bucket until then (this lane's clock); hold back later ones until the next word."""
        self._changes_until = min(until, self._changes_until_at_most)
        while self._unchanged and self.may_change:
            self._unchanged.popleft()()

    def call(self, call: Request) -> Response:
        """Carry out one call and wait for its answer: for the coordinator's own few requests."""
        answer: Response = self.run(send_request(call))
        return answer

    def run(self, coroutine: Any) -> Any:
        """Run ``coroutine`` to its end and return its result."""
        box: list[Any] = []
        self.start(catch_call_error(coroutine), box.append)
        while not box:
            self.turn(1.0)
        if isinstance(box[0], RequestError):
            raise box[0]
        return box[0]

    def _resume(self, task: Task, value: object = None, error: BaseException | None = None) -> None:
        self.page[1] = task.row
        try:
            wish = task.coroutine.send(value) if error is None else task.coroutine.throw(error)
        except StopIteration as stop:
            self.active -= 1
            task.done(stop.value)
            return
        if type(wish) is Request:
            task.call, task.tries, task.lessons = wish, 0, 0
            self._ask(task, wish)
        elif type(wish) is ThreadCall:
            self._aside(task, wish.function)
        elif type(wish) is Gather:
            Gathering(self, wish, partial(self._resume, task)).go_on()
        else:
            self.later(wish.seconds, lambda: self._resume(task))

    # --- one exchange -----------------------------------------------------------------------

    def _ask(self, task: Task, call: Request) -> None:
        self.requests[call.name] += 1
        if self._pace is not None and (self._held or self._pace.empty):
            self._hold(lambda: self._go(task, call))
        else:
            self._go(task, call)

    def _go(self, task: Task, call: Request) -> None:
        if call.method not in _READS and not self._clock() < self._changes_until:
            self._unchanged.append(lambda: self._go(task, call))
        elif self.endpoint.lane != "reference":
            self._send(task, call)
        else:
            self._refer(task, call)

    def _refer(self, task: Task, call: Request) -> None:
        """Send through boto3."""
        try:
            refuse_breaks("the request", call.query, *call.headers, *call.headers.values())
        except UnsafeTextError as error:
            self._fail(task, call, Fault("UnsafeRequest", str(error)))
            return
        if self._pace is not None:
            self._pace.spend(len(call.body))
        self._through_boto(task, call)

    def _send(self, task: Task, call: Request, *, anew: bool = False) -> None:
        """Send on a kept connection, or on a new one."""
        now = self._clock()
        try:
            head = self._heads.of(call)
            line = self._kept(now) if self._idle and not anew else self._connect()
        except UnsafeTextError as error:
            self._fail(task, call, Fault("UnsafeRequest", str(error)))
            return
        except OSError as error:
            code = "Untrusted" if isinstance(error, BundleError) else "Connection"
            fault = Fault(code, f"cannot reach {self.endpoint.name()}: {error.strerror or error}")
            self._fail(task, call, fault)
            return
        line.task = task
        line.progress = now
        line.begun = now
        line.deadline = now + self._patience + (len(call.body) / bounds.SLOWEST if self._pace is None else math.inf)
        line.begin(head, call.body, call=call)
        if not line.handshaking:
            self._pump(line)

    def _kept(self, now: float) -> PooledConnection:
        """Return an idle connection that was used recently, or a new one."""
        while self._idle:
            line = self._idle.pop()
            if now - line.progress < _KEPT_FOR:
                return line
            self._drop(line)
        return self._connect()

    def _fail(self, task: Task, call: Request, fault: Fault) -> None:
        """Throw the fault into the coroutine in the next turn, so that a row of failures is no deep recursion."""
        self.later(0.0, lambda: self._resume(task, error=RequestError(call.name, call.key, fault)))

    def _pump(self, line: PooledConnection) -> None:
        """Send as much as possible, and watch the socket for the next event."""
        try:
            blocked = line.send()
        except BrokenConnectionError as error:
            self._broken(line, error)
            return
        if blocked and line.starved:
            self._watch(line, READ)
            self._hold(lambda: self._go_on(line), first=True)
            return
        if not line.is_sending:
            line.deadline = line.progress + self._patience
        self._watch(line, READ | WRITE if blocked else READ)

    def _go_on(self, line: PooledConnection) -> None:
        if line.task is not None:
            line.progress = self._clock()
            self._pump(line)

    def _hold(self, go: Callable[[], None], *, first: bool = False) -> None:
        """Call ``go`` when there is bandwidth for it."""
        if not self._held and self._pace is not None:
            self.later(self._pace.delay(), self._let_go)
        if first:
            self._held.appendleft(go)
        else:
            self._held.append(go)

    def _let_go(self) -> None:
        held, pace = self._held, self._pace
        if pace is None:
            return
        while held and not pace.empty:
            go = held.popleft()
            held.appendleft(_nothing)  # so that no other request overtakes, and no second timer is set
            go()
            held.remove(_nothing)
        if held:
            self.later(pace.delay(), self._let_go)

    def _ready(self, line: PooledConnection, events: int) -> None:
        line.progress = self._clock()
        if line.handshaking or events & WRITE:
            self._pump(line)
            if line.watched < 0 or line.handshaking:
                return
        if events & READ:
            try:
                answer = line.receive()
            except BrokenConnectionError as error:
                self._lost(line, error)
                return
            if answer is not None:
                self._answered(line, answer)

    def _answered(self, line: PooledConnection, answer: Response) -> None:
        task = line.task
        line.task = None
        if line.reusable and line.dialler is self._dialler:
            self._idle.append(line)
        else:
            self._drop(line)
        if task is None or task.call is None:
            return
        self._judge(task, task.call, answer)

    def _validated(self, call: Request, answer: Response) -> Response:
        """Return the answer after validation; a refusal without credentials, because it is kept and shown."""
        if (answer.status >= 300 or hides_error(answer)) and self.endpoint.credentials is not None:
            answer = without_secrets(answer, self.endpoint.credentials)
        return validation.validate(call, answer)

    def _judge(self, task: Task, call: Request, answer: Response) -> None:
        if validation.is_stored(call, answer):
            self._widen()
            self._resume(task, answer)
            return
        try:
            answer = self._validated(call, answer)
        except RequestError as error:
            self._fail(task, call, error.fault)
            return
        if self._count(answer) or answer.status == 404:
            self._resume(task, answer)
        elif task.lessons < _LESSONS and self._learns(answer):
            task.lessons += 1
            self._ask(task, call)
        elif puzzling(answer) and self._agreed[fault_of(answer).code] < _AGREED:
            self._through_boto(task, call, answer)
        else:
            self._resume(task, answer)

    def _count(self, answer: Response) -> bool:
        """Adjust window and bandwidth to the answer; return whether it was a success."""
        if self._pace is not None:
            self._pace.spend(len(answer.body))
        if answer.ok:
            self._widen()
            return True
        if answer.status in (429, 503) or (answer.status != 404 and fault_of(answer).throttled):
            self.narrow(fault_of(answer).retry_after)
            self.throttled += 1
        return False

    def _learns(self, answer: Response) -> bool:
        """Return whether the refusal shows how to ask better: in another region, or by the store's clock."""
        fault = fault_of(answer)
        if fault.region and (answer.status in (301, 307) or fault.code in _ELSEWHERE):
            if fault.region != self.endpoint.region:  # else another call in flight has taught it already
                self.use(self.endpoint.moved_to(fault.region))
            return True
        if fault.code != SKEWED or (offset := clock.offset_of(answer.headers)) is None:
            return False
        self._heads.learn_time(offset)
        return True

    def _broken(self, line: PooledConnection, error: BrokenConnectionError) -> None:
        """Handle a broken send; the store may have answered first with a refusal, which is then the answer."""
        try:
            answer = None if line.opening else line.receive()
        except BrokenConnectionError:
            answer = None
        if answer is None:
            self._lost(line, error)
            return
        task, line.task = line.task, None
        self._drop(line)
        if task is not None and task.call is not None:
            self._judge(task, task.call, answer)

    def _lost(self, line: PooledConnection, error: BrokenConnectionError) -> None:
        task, line.task = line.task, None
        self._drop(line)
        if task is None or task.call is None:
            return
        task.tries += 1
        if line.opening:
            again = task.tries < line.dialler.failed(line.address) and not error.distrusted
        else:
            stale = error.used and not error.timed_out and not error.malformed
            again = stale and task.tries < _STALE_TRIES and not _once_only(task.call)
        if again:
            self._again(task, task.call)
            return
        if error.malformed:
            unfit = validation.too_large if error.oversize else validation.malformed
            self._fail(task, task.call, unfit(task.call, str(error)).fault)
            return
        code = "Timeout" if error.timed_out else "Untrusted" if error.distrusted else "Connection"
        words = "cannot reach" if line.opening else "no answer from"
        self._fail(task, task.call, Fault(code, f"{words} {self.endpoint.name()}: {error}"))

    def _again(self, task: Task, call: Request) -> None:
        """Send the request of a lost connection once more."""
        if call.method in _READS or self.may_change:
            self.requests[call.name] += 1
            self._send(task, call, anew=True)
        else:
            self._unchanged.append(lambda: self._again(task, call))

    # --- connections ------------------------------------------------------------------------

    def _connect(self) -> PooledConnection:
        if self.endpoint.tls:
            known = (line.sock.session for line in self._lines if line.used and isinstance(line.sock, ssl.SSLSocket))
            self._dialler.session = next(known, self._dialler.session)
        sock, address = self._dialler.open()
        line = PooledConnection(sock, self._pace.grant if self._pace else None)
        line.task = None
        line.watched = READ | WRITE
        line.address, line.dialler = address, self._dialler
        self._selector.register(sock, READ | WRITE, line)
        self._lines.add(line)
        return line

    def _watch(self, line: PooledConnection, events: int) -> None:
        if line.watched != events and line.watched >= 0:
            self._selector.modify(line.sock, events, line)
            line.watched = events

    def _drop(self, line: PooledConnection) -> None:
        if line.watched < 0:
            return
        line.watched = -1
        with contextlib.suppress(KeyError):  # a signal that raises within modify() has the selector forget the socket
            self._selector.unregister(line.sock)
        self._lines.discard(line)
        if line in self._idle:
            self._idle.remove(line)
        line.close()

    # --- the loop ---------------------------------------------------------------------------

    def watch(self, sock: socket.socket, ready: Callable[[], None]) -> None:
        """Call ``ready`` whenever ``sock`` can be read."""
        self._selector.register(sock, READ, ready)

    def unwatch(self, sock: socket.socket) -> None:
        """Stop watching ``sock``."""
        self._selector.unregister(sock)

    def later(self, seconds: float, function: Callable[[], None]) -> None:
        """Call ``function`` in ``seconds``."""
        self._timer_number += 1
        heapq.heappush(self._timers, (self._clock() + seconds, self._timer_number, function))

    def turn(self, timeout: float) -> None:
        """Wait up to ``timeout`` seconds for something to happen, and deal with all that has."""
        if self._lines:
            timeout = min(timeout, self._check_every)
        if self._timers:
            timeout = min(timeout, max(0.0, self._timers[0][0] - self._clock()))
        for key, events in self._selector.select(timeout):
            line = key.data
            if type(line) is not PooledConnection:
                line()
            elif line.task is not None:
                self._ready(line, events)
            elif line.watched >= 0:  # an idle connection has nothing to say but goodbye
                self._drop(line)
        now = self._clock()
        while self._timers and self._timers[0][0] <= now:
            heapq.heappop(self._timers)[2]()
        if now - self._checked > self._check_every:
            self._checked = now
            self._time_out(now)
        self.page[1] = 0

    def _time_out(self, now: float) -> None:
        timeout = self.endpoint.timeout
        for line in list(self._lines):
            if line.task is None:
                continue
            limit = min(timeout, _OPEN_WITHIN) if line.opening else timeout
            words = ""
            if now - line.progress > limit and not line.starved:
                words = f"{'no connection' if line.opening else 'no data'} for {limit:g} s"
            elif now > line.deadline + line.received / bounds.SLOWEST and not self._is_kept_alive(line, now):
                words = f"the answer is not complete after {self._patience:g} s"
            if words:
                self._lost(line, BrokenConnectionError(words, used=line.used, timed_out=True))

    def _is_kept_alive(self, line: PooledConnection, now: float) -> bool:
        """Return whether S3 is still at work and sends spaces meanwhile; the rest of the response has its own time."""
        call = line.task.call if line.task else None
        if (
            call is None
            or not bounds.keeps_alive(call.name)
            or now > line.begun + bounds.KEPT_ALIVE
            or not line.is_kept_alive
        ):
            return False
        line.deadline = now + self._patience
        return True

    def close(self) -> None:
        """Close every connection and drop running requests."""
        for line in list(self._lines):
            line.task = None
            self._drop(line)
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
        for end in self._waker or ():
            end.close()
        self._selector.close()

    # --- the window -------------------------------------------------------------------------

    def _widen(self) -> None:
        if self.window < self.limit and not (self._narrow_until and self._is_patient()):
            self.window = min(self.limit, self.window + (1.0 if self._slow_start else 1.0 / self.window))

    def _is_patient(self) -> bool:
        """Return whether the store's Retry-After has not passed yet."""
        if self._clock() < self._narrow_until:
            return True
        self._narrow_until = 0.0
        return False

    def narrow(self, seconds: float = 0.0) -> None:
        """Halve the window, at most twice a second: answers of one burst tell one thing.

        It does not open again within ``seconds``, which the store asked for.
        """
        now = self._clock()
        self._narrow_until = max(self._narrow_until, now + seconds) if seconds else self._narrow_until
        if now - self._narrowed > 0.5:  # seconds
            self._narrowed = now
            self._slow_start = False
            self.window = max(1.0, min(self.window, self.active) / 2)

    # --- threads ----------------------------------------------------------------------------

    def _through_boto(self, task: Task, call: Request, refusal: Response | None = None) -> None:
        """Let boto3 send the call; ``refusal`` is the lean lane's answer."""
        self._aside(task, lambda: self._validated(call, self._carry(call)), refusal)

    def _aside(self, task: Task, function: Callable[[], Any], refusal: Response | None = None) -> None:
        if self._threads is None:
            self._threads = ThreadPoolExecutor(max(4, min(self.limit, 32)), "aside")
            receiver, waker = self._waker = socket.socketpair()
            receiver.setblocking(False)
            waker.setblocking(False)
            self.watch(receiver, self._collect)
        if not self._submitted(task, function, refusal):
            self._beside(task, function, refusal)

    def _submitted(self, task: Task, function: Callable[[], Any], refusal: Response | None) -> bool:
        """Return whether a thread takes it. Where no thread can be started, the lane's own has to, and blocks."""
        if self._threads is None or self._threadless:
            return False
        try:
            self._threads.submit(self._beside, task, function, refusal)
        except RuntimeError:  # no thread could be started; one that is there has it in its queue
            self._threadless = not self._threads._threads  # noqa: SLF001 - there is no other way to know
            return not self._threadless
        return True

    def _beside(self, task: Task, function: Callable[[], Any], refusal: Response | None) -> None:
        """Run ``function`` on a thread and pass its result or exception to the loop."""
        try:
            self._from_threads.append((task, function(), None, refusal))
        except Exception as error:  # noqa: BLE001 - handed to the coroutine, whose boundary it is
            self._from_threads.append((task, None, error, refusal))
        if self._waker is not None:
            with contextlib.suppress(OSError):  # full: the loop will wake anyway; closed: no task waits
                self._waker[1].send(b".")

    def _collect(self) -> None:
        if self._waker is not None:
            self._waker[0].recv(4096)
        while self._from_threads:
            task, value, error, refusal = self._from_threads.popleft()
            if refusal is not None:
                self._settle(task, value, refusal)
            else:
                if type(value) is Response:
                    self._count(value)
                self._resume(task, value, error)

    def _settle(self, task: Task, answer: Response | None, refusal: Response) -> None:
        """Settle a refusal of the lean lane: boto3's answer counts, if it got one."""
        code = fault_of(refusal).code
        if answer is None:
            self._resume(task, refusal)
            return
        if answer.ok:
            self.doubts[code] += 1
            self._overruled += 1
            if self._overruled == OVERRULED:
                self.use(replace(self.endpoint, lane="reference"))
        else:
            self._agreed[code] += 1
        self._resume(task, answer)


def _once_only(call: Request) -> bool:
    """Return whether a repeated call, after a lost answer, may do or answer something else than the first."""
    return "if-none-match" in call.headers or call.name == "CreateMultipartUpload"


def _nothing() -> None:
    """Hold a place in the queue for bandwidth."""


async def catch_call_error(coroutine: Any) -> Any:
    """Return the outcome of ``coroutine``, including its exception: the loop must go on either way."""
    try:
        return await coroutine
    except RequestError as error:
        return error
