"""The steps of a transfer in parts: each part is copied by the store (UploadPartCopy), or streamed through this worker.

Every part is pinned to the listed ETag of its source, so an upload never holds parts of two states. A streamed part that S3
has and the journal does not know is read in the source, and sent only if its MD5 is another. A copied one is made again.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from s3batch.model import Part, Reason, Result, Step, Work, is_streamed
from s3batch.objects.content_match import ContentEvidence
from s3batch.objects.fetched_proof import ContentProof
from s3batch.objects.headers import RemoteAttributes
from s3batch.objects.two_objects import (
    compare_object_checksums,
    is_same_object_content,
    make_transfer_headers,
    merge_attributes,
)
from s3batch.s3 import requests
from s3batch.s3.calls import send_request
from s3batch.s3.checked_upload import begin_upload, checksum_header, send_checked
from s3batch.s3.checksums import WHOLE_OBJECT, RunningChecksum
from s3batch.s3.etag import md5_of_etag, multipart_etag
from s3batch.s3.event_loop import run_at_source, run_in_thread
from s3batch.s3.faults import MALFORMED, Fault, RequestError, fault_of, is_acl_refusal
from s3batch.s3.responses import date_of, etag_of, raise_for_status, send_allowing_refusal
from s3batch.s3.stored_proof import strip_etag
from s3batch.s3.validation import etag_in
from s3batch.settings.s3_limits import PART_MINIMUM, PARTS_LIMIT
from s3batch.worker.guard import prepare_change
from s3batch.worker.metadata_copy import find_difference, found_right, put_tags, read_tags
from s3batch.worker.multipart import abort_multipart, hash_part, read_parts
from s3batch.worker.results import COPY_REFUSED, failed_result
from s3batch.worker.source_object import (
    SIZE_ONLY,
    are_copies_refused,
    check_source_answer,
    find_source,
    head_source,
    is_refused_copy,
    name_pinned_source,
    note_proof,
    note_refused_copies,
    prove_by_etag,
    read_source_range,
    read_source_tags,
)
from s3batch.worker.versions import note_version

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from s3batch.model import Operation
    from s3batch.s3.requests import Response
    from s3batch.worker.context import Tools

_COPY = "UploadPartCopy"
_PIECE = 4 * 1024 * 1024
"""Bytes of a stored object that are read back at once."""
_LARGEST_PART = 64 * 1024 * 1024
"""Bytes of a part that is held in memory."""


async def _begin_transfer(work: Work, tools: Tools) -> Result:
    """Create an upload with the source's attributes; where it is streamed, tell the size of the source's own parts."""
    operation = work.operation
    if not is_streamed(operation) and are_copies_refused(tools, _COPY):
        return _refused(work, "the store does not copy objects of the source")
    source = await head_source(operation, tools)
    remote = RemoteAttributes.from_headers(source.headers)
    merged = merge_attributes(tools.attributes(operation), remote)
    if not merged.tags:
        merged = merged._replace(tags=await read_source_tags(operation, remote, tools))
    request = requests.create_multipart_upload(operation.key, make_transfer_headers(merged, remote))
    response = await _create(request, operation, tools)
    if merged.acl and is_acl_refusal(response):
        request = tools.drop_acl(request)
        response = await _create(request, operation, tools)
    upload_id = raise_for_status(response, request).document
    size = await _find_source_part_size(operation, source, tools) if is_streamed(operation) else 0
    parts = (Part(operation.id, 1, 0, size),) if size else ()
    return Result(operation.id, work.step, upload_id=upload_id, parts=parts)


async def _create(request: requests.Request, operation: Operation, tools: Tools) -> Response:
    """Create the upload. A checksum is asked for where bodies carry one; a store that copies makes its own."""
    return await (begin_upload(request, tools.checks) if is_streamed(operation) else send_request(request))


async def _find_source_part_size(operation: Operation, source: Response, tools: Tools) -> int:
    """Return the size of the source's parts: with the same parts the target gets the same ETag. 0 if it has none to use."""
    count = etag_of(source).rpartition("-")[2]
    if "-" not in etag_of(source) or not count.isdigit():
        return 0
    request = requests.head_object(find_source(tools).key(operation.path))._replace(query="partNumber=1")
    response = await run_at_source(send_request(request))
    size = int(response.headers.get("content-length", 0)) if response.ok else 0
    fits = PART_MINIMUM <= size <= _LARGEST_PART and -(-operation.size // size) == int(count) <= PARTS_LIMIT
    return size if fits else 0


async def _list_transferred_parts(work: Work, tools: Tools) -> Result:
    """Return the parts that the store holds; the source must be unchanged."""
    await head_source(work.operation, tools)
    return await read_parts(work, tools, _perhaps_transferred)


async def _transfer_part(work: Work, tools: Tools) -> Result:
    """Copy or stream one part."""
    return await (_stream_part if is_streamed(work.operation) else _copy_part)(work, tools)


async def _copy_part(work: Work, tools: Tools) -> Result:
    operation, part, source = work.operation, work.parts[0], find_source(tools)
    name = requests.name_copy_source(source.endpoint.bucket, source.key(operation.path))
    headers = {"x-amz-copy-source": name, **name_pinned_source(operation, tools)}
    last = part.offset + part.size - 1
    request = requests.upload_part_copy(operation.key, operation.upload_id, part.number, headers, part.offset, last)
    try:
        response = await send_request(request)
    except RequestError as error:
        if error.fault.code != MALFORMED or error.fault.status != 200:
            raise
        note_refused_copies(_COPY, error.fault, tools)  # rclone stores an empty part, and says so in its own words
        return _refused(work, str(error.fault))
    if response.status == 404 and fault_of(response).code == "NoSuchUpload":
        return failed_result(work, fault_of(response), request.name)
    if await is_refused_copy(operation, response, tools):
        note_refused_copies(_COPY, fault_of(response), tools)
        return _refused(work, str(fault_of(response)))
    check_source_answer(operation, response, request)
    tools.copies.succeeded = True
    return Result(
        operation.id, work.step, part.number, etag=etag_in(response),
        request_id=response.headers.get("x-amz-request-id", ""),
    )  # fmt: skip


def _refused(work: Work, words: str) -> Result:
    number = work.parts[0].number if work.step is Step.PART else 0
    return Result(work.operation.id, work.step, number, error=f"{_COPY}: {words}", code=COPY_REFUSED)


async def _stream_part(work: Work, tools: Tools) -> Result:
    operation, part = work.operation, work.parts[0]
    came = await read_source_range(operation, tools, part.offset, part.size)
    if part.etag and md5_of_etag(part.etag) == await hash_part(came.body):
        value = next(iter(checksum_header(tools.checks.name, came.body).values()), "") if part.checksum else ""
        return Result(operation.id, work.step, part.number, etag=part.etag, checksum=value, already=True)
    request = requests.upload_part(operation.key, operation.upload_id, part.number, came.body)
    sent = await send_checked(request, tools.checks)
    if sent.answer.status == 404:
        return failed_result(work, Fault("NoSuchUpload", "the upload is gone", 404), request.name)
    response = raise_for_status(sent.answer, request)
    return Result(
        operation.id, work.step, part.number, sent=part.size, etag=etag_of(response), checksum=sent.checksum,
        request_id=response.headers.get("x-amz-request-id", ""), warning=sent.warning,
    )  # fmt: skip


async def _complete_transfer(work: Work, tools: Tools) -> Result:
    """Complete the upload, and compare the object with its source as far as both tell."""
    operation, parts, name = work.operation, work.parts, tools.checks.name
    source = await head_source(operation, tools)
    whole = name in WHOLE_OBJECT and all(part.checksum for part in parts)
    rows = [(part.number, f'"{part.etag}"', part.checksum) for part in parts]
    request = requests.complete_multipart_upload(
        operation.key, operation.upload_id, rows, name, {"x-amz-checksum-type": "FULL_OBJECT"} if whole else {}
    )
    if tools.brief.is_guarded:
        head = await send_allowing_refusal(requests.head_object(operation.key))
        if not await _is_transferred(work, head, tools):  # else an earlier try worked
            await prepare_change(operation, head, tools)
    response = await send_request(request)
    if response.status == 404 or response.status >= 500:
        return await _perhaps_transferred(work, response, tools)
    completed = raise_for_status(response, request).document
    etag = strip_etag(etag_in(response))
    head = await send_allowing_refusal(requests.head_object(operation.key))
    same = await _is_stored_as_source(operation, etag, source, head)
    may_be_foreign = operation.recheck and is_streamed(operation)  # copied parts are only ever those of the journal
    if same is False or (may_be_foreign and await find_source_difference(operation, source, head, tools)):
        return _differs(work)  # of a part, or of the attributes that another program has begun the upload with
    if same is None and is_streamed(operation) and etag_of(source) != etag:
        tools.warn(SIZE_ONLY)
    if (tags := await _restore_lost_tags(operation, source, tools)) is not None:
        tools.note_refusal("PutObjectTagging", tags, "tags of objects in parts are lost, because the store drops them")
    proof = ContentProof.CHECKSUM if same else prove_by_etag(operation, etag)
    return Result(
        operation.id, work.step, etag=etag, spec=note_version(operation, response, spec=note_proof(operation, proof)), checksum=completed.get(f"Checksum{name.upper()}", ""), date=date_of(response),
        fingerprint=tools.brief.rules.fingerprint(operation.path), request_id=response.headers.get("x-amz-request-id", ""),
    )  # fmt: skip


async def find_source_difference(operation: Operation, source: Response, head: Response, tools: Tools) -> Reason | None:
    """Return why the attributes of the target are not those that a transfer gives it; ``None`` if they are."""
    remote = RemoteAttributes.from_headers(source.headers)
    merged = merge_attributes(tools.attributes(operation), remote)
    if remote.redirect != RemoteAttributes.from_headers(head.headers).redirect:
        return Reason.METADATA
    if not merged.tags and (tags := await read_source_tags(operation, remote, tools)):
        merged = merged._replace(tags=tags)
    return await find_difference(operation, merged, head, tools)


def _differs(work: Work) -> Result:
    words = "the object that was stored is not as its source: it is transferred again"
    return failed_result(work, Fault("NoSuchUpload", words), "CompleteMultipartUpload")._replace(retryable=False)


async def _is_stored_as_source(operation: Operation, etag: str, source: Response, head: Response) -> bool | None:
    """Return whether the stored object, whose ETag is ``etag``, holds its source's content; ``None`` if that is unknown."""
    same = compare_object_checksums(source.headers, head.headers) if head.ok and etag_of(head) == etag else None
    if same is None and is_streamed(operation) and etag_of(source) != etag:
        return await _is_source_when_read_back(operation, etag, source)
    return same


async def _is_source_when_read_back(operation: Operation, etag: str, source: Response) -> bool | None:
    """Return whether the stored object has the checksum or MD5 of its source, by reading it; ``None`` if that is unknown.

    Parts come and go in any order, so no worker has seen the content as a whole.
    """
    evidence = ContentEvidence.from_head(source.headers)
    if evidence.checksums:
        (name, *_), wanted = evidence.checksums[0]
    elif evidence.etag_is_md5 and md5_of_etag(evidence.etag):
        name, wanted = "md5", evidence.etag.lower()
    else:
        return None
    running = RunningChecksum(name)
    for offset in range(0, operation.size, _PIECE):
        length = min(_PIECE, operation.size - offset)
        request = requests.get_object(operation.key, offset, offset + length - 1)
        piece = await send_allowing_refusal(request._replace(headers={**request.headers, "if-match": f'"{etag}"'}))
        if not piece.ok or len(piece.body) != length:
            return None
        await run_in_thread(partial(running.update, piece.body))
    return wanted == (running.digest().hex() if name == "md5" else running.base64())


async def _restore_lost_tags(operation: Operation, source: Response, tools: Tools) -> Fault | None:
    """Set the tags that the store has not kept from the begin of an upload; return the fault of a refusal."""
    tags = tools.attributes(operation).tags
    if not tags:
        tags = await read_source_tags(operation, RemoteAttributes.from_headers(source.headers), tools)
    if not tags or not tools.endpoint.url or await read_tags(operation.key, tools) in (None, tags):
        return None
    return await put_tags(operation.key, tags)


async def _perhaps_transferred(work: Work, refusal: Response, tools: Tools) -> Result:
    """Handle an upload that the store does not know: an earlier Complete may have worked although its answer was lost."""
    operation = work.operation
    head = await send_allowing_refusal(requests.head_object(operation.key))
    if head.ok and await _is_transferred(work, head, tools):
        source = await head_source(operation, tools)
        if await _is_stored_as_source(operation, etag_of(head), source, head) is False:
            return _differs(work)
        return found_right(operation, head, tools)._replace(step=work.step)
    fault = fault_of(refusal)
    code = "NoSuchUpload" if refusal.status == 404 else fault.code
    return failed_result(work, fault._replace(code=code), "CompleteMultipartUpload")


async def _is_transferred(work: Work, head: Response, tools: Tools) -> bool:
    """Return whether an object is made of these parts, or shows the content of the source."""
    digests = [md5_of_etag(part.etag) for part in work.parts]
    if digests and all(digests):
        return etag_of(head) == multipart_etag([bytes.fromhex(digest or "") for digest in digests])
    source = await head_source(work.operation, tools)
    equal_etags = ContentEvidence.from_head(source.headers).etag == etag_of(head)
    return equal_etags or bool(is_same_object_content(source.headers, head.headers))


STEPS: dict[Step, Callable[[Work, Tools], Awaitable[Result]]] = {
    Step.BEGIN: _begin_transfer,
    Step.SURVEY: _list_transferred_parts,
    Step.PART: _transfer_part,
    Step.FINISH: _complete_transfer,
    Step.ABORT: abort_multipart,
}
