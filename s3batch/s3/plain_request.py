"""The short way of a plain request, the only one beside the general way: no coroutine, each answer is looked at once.

    PlainRequest ─> head from a form ─> one send on a kept connection ─> an answer of the known form ─> finish
                                                          │                           │
               anything else: it unfolds into a coroutine, and goes on in the general way from there

Nothing is decided here but that nothing has to be decided. A task that has unfolded is like any other. PUTs
(:mod:`.plain_put`) and small GETs (:mod:`.plain_get`) go this way.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

from s3batch.base.named_tuple import NamedTuple
from s3batch.s3.bounds import SLOWEST
from s3batch.s3.connection import JOIN_UP_TO
from s3batch.s3.event_loop import Task
from s3batch.s3.sigv4 import UnsafeTextError
from s3batch.s3.tls import list_waits

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Coroutine, Mapping
    from typing import Any

    from s3batch.s3.congestion_window import CongestionWindow
    from s3batch.s3.connection import BrokenConnectionError
    from s3batch.s3.connection_pool import ConnectionPool, PooledConnection
    from s3batch.s3.event_loop import EventLoop
    from s3batch.s3.plain_heads import PlainHeadWriter
    from s3batch.s3.requests import Body, Request, Response
    from s3batch.s3.write_gate import WriteGate

READ_AT_ONCE = 16 * 1024
"""Bytes: a head of S3 has a few hundred."""


class PlainRequest(Task, ABC):
    """A request under way. Its ``call`` is that of the general way: who asks for it has the task unfold."""

    __slots__ = ("_call", "_first", "begun", "body", "fingerprint", "headers", "key", "names", "values")

    request_name: ClassVar[str]
    """S3's name of the request."""
    method: ClassVar[str]
    sends_body: ClassVar[bool]
    """True if each request has a payload of its own."""
    begun: float
    """When it was begun, by the loop's clock."""

    def __init__(
        self, row: int, key: str, body: Body, headers: Mapping[str, str], fingerprint: str, names: tuple[str, ...],
        values: tuple[str, ...],
    ) -> None:  # fmt: skip
        """``headers`` are those of all requests with this ``fingerprint``; ``names`` and ``values`` are its own, by name."""
        self.row = row
        self.key = key
        self.body = body
        self.headers = headers
        self.fingerprint = fingerprint
        self.names = names
        self.values = values
        self._call: Request | None = None
        self._first: Request | None = None
        self.tries = self.lessons = 0

    @property
    def read_size(self) -> int:
        """The number of bytes to read at once."""
        return READ_AT_ONCE

    @abstractmethod
    def make_request(self) -> Request:
        """Return the request as the general way sends it."""

    @abstractmethod
    def read_answer(self, forms: list[Any], answer: bytes) -> Any:
        """Return what an answer of one of these forms tells; ``None`` for any other, whose form is perhaps learned."""

    def lacks(self, answer: bytes) -> bool:
        """Return whether an answer of the usual kind is not all there: more of it may have come by now."""
        return False

    @abstractmethod
    def finish(self, told: Any, seconds: float) -> None:
        """Take the end of the short way: what an answer of a known form tells, which came within so many seconds."""

    @abstractmethod
    def unfold(self, request: Request) -> tuple[Coroutine[Any, Any, Any], Callable[[Any], None]]:
        """Return a coroutine that first yields ``request``, which was sent already, and the taker of its result."""

    @property
    def call(self) -> Request:
        """The request that waits for a response."""
        if self._call is None:
            self.coroutine, self.done = self.unfold(self.make_request())
            self._call = self._first = self.coroutine.send(None)
        return self._call

    @call.setter
    def call(self, request: Request) -> None:
        self._call = request

    @property
    def waits_for_first(self) -> bool:
        """True if it is its own request that waits for a response, and none that followed it in the general way."""
        return self._call is self._first


class GeneralWay(NamedTuple):
    """The functions of a transport by which every other request goes."""

    begin: Callable[[Task, Request], None]
    pump: Callable[[PooledConnection], None]
    on_broken: Callable[[PooledConnection, BrokenConnectionError], None]


class PlainRequests:
    """Sends the plain requests of one transport, and takes their usual answers."""

    def __init__(
        self, pool: ConnectionPool, loop: EventLoop, window: CongestionWindow, writes: WriteGate, requests: Counter[str],
        wire: list[int], general: GeneralWay,
    ) -> None:  # fmt: skip
        """All of them are the transport's."""
        self._pool = pool
        self.loop = loop
        self._window = window
        self._writes = writes
        self._requests = requests
        self._wire = wire
        self._general = general
        self._heads: PlainHeadWriter | None = None
        self._forms: dict[str, list[Any]] = {}
        """The forms by the name of the request."""

    def use(self, heads: PlainHeadWriter | None) -> None:
        """Write heads with these from now on; with ``None`` every request goes the general way."""
        self._heads = heads
        self._forms.clear()

    def send(self, request: PlainRequest) -> None:
        """Send a request. It ends with ``finish``, or in the general way."""
        self.loop.active += 1
        request.begun = now = self.loop.clock()
        connection = self._pool.take_idle(now) if self._heads is not None and self._writes.is_open else None
        if self._heads is None or connection is None:
            self._general.begin(request, request.call)
            return
        try:
            head = self._heads.of(request)
        except UnsafeTextError:
            self._pool.put_back(connection)
            self._general.begin(request, request.call)
            return
        self._requests[request.request_name] += 1
        connection.task = request
        connection.progress = connection.begun = now
        connection.deadline = now + self._pool.patience
        try:
            sent = _send_at_once(connection, head, request.body)
        except OSError as error:
            connection.await_answer(request.call)
            self._general.on_broken(connection, connection.broken(error))
            return
        if sent == len(head) + len(request.body):
            connection.plain = request
            self._wire[0] += len(request.body)
            return
        connection.deadline += len(request.body) / SLOWEST
        connection.begin(head, request.body, request=request.call)
        connection.note_sent(sent)
        self._general.pump(connection)

    def note_sent(self, connection: PooledConnection) -> None:
        """Have the answer read in the short way to a plain request that went out over a new connection."""
        task = connection.task
        if self._heads is not None and isinstance(task, PlainRequest) and task.waits_for_first:
            connection.plain = task

    def receive(self, connection: PooledConnection, request: PlainRequest) -> Response | None:
        """Read what has come; return a response that is not the usual one, once it is complete.

        Raises BrokenConnectionError as :meth:`Connection.receive` does.
        """
        try:
            data = connection.sock.recv(request.read_size)
        except list_waits():
            return None
        except OSError as error:
            raise connection.broken(error) from error
        connection.plain = None
        forms = self._forms.setdefault(request.request_name, [])
        told = request.read_answer(forms, data)
        if told is None and request.lacks(data):
            data = _read_more(connection, request, data)
            told = request.read_answer(forms, data)
        if told is None:
            connection.await_answer(request.call)
            response = connection.take_in(data) if data else None
            return response or connection.receive()
        if not request.sends_body:  # its content is what came; the general way counts what it reads
            self._wire[0] += len(data)
        connection.task, connection.used = None, True
        self._pool.put_back(connection)
        seconds = connection.progress - request.begun
        self._window.grow(seconds)
        self.loop.active -= 1
        self.loop.page[1] = request.row
        request.finish(told, seconds)
        return None


def _read_more(connection: PooledConnection, request: PlainRequest, data: bytes) -> bytes:
    """Return what has come of an answer by now; the general way meets the errors of the socket, and tells of them."""
    while request.lacks(data):
        try:
            more = connection.sock.recv(request.read_size)
        except OSError:
            break
        if not more:
            break
        data += more
    return data


def _send_at_once(connection: PooledConnection, head: bytes, body: Body) -> int:
    """Send as much as the socket takes in one call; return how many bytes."""
    try:
        if len(body) <= JOIN_UP_TO:
            return connection.sock.send(head + body)
        return 0 if connection.tls else connection.sock.sendmsg((head, body))
    except list_waits():
        return 0
