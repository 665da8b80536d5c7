"""Compares a file with its object, and sends or copies what differs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from s3batch.model import (
    Attributes,
    KeptTags,
    Kind,
    KnownAttributes,
    KnownContent,
    KnownWhole,
    Operation,
    Reason,
    Result,
)
from s3batch.objects.compare import LISTING_GRAIN
from s3batch.objects.content_match import ContentEvidence, is_same_content
from s3batch.s3 import requests
from s3batch.s3.calls import send_request
from s3batch.s3.event_loop import run_in_thread
from s3batch.s3.responses import etag_of, raise_for_status, seconds_of, send_expecting_ok
from s3batch.source.reader import BLOCK
from s3batch.worker.metadata_copy import (
    copy_onto_itself,
    find_difference,
    found_right,
    has_changed,
    put_tags_back,
    wants_unseen,
)
from s3batch.worker.upload import (
    read_packed,
    upload_file,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from s3batch.s3.requests import Response
    from s3batch.worker.context import Tools


# --- comparing and copying -----------------------------------------------------------------


async def reconcile_object(operation: Operation, tools: Tools) -> Result:
    """Find out whether content or attributes differ. A copy is done at once; an upload goes back to be leased."""
    attributes = tools.attributes(operation)
    on_record = operation.spec if isinstance(operation.spec, KeptTags) else None
    if on_record is not None:
        operation = operation._replace(spec=on_record.before)
    elif known := await _by_record(operation, attributes, tools):
        return known
    head = await send_request(requests.head_object(operation.key))
    late = operation.reason is Reason.LATE  # its new kind is permanent
    if head.status == 404:  # a refusal is no proof that nothing is there
        return Result(operation.id, become=Kind.UPLOAD, reason=None if late else Reason.MISSING)
    if head.status == 400 and tools.endpoint.customer_key:  # S3's answer where the object has no such key
        return Result(operation.id, become=Kind.UPLOAD, reason=None if late else Reason.METADATA)
    raise_for_status(head, requests.head_object(operation.key))
    size = int(head.headers.get("content-length", -2))
    if _is_as_known(operation, head):
        return found_right(operation, head, tools)
    by_journal = isinstance(operation.spec, KnownContent) and etag_of(head) == operation.etag
    if by_journal and operation.recheck:  # planned by a run that is dead: the file may have changed since
        tools.source.check(operation.path, operation.stamp)
    if not (by_journal or await is_equal(operation, attributes, ContentEvidence.from_head(head.headers), size, tools)):
        return Result(operation.id, become=Kind.UPLOAD, reason=None if late else Reason.CONTENT)
    quirks = tools.quirks
    reason = await find_difference(operation, attributes, head, tools)
    if reason is None and has_changed(operation) and wants_unseen(attributes, tools):
        reason = Reason.METADATA  # another one than at the last write, and no look would show it
    if reason is None:
        mended = on_record and not tools.brief.dry_run and await put_tags_back(operation, head, on_record, tools)
        return mended or found_right(operation, head, tools)
    if tools.brief.dry_run:
        return Result(operation.id, become=Kind.COPY, reason=reason)
    copied = await copy_onto_itself(operation._replace(reason=reason), head, tools, upload_file, quirks, on_record)
    return copied if copied.already or copied.become else copied._replace(become=Kind.COPY, reason=reason)


def _is_as_known(operation: Operation, head: Response) -> bool:
    """Return whether the object is the one that the journal knows, and vouches for."""
    known = operation.spec
    if not isinstance(known, KnownWhole) or operation.recheck or etag_of(head) != operation.etag:
        return False
    return seconds_of(head.headers.get("last-modified", "")) < known.written + LISTING_GRAIN


async def _by_record(operation: Operation, attributes: Attributes, tools: Tools) -> Result | None:
    """Compare by reading the file alone, if the object is known to be unchanged. ``None``: S3 must be asked."""
    known = operation.spec
    if not isinstance(known, KnownAttributes) or operation.recheck:
        return None
    evidence = ContentEvidence.from_record(operation.etag, known.checksum)
    equal = await is_equal(operation, attributes, evidence, -1, tools)
    if equal is None:
        return None
    if not equal:
        return Result(operation.id, become=Kind.UPLOAD, reason=Reason.CONTENT)
    fingerprint = tools.brief.rules.fingerprint(operation.path)
    return Result(operation.id, etag=operation.etag, fingerprint=fingerprint, already=True)


async def is_equal(
    operation: Operation, attributes: Attributes, evidence: ContentEvidence, size: int, tools: Tools
) -> bool | None:
    """Return whether the object holds the file's content; ``None`` if unknown. ``size`` is the object's, -1 if unknown."""

    def blocks() -> Iterable[bytes]:
        return tools.source.blocks(operation.path, operation.stamp)

    length, part_size = operation.size, tools.brief.part_size
    if attributes.gzip:
        packed = bytes(await read_packed(operation, tools))
        length, blocks = len(packed), lambda: [packed]
    if size not in (-1, length):
        return False
    if length > BLOCK:
        verdict: bool | None = await run_in_thread(lambda: is_same_content(blocks, length, evidence, part_size))
        return verdict
    return is_same_content(blocks, length, evidence, part_size)


async def copy_metadata(operation: Operation, tools: Tools) -> Result:
    """Copy an object onto itself with the attributes of its file."""
    head = await send_expecting_ok(requests.head_object(operation.key))
    is_retry = operation.recheck or operation.attempts > 0
    if (
        tools.brief.exact
        and is_retry
        and await find_difference(operation, tools.attributes(operation), head, tools) is None
    ):
        return found_right(operation, head, tools)
    return await copy_onto_itself(operation, head, tools, upload_file, tools.quirks)
