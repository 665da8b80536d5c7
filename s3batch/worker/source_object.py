"""Requests about the object that a transfer reads. Each is pinned to the ETag that was listed.

412, another ETag or size    ``Changed``: the operation is planned again
404                          ``Vanished``
403 InvalidObjectState       archived: it has to be restored first
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from s3batch.model import SourceObject
from s3batch.objects.fetched_proof import ContentProof
from s3batch.quirks import TAGS, Quirk, QuirkKind
from s3batch.s3 import requests
from s3batch.s3.access_headers import make_source_key_headers
from s3batch.s3.calls import send_request
from s3batch.s3.event_loop import run_at_source
from s3batch.s3.faults import fault_of, refusal_for_good
from s3batch.s3.permissions import refusal_words
from s3batch.s3.requests import Response
from s3batch.s3.responses import etag_of, raise_for_status
from s3batch.source.reader import ContentError

if TYPE_CHECKING:
    from s3batch.model import Operation, OperationSpec
    from s3batch.objects.headers import RemoteAttributes
    from s3batch.s3.faults import Fault
    from s3batch.s3.requests import Request
    from s3batch.worker.context import SourceBucket, Tools

ARCHIVED = "InvalidObjectState"
"""S3's code for an object in an archive class that is not restored."""
_ARCHIVED = frozenset({ARCHIVED, "ObjectNotInActiveTierError"})
"""The same, and its code for a copy of such an object."""
STREAM_WARNING = "objects are streamed through s3batch, because the store does not copy them"
REFUSED_COPY_WARNING = "objects are streamed through s3batch where their copies are refused"
SIZE_ONLY = "only the size of some streamed objects proves that they came whole: their source tells neither a checksum nor an MD5"
_COPY_FAULTS = frozenset({405, 501})
"""Statuses of a store that copies no objects at all."""
_REFUSED_OFTEN = 3
"""Copies refused with 403 before any worked, after which no other is tried: a single object may lack a permission."""


def find_source(tools: Tools) -> SourceBucket:
    """Return the source's bucket. Raises TypeError in a job whose source is local."""
    if tools.brief.source is None:
        raise TypeError("the source of this job is not in S3")
    return tools.brief.source


def find_pin(operation: Operation) -> str:
    """Return the ETag that the source object must have; empty if that is not known."""
    return operation.spec.etag if isinstance(operation.spec, SourceObject) else ""


def prove_by_etag(operation: Operation, etag: str) -> ContentProof:
    """Return what the ETag of the written object proves: that of the source says the same, any other nothing."""
    if not etag or etag != find_pin(operation):
        return ContentProof.SIZE
    return ContentProof.PARTS if "-" in etag else ContentProof.ETAG


def note_proof(operation: Operation, proof: ContentProof) -> OperationSpec | None:
    """Return the spec of a done transfer, which tells the proof of its content."""
    spec = operation.spec
    return spec._replace(proof=proof.value) if isinstance(spec, SourceObject) else spec


def name_pinned_source(operation: Operation, tools: Tools) -> dict[str, str]:
    """Return the headers of a copy that pin its source, and open it. The request itself names the object."""
    etag = find_pin(operation)
    pinned = {"x-amz-copy-source-if-match": f'"{etag}"'} if etag else {}
    key, own = find_source(tools).endpoint.customer_key, tools.endpoint.customer_key
    return pinned | make_source_key_headers(key, own) if key or own else pinned


def _pin(request: Request, operation: Operation) -> Request:
    etag = find_pin(operation)
    return request._replace(headers={**request.headers, "if-match": f'"{etag}"'}) if etag else request


def is_folder_marker(operation: Operation) -> bool:
    """Return whether an operation is about a folder's marker: stores that are file systems list those and show none."""
    return not operation.size and operation.path.endswith("/")


async def head_source(operation: Operation, tools: Tools) -> Response:
    """Return the HEAD of the source object. Raises ContentError if it is not the listed one any more."""
    request = _pin(requests.head_object(find_source(tools).key(operation.path)), operation)
    response: Response = await run_at_source(send_request(request))
    if response.status == 404 and is_folder_marker(operation) and fault_of(response).code != "NoSuchBucket":
        return Response(200, {"content-length": "0"})
    check_source_answer(operation, response, request)
    if int(response.headers.get("content-length", operation.size)) != operation.size:
        raise _describe_changed_object(operation)
    return response


async def read_source_range(operation: Operation, tools: Tools, first: int = 0, size: int = -1) -> Response:
    """Return ``size`` bytes of the source object from ``first`` on; without a size, all of it."""
    key, whole = find_source(tools).key(operation.path), size < 0
    request = (
        requests.get_object(key, size=operation.size) if whole else requests.get_object(key, first, first + size - 1)
    )
    if whole:
        request = request._replace(headers={"x-amz-checksum-mode": "ENABLED"})
    request = _pin(request, operation)
    response: Response = await run_at_source(send_request(request))
    check_source_answer(operation, response, request)
    if len(response.body) != (operation.size if whole else size):
        raise _describe_changed_object(operation)
    return response


def check_source_answer(operation: Operation, response: Response, request: Request) -> None:
    """Raise ContentError if an answer says that the source object changed or is gone, RequestError if it is refused."""
    if response.status == 412:
        raise _describe_changed_object(operation)
    if response.status in (403, 404):
        fault = fault_of(response)
        if fault.code in ("NoSuchKey", "NotFound") and response.status == 404:
            raise ContentError("Vanished", f"{operation.path!r} does not exist in the source any more")
        if fault.code in _ARCHIVED:
            raise ContentError(ARCHIVED, f"{operation.path!r} is archived; restore it first")
    raise_for_status(response, request)
    etag = find_pin(operation)
    if etag and request.method in ("GET", "HEAD") and etag_of(response) != etag:
        raise _describe_changed_object(operation)


def _describe_changed_object(operation: Operation) -> ContentError:
    return ContentError("Changed", f"{operation.path!r} changed in the source after it was listed")


# --- copies by the store -------------------------------------------------------------------


def are_copies_refused(tools: Tools, request: str = "CopyObject") -> bool:
    """Return whether the store is known not to copy objects of the source by ``request``, or not to keep their metadata."""
    quirks = tools.quirks
    if tools.copies.refused is not None and tools.copies.refused[0] is quirks and tools.copies.refused[1] == request:
        return tools.copies.refused[2]
    refused = not find_source(tools).copies or _refuses_copies(request, tools)
    tools.copies.refused = (quirks, request, refused)
    return refused


def _refuses_copies(request: str, tools: Tools) -> bool:
    quirks = tools.quirks
    return quirks.refuses(request) or quirks.refuses(_name_source_copies(tools)) or loses_metadata(tools)


def loses_metadata(tools: Tools) -> bool:
    """Return whether the store is known to lose metadata of what it copies, which nothing but another way can keep."""
    return bool(tools.quirks.about(QuirkKind.COPY_DROPS) - {TAGS})


def _name_source_copies(tools: Tools) -> str:
    """Return the name, in a quirk, of copies out of the source's bucket."""
    return f"CopyObject from {find_source(tools).endpoint.bucket}"


def note_refused_copies(request: str, fault: Fault, tools: Tools) -> None:
    """Note that the store refuses to copy an object of the source by ``request``, and warn of it once."""
    if fault.status == 403:
        _note_denied_copy(request, fault, tools)
    elif tools.note(Quirk(QuirkKind.REFUSED, request, f"HTTP {fault.status} {fault.code}")):
        tools.warn(refusal_words(request, fault.code, fault.message, STREAM_WARNING))


def _note_denied_copy(request: str, fault: Fault, tools: Tools) -> None:
    """Count a copy that lacks a permission. The first one is no quirk: the order of the objects is chance."""
    tools.copies.denied += 1
    if tools.copies.denied == 1:
        tools.warn(refusal_words(request, fault.code, fault.message, REFUSED_COPY_WARNING))
    if tools.copies.denied >= _REFUSED_OFTEN and not tools.copies.succeeded:
        tools.note(Quirk(QuirkKind.REFUSED, _name_source_copies(tools), f"HTTP {fault.status} {fault.code}"))


async def is_refused_copy(operation: Operation, response: Response, tools: Tools) -> bool:
    """Return whether an object has to be streamed: its copy is refused with 501 or 405, or with 403 while HEAD is allowed."""
    if response.status in _COPY_FAULTS:
        return True
    if response.status != 403 or fault_of(response).code in _ARCHIVED:
        return False
    if refusal_for_good(response) is None:
        return False
    request = requests.head_object(find_source(tools).key(operation.path))
    head: Response = await run_at_source(send_request(request))
    return head.ok


async def read_source_tags(
    operation: Operation, remote: RemoteAttributes, tools: Tools, *, method: str = "HEAD"
) -> tuple[tuple[str, str], ...]:
    """Return the tags of the source object; none, with one warning, where they cannot be read.

    ``remote`` is from the response to a request with this method. A store may count tags with GET and not with HEAD.
    """
    if remote.tag_count:
        tools.tags.source_counted_by.add(method)
    counts = method in tools.tags.source_counted_by or not find_source(tools).endpoint.url
    known_to_have_none = not remote.tag_count and counts
    if remote.tag_count == "0" or known_to_have_none or tools.tags.source_refused:
        return ()
    request = requests.get_object_tagging(find_source(tools).key(operation.path))
    response: Response = await run_at_source(send_request(request))
    if (fault := refusal_for_good(response)) is not None:
        tools.tags.source_refused = True
        words = "objects are transferred without their tags, which cannot be read in the source"
        tools.warn(refusal_words(request.name, fault.code, fault.message, words))
        return ()
    if response.status == 404 and fault_of(response).code == "NoSuchTagSet":
        return ()
    found: tuple[tuple[str, str], ...] = raise_for_status(response, request).document
    return found
