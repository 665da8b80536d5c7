"""The connections of one transport: dialled, in use, idle and kept for the next request, dropped.

connect ──> in use ──put_back──> idle ──take──> in use
               │                   │
               └──────> drop <─────┘   (broken, overdue, older than KEPT_FOR, another server)
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, cast

from s3batch.s3 import bounds
from s3batch.s3.connection import BrokenConnectionError, Connection
from s3batch.s3.dialer import Dialer
from s3batch.s3.event_loop import READ, WRITE

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from s3batch.s3.dialer import Address
    from s3batch.s3.endpoint import Endpoint
    from s3batch.s3.event_loop import EventLoop, Handler, Task
    from s3batch.s3.head_forms import ExpectedHead
    from s3batch.s3.plain_request import PlainRequest

KEPT_FOR = 60.0
"""Seconds: a device between the ends may drop an idle connection without telling either."""
_OPEN_WITHIN = 15.0
"""Seconds: a store that has not taken the connection by then is not there."""


class PooledConnection(Connection):
    """A connection of the pool, with its task and the events that the loop watches."""

    __slots__ = ("address", "begun", "deadline", "dialer", "expects", "handler", "plain", "task", "watched")

    task: Task | None
    expects: ExpectedHead | None
    """Its request was sent in the short way, and its answer is read so: see :mod:`.expected_heads`."""
    plain: PlainRequest | None
    """Its task, if that was sent in the short way: see :mod:`.plain_request`."""
    watched: int
    """The events; -1 once it is dropped."""
    handler: Handler
    """Takes its events."""
    deadline: float
    """When the response has to be complete, without the time for its bytes so far; monotonic seconds."""
    begun: float
    """When its request was begun; monotonic seconds."""
    address: Address
    dialer: Dialer


class ConnectionPool:
    """Opens, keeps and drops connections to one endpoint. The transport sends and receives on them."""

    def __init__(
        self,
        endpoint: Endpoint,
        loop: EventLoop,
        on_event: Callable[[PooledConnection, int], None],
        grant: Callable[[int], int] | None = None,
        wire: list[int] | None = None,
    ) -> None:
        """``on_event`` takes the events of a connection; ``grant`` hands out bandwidth, ``None`` for no limit.

        ``wire``: see :class:`Connection`.
        """
        self.connections: set[PooledConnection] = set()
        """All that are open."""
        self._idle: list[PooledConnection] = []
        self._loop = loop
        self._on_event = on_event
        self._grant = grant
        self._wire = wire
        self._endpoint = endpoint
        self._dialer = Dialer(endpoint, loop.clock)
        self.use(endpoint)

    def use(self, endpoint: Endpoint) -> None:
        """Take a changed endpoint. Idle connections to another server are dropped."""
        if (endpoint.server_name, endpoint.port) != (self._endpoint.server_name, self._endpoint.port):
            self._dialer = Dialer(endpoint, self._loop.clock)
            for connection in self._idle.copy():
                self.drop(connection)
        self._endpoint = endpoint
        self.patience = endpoint.timeout + endpoint.bounds.grace
        """Seconds that a response may take beside the time for its bytes."""
        self.check_every = min(1.0, endpoint.timeout / 4)
        """Seconds between checks for responses that take too long."""

    def take(self, now: float) -> PooledConnection:
        """Return an idle connection that was used recently, or a new one."""
        return self.take_idle(now) or self.connect()

    def take_idle(self, now: float) -> PooledConnection | None:
        """Return an idle connection that was used recently; ``None`` if there is none."""
        while self._idle:
            connection = self._idle.pop()
            if now - connection.progress < KEPT_FOR:
                return connection
            self.drop(connection)
        return None

    def connect(self) -> PooledConnection:
        """Return a new connection, being opened. Raises OSError if there is no address to try."""
        if self._endpoint.tls:
            known = (cast("ssl.SSLSocket", each.sock).session for each in self.connections if each.used and each.tls)
            self._dialer.session = next(known, self._dialer.session)
        sock, address = self._dialer.open()
        connection = PooledConnection(sock, self._grant, self._endpoint.bounds, self._wire)
        connection.task = connection.expects = connection.plain = None
        connection.watched = READ | WRITE
        connection.address, connection.dialer = address, self._dialer
        connection.handler = partial(self._on_event, connection)
        self._loop.watch(sock, connection.handler, READ | WRITE)
        self.connections.add(connection)
        return connection

    def put_back(self, connection: PooledConnection) -> None:
        """Keep a connection for the next request, if it can serve one."""
        if connection.reusable and connection.dialer is self._dialer:
            self._idle.append(connection)
        else:
            self.drop(connection)

    def watch(self, connection: PooledConnection, events: int) -> None:
        """Have the loop watch a connection for these events only; for none with 0."""
        if connection.watched == events or connection.watched < 0:
            return
        if not connection.watched:
            self._loop.watch(connection.sock, connection.handler, events)
        elif events:
            self._loop.change_watch(connection.sock, connection.handler, events)
        else:
            self._loop.unwatch(connection.sock)
        connection.watched = events

    def drop(self, connection: PooledConnection) -> None:
        """Close a connection; again is fine."""
        if connection.watched < 0:
            return
        connection.watched = -1
        self._loop.unwatch(connection.sock)
        self.connections.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        connection.close()

    def find_overdue(self, now: float) -> list[tuple[PooledConnection, BrokenConnectionError]]:
        """Return the connections whose exchange takes too long, each with the error that says so."""
        return [
            (connection, BrokenConnectionError(words, used=connection.used, timed_out=True))
            for connection in self.connections
            if connection.task is not None and (words := self._overdue(connection, now))
        ]

    def _overdue(self, connection: PooledConnection, now: float) -> str:
        timeout = self._endpoint.timeout
        limit = min(timeout, _OPEN_WITHIN) if connection.opening else timeout
        if now - connection.progress > limit and not connection.starved:
            return f"{'no connection' if connection.opening else 'no data'} for {limit:g} s"
        due = connection.deadline + connection.received / bounds.SLOWEST
        if now > due and not connection.choked and not self._is_kept_alive(connection, now):
            return f"the answer is not complete after {self.patience:g} s"
        return ""

    def _is_kept_alive(self, connection: PooledConnection, now: float) -> bool:
        """Return whether S3 is still at work and sends spaces meanwhile; the rest of the response has its own time."""
        request = connection.task.call if connection.task else None
        if (
            request is None
            or not bounds.keeps_alive(request.name)
            or now > connection.begun + self._endpoint.bounds.kept_alive
            or not connection.is_kept_alive
        ):
            return False
        connection.deadline = now + self.patience
        return True

    def close(self) -> None:
        """Close every connection."""
        for connection in list(self.connections):
            connection.task = None
            self.drop(connection)
