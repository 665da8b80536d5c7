"""A fault proxy: stands between a client and a real S3 server, passes bytes on, and misbehaves on order.

    client ──head──▶ match a rule ──▶ act before │ during the request │ after the server applied it │ during the reply

What no rule touches is passed through byte for byte, so signatures stay right; with no rules it is a
recorder. It runs in a thread of its own, on 127.0.0.1. Faults and rules are in :mod:`tests.rig.faults`.

    with FaultProxy(server.url) as proxy:
        proxy.on("PutObject", Refuse(503, "SlowDown"), times=2)
        ...
        assert proxy.counts()["PutObject"] == 3
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
import threading
import time
from collections import Counter
from contextlib import suppress
from typing import Self
from urllib.parse import urlsplit

from tests.rig.faults import Call, Delay, DuringReply, DuringRequest, Fault, Hold, Refuse, Request, Reset, Rule, Stall
from tests.rig.wire import CutError, body_blocks, error_reply, header_fields, parse, reply_after_interim, spoil

HEAD_LIMIT = 1 << 20
KEPT_BODY = 1 << 16
"""So much of each request's body is kept for tests that look at it."""


class Link:
    """A client's connection and the one to the server that belongs to it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.server: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def upstream(self, address: tuple[str, int]) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """The connection to the server, opened again when it has closed it."""
        if self.server and self.server[0].at_eof():
            self.server[1].close()
            self.server = None
        if not self.server:
            self.server = await asyncio.open_connection(*address, limit=HEAD_LIMIT)
        return self.server

    def reset(self) -> None:
        """End both sides at once, the client's by RST."""
        sock = self.writer.get_extra_info("socket")
        with suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()
        if self.server:
            self.server[1].transport.abort()

    def close(self) -> None:
        self.writer.close()
        if self.server:
            self.server[1].close()


class FaultProxy:
    """See the module. A context manager; ``rules`` are tried in order, the first that takes a request has it."""

    def __init__(self, upstream: str, *, tls: ssl.SSLContext | None = None) -> None:
        self.upstream = upstream
        self.latency = 0.0
        """Seconds that every request waits first."""
        self.rules: list[Rule] = []
        self.requests: list[Request] = []
        self.connections = self.peak_connections = self.port = 0
        self._under_way = 0
        """Requests that have come and are not answered yet, also those whose sender is gone."""
        self._tls = tls
        self._seen = threading.Condition()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault-proxy", daemon=True)
        self._listener: asyncio.Server | None = None
        self._links: set[Link] = set()

    # what tests use -------------------------------------------------------------------------

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    def on(self, operation: str, fault: Fault, **limits: object) -> Rule:
        """Add a rule for an operation ("" for any); limits are ``Rule``'s other fields."""
        rule = Rule(fault, operation, **limits)
        self.rules.append(rule)
        return rule

    def counts(self) -> Counter[str]:
        """How often each operation was asked for since the start or the last ``forget``."""
        return Counter(request.operation for request in list(self.requests))

    def forget(self) -> None:
        """Drop rules and records."""
        self.rules.clear()
        self.requests.clear()

    def wait_for(self, operation: str, count: int = 1, timeout: float = 60) -> bool:
        """Until ``operation`` has been asked for ``count`` times; false when that takes too long."""
        with self._seen:
            return self._seen.wait_for(lambda: self.counts()[operation] >= count, timeout)

    def wait_until_quiet(self, timeout: float = 60) -> bool:
        """Until no request is under way to the server, nor held up here; false when that takes too long."""
        with self._seen:
            return self._seen.wait_for(lambda: not self._under_way, timeout)

    def down(self) -> None:
        """Be gone: break every connection, accept none."""
        self._run(self._down())

    def up(self) -> None:
        """Be back, on the same port."""
        self._run(self._up())

    def __enter__(self) -> Self:
        self._thread.start()
        self.up()
        return self

    def __exit__(self, *_: object) -> None:
        self._run(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    # the proxy's own thread -----------------------------------------------------------------

    def _run(self, coroutine) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(30)

    async def _up(self) -> None:
        self._listener = await asyncio.start_server(
            self._connection, "127.0.0.1", self.port, ssl=self._tls, limit=HEAD_LIMIT, backlog=1024
        )
        self.port = self._listener.sockets[0].getsockname()[1]

    async def _down(self) -> None:
        if self._listener:
            for sock in self._listener.sockets:
                self._loop.remove_reader(sock.fileno())
            await asyncio.sleep(0.01)  # asyncio forgets, open, what it has accepted and not yet begun when it closes
            self._listener.close()
        for link in list(self._links):
            link.reset()

    async def _stop(self) -> None:
        await self._down()
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = Link(reader, writer)
        self._links.add(link)
        self.peak_connections = max(self.peak_connections, len(self._links))
        self.connections += 1
        try:
            while await self._exchange(link):
                pass
        except (OSError, asyncio.IncompleteReadError):
            link.reset()  # a server that went away must look like one
        except asyncio.CancelledError:
            link.reset()
        finally:
            self._links.discard(link)
            link.close()

    async def _exchange(self, link: Link) -> bool:
        """Carry one request and its reply; whether the connection can carry another."""
        try:
            head = await link.reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return False
        request = parse(head)
        request.port = link.writer.get_extra_info("peername")[1]
        fault = next((rule.fault for rule in self.rules if rule.takes(request)), None)
        request.action = type(fault).__name__ if fault else ""
        with self._seen:
            self.requests.append(request)
            self._under_way += 1
            self._seen.notify_all()
        try:
            return await self._answer(link, request, head, fault)
        finally:
            with self._seen:
                self._under_way -= 1
                self._seen.notify_all()

    async def _answer(self, link: Link, request: Request, head: bytes, fault: Fault | None) -> bool:
        """Do what the fault says, and pass the request on; whether the connection can carry another."""
        await asyncio.sleep(self.latency)
        if not await self._before(link, request, fault):
            return False
        if isinstance(fault, Refuse) and not fault.after:
            return await self._refuse(link, request, fault)
        return await self._forward(link, request, head, fault)

    async def _before(self, link: Link, request: Request, fault: Fault | None) -> bool:
        """What happens before the server knows of the request; false when it never shall."""
        match fault:
            case Delay(seconds):
                await asyncio.sleep(seconds)
            case Hold(event):
                while not event.is_set():
                    await asyncio.sleep(0.01)
            case Call(function, after=False):
                await asyncio.to_thread(function, request)
            case Reset(after=False):
                link.reset()
                return False
            case Stall(seconds):
                await asyncio.sleep(seconds)
                link.reset()
                return False
        return True

    async def _refuse(self, link: Link, request: Request, fault: Refuse) -> bool:
        if fault.read_body and not fault.after:
            if "expect" in request.headers:
                link.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            async for block in body_blocks(link.reader, request.headers):
                request.sent += len(block)
        request.status, request.answered = fault.status, time.monotonic()
        link.writer.write(error_reply(request, fault))
        await link.writer.drain()
        return fault.read_body

    async def _forward(self, link: Link, request: Request, head: bytes, fault: Fault | None) -> bool:
        address = urlsplit(self.upstream)
        reader, writer = await link.upstream((address.hostname, address.port))
        writer.write(head)
        sending = asyncio.create_task(self._send(link, writer, request, fault))
        try:
            status, reply_head = await reply_after_interim(reader, link.writer)
            if "expect" not in request.headers:
                await asyncio.wait([sending])
            whole = sending.done() and not sending.exception()
            return await self._reply(link, request, (status, reply_head), fault) and whole
        finally:
            sending.cancel()
            with suppress(asyncio.CancelledError, OSError, asyncio.IncompleteReadError):
                await sending

    async def _send(self, link: Link, server: asyncio.StreamWriter, request: Request, fault: Fault | None) -> None:
        """Pass the body on; a client that goes away takes the server's connection with it."""
        cut, rate = (fault.cut, fault.rate) if isinstance(fault, DuringRequest) else (None, None)
        try:
            async for block in spoil(body_blocks(link.reader, request.headers), cut=cut, rate=rate):
                request.sent += len(block)
                request.body += block[: max(0, KEPT_BODY - len(request.body))]
                server.write(block)
                with suppress(ConnectionError):  # it has answered early and closed; the client shall see the answer
                    await server.drain()
        except (OSError, asyncio.IncompleteReadError):
            link.reset()
            raise

    async def _reply(self, link: Link, request: Request, reply: tuple[int, bytes], fault: Fault | None) -> bool:
        """Give the server's reply to the client, or what the fault makes of it."""
        status, head = reply
        headers = header_fields(head)
        blocks = body_blocks(link.server[0], headers, reply_to=request.method, status=status)
        if isinstance(fault, Call) and fault.after:
            await asyncio.to_thread(fault.function, request)
        if isinstance(fault, Reset | Refuse):
            async for _ in blocks:
                pass
            if isinstance(fault, Refuse):
                return await self._refuse(link, request, fault)
            link.reset()
            return False
        request.status, request.answered = status, time.monotonic()
        link.writer.write(head)
        meddling = fault if isinstance(fault, DuringReply) else DuringReply()
        try:
            async for block in spoil(blocks, cut=meddling.cut, rate=meddling.rate, flip=meddling.flip):
                request.received += len(block)
                link.writer.write(block)
                await link.writer.drain()
        except CutError:
            if meddling.reset:
                link.reset()
            return False
        return "close" not in (headers.get("connection", "").lower(), request.headers.get("connection", "").lower())
