"""HTTP/1.1 as it is on the wire: heads, and bodies block by block, with nothing changed on the way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from urllib.parse import parse_qsl, unquote

from tests.rig.faults import Refuse, Request
from tests.rig.operations import operation_name

BLOCK = 1 << 16


class CutError(ConnectionError):
    """A stream has been ended on purpose."""


def parse(head: bytes) -> Request:
    """A request from its head."""
    method, target, _ = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ", 2)
    path, _, query_text = target.partition("?")
    query, headers = dict(parse_qsl(query_text, keep_blank_values=True)), header_fields(head)
    bucket, _, key = path[1:].partition("/")
    operation = operation_name(method, path, query, headers)
    return Request(operation, method, unquote(bucket), unquote(key, errors="surrogateescape"), query, headers)


def header_fields(head: bytes) -> dict[str, str]:
    """Names in lower case, values stripped."""
    lines = (line.partition(":") for line in head.decode("latin-1").split("\r\n")[1:] if line)
    return {name.lower(): value.strip() for name, _, value in lines}


async def reply_after_interim(reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> tuple[int, bytes]:
    """Status and head of the final reply; "100 Continue" is passed on at once."""
    while True:
        head = await reader.readuntil(b"\r\n\r\n")
        status = int(head.split(b" ", 2)[1])
        if status >= 200:
            return status, head
        client.write(head)


async def body_blocks(
    reader: asyncio.StreamReader, headers: dict[str, str], *, reply_to: str = "", status: int = 0
) -> AsyncIterator[bytes]:
    """The body as it is on the wire, to its end and not a byte further. ``reply_to``: the method, for a reply."""
    if reply_to == "HEAD" or status in (204, 304):
        return
    if "chunked" in headers.get("transfer-encoding", "").lower():
        async for block in _chunks(reader):
            yield block
    elif "content-length" in headers:
        async for block in _exactly(reader, int(headers["content-length"])):
            yield block
    elif reply_to:
        while block := await reader.read(BLOCK):
            yield block


async def _exactly(reader: asyncio.StreamReader, left: int) -> AsyncIterator[bytes]:
    while left:
        block = await reader.read(min(left, BLOCK))
        if not block:
            raise asyncio.IncompleteReadError(b"", left)
        left -= len(block)
        yield block


async def _chunks(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while size_line := await reader.readuntil(b"\n"):
        yield size_line
        size = int(size_line.split(b";")[0], 16)
        async for block in _exactly(reader, size + 2 if size else 0):
            yield block
        if not size:
            break
    while trailer := await reader.readuntil(b"\n"):
        yield trailer
        if trailer in (b"\r\n", b"\n"):
            return


async def spoil(
    blocks: AsyncIterator[bytes], *, cut: int | None = None, rate: float | None = None, flip: int | None = None
) -> AsyncIterator[bytes]:
    """The same blocks, slower, with one bit turned, or ended by :class:`CutError` after ``cut`` bytes."""
    at = 0
    async for block in blocks:
        if flip is not None and at <= flip < at + len(block):
            changed = bytearray(block)
            changed[flip - at] ^= 1
            block = bytes(changed)  # noqa: PLW2901 - this block, spoilt
        if cut is not None and at + len(block) >= cut:
            yield block[: cut - at]
            raise CutError("cut on purpose")
        yield block
        at += len(block)
        if rate:
            await asyncio.sleep(len(block) / rate)


def error_reply(request: Request, fault: Refuse) -> bytes:
    """What S3 says when it refuses; no body after HEAD."""
    document = (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{fault.code}</Code>'
        f"<Message>{fault.message}</Message><RequestId>FAULTPROXY</RequestId></Error>"
    ).encode()
    length = 0 if request.method == "HEAD" else len(document)
    head = (
        f"HTTP/1.1 {fault.status} Fault\r\nContent-Type: application/xml\r\nContent-Length: {length}\r\n"
        f"x-amz-request-id: FAULTPROXY\r\n{'' if fault.read_body else 'Connection: close' + chr(13) + chr(10)}\r\n"
    ).encode()
    return head + document[:length]
