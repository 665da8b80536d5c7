"""Stores a renamed file without sending it: its old object is copied in the store, and the copy is looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING

from s3batch.model import Kind, Reason, Result
from s3batch.objects import compare
from s3batch.objects.content_match import ContentEvidence
from s3batch.objects.headers import RemoteAttributes, make_put_headers
from s3batch.s3 import requests
from s3batch.s3.calls import send_request
from s3batch.s3.etag import md5_of_etag
from s3batch.s3.faults import fault_of, is_acl_refusal
from s3batch.s3.responses import etag_of, raise_for_status, seconds_of, send_allowing_refusal
from s3batch.worker.conditional import send_while_unchanged, unchanged_since
from s3batch.worker.guard import prepare_change
from s3batch.worker.reconcile import is_equal, reconcile_object
from s3batch.worker.versions import note_version

if TYPE_CHECKING:
    from s3batch.model import MovedObject, Operation
    from s3batch.s3.requests import Response
    from s3batch.worker.context import Tools

_REFUSED = "no copies of renamed files"
"""Noted in :attr:`s3batch.worker.context.Tools.memory` once the store has refused one for good."""


async def copy_or_reconcile(operation: Operation, moved: MovedObject, tools: Tools) -> Result:
    """Copy an object that has the file's content; compare the file with its own object where one may be."""
    if operation.recheck:  # the copy may have been made
        found = await reconcile_object(operation._replace(spec=None), tools)
        if found.already and found.become is None:  # there was no object when it was planned: an undo must know of it
            return found._replace(already=False, become=Kind.COPY, reason=Reason.RENAMED)
        if (found.become, found.reason) != (Kind.UPLOAD, Reason.MISSING):
            return found
    return await _copy_moved(operation, moved, tools)


async def _copy_moved(operation: Operation, moved: MovedObject, tools: Tools) -> Result:
    """Copy the object that has the file's content to the new key; have the file sent if none has it."""
    upload = Result(operation.id, become=Kind.UPLOAD, reason=Reason.MISSING)
    if tools.quirks.refuses("CopyObject") or _REFUSED in tools.memory:
        return upload
    origin = await _find_equal_origin(operation, moved, tools)
    if origin is None:
        return upload
    key, etag, checksum = origin
    if tools.brief.dry_run:
        return Result(operation.id, become=Kind.COPY, reason=Reason.RENAMED)
    condition: dict[str, str] = {}
    if tools.brief.is_guarded:
        before = await send_request(requests.head_object(operation.key))
        await prepare_change(operation, before, tools)
        condition = unchanged_since(before)
    response = await _copy_from(operation, key, etag, condition, tools)
    head = await send_allowing_refusal(requests.head_object(operation.key)) if response.ok else response
    if not head.ok or not await _is_whole_copy(operation, head, etag, tools):
        return upload
    return Result(
        operation.id, etag=etag_of(head), checksum=checksum, date=seconds_of(head.headers.get("last-modified", "")),
        fingerprint=tools.brief.rules.fingerprint(operation.path), become=Kind.COPY, reason=Reason.RENAMED,
        spec=note_version(operation, head),
    )  # fmt: skip


async def _find_equal_origin(operation: Operation, moved: MovedObject, tools: Tools) -> tuple[str, str, str] | None:
    """Return the first object that certainly has the file's content."""
    attributes = tools.attributes(operation)
    for origin in moved.origins:
        evidence = ContentEvidence.from_record(*origin[1:])
        if await is_equal(operation, attributes, evidence, -1, tools):
            return origin
    return None


async def _copy_from(operation: Operation, key: str, etag: str, condition: dict[str, str], tools: Tools) -> Response:
    """Copy an object with the attributes of the new file, if it is still the one that was compared.

    ``condition``: of the target.
    """
    attributes = tools.attributes(operation)
    headers = {
        **make_put_headers(attributes),
        "x-amz-metadata-directive": "REPLACE",
        "x-amz-tagging-directive": "REPLACE",
        "x-amz-copy-source-if-match": f'"{etag}"',
    }
    request = requests.copy_object(operation.key, tools.endpoint.bucket, headers, key)
    response = await send_while_unchanged(request, condition)
    if attributes.acl and is_acl_refusal(response):
        request = tools.drop_acl(request)
        response = await send_while_unchanged(request, condition)
    if not response.ok:
        fault = fault_of(response)
        if fault.retryable or fault.signed_out:
            raise_for_status(response, request)
        if response.status in _FOR_GOOD:
            tools.memory[_REFUSED] = True
    return response


_FOR_GOOD = frozenset({403, 405, 501})


async def _is_whole_copy(operation: Operation, head: Response, etag: str, tools: Tools) -> bool:
    """Return whether the copy certainly has the content of the file, and its attributes as far as the store shows them.

    A store may ignore the condition of the copy, so the copy itself has to prove what it holds.
    """
    attributes, size = tools.attributes(operation), int(head.headers.get("content-length", -2))
    remote = RemoteAttributes.from_headers(head.headers)
    if size != operation.size or next(compare.find_attribute_changes(attributes, remote), None) is not None:
        return False
    evidence = ContentEvidence.from_head(head.headers)
    if evidence.etag_is_md5 and md5_of_etag(etag) and etag_of(head) == etag:  # the digest that was compared
        return True
    return bool(await is_equal(operation, attributes, evidence, size, tools))
