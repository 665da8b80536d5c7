"""The backup of an object right before it is changed: a copy on the server, under the id of the job.

    BACKUP/JOB/KEY there? ── yes: it stays as it is, for this job may have changed the object since
                          └─ no:  CopyObject, pinned to the ETag that was looked at

CopyObject makes the whole object or none. So a kill at any moment leaves either no backup and the old object, or the
backup. A later try, and a later job that resumes this one, never replaces it by what this job has written: a later job
writes below its own id, and an undo takes the oldest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from s3batch.base.named_tuple import NamedTuple
from s3batch.objects.acl import canned_acl
from s3batch.objects.headers import OWN_HEADERS, RemoteAttributes, make_metadata_headers, make_tag_header
from s3batch.s3 import requests
from s3batch.s3.calls import send_request
from s3batch.s3.event_loop import run_in_thread
from s3batch.s3.faults import is_acl_refusal, refusal_for_good
from s3batch.s3.responses import etag_of, raise_for_status, send_expecting_ok
from s3batch.s3.stored_proof import require_copy
from s3batch.s3.validation import etag_in
from s3batch.worker.results import RefusedChangeError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from s3batch.s3.requests import Request, Response
    from s3batch.worker.context import BackupPlace, Tools

_PART = 512 * 1024 * 1024
"""Bytes of a part of an object that is too large for CopyObject."""

_LACKS = "attributes that copies lack"
ACL_LOST = "the bucket has ACLs disabled: objects come back without the ACL that they had"
VERSION_ACL_LOST = "the store has no ACLs of old versions: objects come back private"

Tags = tuple[tuple[str, str], ...]


class ObjectPlace(NamedTuple):
    """An object, or an old version of it."""

    bucket: str
    key: str
    version: str = ""
    """Empty: the current one."""

    def head(self) -> Request:
        """Return the HEAD of it."""
        return self._at(requests.head_object(self.key))

    def acl(self) -> Request:
        """Return the request for its ACL."""
        return self._at(requests.get_object_acl(self.key))

    def tagging(self) -> Request:
        """Return the request for its tags."""
        return self._at(requests.get_object_tagging(self.key))

    def _at(self, request: Request) -> Request:
        version = requests.canonical_query([("versionId", self.version)]) if self.version else ""
        return request._replace(bucket=self.bucket, query="&".join(filter(None, [request.query, version])))


async def back_up(key: str, head: Response, place: BackupPlace, tools: Tools) -> None:
    """Copy the object that ``head`` shows to the backup, unless it is there. Raises RequestError, RefusedChangeError."""
    if head.status == 404:
        return
    raise_for_status(head, requests.head_object(key))
    to = ObjectPlace(place.bucket, place.key(key))
    held = await send_request(to.head())
    if held.status != 404:
        raise_for_status(held, to.head())
        return
    source = ObjectPlace(tools.endpoint.bucket, key)
    acl = await read_canned_acl(source, tools)
    if acl:  # an object of the backup is private, whatever the ACL of the original
        mark = requests.put_object(place.acl_mark(acl, key), b"", {"content-md5": requests.md5_header(b"")})
        await send_expecting_ok(mark._replace(bucket=place.bucket))
    await copy_with_attributes(source, head, to, tools)


async def read_canned_acl(source: ObjectPlace, tools: Tools) -> str:
    """Return the canned ACL of an object; empty for a private one, and where it cannot be read or kept."""
    if tools.quirks.refuses("GetObjectAcl"):
        return ""
    request = source.acl()
    response = await send_request(request)
    if response.status == 404:
        if source.version:
            tools.warn(VERSION_ACL_LOST)
        return ""
    if (fault := refusal_for_good(response)) is not None:
        tools.note_refusal(request.name, fault, "ACLs of old objects are not kept")
        return ""
    if response.status == 500:  # moto has no ACL of some objects
        tools.warn(f"the ACL of {source.key} cannot be read (HTTP 500), and is not kept in the backup")
        return ""
    acl = canned_acl(bytes(raise_for_status(response, request).body))
    if acl in ("", "custom"):
        tools.warn(f"the ACL of {source.key} is not canned, and is not kept in the backup")
    return "" if acl in ("", "custom", "private") else acl


async def copy_with_attributes(
    source: ObjectPlace, head: Response, to: ObjectPlace, tools: Tools, acl: str = ""
) -> Response:
    """Copy an object to another place with its attributes, and return a HEAD of the copy.

    ``head`` is of the source. Raises RequestError; RefusedChangeError if the source changes meanwhile.
    """
    remote, etag = RemoteAttributes.from_headers(head.headers), ""
    pinned = {"x-amz-copy-source-if-match": f'"{etag_of(head)}"'}
    if int(head.headers.get("content-length", 0)) > tools.brief.copy_limit:
        await _copy_large_source(source, remote, to, tools)
    else:
        request = _copy_request(
            source, to, {**pinned, **_make_unkept_headers(remote), **({"x-amz-acl": acl} if acl else {})}
        )
        response = await send_request(request)
        if acl and is_acl_refusal(response):
            tools.warn(ACL_LOST)
            response = await send_request(_copy_request(source, to, {**pinned, **_make_unkept_headers(remote)}))
        if response.status in (404, 412):
            raise RefusedChangeError("the object changed while it was copied", retryable=True)
        etag = etag_in(raise_for_status(response, request))
    copy = await send_request(to.head())
    if copy.status != 404:
        raise_for_status(copy, to.head())
    require_copy(to.key, etag, head, copy)
    return await _look_after_copy(source, remote, to, copy, tools)


def _copy_request(source: ObjectPlace, to: ObjectPlace, headers: Mapping[str, str]) -> Request:
    request = requests.copy_object(to.key, source.bucket, headers, source.key, source.version)
    return request._replace(bucket=to.bucket)


def _make_unkept_headers(remote: RemoteAttributes) -> dict[str, str]:
    """Return the headers of attributes that CopyObject does not take over by itself."""
    values = {
        "x-amz-storage-class": remote.storage_class,
        "x-amz-server-side-encryption": remote.encryption,
        "x-amz-server-side-encryption-aws-kms-key-id": remote.kms_key_id,
        "x-amz-server-side-encryption-bucket-key-enabled": remote.bucket_key,
        "x-amz-website-redirect-location": remote.redirect,
    }
    return {name: value for name, value in values.items() if value}


def _make_named_headers(remote: RemoteAttributes) -> dict[str, str]:
    """Return the headers of all attributes but the tags."""
    values = {header: getattr(remote, name) for name, header in OWN_HEADERS.items()}
    return {
        **{header: value for header, value in values.items() if value},
        **_make_unkept_headers(remote),
        **make_metadata_headers(remote.metadata),
    }


async def _look_after_copy(
    source: ObjectPlace, remote: RemoteAttributes, to: ObjectPlace, copy: Response, tools: Tools
) -> Response:
    """Return a HEAD of a copy, first ``copy``; put back what the store has dropped, and warn of what it keeps dropping."""
    lost = _find_lost_names(remote, copy)
    if not lost:
        return copy
    if lost != {"tag_count"}:
        named = {**_make_named_headers(remote), "x-amz-metadata-directive": "REPLACE"}
        await send_expecting_ok(_copy_request(source, to, named))
    if tags := await read_tags_at(source):
        await send_expecting_ok(requests.put_object_tagging(to.key, tags)._replace(bucket=to.bucket))
    copy = await send_expecting_ok(to.head())
    if still := _find_lost_names(remote, copy):
        names = ", ".join(sorted(still)).replace("_", " ")
        told = tools.memory.setdefault(_LACKS, set())
        if names not in told:  # once for a worker: it is the store's way
            told.add(names)
            tools.warn(f"copies in the store, such as that of {source.key}, lack {names}: the store does not keep it")
    return copy


def _find_lost_names(remote: RemoteAttributes, copy: Response) -> set[str]:
    """Return the attributes in which a copy is not as the object."""
    found = RemoteAttributes.from_headers(copy.headers)
    return {name for name, one, other in zip(remote._fields, remote, found, strict=True) if one != other}


async def _copy_large_source(source: ObjectPlace, remote: RemoteAttributes, to: ObjectPlace, tools: Tools) -> None:
    from s3batch.s3.transfer_managers import copy_between  # noqa: PLC0415 - boto3, for the rare object this large

    tags = await read_tags_at(source) if remote.tag_count else ()
    headers = {**_make_named_headers(remote), **make_tag_header(tags)}
    part_size = min(_PART, tools.brief.copy_limit)
    await run_in_thread(lambda: copy_between(tools.endpoint, source, to, part_size, headers))


async def read_tags_at(source: ObjectPlace) -> Tags:
    """Return the tags of an object; none where they cannot be read."""
    response = await send_request(source.tagging())
    found: Tags = response.document if response.ok else ()
    return found
