"""A server that answers every request in one way, S3's or not, byte for byte.

    with Answering(lambda name, out: out.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\n\\r\\n")) as server:
        server.url

``name`` is S3's of the request. ``out`` raises ``OSError`` once the client has gone; what an answer returns as true
keeps the connection for the next request.
"""

from __future__ import annotations

import socket
import socketserver
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Self

from tests.rig.wire import parse

Answer = Callable[[str, "Out"], object]


class Out:
    """The way back to a client."""

    def __init__(self, sock: socket.socket, stopped: threading.Event) -> None:
        self._sock, self._stopped = sock, stopped

    def write(self, data: bytes) -> None:
        """Send it."""
        if self._stopped.is_set():
            raise OSError("the server stops")
        self._sock.sendall(data)

    def wait(self, seconds: float) -> None:
        """Say nothing for so long."""
        if self._stopped.wait(seconds):
            raise OSError("the server stops")


class Answering:
    """See the module."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.names: Counter[str] = Counter()
        self.keys: list[tuple[str, str]] = []
        self._stopped = threading.Event()
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        self.port: int = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 256


def _handler(server: Answering) -> type[socketserver.StreamRequestHandler]:
    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            with suppress(OSError):
                while head := _head(self.rfile):
                    request = parse(head)
                    self.rfile.read(int(request.headers.get("content-length", 0)))
                    server.names[request.operation] += 1
                    server.keys.append((request.operation, request.key))
                    if not server.answer(request.operation, Out(self.connection, server._stopped)):
                        return

    return Handler


def _head(stream) -> bytes:
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        line = stream.readline()
        if not line:
            return b""
        head += line
    return head
