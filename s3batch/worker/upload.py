"""The upload of a file in one PUT, whatever there is to check. A plain one begins in :mod:`.plain_upload`."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from s3batch.model import MISSING, Attributes, Operation, Result, Work, find_kept_attributes
from s3batch.objects.headers import RemoteAttributes, make_kept_headers, make_put_headers
from s3batch.quirks import Quirk, QuirkKind
from s3batch.s3 import requests
from s3batch.s3.calls import send_request
from s3batch.s3.checked_upload import BodyChecksum, FirstAttempt, send_checked
from s3batch.s3.checksums import RunningChecksum
from s3batch.s3.event_loop import run_in_thread
from s3batch.s3.faults import RequestError, fault_of, is_acl_refusal
from s3batch.s3.responses import date_of, etag_of, raise_for_status, seconds_of, send_allowing_refusal
from s3batch.source.reader import BLOCK, compress_body
from s3batch.worker.conditional import OVERTAKEN, misjudges_condition, unchanged_since
from s3batch.worker.results import failed_result
from s3batch.worker.versions import note_version

if TYPE_CHECKING:
    from s3batch.s3.requests import Body, Response
    from s3batch.worker.context import Tools

_PACKED_ON_LOOP = 64 * 1024
"""Bytes: compressing these takes 2 ms."""


# --- reading -------------------------------------------------------------------------------


async def read_checked(operation: Operation, tools: Tools, memory: memoryview, offset: int = 0) -> BodyChecksum | None:
    """Fill ``memory`` from a file; return the checksum to send, if one is wanted.

    More than a block is read on a thread, so that other operations need not wait.
    """
    name = tools.checks.name
    running = RunningChecksum(name) if name else None
    note = running.update if running is not None else len
    read = partial(tools.source.read_into, memory, operation.path, operation.stamp, offset, note)
    if len(memory) <= BLOCK:
        read()
    else:
        await run_in_thread(read)
    return BodyChecksum(name, running.base64()) if running is not None else None


async def read_packed(operation: Operation, tools: Tools) -> Body:
    """Read a file and compress it."""
    read = partial(tools.source.read, operation.path, operation.stamp)
    body: bytes | bytearray = read() if operation.size <= BLOCK else await run_in_thread(read)
    if len(body) <= _PACKED_ON_LOOP:
        return compress_body(body)
    packed: Body = await run_in_thread(partial(compress_body, body))
    return packed


# --- the general way -----------------------------------------------------------------------


async def upload_file(operation: Operation, tools: Tools, asked: FirstAttempt | None = None) -> Result:
    """Send a file. ``asked`` is the request that was already sent because the upload seemed plain."""
    if asked is not None:
        return await _send_body(operation, tools, asked.call.body, asked)
    if tools.attributes(operation).gzip:
        return await _send_body(operation, tools, await read_packed(operation, tools))
    if operation.size <= BLOCK:
        return await _send_body(operation, tools, tools.source.read(operation.path, operation.stamp))
    with tools.buffers.lend(operation.size) as memory:
        computed = await read_checked(operation, tools, memory)
        return await _send_body(operation, tools, memory, computed=computed)


async def _send_body(
    operation: Operation,
    tools: Tools,
    body: Body,
    asked: FirstAttempt | None = None,
    computed: BodyChecksum | None = None,
) -> Result:
    attributes, fingerprint = tools.attributes(operation), tools.brief.rules.fingerprint(operation.path)
    kept = find_kept_attributes(operation)
    headers = make_put_headers(attributes) if kept is None else make_kept_headers(kept, attributes)
    condition: dict[str, str] = {}
    head: Response | None = None
    if (operation.is_in_doubt and kept is None) or tools.brief.is_guarded:
        head = await send_allowing_refusal(requests.head_object(operation.key))
        is_retry = operation.is_in_doubt or operation.attempts > 0
        if kept is None and is_retry and (found := _already_there(operation, attributes, body, head, tools)):
            return found
        from s3batch.worker.guard import prepare_change  # noqa: PLC0415 - few uploads are looked at before

        await prepare_change(operation, head, tools)
        condition = unchanged_since(head)
    request = requests.put_object(operation.key, body, {**headers, **condition})
    sent = await send_checked(request, tools.checks, asked, computed)
    if (
        condition
        and not (attributes.acl and is_acl_refusal(sent.answer))
        and await misjudges_condition(sent.answer, request, condition)
    ):
        request, condition = request._replace(headers=headers), {}
        sent = await send_checked(request, tools.checks, computed=computed)
    if attributes.acl and is_acl_refusal(sent.answer):
        attributes = attributes._replace(acl="")
        request = tools.drop_acl(request)
        sent = await send_checked(request, tools.checks, computed=computed)
    if sent.answer.status in OVERTAKEN and condition:
        return failed_result(Work(operation), fault_of(sent.answer), request.name)._replace(retryable=True)
    response = raise_for_status(sent.answer, request)
    if kept is not None:
        from s3batch.worker.metadata_copy import look_after_sending  # noqa: PLC0415 - few follow a copy

        await look_after_sending(operation, attributes, kept, tools)
    if tools.compares_times and operation.reason is MISSING:
        await compare_times(operation.key, etag_of(response), date_of(response), tools)
    return Result(
        operation.id, sent=len(body), etag=etag_of(response), checksum=sent.checksum or sent.computed,
        date=date_of(response), fingerprint=fingerprint, warning=sent.warning,
        request_id=response.headers.get("x-amz-request-id", ""), spec=note_version(operation, response, head),
    )  # fmt: skip


def _already_there(
    operation: Operation, attributes: Attributes, body: Body, response: Response, tools: Tools
) -> Result | None:
    """Compare with S3's object by HEAD, if a dead run may have sent this file: it is not sent twice."""
    if not response.ok or int(response.headers.get("content-length", -1)) != len(body):
        return None
    from s3batch.objects.compare import find_copy_reason  # noqa: PLC0415 - only after a kill
    from s3batch.objects.content_match import ContentEvidence, is_same_content  # noqa: PLC0415 - as above
    from s3batch.worker.metadata_copy import found_right  # noqa: PLC0415 - as above

    evidence = ContentEvidence.from_head(response.headers)
    if not is_same_content(lambda: [bytes(body)], len(body), evidence, tools.brief.part_size):
        return None
    remote = RemoteAttributes.from_headers(response.headers)
    if find_copy_reason(attributes, remote, None) is not None:
        return None
    return found_right(operation, response, tools)


async def compare_times(key: str, etag: str, date: float, tools: Tools) -> None:
    """Check once whether LastModified of a write is later than the Date of its response.

    Where an object was, an earlier job has looked, perhaps one whose journal is gone.
    """
    tools.compares_times = False
    try:
        head = await send_request(requests.head_object(key))
    except RequestError:
        return
    later = seconds_of(head.headers.get("last-modified", "")) - date
    if head.ok and date and etag_of(head) == etag and later >= 1:
        tools.note(Quirk(QuirkKind.LATE_DATE, f"{later:.0f}"))
