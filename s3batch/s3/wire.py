"""The lean lane's connections: HTTP/1.1 over non-blocking sockets, nothing S3 does not need.

    idle --begin--> sending --> waiting --> reading --> idle | closed
                       |            |           |
                       +------------+-----------+--> broken (the exchange may be tried on another)

A connection carries one exchange at a time and is kept for the next. It never blocks: it is told
when its socket is ready and says whether its answer is complete. Who waits for what is the lane's
business (:mod:`s3batch.s3.lane`).
"""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
from typing import TYPE_CHECKING

from s3batch.s3.calls import Answer

if TYPE_CHECKING:
    from collections.abc import Callable

    from s3batch.s3.calls import Body

_HEAD_LIMIT = 64 * 1024
"""Bytes of status line and headers; S3 itself stays below 8 KiB."""
_READ_LEAST, _READ_MOST = 16 * 1024, 1024 * 1024
_JOIN_UP_TO = 16 * 1024
"""Bytes; over TLS a body up to here shares the head's record (a record holds 16 KiB)."""


class BrokenConnectionError(Exception):
    """The exchange came to no answer."""

    def __init__(self, message: str, *, used: bool = False, timed_out: bool = False, distrusted: bool = False) -> None:
        super().__init__(message)
        self.used = used
        """The connection had answered before, so the store may merely have closed it as idle."""
        self.timed_out = timed_out
        self.distrusted = distrusted
        """The store's certificate is not one we trust: no other try will fare better."""


class Reply:
    """An answer as it comes in: fed bytes, it gives the :class:`Answer` when that is whole."""

    __slots__ = ("_buffer", "_chunked", "_headers", "_length", "_no_body", "_status", "keep")

    def __init__(self, *, no_body: bool) -> None:
        self._buffer = bytearray()
        self._no_body = no_body
        self._status = 0
        self._headers: dict[str, str] = {}
        self._length = -1
        self._chunked = False
        self.keep = True
        """Whether the connection serves another exchange after this answer."""

    @property
    def appetite(self) -> int:
        """How many bytes to read next."""
        missing = self._length - len(self._buffer) if self._status else 0
        return min(max(missing, _READ_LEAST), _READ_MOST)

    def feed(self, data: bytes) -> Answer | None:
        """Take ``data``. Raises ``ValueError`` for what is not HTTP."""
        self._buffer += data
        while not self._status:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                if len(self._buffer) > _HEAD_LIMIT:
                    raise ValueError("the answer's headers do not end")
                return None
            self._parse_head(bytes(self._buffer[:end]))
            del self._buffer[: end + 4]
        if self._chunked:
            return self._dechunked()
        surplus = len(self._buffer) - self._length
        if self._length < 0 or surplus < 0:
            return None
        if surplus:  # a body after HEAD, or one longer than announced: what follows cannot be told from it
            del self._buffer[self._length :]
            self.keep = False
        return Answer(self._status, self._headers, self._buffer)

    def end(self) -> Answer | None:
        """The store closed the connection: an answer without a length ends here, any other is cut."""
        if self._status and self._length < 0 and not self._chunked:
            return Answer(self._status, self._headers, self._buffer)
        return None

    def _parse_head(self, head: bytes) -> None:
        lines = head.decode("utf-8", "surrogateescape").split("\r\n")
        if not lines[0].startswith("HTTP/1."):
            raise ValueError(f"this is no HTTP answer: {lines[0][:40]!r}")
        status = int(lines[0][9:12])
        if status < 200:  # 100 Continue: the real answer follows
            return
        headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        self._status, self._headers = status, headers
        self.keep = "close" not in headers.get("connection", "").lower() and lines[0][7] == "1"
        if self._no_body or status in (204, 304):
            self._length = 0
        elif headers.get("transfer-encoding", "").lower() == "chunked":
            self._chunked = True
        else:
            self._length = int(headers.get("content-length", -1))
            self.keep = self.keep and self._length >= 0

    def _dechunked(self) -> Answer | None:
        """The body put together once the last chunk is there; answers in chunks are short error documents."""
        if not self._buffer.endswith(b"\r\n\r\n"):
            return None
        body, at = bytearray(), 0
        while True:
            line_end = self._buffer.find(b"\r\n", at)
            if line_end < 0:
                return None
            size = int(bytes(self._buffer[at:line_end]).split(b";")[0], 16)
            if size < 0:
                raise ValueError("a chunk has less than no bytes")
            if size == 0:
                return Answer(self._status, self._headers, body)
            at = line_end + 2 + size + 2
            if at > len(self._buffer):
                return None
            body += self._buffer[line_end + 2 : at - 2]


class Connection:
    """One keep-alive connection to the store, TLS or not."""

    __slots__ = ("_grant", "_granted", "_out", "_reply", "handshaking", "opening", "progress", "sock", "tls", "used")

    def __init__(self, sock: socket.socket, grant: Callable[[int], int] | None = None) -> None:
        """``grant`` says how many of so many bytes may be sent now (a bandwidth limit); ``None``: all."""
        self.sock = sock
        self.tls = isinstance(sock, ssl.SSLSocket)
        self.opening = True
        """Until the store's end has answered the connect, and TLS is agreed on."""
        self.handshaking = self.tls
        self.used = False
        self.progress = 0.0
        """When bytes last moved, monotonic seconds; kept by the lane."""
        self._grant = grant
        self._granted = 0
        self._out: list[memoryview] = []
        self._reply = Reply(no_body=True)

    @property
    def reusable(self) -> bool:
        """Whether it can carry another exchange after the one just answered."""
        return self._reply.keep and not self._out

    @property
    def starved(self) -> bool:
        """Whether it waits for the bandwidth limit, not for its socket."""
        return self._grant is not None and bool(self._out) and not self._granted and not self.handshaking

    def begin(self, head: bytes, body: Body, *, no_body: bool) -> None:
        """Start an exchange; ``no_body`` where none comes back (HEAD)."""
        self._reply = Reply(no_body=no_body)
        if self.tls and len(body) <= _JOIN_UP_TO:
            self._out = [memoryview(head + body)]
        else:
            self._out = [memoryview(head), memoryview(body)] if body else [memoryview(head)]

    def send(self) -> bool:
        """Send what the socket takes; True when it waits for room, False when all is sent or reading comes first."""
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
            raise self._broken(error) from error
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
            # what was granted and not sent stays granted: TLS wants a send repeated with no less than before
            self._granted = self._granted or self._grant(len(out[0]))
            if not self._granted:
                return False
            sent = self.sock.send(out[0][: self._granted])
            self._granted -= sent
        elif self.tls or len(out) == 1:
            sent = self.sock.send(out[0])
        else:
            sent = self.sock.sendmsg(out)
        self.opening = False
        while out and sent >= len(out[0]):
            sent -= len(out[0])
            del out[0]
        if sent:
            out[0] = out[0][sent:]
        return True

    def receive(self) -> Answer | None:
        """Read what has come; the answer once it is whole."""
        try:
            while True:
                data = self.sock.recv(self._reply.appetite)
                answer = self._reply.feed(data) if data else self._ended()
                if answer is not None:
                    self.used = True
                    return answer
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError):
            return None
        except (OSError, ValueError) as error:
            raise self._broken(error) from error

    def _ended(self) -> Answer:
        answer = self._reply.end()
        self._reply.keep = False
        if answer is None:
            raise ConnectionError("the connection was closed before the answer was whole")
        return answer

    def _broken(self, error: Exception) -> BrokenConnectionError:
        if isinstance(error, ssl.SSLCertVerificationError):
            return BrokenConnectionError(f"its certificate is not trusted: {error.verify_message}", distrusted=True)
        words = getattr(error, "strerror", None) or str(error) or type(error).__name__
        return BrokenConnectionError(words, used=self.used)

    def close(self) -> None:
        """Close the socket; never raises."""
        with contextlib.suppress(OSError):
            self.sock.close()
