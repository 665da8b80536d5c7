"""Transfers an object of another bucket or prefix: the store copies it, or its content goes through this worker.

    CopyObject, pinned to the listed ETag ─> done
        └ refused for good (501, 405; 403 while HEAD is allowed)
    GET, pinned to the listed ETag ─> its content is proved ─> PUT with a checksum ─> the store confirms it

A changed object is ``Changed``: it is planned again. Large ones go in parts (:mod:`s3batch.worker.transfer_parts`).
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from s3batch.model import Kind, Operation, Reason, Result, SourceObject, Step, Work, require_spec
from s3batch.objects.fetched_proof import ContentProof, WrongContentError, prove_bytes
from s3batch.objects.headers import RemoteAttributes, make_put_headers
from s3batch.objects.two_objects import (
    is_same_object_content,
    make_transfer_headers,
    merge_attributes,
    needs_source_head,
)
from s3batch.quirks import TAGS, QuirkKind
from s3batch.s3 import requests
from s3batch.s3.calls import send_request
from s3batch.s3.checked_upload import send_checked
from s3batch.s3.event_loop import run_in_thread
from s3batch.s3.faults import Fault, RequestError, fault_of, is_acl_refusal
from s3batch.s3.responses import date_of, etag_of, raise_for_status, send_expecting_ok
from s3batch.s3.validation import etag_in
from s3batch.source.reader import BLOCK
from s3batch.worker import transfer_parts
from s3batch.worker.conditional import send_while_unchanged, unchanged_since
from s3batch.worker.copy_probe import probe_copies_once
from s3batch.worker.guard import prepare_change
from s3batch.worker.metadata_copy import found_right, put_tags
from s3batch.worker.source_object import (
    SIZE_ONLY,
    are_copies_refused,
    check_source_answer,
    find_pin,
    find_source,
    head_source,
    is_folder_marker,
    is_refused_copy,
    loses_metadata,
    name_pinned_source,
    note_proof,
    note_refused_copies,
    prove_by_etag,
    read_source_range,
    read_source_tags,
)
from s3batch.worker.versions import note_version

if TYPE_CHECKING:
    from s3batch.model import Attributes
    from s3batch.s3.checked_upload import FirstAttempt
    from s3batch.s3.requests import Response
    from s3batch.worker.context import Tools


async def carry_out_transfer(work: Work, tools: Tools, asked: FirstAttempt | None = None) -> Result:
    """Do a piece of work whose operation reads an object of the source; ``asked``: see :func:`transfer_object`."""
    if work.step is not Step.WHOLE:
        return await transfer_parts.STEPS[work.step](work, tools)
    if work.operation.kind is Kind.RECONCILE:
        return await compare_with_source(work.operation, tools)
    return await transfer_object(work.operation, tools, asked)


_PIECE = 2 * 1024 * 1024
"""Bytes of both objects that are compared at once."""

# --- comparing -----------------------------------------------------------------------------


async def compare_with_source(operation: Operation, tools: Tools) -> Result:
    """Find out by two HEADs whether the object differs from its source; it becomes a transfer if it does."""
    late = operation.reason is Reason.LATE  # its new kind is permanent
    source = await head_source(operation, tools)
    request = requests.head_object(operation.key)
    head = await send_request(request)
    if head.status == 404 and is_folder_marker(operation) and operation.etag and not late:
        return found_right(operation, head, tools)  # it is listed
    if head.status == 404:
        return Result(operation.id, become=Kind.TRANSFER, reason=None if late else Reason.MISSING)
    raise_for_status(head, request)
    same = is_same_object_content(source.headers, head.headers)
    if same is None and late:  # the journal tells which ETag this object had after it was written
        same = etag_of(head) == operation.etag != ""
    if same is None and tools.brief.reads_back:
        same = await _are_both_same_when_read(operation, tools)
    if not same:
        return Result(operation.id, become=Kind.TRANSFER, reason=None if late else Reason.CONTENT)
    reason = await transfer_parts.find_source_difference(operation, source, head, tools)
    if reason is not None:
        return Result(operation.id, become=Kind.TRANSFER, reason=reason)
    return found_right(operation, head, tools)


async def _are_both_same_when_read(operation: Operation, tools: Tools) -> bool:
    """Return whether two objects of the same size hold the same bytes, by reading both."""
    for offset in range(0, operation.size, _PIECE):
        length = min(_PIECE, operation.size - offset)
        theirs = await read_source_range(operation, tools, offset, length)
        mine = await send_expecting_ok(requests.get_object(operation.key, offset, offset + length - 1))
        if theirs.body != mine.body:
            return False
    return True


# --- transferring --------------------------------------------------------------------------


async def transfer_object(operation: Operation, tools: Tools, asked: FirstAttempt | None = None) -> Result:
    """Copy an object on the server, or stream it; a large one that has to be streamed is asked for again, in parts.

    ``asked``: the copy that was tried already, in the short way.
    """
    condition: dict[str, str] = {}
    if operation.is_in_doubt:  # a dead run may have done it
        found = await compare_with_source(operation, tools)
        if found.become is None:
            return found
        condition = unchanged_since(await send_request(requests.head_object(operation.key)))
    if tools.brief.is_guarded:
        head = await send_request(requests.head_object(operation.key))
        await prepare_change(operation, head, tools)
        condition = unchanged_since(head)
    spec = require_spec(operation, SourceObject)
    if tools.brief.exact and not spec.streamed:
        await head_source(operation, tools)  # a store may ignore the condition of a copy, and then it is made
    if is_folder_marker(operation):
        return await _stream_object(operation, condition, tools)
    if not spec.streamed and not are_copies_refused(tools):
        await probe_copies_once(operation, tools)
    if asked is not None and loses_metadata(tools):
        operation, asked = operation._replace(recheck=True), None  # an undo must not take this version for the only one
    if asked is not None or not (spec.streamed or are_copies_refused(tools)):
        copied = await _copy_on_server(operation, tools, asked, condition)
        if copied is not None:
            return copied
    if not spec.streamed and operation.size > BLOCK:
        streamed = spec._replace(streamed=True)
        return Result(operation.id, become=Kind.TRANSFER, etag=operation.etag, spec=streamed)
    return await _stream_object(operation, condition, tools)


async def _copy_on_server(
    operation: Operation, tools: Tools, asked: FirstAttempt | None, condition: dict[str, str]
) -> Result | None:
    """Copy an object by CopyObject; return ``None`` if the store refuses the copy. ``condition``: of the target."""
    attributes, source = tools.attributes(operation), find_source(tools)
    if asked is None:
        request = requests.copy_object(
            operation.key, source.endpoint.bucket, await _make_source_copy_headers(operation, attributes, tools),
            source.key(operation.path),
        )  # fmt: skip
        response = await send_while_unchanged(request, condition)
    else:
        request, response = asked.call, asked.require_response()
    if "x-amz-acl" in request.headers and is_acl_refusal(response):
        request = tools.drop_acl(request)
        response = await send_while_unchanged(request, condition)
    if await is_refused_copy(operation, response, tools):
        note_refused_copies(request.name, fault_of(response), tools)
        return None
    check_source_answer(operation, response, request)
    tools.copies.succeeded = True
    if tools.quirks.has(QuirkKind.COPY_DROPS, TAGS):
        await _restore_dropped_tags(operation, attributes, tools)
    etag = etag_in(response)
    if etag != find_pin(operation):
        await _require_listed_source(operation, tools)
    warning = await tools.copies.proofs.prove_copy(request, etag, find_pin(operation), operation.size)
    return Result(
        operation.id, etag=etag, date=date_of(response), warning=warning,
        fingerprint=tools.brief.rules.fingerprint(operation.path),
        request_id=response.headers.get("x-amz-request-id", ""), spec=note_version(operation, response, spec=note_proof(operation, prove_by_etag(operation, etag))),
    )  # fmt: skip


async def _require_listed_source(operation: Operation, tools: Tools) -> None:
    """Raise ContentError if the source object changed: a store may ignore the condition of a copy.

    A copy in other parts or of another encryption has an ETag of its own too. A HEAD that is refused tells nothing.
    """
    with suppress(RequestError):
        await head_source(operation, tools)


async def _make_source_copy_headers(operation: Operation, attributes: Attributes, tools: Tools) -> dict[str, str]:
    """Return the headers of a copy. Without a configured attribute the store takes all along by itself."""
    headers = dict(name_pinned_source(operation, tools))
    if needs_source_head(attributes, operation.size):
        remote = RemoteAttributes.from_headers((await head_source(operation, tools)).headers)
        headers |= make_transfer_headers(merge_attributes(attributes, remote), remote)
        headers["x-amz-metadata-directive"] = "REPLACE"
    else:
        headers |= make_put_headers(attributes)
    if attributes.tags:
        headers["x-amz-tagging-directive"] = "REPLACE"
    return headers


async def _restore_dropped_tags(operation: Operation, attributes: Attributes, tools: Tools) -> None:
    """Set the tags of a copy, where the store is known to drop them."""
    tags = attributes.tags
    if not tags:
        remote = RemoteAttributes.from_headers((await head_source(operation, tools)).headers)
        tags = await read_source_tags(operation, remote, tools)
    if tags and (fault := await put_tags(operation.key, tags)) is not None:
        words = "tags of copied objects are lost, because the store drops them and they cannot be set"
        tools.note_refusal("PutObjectTagging", fault, words)


# --- streaming -----------------------------------------------------------------------------


async def _stream_object(operation: Operation, condition: dict[str, str], tools: Tools) -> Result:
    """Read an object of the source, prove it, and write it to the target."""
    marker = is_folder_marker(operation)
    response = await (head_source(operation, tools) if marker else read_source_range(operation, tools))
    proof = await _prove_fetched_body(operation, response, tools)
    remote = RemoteAttributes.from_headers(response.headers)
    merged = merge_attributes(tools.attributes(operation), remote)
    if not merged.tags:
        method = "HEAD" if marker else "GET"
        merged = merged._replace(tags=await read_source_tags(operation, remote, tools, method=method))
    headers = {**make_transfer_headers(merged, remote), **condition}
    request = requests.put_object(operation.key, response.body, headers)
    sent = await send_checked(request, tools.checks)
    if merged.acl and is_acl_refusal(sent.answer):
        request = tools.drop_acl(request)
        sent = await send_checked(request, tools.checks)
    stored = raise_for_status(sent.answer, request)
    return Result(
        operation.id, sent=len(response.body), etag=etag_of(stored), checksum=sent.checksum or sent.computed,
        date=date_of(stored), fingerprint=tools.brief.rules.fingerprint(operation.path),
        warning=sent.warning, request_id=stored.headers.get("x-amz-request-id", ""), spec=note_version(operation, stored, spec=note_proof(operation, proof)),
    )  # fmt: skip


async def _prove_fetched_body(operation: Operation, response: Response, tools: Tools) -> ContentProof:
    """Return what proves that the bytes that came are the source's. Raises :class:`RequestError` (retryable) if they are others."""
    body, headers, size = response.body, response.headers, len(response.body)
    prove = partial(prove_bytes, lambda: [bytes(body)], size, headers, tools.brief.part_size)
    try:
        proof: ContentProof = prove() if size <= BLOCK else await run_in_thread(prove)
    except WrongContentError as error:
        fault = Fault("ChecksumMismatch", str(error))
        raise RequestError("GetObject", find_source(tools).key(operation.path), fault) from error
    if proof is ContentProof.SIZE and size:
        tools.warn(SIZE_ONLY)
    return proof
