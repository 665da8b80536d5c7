"""The worker's part of ``s3batch verify``: compare as a sync would, and read the object if that finds a difference.

A sync sends a file again when nothing proves that the object holds it. That is no difference yet. An ETag may be of
unknown parts, of KMS, or of a store's own making, and two compressors make different bytes of one text. Therefore the
object's content decides here.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from s3batch.model import Kind, KnownContent, Operation, Reason, RedirectSpec, Result, Work, require_spec
from s3batch.s3 import requests
from s3batch.s3.calls import send_request
from s3batch.s3.responses import etag_of, send_expecting_ok
from s3batch.worker.dispatch import carry_out

if TYPE_CHECKING:
    from s3batch.worker.context import Tools

_PIECE = 2 * 1024 * 1024
"""Bytes read at once; many objects are read at the same time."""


async def verify_object(work: Work, tools: Tools) -> Result:
    """Compare a file with its object; return the difference."""
    [result] = await carry_out(work, _plain_tools(tools))
    if result.error or result.reason is not Reason.CONTENT:
        return result
    etag = await _same_when_read(work.operation, tools)
    if not etag:
        return result
    proved = work.operation._replace(spec=KnownContent(), etag=etag)
    return (await carry_out(Work(proved), _plain_tools(tools)))[0]


async def compare_redirect(work: Work, tools: Tools) -> Result:
    """Check whether a redirect exists, and leads where it should."""
    operation = work.operation
    request = requests.head_object(operation.key)
    response = await send_request(request)
    if response.status == 404:
        return Result(operation.id, become=Kind.REDIRECT, reason=Reason.MISSING)
    location = (response if response.ok else await send_expecting_ok(request)).headers.get(
        "x-amz-website-redirect-location", ""
    )
    if location != require_spec(operation, RedirectSpec).location:
        return Result(operation.id, become=Kind.REDIRECT, reason=Reason.REDIRECT)
    return Result(operation.id, already=True)


EXTENSIONS = ((Kind.RECONCILE, verify_object), (Kind.REDIRECT, compare_redirect))
"""For :attr:`s3batch.worker.context.Brief.extensions`."""


def _plain_tools(tools: Tools) -> Tools:
    """Return the same tools without these extensions; quirks they find are shared."""
    found: Tools | None = tools.memory.get("readback")
    if found is None:
        found = tools.memory["readback"] = tools.with_brief(tools.brief._replace(extensions=()))
    return found


async def _same_when_read(operation: Operation, tools: Tools) -> str:
    """Return the ETag of the object if its bytes are the file's; empty if they are not."""
    if tools.attributes(operation).gzip:
        return await _same_unpacked(operation, tools)
    etag = operation.etag
    for offset in range(0, operation.size, _PIECE):
        length = min(_PIECE, operation.size - offset)
        response = await send_expecting_ok(requests.get_object(operation.key, offset, offset + length - 1))
        mine = tools.source.read(operation.path, operation.stamp, offset, length)
        if response.body != mine:
            return ""
        etag = etag_of(response)
    return etag


async def _same_unpacked(operation: Operation, tools: Tools) -> str:
    head = await send_expecting_ok(requests.head_object(operation.key))
    response = await send_expecting_ok(
        requests.get_object(operation.key, size=int(head.headers.get("content-length", 0)))
    )
    mine = tools.source.read(operation.path, operation.stamp)
    unpacker = zlib.decompressobj(31)  # 31 = 16 + 15: a gzip header, the largest window (inflateInit2 in zlib.h)
    try:
        theirs = unpacker.decompress(bytes(response.body), operation.size + 1)
    except zlib.error:
        return ""
    return etag_of(response) if theirs == mine and unpacker.eof else ""
