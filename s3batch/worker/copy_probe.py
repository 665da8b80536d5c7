"""The probe of a store's copies: an object with metadata and a tag is copied once, and the copy is looked at.

AWS keeps both. Other stores may lose them without a word: Ceph's gateway drops the tags of every copy. A plain copy is one
request and shows nothing of what it kept, so a worker probes beside its first ones, and none of those is done before the
probe has ended. What is lost is a quirk: tags are put back after each copy, and a store that loses metadata is not asked
to copy.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from s3batch.objects.headers import METADATA_PREFIX, name_header_aspect
from s3batch.objects.own_keys import PROBE
from s3batch.quirks import TAGS, Quirk, QuirkKind
from s3batch.s3 import requests
from s3batch.s3.calls import send_request
from s3batch.s3.event_loop import wait_for
from s3batch.s3.faults import RequestError

if TYPE_CHECKING:
    from s3batch.model import Operation
    from s3batch.s3.requests import Response
    from s3batch.worker.context import Tools

_BODY = b"s3batch"
_TAGS = (("s3batch", "probe"),)
_HEADERS = {"content-type": "text/x-s3batch-probe", f"{METADATA_PREFIX}s3batch": "probe"}


def must_probe_copies(tools: Tools) -> bool:
    """Return whether the store's copies have to be probed, or are just being probed."""
    if not tools.endpoint.url:
        return False
    return tools.copies.is_looking or not (tools.copies.probed or tools.quirks.has(QuirkKind.COPY_PROBED))


async def probe_copies_once(operation: Operation, tools: Tools) -> None:
    """Probe the store's copies, unless that was done; others of this worker wait for the result."""
    while tools.copies.is_looking:
        await wait_for(tools.copies.begin_wait)
    if not must_probe_copies(tools):
        return
    tools.copies.is_looking = tools.copies.probed = True
    parent = f"{operation.key.removesuffix(operation.path)}{PROBE}{os.urandom(8).hex()}"
    try:
        lost = await _find_lost_by_copy(parent, tools)
        if lost is not None:
            for aspect in sorted(lost):
                tools.note(Quirk(QuirkKind.COPY_DROPS, aspect))
            tools.note(Quirk(QuirkKind.COPY_PROBED))
    except RequestError:
        return  # the copies that follow meet the same trouble, and tell of it
    finally:
        tools.copies.end_look()
        await _remove(parent)


async def _find_lost_by_copy(parent: str, tools: Tools) -> frozenset[str] | None:
    """Return the aspects that a copy loses; ``None`` if the probe cannot be made."""
    tagging = {"x-amz-tagging": "s3batch=probe"}
    checked = {**_HEADERS, "content-md5": requests.md5_header(_BODY)}
    if not (await send_request(requests.put_object(parent, _BODY, {**checked, **tagging}))).ok:
        return None
    if not (await send_request(requests.copy_object(f"{parent}-copy", tools.endpoint.bucket, {}, parent))).ok:
        return None
    head = await send_request(requests.head_object(f"{parent}-copy"))
    if not head.ok:
        return None
    lost = {name_header_aspect(name) for name, value in _HEADERS.items() if _value_of(head, name) != value}
    if lost:  # or they were never kept
        before = await send_request(requests.head_object(parent))
        if not before.ok:
            return None  # another job has removed it
        lost -= {name_header_aspect(name) for name, value in _HEADERS.items() if _value_of(before, name) != value}
    if head.headers.get("x-amz-tagging-count") != "1":
        if await _has_tags(parent):
            lost |= set() if await _has_tags(f"{parent}-copy") else {TAGS}
        elif not (await send_request(requests.head_object(parent))).ok:
            return None
    return frozenset(lost)


def _value_of(head: Response, name: str) -> str:
    return head.headers.get(name, "").partition(";")[0]


async def _has_tags(key: str) -> bool:
    response = await send_request(requests.get_object_tagging(key))
    return response.ok and response.document == _TAGS


async def _remove(parent: str) -> None:
    for key in (f"{parent}-copy", parent):
        try:
            await send_request(requests.delete_object(key))
        except RequestError:
            continue
