"""The native client's connections: HTTP/1.1 over non-blocking sockets, nothing S3 does not need.

    idle --begin--> sending --> waiting --> reading --> idle | closed
                       |            |           |
                       +------------+-----------+--> broken (the exchange may be tried on another)

A connection carries one exchange at a time and is kept for the next. It never blocks: the
transport calls it when its socket is ready, and it reports whether its answer is complete. The waiting is
in :mod:`s3batch.s3.event_loop`.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import ssl
from typing import TYPE_CHECKING

from s3batch.s3.bounds import CHUNK_HEAD_LIMIT, HEAD_LIMIT, RESPONSE_BOUNDS, ResponseBounds, is_blank
from s3batch.s3.requests import Response

if TYPE_CHECKING:
    from collections.abc import Callable

    from s3batch.s3.requests import Body, Request

_READ_LEAST, _READ_MOST = 16 * 1024, 1024 * 1024
JOIN_UP_TO = 16 * 1024
"""Bytes; a body up to here goes with its head in one piece: over TLS that is one record, which holds 16 KiB."""


class BrokenConnectionError(Exception):
    """The exchange came to no answer."""

    def __init__(
        self,
        message: str,
        *,
        used: bool = False,
        timed_out: bool = False,
        distrusted: bool = False,
        malformed: bool = False,
        oversize: bool = False,
    ) -> None:
        super().__init__(message)
        self.oversize = oversize
        """More bytes are announced than the call allows."""
        self.malformed = malformed
        """Something came that is no answer."""
        self.used = used
        """The connection had answered before, so the store may merely have closed it as idle."""
        self.timed_out = timed_out
        self.distrusted = distrusted
        """True if the store's certificate is not trusted: no other try will succeed."""


class MalformedHTTPError(ValueError):
    """The response is not HTTP, or more than the call allows."""


class OversizeError(MalformedHTTPError):
    """An object is announced that is longer than the call allows."""


class ResponseParser:
    """A response as it comes in: fed bytes, it gives the :class:`Response` when that is whole.

    Its work is linear in the bytes, and it keeps no more of them than ``limit`` allows.
    """

    keep = True
    """True if the connection serves another exchange after this answer."""
    received = 0
    """Bytes so far."""
    _status = 0
    _length = -1
    _chunked = False
    _chunks = 0
    _interim = 0
    _headers: dict[str, str]
    _body: bytearray
    """Content of chunks, without their framing."""
    _room: int
    """The maximum size of the body."""

    def __init__(
        self, *, no_body: bool, request: Request | None = None, bounds: ResponseBounds = RESPONSE_BOUNDS
    ) -> None:
        """``request`` is the request, which with ``bounds`` decides how large the body may be."""
        self._buffer = bytearray()
        self._no_body = no_body
        self._call = request
        self._bounds = bounds
        self._chunk = _NO_CHUNK
        """Bytes of the chunk under way that are still to come."""

    @property
    def appetite(self) -> int:
        """The number of bytes to read next."""
        missing = self._length - len(self._buffer) if self._status else 0
        return min(max(missing, _READ_LEAST), _READ_MOST)

    @property
    def is_blank(self) -> bool:
        """True if the body so far is only a keep-alive: spaces, after an XML declaration at most."""
        return bool(self._status) and is_blank(self._body if self._chunked else self._buffer)

    def feed(self, data: bytes) -> Response | None:
        """Take ``data``. Raises :class:`MalformedHTTPError` if it is not HTTP, or a body has no end."""
        self.received += len(data)
        if self._status or self._buffer or not self._is_head(data):
            self._buffer += data
        else:  # most answers come so
            self._interim += len(data)
            self._parse_head(data[:-4])
        while not self._status:
            end = self._buffer.find(_HEAD_END)
            if self._interim + (end if end >= 0 else len(self._buffer)) > HEAD_LIMIT:
                raise MalformedHTTPError("headers without an end")
            if end < 0:
                return None
            self._interim += end + 4
            self._parse_head(bytes(self._buffer[:end]))
            del self._buffer[: end + 4]
        if self._chunked:
            return self._dechunked()
        if self._length == 0 or 0 < self._length <= self._room:
            return self._measured()
        if self._length > self._room and self._status < 300:
            kind = OversizeError if "etag" in self._headers else MalformedHTTPError
            raise kind(f"{self._length} bytes, of which {self._room} may be")
        return self._cut() if len(self._buffer) > self._room else None

    def _is_head(self, data: bytes) -> bool:
        """Return whether ``data`` is a whole head and nothing else."""
        end = len(data) - 4
        return end >= 0 and data.find(_HEAD_END) == end and self._interim + end <= HEAD_LIMIT

    def _measured(self) -> Response | None:
        """Return the answer, if its body has the announced length."""
        surplus = len(self._buffer) - self._length
        if surplus < 0:
            return None
        if surplus:  # a body after HEAD, or one longer than announced: the next response could not be told from it
            del self._buffer[self._length :]
            self.keep = False
        return Response(self._status, self._headers, self._buffer)

    def _cut(self) -> Response:
        """Return the answer with its body cut at the limit, if it is a refusal; raise for any other."""
        body = self._body if self._chunked else self._buffer
        if self._status < 300:
            raise MalformedHTTPError(f"more than {self._room} bytes")
        self.keep = False
        return Response(self._status, self._headers, body[: self._room])

    def end(self) -> Response | None:
        """End the body at the close of the connection: one without a length is complete, any other is cut."""
        if self._status and self._length < 0 and not self._chunked:
            return Response(self._status, self._headers, self._buffer)
        return None

    def _parse_head(self, head: bytes) -> None:
        lines = head.decode("utf-8", "surrogateescape").split("\r\n")
        if not lines[0].startswith("HTTP/1."):
            raise MalformedHTTPError(f"no HTTP: {lines[0][:40]!r}")
        status = int(lines[0][9:12])  # HTTP/1.1 200 OK
        if status < 200:  # 100 Continue: the real answer follows
            return
        headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        self._status, self._headers = status, headers
        # HTTP/1.1 keeps a connection unless told otherwise, 1.0 does not (RFC 9112, 9.3)
        self.keep = "close" not in headers.get("connection", "").lower() and lines[0][7] == "1"
        if self._no_body or status in (204, 304):  # these never have a body (RFC 9112, 6.3)
            self._length = 0
            return
        if headers.get("transfer-encoding", "").lower() == "chunked":
            self._chunked, self._body = True, bytearray()
        elif "content-length" in headers:
            self._length = _length_in(headers["content-length"])
        else:
            self.keep = False
        if self._length:
            self._room = self._bounds.body_limit(self._call, status)
        self._call = None  # an idle connection is not to hold the body of its last request

    def _dechunked(self) -> Response | None:
        """Move the content of received chunks to the body; return the answer once the last one has arrived."""
        buffer, body = self._buffer, self._body
        while buffer:
            if self._chunk > 0:
                taken = min(self._chunk, len(buffer))
                body += buffer[:taken]
                del buffer[:taken]
                self._chunk -= taken
                if len(body) > self._room:
                    return self._cut()
                if self._chunk:
                    return None
            end = buffer.find(b"\r\n", 0, CHUNK_HEAD_LIMIT)
            if end < 0:
                if len(buffer) >= CHUNK_HEAD_LIMIT:
                    raise MalformedHTTPError("a chunk without a length")
                return None
            line = bytes(buffer[:end])
            if self._chunk == _LAST:
                self._interim += end + 2
                if self._interim > HEAD_LIMIT:
                    raise MalformedHTTPError("headers without an end")
                del buffer[: end + 2]
                if not line:
                    return Response(self._status, self._headers, body)
            elif self._chunk == 0:
                if line:
                    raise MalformedHTTPError("a chunk longer than it said")
                del buffer[:2]
                self._chunk = _NO_CHUNK
            else:
                del buffer[: end + 2]
                self._begin_chunk(line)
        return None

    def _begin_chunk(self, line: bytes) -> None:
        self._chunk = _chunk_size(line) or _LAST
        self._chunks += 1
        if self._chunks > _FEW_CHUNKS and len(self._body) < self._chunks * _LEAST_CHUNK:
            raise MalformedHTTPError("a flood of tiny chunks")


_HEAD_END = b"\r\n\r\n"
_FEW_CHUNKS, _LEAST_CHUNK = 4096, 16
"""After so many chunks their mean size must be so many bytes. Stores send pages, and spaces to keep alive."""
_NO_CHUNK = -1
"""Between two chunks."""
_LAST = -2
"""After the last chunk: trailers, up to an empty line."""


def _length_in(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 19):  # 18 digits fit an int64
        raise MalformedHTTPError(f"Content-Length {text[:40]!r}")
    return int(text)


def _chunk_size(line: bytes) -> int:
    text = line.partition(b";")[0].strip()
    if not _CHUNK_SIZE.match(text):
        raise MalformedHTTPError(f"a chunk of {line[:40]!r} bytes")
    return int(text, 16)


_CHUNK_SIZE = re.compile(rb"[0-9a-fA-F]{1,15}\Z")


class Connection:
    """One keep-alive connection to the store, TLS or not."""

    __slots__ = (
        "_bounds",
        "_counts_body",
        "_grant",
        "_granted",
        "_head_left",
        "_out",
        "_reply",
        "_wire",
        "handshaking",
        "opening",
        "progress",
        "sock",
        "tls",
        "used",
    )

    def __init__(
        self,
        sock: socket.socket,
        grant: Callable[[int], int] | None = None,
        bounds: ResponseBounds = RESPONSE_BOUNDS,
        wire: list[int] | None = None,
    ) -> None:
        """``grant`` says how many of so many bytes may be sent now (a bandwidth limit); ``None``: all.

        The bytes of bodies are added to ``wire[0]`` as they travel.
        """
        self.sock = sock
        self.tls = isinstance(sock, ssl.SSLSocket)
        self.opening = True
        """Until the store's end has answered the connect, and TLS is agreed on."""
        self.handshaking = self.tls
        self.used = False
        self.progress = 0.0
        """When bytes last moved, monotonic seconds; kept by the transport."""
        self._grant = grant
        self._bounds = bounds
        self._granted = 0
        self._wire = [0] if wire is None else wire
        self._head_left = 0
        """Bytes of the request's head that are still to be sent."""
        self._counts_body = False
        """True if the body of the response is content."""
        self._out: list[Body] = []
        self._reply = ResponseParser(no_body=True)

    @property
    def reusable(self) -> bool:
        """True if it can carry another exchange after this one."""
        return self._reply.keep and not self._out

    @property
    def starved(self) -> bool:
        """True if it waits for the bandwidth limit, not for its socket."""
        return self._grant is not None and bool(self._out) and not self._granted and not self.handshaking

    @property
    def is_sending(self) -> bool:
        """True if a part of the request is still to be sent."""
        return bool(self._out)

    @property
    def is_kept_alive(self) -> bool:
        """True if only spaces have come of the body so far."""
        return self._reply.is_blank

    @property
    def received(self) -> int:
        """Bytes of the response so far."""
        return self._reply.received

    def await_answer(self, request: Request) -> None:
        """Read the answer to ``request`` from now on."""
        self._reply = ResponseParser(no_body=request.method == "HEAD", request=request, bounds=self._bounds)
        self._counts_body = request.name == "GetObject"

    def begin(self, head: bytes, body: Body, *, request: Request) -> None:
        """Start the exchange of ``request``, sent as ``head`` and ``body``."""
        self.await_answer(request)
        self._head_left = len(head)
        if len(body) <= JOIN_UP_TO:
            self._out = [head + body]
        else:
            self._out = [head, body]

    def send(self) -> bool:
        """Send as much as the socket takes; return True if it waits for room, False if all is sent or a read is due."""
        try:
            if self.opening:
                self._open()
            while self._out:
                if not self._send_some():
                    return True
        except ssl.SSLWantReadError:
            return False
        except (ssl.SSLWantWriteError, BlockingIOError):
            return True
        except OSError as error:
            raise self.broken(error) from error
        return False

    def _open(self) -> None:
        code = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise OSError(code, os.strerror(code))
        if self.handshaking:
            self.sock.do_handshake()  # type: ignore[attr-defined]
            self.handshaking = False

    def _send_some(self) -> bool:
        """Send once; False when the bandwidth limit says wait."""
        out = self._out
        if self._grant is not None:
            # a grant that was not used stays: TLS requires a repeated send to have at least the same data
            self._granted = self._granted or self._grant(len(out[0]))
            if not self._granted:
                return False
            sent = self.sock.send(memoryview(out[0])[: self._granted])
            self._granted -= sent
        elif self.tls or len(out) == 1:
            sent = self.sock.send(out[0])
        else:
            sent = self.sock.sendmsg(out)
        self.opening = False
        self.note_sent(sent)
        return True

    def note_sent(self, sent: int) -> None:
        """Note that so many bytes of the request are on the wire."""
        out = self._out
        if sent > self._head_left:
            self._wire[0] += sent - self._head_left
            self._head_left = 0
        else:
            self._head_left -= sent
        while out and sent >= len(out[0]):
            sent -= len(out[0])
            del out[0]
        if sent:
            out[0] = memoryview(out[0])[sent:]

    def receive(self) -> Response | None:
        """Read the available data; return the answer once it is complete."""
        try:
            while True:
                data = self.sock.recv(self._reply.appetite if self._reply.received else _READ_LEAST)
                if self._counts_body:
                    self._wire[0] += len(data)
                response = self._reply.feed(data) if data else self._ended()
                if response is not None:
                    self.used = True
                    return response
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError):
            return None
        except (OSError, ValueError) as error:
            raise self.broken(error) from error

    def take_in(self, data: bytes) -> Response | None:
        """Take bytes of the response that were read elsewhere; return the answer once it is complete."""
        try:
            response = self._reply.feed(data)
        except ValueError as error:
            raise self.broken(error) from error
        self.used = True
        return response

    def _ended(self) -> Response:
        response = self._reply.end()
        self._reply.keep = False
        if response is None:
            raise ConnectionError("the connection was closed before the answer was whole")
        return response

    def broken(self, error: Exception) -> BrokenConnectionError:
        """Return what ``error`` of the socket, or of the parser, says of the exchange."""
        if isinstance(error, ssl.SSLCertVerificationError):
            return BrokenConnectionError(f"its certificate is not trusted: {error.verify_message}", distrusted=True)
        words = getattr(error, "strerror", None) or str(error) or type(error).__name__
        malformed, oversize = isinstance(error, ValueError), isinstance(error, OversizeError)
        return BrokenConnectionError(words, used=self.used, malformed=malformed, oversize=oversize)

    def close(self) -> None:
        """Close the socket; never raises."""
        with contextlib.suppress(OSError):
            self.sock.close()
