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
import socket
from typing import TYPE_CHECKING, cast

from s3batch.s3.bounds import RESPONSE_BOUNDS, ResponseBounds
from s3batch.s3.response_parser import READ_LEAST, OversizeError, ResponseParser
from s3batch.s3.tls import explain_distrust, list_waits, wants_read

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from s3batch.s3.requests import Body, Request, Response

_MOST_AT_ONCE = 256 * 1024
"""Bytes of content that one connection reads before others have their turn, under a bandwidth limit."""
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


class Connection:
    """One keep-alive connection to the store, TLS or not."""

    __slots__ = (
        "_allowed",
        "_bounds",
        "_counts_body",
        "_grant",
        "_granted",
        "_head_left",
        "_out",
        "_reply",
        "_wire",
        "choked",
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
        """``grant`` says how many of so many bytes may travel now (a bandwidth limit); ``None``: all.

        The bytes of bodies are added to ``wire[0]`` as they travel.
        """
        self.sock = sock
        self.tls = type(sock) is not socket.socket
        self.opening = True
        """Until the store's end has answered the connect, and TLS is agreed on."""
        self.handshaking = self.tls
        self.used = False
        self.progress = 0.0
        """When bytes last moved, monotonic seconds; kept by the transport."""
        self._grant = grant
        self._bounds = bounds
        self._granted = 0
        self._allowed = 0
        """Bytes of content that were granted and not read yet."""
        self.choked = False
        """True if the bandwidth limit keeps it from reading on."""
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
        if self._grant is None or self.handshaking:
            return False
        return self.choked or (bool(self._out) and not self._granted)

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
        except list_waits() as error:
            return not wants_read(error)
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
        """Read the available data; return the answer once it is complete.

        Content is read as far as a bandwidth limit allows: ``choked`` tells that it ended there.
        """
        try:
            while True:
                if self._grant is not None and self._counts_body:
                    response = self._read_granted(self._grant)
                    if response is not None or self.choked:
                        return response
                    continue
                if (vacant := self._reply.vacant) is not None:
                    response = self._read_into(vacant)
                    self.used = True
                    return response
                data = self.sock.recv(self._reply.appetite if self._reply.received else READ_LEAST)
                if self._counts_body:
                    self._wire[0] += len(data)
                response = self._reply.feed(data) if data else self._ended()
                if response is not None:
                    self.used = True
                    return response
        except list_waits():
            return None
        except (OSError, ValueError) as error:
            raise self.broken(error) from error

    def _read_granted(self, grant: Callable[[int], int]) -> Response | None:
        """Read once, no more than the bandwidth limit allows; return the answer once it is complete."""
        reply, before = self._reply, self._wire[0]
        vacant = reply.vacant
        wanted = reply.appetite if vacant is None else len(vacant)
        self._allowed = self._allowed or grant(min(wanted, _MOST_AT_ONCE))
        self.choked = not self._allowed
        if self.choked:
            return None
        room = min(wanted, self._allowed)
        try:
            if vacant is not None:
                response = self._read_into(vacant[:room])
            else:
                data = self.sock.recv(room)
                self._wire[0] += len(data)
                response = reply.feed(data) if data else self._ended()
        finally:  # a read that empties the socket raises after it has read
            self._allowed -= self._wire[0] - before
        self.used = self.used or response is not None
        return response

    def _read_into(self, vacant: memoryview) -> Response | None:
        """Read as much as there is into the memory of a body; return the answer once that is complete."""
        filled, size, read = 0, len(vacant), self.sock.recv_into
        try:
            while filled < size:  # over TLS a read gives 16 KiB at most
                count = read(vacant[filled:])
                filled += count
                if not count:
                    return self._ended()
        finally:
            if self._counts_body:
                self._wire[0] += filled
            response = self._reply.fill(filled)
        if response is not None and self._has_more():
            self._reply.keep = False  # the next response could not be told from it
        return response

    def _has_more(self) -> bool:
        """Return whether there is more to read, or the end of the connection."""
        if self.tls:
            return cast("ssl.SSLSocket", self.sock).pending() > 0
        try:
            self.sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            pass  # it broke after the last byte
        return True

    def take_in(self, data: bytes) -> Response | None:
        """Take bytes of the response that were read elsewhere; return the answer once it is complete."""
        if self._counts_body:
            self._wire[0] += len(data)
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
        if why := explain_distrust(error):
            return BrokenConnectionError(f"its certificate is not trusted: {why}", distrusted=True)
        words = getattr(error, "strerror", None) or str(error) or type(error).__name__
        malformed, oversize = isinstance(error, ValueError), isinstance(error, OversizeError)
        return BrokenConnectionError(words, used=self.used, malformed=malformed, oversize=oversize)

    def close(self) -> None:
        """Close the socket; never raises."""
        with contextlib.suppress(OSError):
            self.sock.close()
