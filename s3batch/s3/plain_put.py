"""The short way of a plain PUT, the only one beside the general way: no coroutine, and each answer is looked at once.

    PlainPut ─> head from a form ─> one send on a kept connection ─> an answer of the known form, with its proof ─> stored
                                                          │                           │
               anything else: it unfolds into a coroutine, and goes on in the general way from there

Nothing is decided here but that nothing has to be decided. A task that has unfolded is like any other.
"""

from __future__ import annotations

import re
import ssl
from abc import ABC, abstractmethod
from hashlib import md5
from typing import TYPE_CHECKING, NamedTuple

from s3batch.s3.bounds import SLOWEST
from s3batch.s3.connection import JOIN_UP_TO
from s3batch.s3.event_loop import Task
from s3batch.s3.requests import put_object
from s3batch.s3.sigv4 import UnsafeTextError

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Coroutine, Mapping
    from typing import Any

    from s3batch.s3.congestion_window import CongestionWindow
    from s3batch.s3.connection import BrokenConnectionError
    from s3batch.s3.connection_pool import ConnectionPool, PooledConnection
    from s3batch.s3.event_loop import EventLoop
    from s3batch.s3.put_heads import PutHeadWriter
    from s3batch.s3.requests import Request, Response
    from s3batch.s3.write_gate import WriteGate

_FORMS_KEPT = 4
"""Forms of answers that are tried: a load balancer may have servers of several kinds before it."""
_FIXED = frozenset(
    {
        "connection", "content-length", "transfer-encoding", "trailer", "upgrade", "x-amz-server-side-encryption",
        "x-amz-server-side-encryption-customer-algorithm",
    }
)  # fmt: skip
"""Headers that say where an answer ends, what becomes of the connection, or what the ETag is: their values count too."""
_WITHOUT_MD5 = frozenset(_FIXED - {"connection", "content-length"})
"""Headers beside which an ETag is not looked at as an MD5."""
_READ = 16 * 1024
"""Bytes: a head of S3 has a few hundred."""
_NAME = re.compile(r"[A-Za-z0-9-]+\Z")


class PlainPut(Task, ABC):
    """A PUT under way. Its ``call`` is that of the general way: who asks for it has the task unfold."""

    __slots__ = ("_call", "begun", "body", "checksum", "fingerprint", "headers", "key")
    begun: float
    """When it was begun, by the loop's clock."""

    def __init__(
        self, row: int, key: str, body: bytes, headers: Mapping[str, str], fingerprint: str, checksum: tuple[str, str]
    ) -> None:
        """``headers`` are those of all objects with this ``fingerprint``; ``checksum`` is the header for the body."""
        self.row = row
        self.key = key
        self.body = body
        self.headers = headers
        self.fingerprint = fingerprint
        self.checksum = checksum
        self._call: Request | None = None
        self.tries = self.lessons = 0

    @abstractmethod
    def stored(self, etag: str, date: str, request_id: str, version: str, seconds: float) -> None:
        """Take the end of the short way: the store has proved, within so many seconds, that it has the body.

        ``version`` may be empty.
        """

    @abstractmethod
    def unfold(self, request: Request) -> tuple[Coroutine[Any, Any, Any], Callable[[Any], None]]:
        """Return a coroutine that first yields ``request``, which was sent already, and the taker of its result."""

    @property
    def call(self) -> Request:
        """The request that waits for a response."""
        if self._call is None:
            name, value = self.checksum
            request = put_object(self.key, self.body, {**self.headers, name: value})
            self.coroutine, self.done = self.unfold(request)
            self._call = self.coroutine.send(None)
        return self._call

    @call.setter
    def call(self, request: Request) -> None:
        self._call = request


class AnswerForm(NamedTuple):
    """The form of the usual answer of a store: its headers in their order, of which only some values differ."""

    pattern: re.Pattern[str]
    """With groups for ETag, date, id, version and checksum; that of a header that the store does not send is empty."""

    @classmethod
    def learn(cls, answer: str, checksum: str) -> AnswerForm | None:
        """Return the form of ``answer``; ``None`` if that is more than the news that the body is stored and proved."""
        head, end, rest = answer.partition("\r\n\r\n")
        status, *lines = head.split("\r\n")
        pairs = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)]
        values = {name.lower(): value for name, value in pairs}
        if not end or rest or not status.startswith("HTTP/1.1 200 ") or len(values) != len(pairs):
            return None
        if values.get("content-length") != "0" or "transfer-encoding" in values or "etag" not in values:
            return None
        if "close" in values.get("connection", "").lower() or not all(_NAME.match(name) for name, _ in pairs):
            return None
        if checksum not in values or not checksum.startswith("x-amz-"):
            if not _WITHOUT_MD5.isdisjoint(values):
                return None
            checksum = ""
        groups = {
            "etag": "etag", "date": "date", "x-amz-request-id": "id", "x-amz-version-id": "version", checksum: "checksum",
        }  # fmt: skip
        lines = [_make_pattern(name, value, groups) for name, value in pairs]
        absent = [f"(?P<{group}>)" for header, group in groups.items() if header not in values]
        return cls(re.compile("\r\n".join([re.escape(status), *lines, "\r\n"]) + "".join(absent)))


def _make_pattern(name: str, value: str, groups: Mapping[str, str]) -> str:
    """Return the pattern of a line: with this value, with any, or with one that is of interest."""
    lower = name.lower()
    if lower in _FIXED:
        return f"{name}: *{re.escape(value)}"
    if lower == "etag":
        return f'{name}: *"(?P<etag>[!#-~]{{3,}})"'
    return f"{name}: *(?P<{groups[lower]}>[!-~](?:[ -~]*[!-~])?)" if lower in groups else f"{name}:[^\r\n]*"


class GeneralWay(NamedTuple):
    """The functions of a transport by which every other request goes."""

    begin: Callable[[Task, Request], None]
    pump: Callable[[PooledConnection], None]
    on_broken: Callable[[PooledConnection, BrokenConnectionError], None]


class PlainPuts:
    """Sends the plain PUTs of one transport, and takes their usual answers."""

    def __init__(
        self, pool: ConnectionPool, loop: EventLoop, window: CongestionWindow, writes: WriteGate, requests: Counter[str],
        wire: list[int], general: GeneralWay,
    ) -> None:  # fmt: skip
        """All of them are the transport's."""
        self._pool = pool
        self._loop = loop
        self._window = window
        self._writes = writes
        self._requests = requests
        self._wire = wire
        self._general = general
        self._heads: PutHeadWriter | None = None
        self._forms: list[AnswerForm] = []

    def use(self, heads: PutHeadWriter | None) -> None:
        """Write heads with these from now on; with ``None`` every PUT goes the general way."""
        self._heads = heads
        self._forms.clear()

    def send(self, put: PlainPut) -> None:
        """Send a PUT. It ends with ``stored``, or in the general way."""
        self._loop.active += 1
        put.begun = now = self._loop.clock()
        connection = self._pool.take_idle(now) if self._heads is not None and self._writes.is_open else None
        if self._heads is None or connection is None:
            self._general.begin(put, put.call)
            return
        try:
            head = self._heads.of(put)
        except UnsafeTextError:
            self._pool.put_back(connection)
            self._general.begin(put, put.call)
            return
        self._requests["PutObject"] += 1
        connection.task = put
        connection.progress = connection.begun = now
        connection.deadline = now + self._pool.patience
        try:
            sent = _send_at_once(connection, head, put.body)
        except OSError as error:
            connection.await_answer(put.call)
            self._general.on_broken(connection, connection.broken(error))
            return
        if sent == len(head) + len(put.body):
            connection.put = put
            self._wire[0] += len(put.body)
            return
        connection.deadline += len(put.body) / SLOWEST
        connection.begin(head, put.body, request=put.call)
        connection.note_sent(sent)
        self._general.pump(connection)

    def receive(self, connection: PooledConnection, put: PlainPut) -> Response | None:
        """Read what has come; return a response that is not the usual one, once it is complete.

        Raises BrokenConnectionError as :meth:`Connection.receive` does.
        """
        try:
            data = connection.sock.recv(_READ)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError):
            return None
        except OSError as error:
            raise connection.broken(error) from error
        connection.put = None
        found = self._find_proof(put, str(data, "latin-1"))
        if found is None:
            connection.await_answer(put.call)
            response = connection.take_in(data) if data else None
            return response or connection.receive()
        connection.task = None
        self._pool.put_back(connection)
        self._window.grow()
        self._loop.active -= 1
        put.stored(*found, connection.progress - put.begun)
        return None

    def _find_proof(self, put: PlainPut, answer: str) -> tuple[str, str, str, str] | None:
        """Return ETag, date, id and version of an answer of a known form that proves the body; ``None`` for any other."""
        name, value = put.checksum
        for form in self._forms:
            match = form.pattern.fullmatch(answer)
            if match is not None:
                etag, date, request_id, version, checksum = match.group("etag", "date", "id", "version", "checksum")
                if checksum == value or (not checksum and etag == md5(put.body, usedforsecurity=False).hexdigest()):
                    return etag, date, request_id, version
                return None
        learned = AnswerForm.learn(answer, name) if len(self._forms) < _FORMS_KEPT else None
        if learned is not None:
            self._forms.append(learned)
        return None


def _send_at_once(connection: PooledConnection, head: bytes, body: bytes) -> int:
    """Send as much as the socket takes in one call; return how many bytes."""
    try:
        if len(body) <= JOIN_UP_TO:
            return connection.sock.send(head + body)
        return 0 if connection.tls else connection.sock.sendmsg((head, body))
    except (ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError):
        return 0
