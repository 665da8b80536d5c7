"""The HTTP of boto3: urllib3 under botocore, with every exchange bounded in bytes and in seconds.

urllib3 has a time limit for each read only: one byte every two seconds holds a connection without end, and so do
endless headers, ``100 Continue`` or chunks. Therefore a watchdog closes the socket of an exchange that takes too long,
and the native client's bounded reader reads the body.
"""

from __future__ import annotations

import http.client
import io
import socket
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from botocore.awsrequest import (
    AWSHTTPConnection,
    AWSHTTPConnectionPool,
    AWSHTTPSConnection,
    AWSHTTPSConnectionPool,
)
from botocore.exceptions import BotoCoreError

from s3batch.s3 import bounds, validation
from s3batch.s3.bounds import ResponseBounds
from s3batch.s3.faults import Fault, RequestError
from s3batch.s3.requests import Request, Response
from s3batch.s3.response_parser import MalformedHTTPError, OversizeError, ResponseParser

if TYPE_CHECKING:
    from collections.abc import Iterator

_BLOCK = 64 * 1024
_FRAMING = ("content-length", "transfer-encoding", "connection", "etag")


class Exchange:
    """One request and its response, with the moment by which it has to be over."""

    def __init__(self, request: Request, timeout: float, size: int, limits: ResponseBounds) -> None:
        """``size`` is of the body to be sent, in bytes."""
        self.call = request
        self._patience = timeout + limits.grace
        now = time.monotonic()
        self._until = now + limits.kept_alive
        self._deadline = now + self._patience + size / bounds.SLOWEST
        self.reply = ResponseParser(no_body=request.method == "HEAD", request=request, bounds=limits)
        self.connection: Any = None
        self.expired = False
        self.answer: Response | None = None

    def sent(self) -> None:
        """Note that the request is sent: the rest of the time is the response's."""
        self._deadline = time.monotonic() + self._patience

    def cut_if_due(self, now: float) -> None:
        """Close the socket if the response has had its time."""
        if now <= self._deadline + self.reply.received / bounds.SLOWEST:
            return
        if bounds.keeps_alive(self.call.name) and now <= self._until and self.reply.is_blank:
            self._deadline = now + self._patience
            return
        self.expired = True
        sock = getattr(self.connection, "sock", None)
        if sock is not None:
            with suppress(OSError):
                socket.socket.shutdown(sock, socket.SHUT_RDWR)  # an SSLSocket's own would disturb who reads


class _Watchdog:
    """A thread that ends exchanges which take too long, while there are any."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._exchanges: set[Exchange] = set()
        self._running = False

    @contextmanager
    def watching(self, exchange: Exchange, every: float) -> Iterator[None]:
        """End ``exchange`` when it is due; check every ``every`` seconds."""
        with self._changed:
            self._exchanges.add(exchange)
            if not self._running:
                self._running = True
                threading.Thread(target=self._watch, args=(every,), name="watchdog", daemon=True).start()
            self._changed.notify()
        try:
            yield
        finally:
            with self._changed:
                self._exchanges.discard(exchange)

    def _watch(self, every: float) -> None:
        while True:
            with self._changed:
                if not self._exchanges and not self._changed.wait_for(lambda: self._exchanges, 5.0):
                    self._running = False
                    return
                now = time.monotonic()
                for exchange in self._exchanges:
                    exchange.cut_if_due(now)
            time.sleep(every)


class _CurrentExchange(threading.local):
    """The current call of this thread, by which the connections that urllib3 opens are known."""

    exchange: Exchange | None = None


_current = _CurrentExchange()


class _Watched:
    """A connection that tells its exchange of itself, and when the request is sent."""

    def connect(self) -> None:
        """Be known before the first handshake."""
        self._tell()
        super().connect()  # type: ignore[misc]

    def request(self, *args: Any, **kwargs: Any) -> Any:
        """Send a request."""
        self._tell()
        result = super().request(*args, **kwargs)  # type: ignore[misc]
        if _current.exchange is not None:
            _current.exchange.sent()
        return result

    def _tell(self) -> None:
        if _current.exchange is not None:
            _current.exchange.connection = self


class _HeadReader:
    """A stream in whose place http.client reads a response's head: it may neither be cut nor be without an end."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._left = bounds.HEAD_LIMIT

    def readline(self, limit: int = -1) -> bytes:
        line: bytes = self._stream.readline(limit)
        self._left -= len(line)
        if self._left < 0:
            raise MalformedHTTPError("headers without an end")
        if not line.endswith(b"\n") and len(line) != limit:
            raise ConnectionError("the connection was closed before the answer was whole")
        return line

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class _WholeHeadResponse(http.client.HTTPResponse):
    """A response whose head is whole; http.client takes the end of a connection for the end of the headers."""

    def begin(self) -> None:
        """Read the head."""
        stream = self.fp
        self.fp = _HeadReader(stream)  # type: ignore[assignment]
        try:
            super().begin()
        finally:
            if self.fp is not None:
                self.fp = stream


class _WatchedConnection(_Watched, AWSHTTPConnection):  # type: ignore[misc]
    response_class = _WholeHeadResponse


class _WatchedSecureConnection(_Watched, AWSHTTPSConnection):  # type: ignore[misc]
    response_class = _WholeHeadResponse


class _WatchedPool(AWSHTTPConnectionPool):  # type: ignore[misc]
    ConnectionCls = _WatchedConnection


class _WatchedSecurePool(AWSHTTPSConnectionPool):  # type: ignore[misc]
    ConnectionCls = _WatchedSecureConnection


class _LastRequest(threading.local):
    """The last request of a thread."""

    wanted: Request | None = None
    call: Request = Request("", "")
    last: tuple[Request, Response] | None = None
    answer: Response | None = None
    failure: RequestError | None = None


class BoundedSession:
    """Stands in for botocore's HTTP session; thread-safe, as that is."""

    def __init__(self, inner: Any, timeout: float, name: str, limits: ResponseBounds = bounds.RESPONSE_BOUNDS) -> None:
        """``inner`` is botocore's; ``timeout`` in seconds; ``name`` of the endpoint, for messages."""
        self._inner = inner
        self._timeout = timeout
        self._name = name
        self._limits = limits
        self._watchdog = _Watchdog()
        self._now = _LastRequest()
        pools = {"http": _WatchedPool, "https": _WatchedSecurePool}
        inner._pool_classes_by_scheme = inner._manager.pool_classes_by_scheme = pools  # noqa: SLF001

    def expect(self, request: Request) -> None:
        """Note the call of this thread; botocore may make requests of its own for it (HeadBucket)."""
        self._now.wanted, self._now.answer, self._now.failure = request, None, None

    def name_next(self, name: str, method: str) -> None:
        """Note S3's name of the request that is sent next."""
        wanted = self._now.wanted
        self._now.call = wanted if wanted is not None and wanted.name == name else Request(name, method)

    @property
    def answer(self) -> Response | None:
        """The last response to the expected call."""
        return self._now.answer

    @property
    def failure(self) -> RequestError | None:
        """The error if its bounds were exceeded."""
        return self._now.failure

    def check_last(self) -> Response | None:
        """Return this thread's last response, judged. Raise :class:`RequestError` unless it was S3's answer."""
        return validation.validate_response(*self._now.last) if self._now.last is not None else None

    def close(self) -> None:
        """Close the connections."""
        self._inner.close()

    def send(self, aws_request: Any) -> Any:
        """Carry out ``aws_request`` within its bounds. Raises :class:`RequestError` where they are exceeded."""
        request = self._now.call
        aws_request.stream_output = True  # this module reads the body
        aws_request.headers.pop("Expect", None)  # botocore reads the response to that without any bound
        size = len(aws_request.body) if isinstance(aws_request.body, (bytes, bytearray)) else 0
        exchange = Exchange(request, self._timeout, size, self._limits)
        _current.exchange = exchange
        try:
            with self._watchdog.watching(exchange, min(1.0, self._timeout / 4)):
                aws_response = self._inner.send(aws_request)
                response = self._receive(aws_response, exchange)
        except Exception as error:
            failure = self._in_words(exchange, error)
            self._now.last = None
            self._now.failure = failure if isinstance(failure, RequestError) else None
            raise failure from error
        finally:
            _current.exchange = None
        self._now.last = (request, response)
        if request is self._now.wanted:
            self._now.answer = response
        body = bytes(response.body)
        is_document = body.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"<"
        # AWSResponse.content reads it to parse it, and botocore's error for what is no document quotes all of it
        aws_response._content = body if is_document else body[:_BLOCK]  # noqa: SLF001
        aws_response.raw = io.BytesIO(body)
        return aws_response

    def _in_words(self, exchange: Exchange, error: Exception) -> Exception:
        request = exchange.call
        if exchange.expired:
            words = f"the answer is not complete after {self._timeout + self._limits.grace:g} s"
            return RequestError(request.name, request.key, Fault("Timeout", f"no answer from {self._name}: {words}"))
        if isinstance(error, OSError) and not isinstance(error, BotoCoreError):
            code = "Timeout" if isinstance(error, TimeoutError) else "Connection"
            words = error.strerror or str(error) or type(error).__name__
            return RequestError(request.name, request.key, Fault(code, f"no answer from {self._name}: {words}"))
        for cause in _walk_causes(error):
            if isinstance(cause, OversizeError):
                return validation.too_large(request, str(cause))
            if isinstance(cause, (MalformedHTTPError, http.client.HTTPException)) and not isinstance(cause, _CUT):
                return validation.malformed_response(request, f"malformed HTTP: {cause}")
        return error

    def _receive(self, response: Any, exchange: Exchange) -> Response:
        """Read the body with the native client's reader, given the head that http.client has read."""
        headers = {name.lower(): as_sent(value) for name, value in response.headers.items()}
        framing = "".join(f"{name}: {headers[name]}\r\n" for name in _FRAMING if name in headers)
        reply, raw = exchange.reply, response.raw
        stream = getattr(raw._fp, "fp", None)  # noqa: SLF001 - None: http.client knows that there is no body
        if stream is None:
            raw.release_conn()
            return Response(response.status_code, headers)
        try:
            came = reply.feed(f"HTTP/1.1 {response.status_code} -\r\n{framing}\r\n".encode())
            while came is None:
                data = stream.read1(_BLOCK)
                came = reply.feed(data) if data else _end_response(reply)
        except BaseException:
            raw.close()
            raise
        if reply.keep and raw.version >= 11:  # HTTP/1.1, as http.client writes it
            raw._fp._close_conn()  # noqa: SLF001 - the response is read to its end, the connection serves another
            raw.release_conn()
        else:
            raw.close()
        return came._replace(status=response.status_code, headers=headers)


_CUT = (ConnectionError, http.client.IncompleteRead)
"""The exceptions of http.client for a connection that ends too early."""


def _walk_causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield ``error`` and its causes: urllib3 and botocore wrap them in their own exceptions."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _end_response(reply: ResponseParser) -> Response:
    response = reply.end()
    reply.keep = False
    if response is None:
        raise ConnectionError("the connection was closed before the answer was whole")
    return response


def as_sent(value: str) -> str:
    """Return a header as :mod:`s3batch.s3.connection` reads it; http.client reads Latin-1."""
    return value if value.isascii() else value.encode("latin-1", "replace").decode("utf-8", "surrogateescape")
