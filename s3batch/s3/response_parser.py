"""The parser of responses: HTTP/1.1 as it comes in, in whatever pieces, within the bounds of its request."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from s3batch.s3.bounds import CHUNK_HEAD_LIMIT, HEAD_LIMIT, RESPONSE_BOUNDS, ResponseBounds, is_blank
from s3batch.s3.requests import Response

if TYPE_CHECKING:
    from s3batch.s3.requests import Request

READ_LEAST = 16 * 1024
"""Bytes: what is read at once, where no more is announced."""
_READ_MOST = 1024 * 1024


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
        self._memory: bytearray | memoryview | None = None
        """Memory for a body whose length was expected, once that has begun to come."""
        self._filled = 0
        """Bytes of the body in it."""
        self._no_body = no_body
        self._call = request
        self._bounds = bounds
        self._chunk = _NO_CHUNK
        """Bytes of the chunk under way that are still to come."""

    @property
    def appetite(self) -> int:
        """The number of bytes to read next."""
        missing = self._length - len(self._buffer) if self._status else 0
        return min(max(missing, READ_LEAST), _READ_MOST)

    @property
    def vacant(self) -> memoryview | None:
        """Memory for the rest of the body, to read into and tell :meth:`fill`; ``None`` if bytes go to :meth:`feed`."""
        return None if self._memory is None else memoryview(self._memory)[self._filled :]

    def fill(self, count: int) -> Response | None:
        """Take ``count`` bytes that were read into the vacant memory."""
        self.received += count
        self._filled += count
        if self._memory is None or self._filled < self._length:
            return None
        body, self._memory = self._memory, None  # an idle connection is not to hold the body of its last response
        return Response(self._status, self._headers, body)

    @property
    def is_blank(self) -> bool:
        """True if the body so far is only a keep-alive: spaces, after an XML declaration at most."""
        return bool(self._status) and is_blank(self._body if self._chunked else self._buffer)

    def feed(self, data: bytes) -> Response | None:
        """Take ``data``. Raises :class:`MalformedHTTPError` if it is not HTTP, or a body has no end."""
        if self._memory is not None:
            vacant = memoryview(self._memory)[self._filled :]
            vacant[: len(data)] = data[: len(vacant)]
            self.keep = self.keep and len(data) <= len(vacant)
            return self.fill(min(len(data), len(vacant)))
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
            self._reserve()
            return None
        if surplus:  # a body after HEAD, or one longer than announced: the next response could not be told from it
            del self._buffer[self._length :]
            self.keep = False
        return Response(self._status, self._headers, self._buffer)

    def _reserve(self) -> None:
        """Make memory for a body of the expected length, so that it need not grow; move to it what has come."""
        call, self._call = self._call, None
        if call is None or call.expected != self._length or self._status >= 300:
            return
        into = call.into
        self._memory = into if into is not None and len(into) == self._length else bytearray(self._length)
        self._filled = len(self._buffer)
        self._memory[: self._filled] = self._buffer
        self._buffer.clear()

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
        if self._call is not None and self._call.expected < 0:
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
    if not re.match(_CHUNK_SIZE, text):
        raise MalformedHTTPError(f"a chunk of {line[:40]!r} bytes")
    return int(text, 16)


_CHUNK_SIZE = rb"[0-9a-fA-F]{1,15}\Z"
