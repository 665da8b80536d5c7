"""The validation of responses: per call the statuses, the document and the ETag of S3's own answer.

Both lanes have every response pass :func:`validate_response` before anyone gets it, so no caller can forget it:

    a refusal ............ passes; a 404 or 412 counts only in S3's words
    an error in a 200 .... becomes the refusal it is
    S3's answer .......... passes, with its document read
    anything else ........ is malformed: an error that is worth another try, as a 502 is
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from s3batch.base.named_tuple import NamedTuple
from s3batch.s3 import document_values, listing
from s3batch.s3.documents import MalformedResponseError, parse_number
from s3batch.s3.faults import (
    MALFORMED,
    STATUS_OF,
    TOO_LARGE,
    Fault,
    RequestError,
    fault_of,
    hides_error,
    is_error_document,
)
from s3batch.s3.requests import Response
from s3batch.settings.s3_limits import PARTS_LIMIT

if TYPE_CHECKING:
    from s3batch.s3.requests import Request


class ResponseForm(NamedTuple):
    """The form of S3's answer to a call."""

    statuses: tuple[int, ...]
    etag: bool = False
    """True if a header holds an ETag."""
    read: Callable[[Request, Response], Any] | None = None
    """Reads the document; ``None`` where there is no body."""
    empty: bool = False
    """True if a body, or a web page's type without one, cannot be S3's.

    The type of a document proves nothing: moto calls all of them ``text/html``.
    """


def _validate_content(request: Request, response: Response) -> None:
    """Check the headers of a GET or a HEAD; the body is the object's."""
    length = response.headers.get("content-length", "")
    if length:
        parse_number(length)
    asked = re.fullmatch(_ASKED, request.headers.get("range", ""))
    if asked is not None:
        _validate_range(int(asked[1]), int(asked[2]), response)
    elif response.status == 206 and "partNumber=" not in request.query:  # S3 says which range a part is
        raise MalformedResponseError("a part of what was asked for")


def _validate_range(first: int, last: int, response: Response) -> None:
    """Check that content is the range that was asked for: only Content-Range tells it, which each 206 has (RFC 9110, 15.3.7).

    rclone sends it with a 200.
    """
    said = response.headers.get("content-range", "")
    if not said:
        if response.status == 206:
            raise MalformedResponseError("a range, and not which one")
        if first:
            raise MalformedResponseError("the whole object in the place of a range")
        return
    found = re.fullmatch(_CAME, said)
    end = min(last, int(found[3]) - 1) if found and found[3] != "*" else last
    if found is None or (int(found[1]), int(found[2])) != (first, end):
        raise MalformedResponseError(f"the range {said[:60]!r}")
    if len(response.body) != end + 1 - first:
        raise MalformedResponseError(f"the range {said[:60]!r} in {len(response.body)} bytes")


_ASKED = r"bytes=([0-9]+)-([0-9]+)"
_CAME = r"(?i)bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)"


def _validate_page(request: Request, response: Response) -> listing.ListingPage:
    """Read a page of the listing; a key of another prefix is in some other listing."""
    page = listing.parse_page(response.body)
    prefix = _query_parameter(request, "prefix")
    if prefix and not all(each.key.startswith(prefix) for each in page.objects):
        raise MalformedResponseError("a listing of another prefix")
    return page


def _query_parameter(request: Request, name: str) -> str:
    return dict(parse_qsl(request.query, keep_blank_values=True, errors="surrogateescape")).get(name, "")


def _validate_uploads(request: Request, response: Response) -> document_values.UploadsPage:
    page = document_values.parse_uploads(response.body)
    if page.markers != ("", "") and page.markers == (
        _query_parameter(request, "key-marker"), _query_parameter(request, "upload-id-marker")
    ):  # fmt: skip
        raise MalformedResponseError("the listing of uploads repeats itself")
    return page


def _validate_parts(request: Request, response: Response) -> document_values.PartsPage:
    page = document_values.parse_parts(response.body)
    if page.marker and page.marker <= int(_query_parameter(request, "part-number-marker") or 0):
        raise MalformedResponseError("the listing of parts repeats itself")
    if page.marker > PARTS_LIMIT:  # else one number more on each page would have no end
        raise MalformedResponseError(f"a listing of more than {PARTS_LIMIT} parts")
    return page


def _parse_body(parse: Callable[[Any], Any]) -> Callable[[Request, Response], Any]:
    return lambda _, response: parse(response.body)


def _parse_rooted(*roots: str) -> Callable[[Request, Response], Any]:
    return lambda _, response: document_values.parse_root(response.body, *roots)


_VERSIONING = ("VersioningConfiguration", "GetBucketVersioningResponse")
"""The root of the document; moto says the second."""
_STORED = ResponseForm(tuple(range(200, 300)), etag=True)
_GONE = ResponseForm((200, 204), empty=True)
_SET = ResponseForm((200,))
_OBJECT = ResponseForm((200, 206), etag=True, read=_validate_content)

RULES: dict[str, ResponseForm] = {
    "PutObject": _STORED,
    "UploadPart": _STORED,
    "HeadObject": _OBJECT,
    "GetObject": _OBJECT,
    "CopyObject": ResponseForm((200,), read=_parse_body(document_values.parse_copied)),
    "UploadPartCopy": ResponseForm((200,), read=_parse_body(document_values.parse_copied)),
    "CreateMultipartUpload": ResponseForm((200,), read=_parse_body(document_values.parse_upload_id)),
    "CompleteMultipartUpload": ResponseForm((200,), read=_parse_body(document_values.parse_completed)),
    "AbortMultipartUpload": _GONE,
    "DeleteObject": _GONE,
    "DeleteObjects": ResponseForm((200,), read=_parse_body(document_values.parse_delete_errors)),
    "PutObjectAcl": _SET,
    "PutObjectTagging": _SET,
    "HeadBucket": ResponseForm((200, 204)),
    "ListObjectsV2": ResponseForm((200,), read=_validate_page),
    "ListObjectVersions": ResponseForm((200,), read=_parse_body(document_values.parse_versions)),
    "ListParts": ResponseForm((200,), read=_validate_parts),
    "ListMultipartUploads": ResponseForm((200,), read=_validate_uploads),
    "GetObjectTagging": ResponseForm((200,), read=_parse_body(document_values.parse_tags)),
    "GetObjectAcl": ResponseForm((200,), read=_parse_body(document_values.parse_acl)),
    "GetBucketVersioning": ResponseForm((200,), read=_parse_rooted(*_VERSIONING)),
    "GetBucketLifecycleConfiguration": ResponseForm((200,), read=_parse_rooted("LifecycleConfiguration")),
    "GetObjectLockConfiguration": ResponseForm((200,), read=_parse_rooted("ObjectLockConfiguration")),
    "CreateInvalidation": ResponseForm((200, 201), read=_parse_body(document_values.parse_invalidation)),
    "AssumeRole": ResponseForm((200,), read=_parse_body(document_values.parse_credentials)),
    "AssumeRoleWithWebIdentity": ResponseForm((200,), read=_parse_body(document_values.parse_credentials)),
}
"""The checks by S3's name of the call. A call that is not here is answered by anything that succeeds and is no web page."""
_WHOSE = {"CreateInvalidation": "CloudFront", "AssumeRole": "STS", "AssumeRoleWithWebIdentity": "STS"}
"""The service behind a call that is not S3's."""
_OTHER = ResponseForm((200, 202, 204, 206), read=_parse_rooted())
_SUBRESOURCES = frozenset({"GetObjectAcl", "GetObjectTagging"})
"""Reads of an object beside its content. A store that does not know one may return the content: rclone does."""
_NO_SUBRESOURCE = b"<Error><Code>NotImplemented</Code><Message>the store gives the object itself</Message></Error>"
_FACT_FREE = frozenset({"PutObject", "CreateMultipartUpload"})
"""Calls whose 404 says nothing about the store's content."""
_OBJECTS = frozenset({"HeadObject", "GetObject"})
_QUOTES = 4
"""Characters of an empty ETag at most, as ``W/""``."""
_STORES = frozenset({"PutObject", "UploadPart"})


def is_stored(request: Request, response: Response) -> bool:
    """Return whether this is the most frequent answer by far: an object or a part was stored, and has an ETag."""
    return (
        response.status == 200
        and not response.body
        and request.name in _STORES
        and len(response.headers.get("etag", "")) > _QUOTES
    )


def is_found(request: Request, response: Response) -> bool:
    """Return whether this is S3's usual answer to a HEAD: the object is there, with an ETag and a size."""
    headers = response.headers
    return (
        response.status == 200
        and request.name == "HeadObject"
        and not response.body
        and len(headers.get("etag", "")) > _QUOTES
        and _SIZE.match(headers.get("content-length", "")) is not None
    )


def is_fetched(request: Request, response: Response) -> bool:
    """Return whether this is S3's usual answer to a GET of a whole object: its content, with an ETag and its size."""
    headers = response.headers
    return (
        response.status == 200
        and request.name == "GetObject"
        and "range" not in request.headers
        and len(headers.get("etag", "")) > _QUOTES
        and _SIZE.match(headers.get("content-length", "")) is not None
    )


_SIZE = re.compile(r"[0-9]{1,18}\Z")


def validate_response(request: Request, response: Response) -> Response:
    """Return ``response`` if it is S3's to ``request``, with its document. Raise :class:`RequestError` for a malformed one."""
    if is_stored(request, response):
        return response
    if not response.ok:
        _check_refusal(request, response)
        return response
    if hides_error(response) and (request.name not in _OBJECTS or not has_etag(response)):
        return _refusal_in(response)
    try:
        return response._replace(document=_read_form(request, response, RULES.get(request.name, _OTHER)))
    except (ValueError, OverflowError, RecursionError, LookupError, TypeError) as error:
        if request.name in _SUBRESOURCES and has_etag(response) and "last-modified" in response.headers:
            return Response(501, response.headers, _NO_SUBRESOURCE)
        raise malformed_response(request, _what_came(response), str(error), response.status) from error


def _read_form(request: Request, response: Response, rule: ResponseForm) -> Any:
    """Return the document. Raises ValueError that names the missing element."""
    if response.status not in rule.statuses:
        raise MalformedResponseError(f"{_WHOSE.get(request.name, 'S3')} says {' or '.join(map(str, rule.statuses))}")
    if rule.etag and not has_etag(response):
        raise MalformedResponseError("no ETag")
    if rule.read is not None:
        return rule.read(request, response)
    if rule.empty and response.status != 204 and (response.body or _media_type(response) == "text/html"):
        raise MalformedResponseError("S3 sends neither a body nor a type")
    if response.body and _is_foreign_body(response):
        raise MalformedResponseError("a body that is not S3's")
    return None


def _is_foreign_body(response: Response) -> bool:
    """Return whether a body, where S3 sends none, is a page or a document of another server."""
    return (
        _media_type(response) == "text/html" or bytes(response.body[:1024]).lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"<"
    )


def _check_refusal(request: Request, response: Response) -> None:
    """Raise :class:`RequestError` for a web page that says there is no such object: only S3 can say that."""
    facts = (412,) if request.name in _FACT_FREE else (404, 412)
    if response.status in facts and bytes(response.body[:64]).strip() and not is_error_document(response.body):
        raise malformed_response(request, _what_came(response), "no error document", response.status)


def _refusal_in(response: Response) -> Response:
    """Return the refusal that a 200 hides, as CopyObject and CompleteMultipartUpload may."""
    fault = fault_of(response)
    status = STATUS_OF.get(fault.code) or (500 if fault.retryable else 400)
    return response._replace(status=status)


def has_etag(response: Response) -> bool:
    """Return whether a header names an ETag that is not empty."""
    return bool(response.headers.get("etag", "").strip('W/" '))


def etag_in(response: Response) -> str:
    """Return the ETag in the document of a copy, or of a completed upload; empty where it names none."""
    document = response.document
    etag: str = document.get("ETag", "") if isinstance(document, dict) else document or ""
    return etag.strip('" ')


def proved_by(request: Request, response: Response, head: Response) -> Response:
    """Return ``response``, whose document names no ETag, with the one ``head`` shows. Raise :class:`RequestError` without."""
    if not head.ok:
        raise malformed_response(
            request, _what_came(response), f"no ETag, and HEAD of it says {head.status}", response.status
        )
    etag = head.headers["etag"]
    document = {**response.document, "ETag": etag} if isinstance(response.document, dict) else etag.strip('"')
    return response._replace(document=document)


def malformed_response(request: Request, what: str, why: str = "", status: int = 0) -> RequestError:
    """Return the error for a response that is not S3's answer to ``request``; ``why`` says how this was found."""
    reason = f" ({_printable_text(why)})" if why else ""
    words = f"{request.name} was answered with {what}, which is not {_WHOSE.get(request.name, 'S3')}'s answer{reason}"
    return RequestError(request.name, request.key, Fault(MALFORMED, words, status))


def too_large(request: Request, what: str) -> RequestError:
    """Return the error for ``what``, an announced size above the limit of the call.

    That may be the true size of another object than was expected: then no other try fares better.
    """
    if request.name != "GetObject":
        return malformed_response(request, what)
    return RequestError(request.name, request.key, Fault(TOO_LARGE, f"the object has {what}", 200))


def _what_came(response: Response) -> str:
    kind = _media_type(response)
    body = "" if response.body else " and no body"
    return f"{response.status} {_printable_text(kind)}" if kind else f"{response.status}{body or ' of no type'}"


def _media_type(response: Response) -> str:
    return response.headers.get("content-type", "").partition(";")[0].strip().lower()


def _printable_text(text: str) -> str:
    """Return foreign text that breaks no line."""
    return "".join(each if each.isprintable() else "?" for each in text[:160])
