"""A hostile S3: an honest one in this process, and before it a server that misbehaves in one mode, byte for byte.

    client ─request─> HostileS3 ─ is this request in the position? ─no─> FakeS3's honest answer
                                                                 └yes─> the mode's bytes

Modes are in :mod:`tests.hostile.modes`. What a position takes is told by an operation's name and by a count.
"""

from __future__ import annotations

import random
import socket
import struct
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import parse_qsl, unquote

from tests.rig.fake_s3 import FakeS3, Reply, Seen

LONGEST = 120.0
"""Seconds after which even an endless answer ends: the client should be long gone."""


@dataclass(slots=True)
class Position:
    """Which requests are answered in the mode."""

    operation: str = ""
    """S3's name of the request; empty for every one."""
    skip: int = 0
    """So many of them are answered honestly first."""
    times: int = 1 << 30
    """Then so many are not; the rest are honest again."""

    def __str__(self) -> str:
        what = self.operation or "every request"
        after = f", after {self.skip}" if self.skip else ""
        return f"{what}{after}" + (f", {self.times} times" if self.times < 1 << 30 else "")


@dataclass(slots=True)
class Exchange:
    """One request that is to be answered in the mode."""

    sock: socket.socket
    request: Seen
    fake: FakeS3
    chance: random.Random
    number: int
    """How many of this connection's server were answered so before."""
    stop: threading.Event
    begun: float = field(default_factory=time.monotonic)

    def honest(self) -> Reply:
        """Carry the request out, and return the honest answer."""
        reply = self.fake.answer(self.request)
        headers = {"x-amz-request-id": "HONEST", "date": "Sat, 28 Nov 2026 10:00:00 GMT"} | reply.headers
        return Reply(reply.status, headers, reply.body)

    def send(self, data: bytes) -> None:
        """Send bytes. Ends the exchange by ``OSError`` when the client has gone or the time is up."""
        if self.stop.is_set() or time.monotonic() - self.begun > LONGEST:
            raise ConnectionError("over")
        self.sock.sendall(data)

    def rest(self, seconds: float) -> None:
        """Wait; end the exchange when the client has gone."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if self.stop.is_set() or time.monotonic() - self.begun > LONGEST:
                raise ConnectionError("over")
            self.sock.settimeout(min(left, 0.2))
            with suppress(TimeoutError):
                if not self.sock.recv(1, socket.MSG_PEEK):
                    raise ConnectionError("the client has gone")
                time.sleep(min(left, 0.2))
        self.sock.settimeout(20)

    def reply(self, status: int, headers: dict[str, str], body: bytes = b"", *, length: str | None = None) -> None:
        """Send an answer with a length that is right, or as told."""
        lines = [f"HTTP/1.1 {status} Whatever", *(f"{name}: {value}" for name, value in headers.items())]
        names = {name.lower() for name in headers}
        if status != 204 and not names & {"content-length", "transfer-encoding"}:
            lines.append(f"Content-Length: {len(body) if length is None else length}")
        head = "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape")
        self.send(head + (b"" if self.request.method == "HEAD" else body))

    def say(self, reply: Reply) -> None:
        """Send an honest answer, perhaps a changed one."""
        self.reply(reply.status, dict(reply.headers), reply.body)

    def reset(self) -> None:
        """Close with RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise ConnectionError("reset")


Misbehave = Callable[[Exchange], bool | None]
"""Answers one request; true when the connection can carry another."""


class HostileS3:
    """See the module. ``fake`` is the honest one, to be filled and looked at."""

    def __init__(self) -> None:
        self.fake = FakeS3()
        self.mode: Misbehave | None = None
        self.greeting: bytes = b""
        """Sent to each connection before it says anything."""
        self.position = Position()
        self.chance = random.Random(0)
        self.misbehaved: Counter[str] = Counter()
        self.broken: list[str] = []
        """Tracebacks of modes that do not work."""
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._seen = 0
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._open: set[socket.socket] = set()
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.calm()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def calm(self) -> None:
        """Be honest from now on, and break every connection."""
        self.mode, self.greeting = None, b""
        self._stop.set()
        with self._lock:
            for sock in list(self._open):
                with suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
        self._stop = threading.Event()
        self._seen = 0
        self.misbehaved = Counter()

    def misbehave(self, mode: Misbehave, position: Position, chance: random.Random) -> None:
        """Answer the requests of ``position`` in ``mode`` from now on."""
        self.calm()
        self.position, self.chance, self.mode = position, chance, mode

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(sock, self._stop), daemon=True).start()

    def _serve(self, sock: socket.socket, stop: threading.Event) -> None:
        with self._lock:
            self._open.add(sock)
        sock.settimeout(20)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            with suppress(OSError, EOFError), sock, sock.makefile("rb") as stream:
                if self.greeting:
                    sock.sendall(self.greeting)
                while (request := _read(stream, sock)) is not None and self._answer(sock, request, stop):
                    pass
        except Exception:  # noqa: BLE001 - a mode that does not work; the round is told
            self.broken.append(traceback.format_exc())
        finally:
            with self._lock:
                self._open.discard(sock)

    def _answer(self, sock: socket.socket, request: Seen, stop: threading.Event) -> bool:
        with self._lock:
            mode, number = (self.mode, self._seen - self.position.skip) if self._takes(request) else (None, 0)
        exchange = Exchange(sock, request, self.fake, self.chance, number, stop)
        if mode is None:
            exchange.say(exchange.honest())
            return True
        self.misbehaved[request.name] += 1
        return bool(mode(exchange))

    def _takes(self, request: Seen) -> bool:
        if self.mode is None or self.position.operation not in ("", request.name):
            return False
        self._seen += 1
        return 0 < self._seen - self.position.skip <= self.position.times


def _read(stream: Any, sock: socket.socket) -> Seen | None:
    line = stream.readline(65536)
    if not line:
        return None
    method, target, _ = line.decode("latin-1").split(" ", 2)
    headers: dict[str, str] = {}
    while (line := stream.readline(65536)) not in (b"\r\n", b""):
        name, _, value = line.decode("utf-8", "surrogateescape").partition(":")
        headers[name.lower()] = value.strip()
    if "expect" in headers:
        sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
    body = stream.read(int(headers.get("content-length", 0)))
    path, _, query = target.partition("?")
    bucket, _, key = path[1:].partition("/")
    pairs = dict(parse_qsl(query, keep_blank_values=True, errors="surrogateescape"))
    return Seen(
        method,
        target,
        unquote(bucket),
        unquote(key, errors="surrogateescape"),
        pairs,
        headers,
        body,
        sock.getpeername(),
    )
