"""A server that says exactly what a test tells it to, byte for byte, connection by connection.

    with Scripted([[OK, OK], [b"HTTP/1.1 200 OK\\r\\n", CLOSE]]) as server:

The first connection is answered twice and then closed, the second is cut in the midst of its first answer.
Connections beyond the script get its last one again.
"""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

OK = b'HTTP/1.1 200 OK\r\nETag: "e"\r\nContent-Length: 2\r\n\r\nok'


@dataclass(frozen=True, slots=True)
class Act:
    """Something else than an answer."""

    name: str
    seconds: float = 0.0


CLOSE = Act("close")
"""Close at once, without waiting for a request."""
RESET = Act("reset")
"""Close with RST once the request is there."""
CLOSE_UNREAD = Act("close unread")
"""Take the connection and close it before reading a byte."""


def wait(seconds: float) -> Act:
    """Say nothing for so long."""
    return Act("wait", seconds)


Step = bytes | Act


class Scripted:
    """See the module. ``heads`` are the requests' heads, each with the number of its connection."""

    def __init__(
        self,
        scripts: Sequence[Sequence[Step]],
        *,
        family: int = socket.AF_INET,
        host: str = "127.0.0.1",
        of_heads: bool = False,
    ) -> None:
        """With ``of_heads`` an answer ends with its head, whatever length it announces: all requests are HEADs."""
        self._scripts = scripts
        self._of_heads = of_heads
        self._listener = socket.socket(family, socket.SOCK_STREAM)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind((host, 0))
        self._listener.listen(128)
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{self.port}"
        self.heads: list[tuple[int, bytes]] = []
        self.bodies: list[bytes] = []
        self.connections = 0
        self._open: list[socket.socket] = []
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for sock in (self._listener, *self._open):
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()
        self._thread.join(5)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                number, self.connections = self.connections, self.connections + 1
                script = self._scripts[min(number, len(self._scripts) - 1)]
                self._open.append(sock)
                threading.Thread(target=self._follow, args=(sock, number, script), daemon=True).start()

    def _follow(self, sock: socket.socket, number: int, script: Sequence[Step]) -> None:
        with suppress(OSError, EOFError), sock, sock.makefile("rb") as stream:
            asked = False
            for step in script:
                if step is CLOSE_UNREAD:
                    return
                if not asked and step is not CLOSE:
                    self._read(stream, number)
                asked = self._act(sock, step)
            if script and isinstance(script[-1], bytes):
                time.sleep(0.01)

    def _act(self, sock: socket.socket, step: Step) -> bool:
        """Do it; whether the request it was about is still to be answered."""
        if isinstance(step, bytes):
            sock.sendall(step)
            return not (step.endswith(b"\r\n\r\n") if self._of_heads else _is_whole(step))
        if step.name == "reset":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            raise EOFError
        if step.name == "close":
            raise EOFError
        time.sleep(step.seconds)
        return True

    def _read(self, stream, number: int) -> None:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            line = stream.readline()
            if not line:
                raise EOFError
            head += line
        length = next(
            (int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0
        )
        self.heads.append((number, head))
        self.bodies.append(stream.read(length))


def _is_whole(step: bytes) -> bool:
    """Whether an answer ends here; a piece of one begins with HTTP and announces more than it holds."""
    head, _, body = step.partition(b"\r\n\r\n")
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:") and line[15:].strip().isdigit():
            return len(body) >= int(line[15:])
    return step.endswith(b"\r\n\r\n") and b" 100 " not in step[:14]
