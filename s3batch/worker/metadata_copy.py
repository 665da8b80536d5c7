"""Metadata copies: an object is copied onto itself with its file's attributes, and keeps all others.

    HEAD ─> other attributes ─CopyObject─> HEAD: is all there? ─> done, and this store is trusted from now on
                                             └> tags are put back, other losses are repaired by sending the file again

A worker checks a copy that carries an attribute it has not yet seen kept, one copy at a time. An attribute that a store
loses, or never returns, is a quirk. If CopyObject is permanently refused, the file is sent again with all attributes.

Tags that a copy may drop are on record before it, so a kill between copy and put-back loses none:

    comparison finds foreign tags ─Result.spec→ journal ─lease→ comparison again ─> copy ─> tags put back
                                                                       killed here ──┘
                                                  resume: the object was written since, and has no tags: put them back
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from s3batch.model import AttributesChanged, KeptAttributes, KeptTags, Kind, KnownContent, Reason, Result
from s3batch.objects import compare
from s3batch.objects.acl import canned_acl, same_acl
from s3batch.objects.headers import (
    RemoteAttributes,
    make_copy_headers,
    make_foreign_headers,
    make_kept_headers,
    make_put_headers,
    make_tag_header,
    name_header_aspect,
)
from s3batch.quirks import ACL, TAGS, Quirk, QuirkKind
from s3batch.s3 import requests
from s3batch.s3.calls import send_request
from s3batch.s3.event_loop import run_in_thread, sleep
from s3batch.s3.faults import RequestError, fault_of, is_acl_refusal, refusal_for_good
from s3batch.s3.responses import date_of, etag_of, raise_for_status, seconds_of, send_expecting_ok
from s3batch.s3.validation import etag_in
from s3batch.worker.conditional import copy_self_while_unchanged, unchanged_since
from s3batch.worker.guard import prepare_change
from s3batch.worker.versions import note_version

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from s3batch.model import Attributes, Operation
    from s3batch.quirks import Quirks
    from s3batch.s3.faults import Fault
    from s3batch.s3.requests import Response
    from s3batch.worker.context import Tools

    Tags = tuple[tuple[str, str], ...]
    SendAgain = Callable[[Operation, Tools], Awaitable[Result]]

_NOT_SUPPORTED = frozenset({405, 501})  # Method Not Allowed, Not Implemented
_LOOK_AGAIN = 0.01
"""Seconds between looks whether another copy of this worker has been looked at."""


# --- attributes: present and wanted ---------------------------------------------------------


async def find_difference(operation: Operation, attributes: Attributes, head: Response, tools: Tools) -> Reason | None:
    """Return why the object's attributes are not the wanted ones; ``None`` if they are, as far as is known."""
    unseen = tools.quirks.about(QuirkKind.NOT_ECHOED)
    changes = compare.find_attribute_changes(attributes, RemoteAttributes.from_headers(head.headers))
    if any(name_header_aspect(change.name) not in unseen for change in changes):
        return Reason.METADATA
    if attributes.tags and TAGS not in unseen:
        found = await read_tags(operation.key, tools)
        if found is not None and found != attributes.tags:
            return Reason.METADATA
    if attributes.acl and ACL not in unseen and not tools.acl_refused:
        found_acl = await read_acl(operation.key, tools)
        return None if same_acl(attributes.acl, found_acl) else Reason.ACL
    return None


def wants_unseen(attributes: Attributes, tools: Tools) -> bool:
    """Return true if an attribute is wanted that the store does not give back."""
    unseen = tools.quirks.about(QuirkKind.NOT_ECHOED)
    return bool(unseen) and any(name_header_aspect(name) in unseen for name in make_put_headers(attributes))


async def read_tags(key: str, tools: Tools) -> Tags | None:
    """Return the tags of ``key``, sorted; ``None`` where they cannot be read."""
    if tools.quirks.refuses("GetObjectTagging"):
        return None
    request = requests.get_object_tagging(key)
    response = await send_request(request)
    if (fault := refusal_for_good(response)) is not None:
        tools.note_refusal(request.name, fault, "tags are not compared, and a store that drops them loses them")
        return None
    if response.status == 404 and fault_of(response).code == "NoSuchTagSet":
        return ()
    found: Tags = raise_for_status(response, request).document
    return found


async def read_acl(key: str, tools: Tools) -> str:
    """Return the canned ACL that the grants of ``key`` amount to; empty where they cannot be read."""
    if tools.quirks.refuses("GetObjectAcl"):
        return ""
    request = requests.get_object_acl(key)
    response = await send_request(request)
    if (fault := refusal_for_good(response)) is not None:
        tools.note_refusal(request.name, fault, "ACLs are not compared")
        return ""
    return canned_acl(bytes(raise_for_status(response, request).body))


def _list_aspects(kept: KeptAttributes, attributes: Attributes) -> frozenset[str]:
    """Return the aspects that a copy may lose: headers, tags, the ACL."""
    return frozenset(map(name_header_aspect, make_kept_headers(kept, attributes)))


async def _read_kept_attributes(
    key: str, attributes: Attributes, remote: RemoteAttributes, tools: Tools
) -> KeptAttributes:
    headers = tuple(make_foreign_headers(attributes, remote).items())
    tools.tags.counted = tools.tags.counted or bool(remote.tag_count)
    if attributes.tags or remote.tag_count == "0":
        return KeptAttributes(headers)
    if not remote.tag_count and (tools.tags.counted or not tools.endpoint.url):  # S3 counts them in each HEAD
        return KeptAttributes(headers)
    return KeptAttributes(headers, await read_tags(key, tools) or ())


# --- the copy ------------------------------------------------------------------------------


async def copy_onto_itself(
    operation: Operation, head: Response, tools: Tools, send_again: SendAgain, decided_with: Quirks,
    on_record: KeptTags | None = None,
) -> Result:  # fmt: skip
    """Apply the configured attributes and keep all others. The result may ask for the file to be sent again.

    ``decided_with`` are the quirks that were known when the object was found to differ. ``on_record`` are the tags that
    the journal holds; the result may ask for the operation again with them on record.
    """
    attributes = tools.attributes(operation)
    remote = RemoteAttributes.from_headers(head.headers)
    kept = await _read_kept_attributes(operation.key, attributes, remote, tools)
    if on_record is not None and not (kept.tags or attributes.tags) and _was_written_since(head, on_record):
        kept = kept._replace(tags=on_record.tags)
    aspects = _list_aspects(kept, attributes)
    while tools.copies.is_looking and _unproven_aspects(aspects, tools):
        await sleep(_LOOK_AGAIN)
    if _may_be_right(operation, decided_with, tools):
        decided_with = tools.quirks
        if await find_difference(operation, attributes, head, tools) is None:
            return found_right(operation, head, tools)  # it differed in an attribute that the store never returns
    if _has_to_be_sent(aspects, tools):
        return _sent_again(operation, kept)
    if _has_to_be_recorded(operation, kept, on_record, tools):
        record = KeptTags(kept.tags, _last_modified(head), operation.spec)
        return Result(operation.id, become=Kind.RECONCILE, etag=operation.etag, spec=record)
    if not _unproven_aspects(aspects, tools):
        return await _copy_with_tags(operation, attributes, head, kept, tools)
    if tools.copies.is_looking or _may_be_right(operation, decided_with, tools):  # while this one was asking
        return await copy_onto_itself(operation, head, tools, send_again, decided_with, on_record)
    tools.copies.is_looking = True
    try:
        return await _copy_and_look(operation, head, kept, tools, send_again)
    finally:
        tools.copies.is_looking = False


def _may_be_right(operation: Operation, decided_with: Quirks, tools: Tools) -> bool:
    """Return true if quirks found since may explain the difference."""
    return tools.quirks is not decided_with and not has_changed(operation)


def has_changed(operation: Operation) -> bool:
    """Return true if other attributes are wanted than at the last own write, whatever the object shows."""
    return operation.kind is not Kind.RECONCILE or isinstance(operation.spec, KnownContent | AttributesChanged)


def found_right(operation: Operation, head: Response, tools: Tools) -> Result:
    """Return the result for an object that needs nothing."""
    date = seconds_of(head.headers.get("last-modified", ""))
    fingerprint = tools.brief.rules.fingerprint(operation.path)
    return Result(operation.id, etag=etag_of(head), date=date, fingerprint=fingerprint, already=True)


def _unproven_aspects(aspects: frozenset[str], tools: Tools) -> frozenset[str]:
    """Return the aspects that no copy of this worker was seen to keep or to lose."""
    dropped = tools.quirks.about(QuirkKind.COPY_DROPS)
    return aspects - tools.copies.keeps - dropped - tools.quirks.about(QuirkKind.NOT_ECHOED)


def _has_to_be_sent(aspects: frozenset[str], tools: Tools) -> bool:
    quirks = tools.quirks
    dropped = aspects & quirks.about(QuirkKind.COPY_DROPS)
    return (
        quirks.refuses("CopyObject")
        or bool(dropped - {TAGS})
        or (TAGS in dropped and quirks.refuses("PutObjectTagging"))
    )


def _sent_again(operation: Operation, kept: KeptAttributes) -> Result:
    """Return the result that turns the copy into an upload, with the attributes that no setting names."""
    return Result(operation.id, become=Kind.UPLOAD, reason=operation.reason, spec=kept)


async def _copy_with_tags(
    operation: Operation, attributes: Attributes, head: Response, kept: KeptAttributes, tools: Tools
) -> Result:
    """Copy, and put tags back where the store is known to drop them."""
    try:
        result = await _copied_result(operation, attributes, head, kept, tools)
    except RequestError as error:
        if error.fault.status not in _NOT_SUPPORTED:
            raise
        tools.note_refusal("CopyObject", error.fault, "objects whose metadata changes are sent again")
        return _sent_again(operation, kept)
    tags = attributes.tags or kept.tags
    drops = tools.quirks.has(QuirkKind.COPY_DROPS, TAGS) and not result.already
    if tags and drops and (fault := await put_tags(operation.key, tags)) is not None:
        _note_tags_refused(fault, tools)
        return _sent_again(operation, kept)
    return result


async def _copied_result(
    operation: Operation, attributes: Attributes, head: Response, kept: KeptAttributes, tools: Tools
) -> Result:
    await prepare_change(operation, head, tools)
    key, remote = operation.key, RemoteAttributes.from_headers(head.headers)
    fingerprint = tools.brief.rules.fingerprint(operation.path)
    if int(head.headers.get("content-length", 0)) > tools.brief.copy_limit:
        headers = {**make_copy_headers(attributes, remote), **make_tag_header(attributes.tags or kept.tags)}
        await run_in_thread(lambda: _copy_in_parts(key, headers, tools))
        after = await send_expecting_ok(requests.head_object(key))
        date = seconds_of(after.headers.get("last-modified", ""))
        versions = note_version(operation, after, head)
        return Result(operation.id, etag=etag_of(after), date=date, fingerprint=fingerprint, spec=versions)
    condition = unchanged_since(head) if tools.brief.is_guarded else {}
    response = await _copy_whole(operation, attributes, remote, condition, tools)
    if response is None:
        return found_right(operation, head, tools)
    versions = note_version(operation, response, head)
    return Result(operation.id, etag=etag_in(response), date=date_of(response), fingerprint=fingerprint, spec=versions)


async def _copy_whole(
    operation: Operation, attributes: Attributes, remote: RemoteAttributes, condition: dict[str, str], tools: Tools
) -> Response | None:
    """Return the answer. ``None``: only the ACL was to be set, and the bucket takes none."""
    request = requests.copy_object(operation.key, tools.endpoint.bucket, make_copy_headers(attributes, remote))
    if attributes.acl:
        response = await copy_self_while_unchanged(request, condition)
        if not is_acl_refusal(response):
            return raise_for_status(response, request)
        request = tools.drop_acl(request)
    if operation.reason is Reason.ACL:
        return None
    return raise_for_status(await copy_self_while_unchanged(request, condition), request)


def _copy_in_parts(key: str, headers: dict[str, str], tools: Tools) -> None:
    from s3batch.s3.transfer_managers import copy_large  # noqa: PLC0415 - boto3, for the rare object this large

    part_size = min(512 * 1024 * 1024, tools.brief.copy_limit)
    copy_large(tools.endpoint, key, part_size, headers)


# --- tags on record ------------------------------------------------------------------------


def _has_to_be_recorded(operation: Operation, kept: KeptAttributes, on_record: KeptTags | None, tools: Tools) -> bool:
    """Return true if a kill after the copy could lose tags: S3 keeps them itself, and so do stores that were seen to."""
    if not kept.tags or operation.kind is not Kind.RECONCILE or not tools.endpoint.url or TAGS in tools.copies.keeps:
        return False
    return on_record is None or on_record.tags != kept.tags


def _last_modified(head: Response) -> str:
    return str(head.headers.get("last-modified", ""))


def _was_written_since(head: Response, on_record: KeptTags) -> bool:
    return _last_modified(head) != on_record.modified


async def put_tags_back(operation: Operation, head: Response, on_record: KeptTags, tools: Tools) -> Result | None:
    """Put back the tags that the copy of a killed run has dropped; ``None`` where there is nothing to put back."""
    attributes, remote = tools.attributes(operation), RemoteAttributes.from_headers(head.headers)
    if attributes.tags or not _was_written_since(head, on_record) or remote.tag_count not in ("", "0"):
        return None
    if not remote.tag_count and await read_tags(operation.key, tools):
        return None
    if (fault := await put_tags(operation.key, on_record.tags)) is not None:
        _note_tags_refused(fault, tools)
        headers = tuple(make_foreign_headers(attributes, remote).items())
        return _sent_again(operation, KeptAttributes(headers, on_record.tags))
    tools.note(Quirk(QuirkKind.COPY_DROPS, TAGS))
    return found_right(operation, head, tools)._replace(already=False, become=Kind.COPY, reason=Reason.METADATA)


# --- looking after it ------------------------------------------------------------------------


async def _copy_and_look(
    operation: Operation, head: Response, kept: KeptAttributes, tools: Tools, send_again: SendAgain
) -> Result:
    attributes = tools.attributes(operation)
    result = await _copy_with_tags(operation, attributes, head, kept, tools)
    if result.become is not None or result.already:
        return await _send_again_inline(operation, result, tools, send_again)
    attributes = tools.attributes(operation)  # the bucket may have refused the ACL
    lost = await _find_lost(operation.key, attributes, kept, tools)
    tools.copies.keeps |= _list_aspects(kept, attributes) - lost
    if TAGS in lost and await _tags_are_back(operation.key, attributes, kept, tools):
        lost -= {TAGS}
    if not lost:
        return result
    again = _sent_again(operation, kept._replace(lost=tuple(sorted(lost))))
    return await _send_again_inline(operation, again, tools, send_again)


async def _send_again_inline(operation: Operation, result: Result, tools: Tools, send_again: SendAgain) -> Result:
    """Send a small file again at once, so that the first object shows the store's behaviour before others are copied."""
    if result.become is not Kind.UPLOAD or operation.size > tools.brief.part_size:
        return result
    spec = result.spec if isinstance(result.spec, KeptAttributes) else None
    upload = operation._replace(kind=Kind.UPLOAD, spec=spec, recheck=False)
    return await send_again(upload, tools)


async def _find_lost(key: str, attributes: Attributes, kept: KeptAttributes, tools: Tools) -> frozenset[str]:
    """Return the attributes that the object lacks, of the configured and of the other ones."""
    unseen = tools.quirks.about(QuirkKind.NOT_ECHOED)
    now = RemoteAttributes.from_headers((await send_expecting_ok(requests.head_object(key))).headers)
    lost = {name_header_aspect(change.name) for change in compare.find_attribute_changes(attributes, now)}
    foreign = make_foreign_headers(attributes, now)
    lost |= {name_header_aspect(name) for name, value in kept.headers if foreign.get(name) != value}
    lost -= {TAGS}
    tags = attributes.tags or kept.tags
    if tags and TAGS not in unseen and now.tag_count != str(len(tags)):
        found = await read_tags(key, tools)
        lost |= {TAGS} if found is not None and found != tags else set()
    if attributes.acl and ACL not in unseen and not tools.acl_refused:
        lost |= set() if same_acl(attributes.acl, await read_acl(key, tools)) else {ACL}
    return frozenset(lost - unseen)


async def _tags_are_back(key: str, attributes: Attributes, kept: KeptAttributes, tools: Tools) -> bool:
    """Put back the tags that a copy has dropped; return true if they are back, or nothing more can be done."""
    tags = attributes.tags or kept.tags
    if (fault := await put_tags(key, tags)) is not None:
        _note_tags_refused(fault, tools)
        return False
    if await read_tags(key, tools) not in (None, tags):
        return False
    tools.note(Quirk(QuirkKind.COPY_DROPS, TAGS))
    return True


async def put_tags(key: str, tags: Tags) -> Fault | None:
    """Set the tags; return the fault of a permanent refusal. Raises :class:`RequestError`."""
    request = requests.put_object_tagging(key, tags)
    response = await send_request(request)
    if (fault := refusal_for_good(response)) is not None:
        return fault
    raise_for_status(response, request)
    return None


def _note_tags_refused(fault: Fault, tools: Tools) -> None:
    tools.note(Quirk(QuirkKind.COPY_DROPS, TAGS))
    tools.note_refusal("PutObjectTagging", fault, "objects with tags are sent again where their metadata changes")


async def look_after_sending(operation: Operation, attributes: Attributes, kept: KeptAttributes, tools: Tools) -> None:
    """Check which attributes a file that was sent again has: a store never returns the missing ones."""
    if not kept.lost:
        return
    still = await _find_lost(operation.key, attributes, kept, tools)
    for aspect in kept.lost:
        if aspect not in still:
            tools.note(Quirk(QuirkKind.COPY_DROPS, aspect))
    ours = {name_header_aspect(name) for name in make_put_headers(attributes)}
    for aspect in sorted(still):
        if aspect in ours:
            tools.note(Quirk(QuirkKind.NOT_ECHOED, aspect))
        else:
            tools.warn(f"the store has lost {aspect} of {operation.key}, which a metadata copy could not keep")
