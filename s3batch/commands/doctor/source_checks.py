"""The doctor's checks of a source in S3: its listing, one of its objects, and a copy of that object into the target."""

from __future__ import annotations

from typing import TYPE_CHECKING

from s3batch.s3 import requests
from s3batch.s3.bucket import Bucket, bucket_refused_error
from s3batch.s3.endpoint import is_one_store
from s3batch.settings.direction import parse_source_place, settings_of_source
from s3batch.settings.s3_limits import COPY_LIMIT

if TYPE_CHECKING:
    from s3batch.commands.doctor.visit import Visit
    from s3batch.model import ListedObject

_LOOKED_AT = 20
"""Objects of the source's listing, of which the smallest is read and copied."""


def check_source(visit: Visit) -> None:
    """Check the source. Raises EndpointError if it does not answer, refuses the sign-in or has no bucket."""
    place = parse_source_place(visit.settings)
    bucket = Bucket.from_settings(settings_of_source(visit.settings), place.bucket)
    try:
        call = requests.list_objects(place.prefix, limit=_LOOKED_AT)
        reply = visit.probe.ask(call, bucket)
        if reply.fault is not None and reply.fault.code in {"NoSuchBucket", "NotFound"}:
            raise bucket_refused_error(bucket.endpoint, call.name, reply.fault)
        if not visit.note("list the source", reply):
            return
        found = sorted(reply.answer.document.objects, key=_size_of)
        if not found:
            visit.not_tried("read the source", "GetObject", "the source has no object", needed=False)
            return
        _check_object(visit, bucket, found[0])
    finally:
        visit.source_requests = dict(bucket.transport.requests)
        bucket.close()


def _size_of(listed: ListedObject) -> int:
    return listed.size


def _check_object(visit: Visit, bucket: Bucket, listed: ListedObject) -> None:
    key, probe = listed.key, visit.probe
    visit.note("compare with the source", probe.ask(requests.head_object(key), bucket))
    if listed.size:
        visit.note("read the source", probe.ask(requests.get_object(key, 0, 0), bucket))
    visit.note("keep tags of the source", probe.ask(requests.get_object_tagging(key), bucket), needed=False)
    if not is_one_store(bucket.endpoint, probe.bucket.endpoint):
        visit.not_tried("copy on the server", "CopyObject", "the source is at another server", needed=False)
    elif listed.size <= COPY_LIMIT:
        copied = probe.ask(requests.copy_object(probe.key, bucket.endpoint.bucket, visit.headers, key))
        hint = "objects are streamed through s3batch instead"
        visit.note("copy on the server", copied, needed=False, hint=hint)
