"""The event loop that carries out calls: many at once, one thread, no barrier between them.

An operation is a coroutine that awaits :func:`ask` (one S3 call), :func:`aside` (a blocking function
on a thread) or :func:`pause`. The lane runs as many as it is given; each has at most one call under
way, so the number of running coroutines is the number of connections.

    start(coroutine) ──ask(call)──> sign, send on a kept connection ──answer──> coroutine goes on
                          │
                          └─ reference lane, or an answer that puzzles us: boto3 on a thread decides

``window`` is how many requests the store seems to like in flight: it opens by one with each answer,
is halved when the store says SlowDown, and then grows by one per round, as TCP does it.
"""

from __future__ import annotations

import hashlib
import heapq
import selectors
import socket
import ssl
import time
import types
from collections import Counter, deque
from concurrent.futures import ThreadPoolExecutor
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from s3batch import __version__
from s3batch.s3.calls import Answer, Call
from s3batch.s3.faults import CallError, Fault, fault_of, hides_error, puzzling
from s3batch.s3.sigv4 import EMPTY_SHA256, UNSIGNED, Credentials, Signer
from s3batch.s3.wire import BrokenConnectionError, Connection

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator

    from s3batch.s3.endpoint import Endpoint

READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE
FIRST_WINDOW = 8
_STALE_TRIES = 3
_RESOLVE_EVERY = 60.0
"""Seconds; S3's names have a short life and many addresses."""


class Aside(NamedTuple):
    """A blocking function to run on a thread."""

    function: Callable[[], Any]


class Pause(NamedTuple):
    """Seconds to wait."""

    seconds: float


@types.coroutine
def ask(call: Call) -> Generator[Call, Answer, Answer]:
    """S3's answer to ``call``, whatever its status. Raises :class:`CallError` when none came."""
    return (yield call)


@types.coroutine
def aside(function: Callable[[], Any]) -> Generator[Aside, Any, Any]:
    """What ``function`` returns, run on a thread; what it raises is raised here."""
    return (yield Aside(function))


@types.coroutine
def pause(seconds: float) -> Generator[Pause, None, None]:
    """Wait."""
    yield Pause(seconds)


class _Task:
    """A running coroutine and the call it waits for."""

    __slots__ = ("call", "connection", "coroutine", "done", "skewed", "tries")

    def __init__(self, coroutine: Coroutine[Any, Any, Any], done: Callable[[Any], None]) -> None:
        self.coroutine = coroutine
        self.done = done
        self.call: Call | None = None
        self.tries = 0
        self.skewed = False


class _Line(Connection):
    """A connection as the lane keeps it: who waits on it, and what the selector watches."""

    __slots__ = ("task", "watched")

    task: _Task | None
    watched: int


class Lane:
    """Carries out calls to one bucket. Not thread-safe: one thread owns it.

    An exception that a coroutine does not catch is a bug and comes out of :meth:`turn`.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        carry: Callable[[Call], Answer],
        *,
        limit: int = 64,
        bandwidth: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``carry`` does a call through boto3, blocking; ``bandwidth`` is bytes per second, 0 for no limit."""
        self.limit = limit
        self.window: float = min(FIRST_WINDOW, limit)
        self.active = 0
        """Coroutines running."""
        self.requests: Counter[str] = Counter()
        """Requests sent, by S3's name; whoever reports them clears it."""
        self.doubts: Counter[str] = Counter()
        """Answers that puzzled the lean lane, by S3's code; boto3 decided."""
        self.throttled = 0
        self._carry = carry
        self._clock = clock
        self._slow_start = True
        self._narrowed = 0.0
        self._selector = selectors.DefaultSelector()
        self._idle: list[_Line] = []
        self._lines: set[_Line] = set()
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._timer_number = 0
        self._addresses: deque[Any] = deque()
        self._resolved = 0.0
        self._checked = 0.0
        self._skew = 0.0
        self._pace = Pace(bandwidth, clock) if bandwidth else None
        self._threads: ThreadPoolExecutor | None = None
        self._from_threads: deque[tuple[_Task, Any, BaseException | None]] = deque()
        self._waker: socket.socket | None = None
        self._tls: ssl.SSLContext | None = None
        self.use(endpoint)

    def use(self, endpoint: Endpoint) -> None:
        """Take a changed endpoint: fresh credentials, the bucket's real region."""
        self.endpoint = endpoint
        self._host = endpoint.host_header
        self._signer = Signer(endpoint.credentials, endpoint.region) if endpoint.credentials else None

    def sign_in_again(self, credentials: Credentials) -> None:
        """Sign what is sent from now on with ``credentials``."""
        self._signer = Signer(credentials, self.endpoint.region)

    # --- coroutines -------------------------------------------------------------------------

    @property
    def has_room(self) -> bool:
        """Whether the store seems to take one more request at a time."""
        return self.active < self.window

    def start(self, coroutine: Coroutine[Any, Any, Any], done: Callable[[Any], None]) -> None:
        """Run ``coroutine``; ``done`` gets what it returns."""
        self.active += 1
        self._resume(_Task(coroutine, done))

    def call(self, call: Call) -> Answer:
        """Carry out one call and wait for its answer: for the coordinator's own few requests."""
        answer: Answer = self.run(ask(call))
        return answer

    def run(self, coroutine: Any) -> Any:
        """Run ``coroutine`` to its end and return what it returns."""
        box: list[Any] = []
        self.start(outcome(coroutine), box.append)
        while not box:
            self.turn(1.0)
        if isinstance(box[0], CallError):
            raise box[0]
        return box[0]

    def _resume(self, task: _Task, value: object = None, error: BaseException | None = None) -> None:
        try:
            wish = task.coroutine.send(value) if error is None else task.coroutine.throw(error)
        except StopIteration as stop:
            self.active -= 1
            task.done(stop.value)
            return
        if type(wish) is Call:
            task.call, task.tries = wish, 0
            self._ask(task, wish)
        elif type(wish) is Aside:
            self._aside(task, wish.function)
        else:
            self.later(wish.seconds, lambda: self._resume(task))

    # --- one exchange -----------------------------------------------------------------------

    def _ask(self, task: _Task, call: Call) -> None:
        self.requests[call.name] += 1
        if self.endpoint.lane == "reference":
            self._aside(task, lambda: self._carry(call))
            return
        self._send(task, call)

    def _send(self, task: _Task, call: Call) -> None:
        try:
            line = self._idle.pop() if self._idle else self._connect()
        except OSError as error:
            fault = Fault("Connection", f"cannot reach {self.endpoint.name()}: {error.strerror or error}")
            self.later(0.0, lambda: self._resume(task, error=CallError(call.name, call.key, fault)))
            return
        line.task = task
        line.progress = self._clock()
        line.begin(self._head(call), call.body, no_body=call.method == "HEAD")
        if not line.handshaking:
            self._pump(line)

    def _head(self, call: Call) -> bytes:
        endpoint = self.endpoint
        path, size = endpoint.path(call.key), len(call.body)
        headers: dict[str, str] = {"host": self._host, **call.headers}
        if self._signer is not None:
            if not size:
                payload = EMPTY_SHA256
            elif call.method == "POST" or endpoint.signs_body(size):
                payload = hashlib.sha256(call.body).hexdigest()
            else:
                payload = UNSIGNED
            now = time.time() + self._skew
            headers = self._signer.sign(call.method, path, call.query, headers, payload, now)
        if size or call.method in ("PUT", "POST"):
            headers["content-length"] = str(size)
        headers["user-agent"] = _AGENT
        lines = "\r\n".join([f"{name}: {value}" for name, value in headers.items()])
        target = f"{path}?{call.query}" if call.query else path
        return f"{call.method} {target} HTTP/1.1\r\n{lines}\r\n\r\n".encode("utf-8", "surrogateescape")

    def _pump(self, line: _Line) -> None:
        """Send what can be sent, and watch the socket for what comes next."""
        try:
            blocked = line.send()
        except BrokenConnectionError as error:
            self._broken(line, error)
            return
        if blocked and self._pace is not None and self._pace.empty:
            self._watch(line, READ)
            self.later(self._pace.delay(), lambda: self._pump(line) if line in self._lines and line.task else None)
            return
        self._watch(line, READ | WRITE if blocked else READ)

    def _ready(self, line: _Line, events: int) -> None:
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

    def _answered(self, line: _Line, answer: Answer) -> None:
        task = line.task
        line.task = None
        if line.reusable:
            self._idle.append(line)
        else:
            self._drop(line)
        if task is None or task.call is None:
            return
        self._judge(task, task.call, answer)

    def _judge(self, task: _Task, call: Call, answer: Answer) -> None:
        if answer.ok and not hides_error(answer):
            self._widen()
        elif answer.status in (429, 503) or (answer.status != 404 and fault_of(answer).throttled):
            self.narrow()
            self.throttled += 1
        elif answer.status == 403 and not task.skewed and fault_of(answer).code == "RequestTimeTooSkewed":
            self._learn_clock(answer)
            task.skewed = True
            self._send(task, call)
            return
        elif puzzling(answer):
            self.doubts[fault_of(answer).code] += 1
            self._aside(task, lambda: self._carry(call), fallback=answer)
            return
        self._resume(task, answer)

    def _learn_clock(self, answer: Answer) -> None:
        if date := answer.headers.get("date"):
            self._skew = parsedate_to_datetime(date).timestamp() - time.time()

    def _broken(self, line: _Line, error: BrokenConnectionError) -> None:
        """Sending failed; the store may have answered first (a refusal), and then that is the answer."""
        try:
            answer = line.receive() if not line.handshaking else None
        except BrokenConnectionError:
            answer = None
        if answer is None:
            self._lost(line, error)
            return
        task, line.task = line.task, None
        self._drop(line)
        if task is not None and task.call is not None:
            self._judge(task, task.call, answer)

    def _lost(self, line: _Line, error: BrokenConnectionError) -> None:
        task, line.task = line.task, None
        self._drop(line)
        if task is None or task.call is None:
            return
        task.tries += 1
        if not error.used:
            self._addresses.rotate(-1)
        again = _STALE_TRIES if error.used else len(self._addresses)
        if task.tries < again and not error.timed_out:
            self._send(task, task.call)
            return
        code = "Timeout" if error.timed_out else "Connection"
        fault = Fault(code, f"no answer from {self.endpoint.name()}: {error}")
        self._resume(task, error=CallError(task.call.name, task.call.key, fault))

    # --- connections ------------------------------------------------------------------------

    def _connect(self) -> _Line:
        family, address = self._address()
        sock = socket.socket(family, socket.SOCK_STREAM)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.endpoint.tls:
            sock = self._context().wrap_socket(
                sock, server_hostname=self.endpoint.server_name, do_handshake_on_connect=False
            )
        sock.setblocking(False)
        sock.connect_ex(address)  # its failure shows when the socket is ready
        line = _Line(sock, self._pace.grant if self._pace else None)
        line.task = None
        line.watched = READ | WRITE
        self._selector.register(sock, READ | WRITE, line)
        self._lines.add(line)
        return line

    def _address(self) -> tuple[int, Any]:
        now = self._clock()
        if not self._addresses or now - self._resolved > _RESOLVE_EVERY:
            found = socket.getaddrinfo(self.endpoint.server_name, self.endpoint.port, type=socket.SOCK_STREAM)
            self._addresses = deque((family, address) for family, _, _, _, address in found)
            self._resolved = now
        if len(self._addresses) > 1 and self.endpoint.url == "":
            self._addresses.rotate(-1)
        chosen: tuple[int, Any] = self._addresses[0]
        return chosen

    def _context(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = ssl.create_default_context(cafile=self.endpoint.ca_bundle or None)
        return self._tls

    def _watch(self, line: _Line, events: int) -> None:
        if line.watched != events and line.watched >= 0:
            self._selector.modify(line.sock, events, line)
            line.watched = events

    def _drop(self, line: _Line) -> None:
        if line.watched < 0:
            return
        line.watched = -1
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
        """Call ``function`` in so many seconds."""
        self._timer_number += 1
        heapq.heappush(self._timers, (self._clock() + seconds, self._timer_number, function))

    def turn(self, timeout: float) -> None:
        """Wait up to ``timeout`` seconds for something to happen, and deal with all that has."""
        if self._timers:
            timeout = min(timeout, max(0.0, self._timers[0][0] - self._clock()))
        for key, events in self._selector.select(timeout):
            line = key.data
            if type(line) is not _Line:
                line()
            elif line.task is not None:
                self._ready(line, events)
            elif line.watched >= 0:  # an idle connection has nothing to say but goodbye
                self._drop(line)
        now = self._clock()
        while self._timers and self._timers[0][0] <= now:
            heapq.heappop(self._timers)[2]()
        if now - self._checked > 1.0:
            self._checked = now
            self._time_out(now)

    def _time_out(self, now: float) -> None:
        for line in list(self._lines):
            if line.task is not None and now - line.progress > self.endpoint.timeout:
                words = f"nothing came for {self.endpoint.timeout:g} s"
                self._lost(line, BrokenConnectionError(words, used=line.used, timed_out=True))

    def close(self) -> None:
        """Close every connection; what was under way is forgotten."""
        for line in list(self._lines):
            line.task = None
            self._drop(line)
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
        self._selector.close()

    # --- the window -------------------------------------------------------------------------

    def _widen(self) -> None:
        if self.window < self.limit:
            self.window = min(self.limit, self.window + (1.0 if self._slow_start else 1.0 / self.window))

    def narrow(self) -> None:
        """Halve the window, at most twice a second: answers of one burst tell one thing."""
        now = self._clock()
        if now - self._narrowed > 0.5:
            self._narrowed = now
            self._slow_start = False
            self.window = max(1.0, min(self.window, self.active) / 2)

    # --- threads ----------------------------------------------------------------------------

    def _aside(self, task: _Task, function: Callable[[], Any], fallback: Answer | None = None) -> None:
        if self._threads is None:
            self._threads = ThreadPoolExecutor(max(4, min(self.limit, 32)), "aside")
            receiver, self._waker = socket.socketpair()
            receiver.setblocking(False)
            self.watch(receiver, lambda: self._collect(receiver))
        self._threads.submit(self._beside, task, function, fallback)

    def _beside(self, task: _Task, function: Callable[[], Any], fallback: Answer | None) -> None:
        try:
            came: tuple[_Task, Any, BaseException | None] = (task, function(), None)
        except CallError as error:  # boto3 could not ask either: then the first answer counts
            came = (task, fallback, None) if fallback is not None else (task, None, error)
        except Exception as error:  # noqa: BLE001 - handed to the coroutine, whose boundary it is
            came = (task, None, error)
        self._from_threads.append(came)
        if self._waker is not None:
            self._waker.send(b".")

    def _collect(self, receiver: socket.socket) -> None:
        receiver.recv(4096)
        while self._from_threads:
            task, value, error = self._from_threads.popleft()
            self._resume(task, value, error)


class Pace:
    """A bandwidth limit: hands out bytes at a steady rate."""

    _LEAST = 16 * 1024

    def __init__(self, rate: float, clock: Callable[[], float]) -> None:
        """``rate`` in bytes per second."""
        self._rate = rate
        self._clock = clock
        self._last = clock()
        self._have = 0.0

    def grant(self, wanted: int) -> int:
        """How many of ``wanted`` bytes may go now; 0 means wait."""
        now = self._clock()
        self._have = min(self._rate / 4, self._have + (now - self._last) * self._rate)
        self._last = now
        if self.empty and self._have < wanted:
            return 0
        granted = min(wanted, max(1, int(self._have)))
        self._have -= granted
        return granted

    @property
    def empty(self) -> bool:
        """Whether too little is left to be worth a send."""
        return self._have < min(self._LEAST, self._rate / 8)

    def delay(self) -> float:
        """Seconds until there is something to hand out again."""
        return max(0.005, (min(self._LEAST, self._rate / 8) - self._have) / self._rate)


async def outcome(coroutine: Any) -> Any:
    """The outcome of ``coroutine``, what it raised included: the loop must go on either way."""
    try:
        return await coroutine
    except CallError as error:
        return error


_AGENT = f"s3batch/{__version__}"
