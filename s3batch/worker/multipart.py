"""The steps of a multipart upload: create, list, send a part, complete, abort."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from s3batch.model import (
    Part,
    Reason,
    Result,
    State,
    Step,
    Work,
    find_kept_attributes,
)
from s3batch.objects.content_match import ContentEvidence
from s3batch.objects.headers import make_kept_headers, make_put_headers
from s3batch.s3 import requests
from s3batch.s3.calls import send_request
from s3batch.s3.checked_upload import begin_upload, send_checked
from s3batch.s3.checksums import WHOLE_OBJECT
from s3batch.s3.etag import hash_blocks, md5_of_etag, multipart_etag
from s3batch.s3.event_loop import run_in_thread
from s3batch.s3.faults import Fault, fault_of, is_acl_refusal, refusal_for_good
from s3batch.s3.responses import date_of, etag_of, raise_for_status, send_allowing_refusal
from s3batch.s3.stored_proof import strip_etag
from s3batch.s3.validation import etag_in
from s3batch.source.reader import BLOCK
from s3batch.worker.conditional import OVERTAKEN, misjudges_condition, unchanged_since
from s3batch.worker.guard import prepare_change, require_planned
from s3batch.worker.metadata_copy import (
    copy_onto_itself,
    find_difference,
    found_right,
    look_after_sending,
)
from s3batch.worker.reconcile import is_equal
from s3batch.worker.results import UNSURVEYED, failed_result
from s3batch.worker.upload import compare_times, read_checked, upload_file
from s3batch.worker.versions import note_version

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from s3batch.s3.requests import Body, Response
    from s3batch.worker.context import Tools

    HandleGone = Callable[[Work, Response, Tools], Awaitable[Result]]

PARTS_STAY = "the parts of aborted multipart uploads stay in the bucket until a lifecycle rule removes them"


# --- multipart uploads ---------------------------------------------------------------------


async def create_upload(work: Work, tools: Tools) -> Result:
    """Begin an upload (CreateMultipartUpload), unless an earlier try has begun it."""
    operation = work.operation
    tools.source.check(operation.path, operation.stamp)
    if operation.recheck and (begun := await _begun_already(operation.key)):
        return Result(operation.id, work.step, upload_id=begun)
    if tools.brief.exact and not operation.recheck:
        await require_planned(operation, await send_allowing_refusal(requests.head_object(operation.key)))
    attributes, kept = tools.attributes(operation), find_kept_attributes(operation)
    headers = make_put_headers(attributes) if kept is None else make_kept_headers(kept, attributes)
    request = requests.create_multipart_upload(operation.key, headers)
    response = await begin_upload(request, tools.checks)
    if attributes.acl and is_acl_refusal(response):
        request = tools.drop_acl(request)
        response = await begin_upload(request, tools.checks)
    upload_id = raise_for_status(response, request).document
    return Result(operation.id, work.step, upload_id=upload_id)


async def _begun_already(key: str) -> str:
    """Return the id of the newest upload of ``key``, which an earlier try may have begun without an answer."""
    response = await send_allowing_refusal(requests.list_multipart_uploads(key))
    uploads = [each for each in response.document.uploads if each.key == key] if response.ok else []
    return max(uploads, key=lambda each: each.initiated).upload_id if uploads else ""


async def read_held_parts(work: Work, tools: Tools) -> Result:
    """Return the parts that S3 holds of an upload; the file must be unchanged."""
    tools.source.check(work.operation.path, work.operation.stamp)
    return await read_parts(work, tools, _perhaps_finished)


async def read_parts(work: Work, tools: Tools, handle_gone: HandleGone) -> Result:
    """Return the parts that S3 holds of an upload; ``handle_gone`` gives the result where it knows no such upload."""
    operation = work.operation
    held: list[Part] = []
    marker = 0
    while True:
        request = requests.list_parts(operation.key, operation.upload_id, marker)
        response = await send_request(request)
        if response.status == 404:
            return await handle_gone(work, response, tools)
        if (fault := refusal_for_good(response)) is not None:
            tools.note_refusal(request.name, fault, "large files that a dead run had begun are sent from the start")
            return failed_result(work, fault, request.name)._replace(code=UNSURVEYED, retryable=False)
        page, marker = raise_for_status(response, request).document
        held += [part._replace(operation=operation.id) for part in page]
        if not marker:
            return Result(operation.id, work.step, parts=tuple(held), upload_id=operation.upload_id)


async def send_part(work: Work, tools: Tools) -> Result:
    """Send one part with its checksum (UploadPart)."""
    operation, part = work.operation, work.parts[0]
    with tools.buffers.lend(part.size) as body:
        computed = await read_checked(operation, tools, body, part.offset)
        if part.etag and md5_of_etag(part.etag) == await hash_part(body):
            value = computed.value if part.checksum and computed is not None else ""
            return Result(operation.id, work.step, part.number, etag=part.etag, checksum=value, already=True)
        request = requests.upload_part(operation.key, operation.upload_id, part.number, body)
        sent = await send_checked(request, tools.checks, computed=computed)
    if sent.answer.status == 404:
        return failed_result(work, Fault("NoSuchUpload", "the upload is gone", 404), "UploadPart")
    response = raise_for_status(sent.answer, request)
    return Result(
        operation.id, work.step, part.number, sent=part.size, etag=etag_of(response), checksum=sent.checksum,
        request_id=response.headers.get("x-amz-request-id", ""), warning=sent.warning,
    )  # fmt: skip


async def hash_part(body: Body) -> str:
    """Return the MD5 of a part, in hex."""
    reckon = partial(hash_blocks, [body])
    digest: str = reckon() if len(body) <= BLOCK else await run_in_thread(reckon)
    return digest


async def complete_upload(work: Work, tools: Tools) -> Result:
    """Complete an upload, and prove that the object is the file (CompleteMultipartUpload)."""
    operation, parts = work.operation, work.parts
    tools.source.check(operation.path, operation.stamp)
    name = tools.checks.name
    headers = {"x-amz-checksum-type": "FULL_OBJECT"} if name in WHOLE_OBJECT and all(p.checksum for p in parts) else {}
    rows = [(part.number, f'"{part.etag}"', part.checksum) for part in parts]
    request = requests.complete_multipart_upload(operation.key, operation.upload_id, rows, name, headers)
    response, condition = await _ask_unless_overtaken(request, work, tools)
    if condition and response.status in OVERTAKEN:
        return failed_result(work, fault_of(response), request.name)._replace(retryable=True)
    if response.status == 404 or response.status >= 500:
        return await _perhaps_finished(work, response, tools)
    completed = raise_for_status(response, request).document
    if operation.recheck:  # another program may have begun it, with other attributes
        head = await send_request(requests.head_object(operation.key))
        if (fault := refusal_for_good(head)) is None:
            return await _made_right(work, raise_for_status(head, requests.head_object(operation.key)), tools)
        tools.note_refusal(
            "HeadObject", fault, "an upload that another run began is finished without a check of its parts"
        )
    elif tools.brief.rules.preserve:  # the file may have been touched since it was begun
        head = await send_allowing_refusal(requests.head_object(operation.key))
        if head.ok and await find_difference(operation, tools.attributes(operation), head, tools) is not None:
            return await _made_right(work, head, tools)
    if (kept := find_kept_attributes(operation)) is not None:
        await look_after_sending(operation, tools.attributes(operation), kept, tools)
    etag, warning = etag_in(response), ""
    if tools.compares_times and operation.reason is Reason.MISSING:
        await compare_times(operation.key, strip_etag(etag), date_of(response), tools)
    if not _proves_parts(etag, parts):
        warning = await tools.checks.proofs.look(operation.key, operation.size, strip_etag(etag))
    return Result(
        operation.id, work.step, etag=etag, warning=warning,
        checksum=completed.get(f"Checksum{name.upper()}", ""), date=date_of(response),
        fingerprint=tools.brief.rules.fingerprint(operation.path), request_id=response.headers.get("x-amz-request-id", ""),
        spec=note_version(operation, response),
    )  # fmt: skip


async def _ask_unless_overtaken(request: requests.Request, work: Work, tools: Tools) -> tuple[Response, dict[str, str]]:
    """Ask ``request``, for a key in doubt on the condition that the object is as it is now; return that condition too."""
    condition: dict[str, str] = {}
    if work.operation.is_in_doubt or tools.brief.is_guarded:
        head = await send_allowing_refusal(requests.head_object(request.key))
        if not (tools.brief.is_guarded and head.ok and await _is_ours(work, head, tools)):  # an earlier try worked
            await prepare_change(work.operation, head, tools)
        condition = unchanged_since(head)
    response = await send_request(request._replace(headers={**request.headers, **condition}) if condition else request)
    if condition and not response.ok and await misjudges_condition(response, request, condition):
        return await send_request(request), {}
    return response, condition


def _proves_parts(etag: str, parts: Sequence[Part]) -> bool:
    """Return whether each part's body was confirmed, by its checksum or by the MD5 that the object's ETag is made of."""
    if all(part.checksum for part in parts):
        return True
    digests = [md5_of_etag(part.etag) for part in parts]
    return all(digests) and etag == multipart_etag([bytes.fromhex(digest or "") for digest in digests])


async def _perhaps_finished(work: Work, refusal: Response, tools: Tools) -> Result:
    """Handle an upload that S3 does not know: an earlier Complete may have worked although its answer was lost."""
    head = await send_allowing_refusal(requests.head_object(work.operation.key))
    if head.ok and await _is_ours(work, head, tools):
        return await _made_right(work, head, tools)
    fault = fault_of(refusal)
    code = "NoSuchUpload" if refusal.status == 404 else fault.code
    return failed_result(work, fault._replace(code=code), "CompleteMultipartUpload")


async def _is_ours(work: Work, head: Response, tools: Tools) -> bool:
    """Return whether an object is made of these parts, all of the current file, or holds the file's content."""
    operation, etags = work.operation, [part.etag for part in work.parts]
    if not all(etags) or int(head.headers.get("content-length", -1)) != operation.size:
        return False
    current = all(part.state is State.DONE for part in work.parts)  # else they were sent of another state of the file
    if current and all(map(md5_of_etag, etags)) and etag_of(head) == multipart_etag(list(map(bytes.fromhex, etags))):
        return True
    evidence = ContentEvidence.from_head(head.headers)
    return bool(await is_equal(operation, tools.attributes(operation), evidence, operation.size, tools))


async def _made_right(work: Work, head: Response, tools: Tools) -> Result:
    """Return the result for an object with the right content; another program may have set its attributes."""
    operation = work.operation
    reason = await find_difference(operation, tools.attributes(operation), head, tools)
    if reason is not None:
        copied = await copy_onto_itself(operation, head, tools, upload_file, tools.quirks)
        if copied.become is None:
            return copied._replace(step=work.step, already=True)
        words = "its attributes cannot be set: it is sent again"
        return failed_result(work, Fault("NoSuchUpload", words), "CopyObject")._replace(retryable=False)
    return found_right(operation, head, tools)._replace(step=work.step)


async def abort_multipart(work: Work, tools: Tools) -> Result:
    """Abort an upload; one that S3 does not know is as good as aborted (AbortMultipartUpload)."""
    request = requests.abort_multipart_upload(work.operation.key, work.operation.upload_id)
    response = await send_request(request)
    if (fault := refusal_for_good(response)) is not None:
        tools.note_refusal(request.name, fault, PARTS_STAY)
        return Result(work.operation.id, work.step)
    if response.status != 404:
        raise_for_status(response, request)
    return Result(work.operation.id, work.step)


STEPS: dict[Step, Callable[[Work, Tools], Awaitable[Result]]] = {
    Step.BEGIN: create_upload,
    Step.SURVEY: read_held_parts,
    Step.PART: send_part,
    Step.FINISH: complete_upload,
    Step.ABORT: abort_multipart,
}
