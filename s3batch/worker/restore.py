"""Restores an object that an earlier job has changed: from its backup, or from its old version in a versioned bucket.

    HEAD ─> as the undo has planned it? ─> its own backup, if there is one ─> CopyObject with all attributes

A job that created an object is taken back by a delete. In a versioned bucket only its versions tell which it was.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from s3batch.model import Kind, Operation, RestoreSpec, Result
from s3batch.objects.headers import RemoteAttributes
from s3batch.s3 import requests
from s3batch.s3.calls import send_request
from s3batch.s3.responses import etag_of, raise_for_status, seconds_of, send_expecting_ok
from s3batch.worker.backup import ObjectPlace, copy_with_attributes, read_canned_acl, read_tags_at
from s3batch.worker.conditional import send_while_unchanged, unchanged_since
from s3batch.worker.guard import prepare_change
from s3batch.worker.results import RefusedChangeError
from s3batch.worker.versions import VERSION_ID, note_version

if TYPE_CHECKING:
    from collections.abc import Sequence

    from s3batch.s3.document_values import ObjectVersion
    from s3batch.s3.requests import Response
    from s3batch.worker.context import Tools

_GRAIN = 1.0
"""Seconds: LastModified and Date have no parts of a second everywhere."""


async def restore_object(operation: Operation, tools: Tools) -> Result:
    """Give an object its old state. Raises RefusedChangeError if it was changed since."""
    spec = operation.spec
    if not isinstance(spec, RestoreSpec):
        raise TypeError(f"the restore of {operation.key!r} has no RestoreSpec")
    if spec.refused:
        raise RefusedChangeError(f"not undone: {spec.refused}")
    head = await send_request(requests.head_object(operation.key))
    source, acl = await _find_old_state(operation.key, spec, head, tools)
    if source is None:
        return await _remove_created(operation, spec, head, tools)
    old = await send_expecting_ok(source.head())
    current = ObjectPlace(tools.endpoint.bucket, operation.key)
    if head.ok and (source == current or await _is_restored(current, head, source, old, acl, tools)):
        date = seconds_of(head.headers.get("last-modified", ""))
        return Result(operation.id, etag=etag_of(head), date=date, already=True)
    require_last_version(spec, head)
    await prepare_change(operation, head, tools)
    copy = await copy_with_attributes(source, old, current, tools, acl)
    date, versions = seconds_of(copy.headers.get("last-modified", "")), note_version(operation, copy, head)
    return Result(operation.id, etag=etag_of(copy), date=date, spec=versions)


def require_last_version(spec: RestoreSpec, head: Response) -> None:
    """Raise RefusedChangeError if the object is another version than the last that the job wrote."""
    if head.ok and spec.last and head.headers.get(VERSION_ID, spec.last) != spec.last:
        raise RefusedChangeError("not undone: it was changed since")


async def _remove_created(operation: Operation, spec: RestoreSpec, head: Response, tools: Tools) -> Result:
    if head.status == 404:
        return Result(operation.id, already=True)
    require_last_version(spec, head)
    await prepare_change(operation, head, tools)
    request = requests.delete_object(operation.key)
    response = await send_while_unchanged(request, unchanged_since(head))
    if response.status != 404:
        raise_for_status(response, request)
    return Result(operation.id, become=Kind.DELETE, spec=note_version(operation, response, head))


async def _is_restored(
    current: ObjectPlace, head: Response, source: ObjectPlace, old: Response, acl: str, tools: Tools
) -> bool:
    """Return whether an object is the old one by ETag, size, attributes, tags and ACL. A HEAD tells no tags and no ACL."""
    same = all(head.headers.get(name) == old.headers.get(name) for name in ("etag", "content-length"))
    if not same or RemoteAttributes.from_headers(head.headers) != RemoteAttributes.from_headers(old.headers):
        return False
    if await read_tags_at(current) != await read_tags_at(source):
        return False
    return await read_canned_acl(current, tools) == acl


# --- versions ----------------------------------------------------------------------------------


async def _find_old_state(key: str, spec: RestoreSpec, head: Response, tools: Tools) -> tuple[ObjectPlace | None, str]:
    """Return where the old state is, and its ACL; no place if there was no object."""
    if spec.key:
        return ObjectPlace(spec.bucket, spec.key), spec.acl
    versions = [each for each in await _list_versions(key) if each.key == key]
    found = find_old_version(versions, spec, is_there=head.ok)
    if found is None and head.ok and etag_of(head) == spec.listed_etag and not spec.first:
        return ObjectPlace(tools.endpoint.bucket, key), ""  # the job has not changed it
    if found is None and (spec.listed_etag or spec.before):
        raise RefusedChangeError("the old version is not in the bucket any more")
    if found is None:
        return None, ""
    source = ObjectPlace(tools.endpoint.bucket, key, found.version)
    return source, await read_canned_acl(source, tools)


def find_old_version(versions: Sequence[ObjectVersion], spec: RestoreSpec, *, is_there: bool) -> ObjectVersion | None:
    """Return the version before the job's change; ``None`` if there was no object. ``versions``: the newest first.

    The ids that the journal has decide. Without them, and where another version came between, ETag and time do.
    """
    if spec.before:
        return next((each for each in versions if each.version == spec.before and not each.is_marker), None)
    ids = [each.version for each in versions]
    if spec.first in ids:
        earlier = versions[ids.index(spec.first) + 1 :]
        if not earlier and not spec.listed_etag:
            return None
        # of one second the order is not known, as moto lists markers apart; a delete marker has no ETag
        last = [each for each in earlier if each.modified == earlier[0].modified and each.etag == spec.listed_etag]
        if last:
            return None if last[0].is_marker else last[0]
    older = versions[1:] if is_there else versions
    if spec.listed_etag:
        fitting = [each for each in older if each.etag == spec.listed_etag and not each.is_marker]
        before = [each for each in fitting if each.modified < spec.since + _GRAIN]
        return next(iter(before or fitting), None)
    others = [each for each in older if each.modified < spec.since + _GRAIN or each.is_marker]
    newest = next(iter(others), None)
    return None if newest is None or newest.is_marker else newest


async def _list_versions(key: str) -> list[ObjectVersion]:
    """Return the versions of the keys that begin with this one: the first page holds its own, the newest first."""
    query = requests.canonical_query([("prefix", key), ("versions", "")])
    request = requests.Request("ListObjectVersions", "GET", "", query)
    found: list[ObjectVersion] = raise_for_status(await send_request(request), request).document
    return sorted(found, key=lambda each: -each.modified)  # moto lists delete markers behind all others
