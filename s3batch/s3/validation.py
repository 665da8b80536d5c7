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
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qsl

from s3batch.s3 import listing
from s3batch.s3.documents import MalformedResponseError
from s3batch.s3.errors import (
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


def _validate_content(call: Request, answer: Response) -> None:
    """Check the headers of a GET or a HEAD; the body is the object's."""
    length = answer.headers.get("content-length", "")
    if length:
        listing.parse_number(length)
    found = _RANGE.match(answer.headers.get("content-range", "")) if answer.status == 206 else None
    asked = _RANGE.match(call.headers.get("range", ""))
    if "partNumber=" in call.query:
        return  # a part of a multipart object: S3 says which range that is
    if found and (asked is None or found[1] != asked[1]):
        raise MalformedResponseError(f"the range {answer.headers['content-range'][:60]!r}")
    if answer.status == 206 and asked is None:
        raise MalformedResponseError("a part of what was asked for")


_RANGE = re.compile(r"bytes[= ](\d+)-")


def _validate_page(call: Request, answer: Response) -> listing.ListingPage:
    """Read a page of the listing; a key of another prefix is in some other listing."""
    page = listing.parse_page(answer.body)
    prefix = _query_parameter(call, "prefix")
    if prefix and not all(each.key.startswith(prefix) for each in page.objects):
        raise MalformedResponseError("a listing of another prefix")
    return page


def _query_parameter(call: Request, name: str) -> str:
    return dict(parse_qsl(call.query, keep_blank_values=True, errors="surrogateescape")).get(name, "")


def _validate_uploads(call: Request, answer: Response) -> listing.UploadsPage:
    page = listing.parse_uploads(answer.body)
    if page.markers != ("", "") and page.markers == (
        _query_parameter(call, "key-marker"), _query_parameter(call, "upload-id-marker")
    ):  # fmt: skip
        raise MalformedResponseError("the listing of uploads repeats itself")
    return page


def _validate_parts(call: Request, answer: Response) -> listing.PartsPage:
    page = listing.parse_parts(answer.body)
    if page.marker and page.marker <= int(_query_parameter(call, "part-number-marker") or 0):
        raise MalformedResponseError("the listing of parts repeats itself")
    return page


def _parse_body(parse: Callable[[Any], Any]) -> Callable[[Request, Response], Any]:
    return lambda _, answer: parse(answer.body)


def _parse_rooted(*roots: str) -> Callable[[Request, Response], Any]:
    return lambda _, answer: listing.parse_root(answer.body, *roots)


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
    "CopyObject": ResponseForm((200,), read=_parse_body(listing.parse_copied)),
    "UploadPartCopy": ResponseForm((200,), read=_parse_body(listing.parse_copied)),
    "CreateMultipartUpload": ResponseForm((200,), read=_parse_body(listing.parse_upload_id)),
    "CompleteMultipartUpload": ResponseForm((200,), read=_parse_body(listing.parse_completed)),
    "AbortMultipartUpload": _GONE,
    "DeleteObject": _GONE,
    "DeleteObjects": ResponseForm((200,), read=_parse_body(listing.parse_delete_errors)),
    "PutObjectAcl": _SET,
    "PutObjectTagging": _SET,
    "HeadBucket": ResponseForm((200, 204)),
    "ListObjectsV2": ResponseForm((200,), read=_validate_page),
    "ListObjectVersions": ResponseForm((200,), read=_parse_body(listing.parse_versions)),
    "ListParts": ResponseForm((200,), read=_validate_parts),
    "ListMultipartUploads": ResponseForm((200,), read=_validate_uploads),
    "GetObjectTagging": ResponseForm((200,), read=_parse_body(listing.parse_tags)),
    "GetObjectAcl": ResponseForm((200,), read=_parse_body(listing.parse_acl)),
    "GetBucketVersioning": ResponseForm((200,), read=_parse_rooted(*_VERSIONING)),
    "GetBucketLifecycleConfiguration": ResponseForm((200,), read=_parse_rooted("LifecycleConfiguration")),
    "GetObjectLockConfiguration": ResponseForm((200,), read=_parse_rooted("ObjectLockConfiguration")),
    "CreateInvalidation": ResponseForm((200, 201), read=_parse_body(listing.parse_invalidation)),
    "AssumeRole": ResponseForm((200,), read=_parse_body(listing.parse_credentials)),
    "AssumeRoleWithWebIdentity": ResponseForm((200,), read=_parse_body(listing.parse_credentials)),
}
"""By S3's name of the call. A call that is not here is answered by anything that succeeds and is no web page."""
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


def is_stored(call: Request, answer: Response) -> bool:
    """Return whether this is the most frequent answer by far: an object or a part was stored, and has an ETag."""
    return (
        answer.status == 200
        and not answer.body
        and call.name in _STORES
        and len(answer.headers.get("etag", "")) > _QUOTES
    )


def is_found(call: Request, answer: Response) -> bool:
    """Return whether this is S3's usual answer to a HEAD: the object is there, with an ETag and a size."""
    headers = answer.headers
    return (
        answer.status == 200
        and call.name == "HeadObject"
        and not answer.body
        and len(headers.get("etag", "")) > _QUOTES
        and _SIZE.match(headers.get("content-length", "")) is not None
    )


_SIZE = re.compile(r"[0-9]{1,18}\Z")


def validate_response(call: Request, answer: Response) -> Response:
    """Return ``answer`` if it is S3's to ``call``, with its document. Raise :class:`RequestError` for a malformed one."""
    if is_stored(call, answer):
        return answer
    if not answer.ok:
        _check_refusal(call, answer)
        return answer
    if hides_error(answer) and (call.name not in _OBJECTS or not has_etag(answer)):
        return _refusal_in(answer)
    try:
        return answer._replace(document=_read_form(call, answer, RULES.get(call.name, _OTHER)))
    except (ValueError, OverflowError, RecursionError, LookupError, TypeError) as error:
        if call.name in _SUBRESOURCES and has_etag(answer) and "last-modified" in answer.headers:
            return Response(501, answer.headers, _NO_SUBRESOURCE)
        raise malformed_response(call, _what_came(answer), str(error), answer.status) from error


def _read_form(call: Request, answer: Response, rule: ResponseForm) -> Any:
    """Return the document. Raises ValueError that names the missing element."""
    if answer.status not in rule.statuses:
        raise MalformedResponseError(f"{_WHOSE.get(call.name, 'S3')} says {' or '.join(map(str, rule.statuses))}")
    if rule.etag and not has_etag(answer):
        raise MalformedResponseError("no ETag")
    if rule.read is not None:
        return rule.read(call, answer)
    if rule.empty and answer.status != 204 and (answer.body or _media_type(answer) == "text/html"):
        raise MalformedResponseError("S3 sends neither a body nor a type")
    if answer.body and _is_foreign_body(answer):
        raise MalformedResponseError("a body that is not S3's")
    return None


def _is_foreign_body(answer: Response) -> bool:
    """Return whether a body, where S3 sends none, is a page or a document of another server."""
    return _media_type(answer) == "text/html" or bytes(answer.body[:1024]).lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"<"


def _check_refusal(call: Request, answer: Response) -> None:
    """Raise :class:`RequestError` for a web page that says there is no such object: only S3 can say that."""
    facts = (412,) if call.name in _FACT_FREE else (404, 412)
    if answer.status in facts and bytes(answer.body[:64]).strip() and not is_error_document(answer.body):
        raise malformed_response(call, _what_came(answer), "no error document", answer.status)


def _refusal_in(answer: Response) -> Response:
    """Return the refusal that a 200 hides, as CopyObject and CompleteMultipartUpload may."""
    fault = fault_of(answer)
    status = STATUS_OF.get(fault.code) or (500 if fault.retryable else 400)
    return answer._replace(status=status)


def has_etag(answer: Response) -> bool:
    """Return whether a header names an ETag that is not empty."""
    return bool(answer.headers.get("etag", "").strip('W/" '))


def etag_in(answer: Response) -> str:
    """Return the ETag in the document of a copy, or of a completed upload; empty where it names none."""
    document = answer.document
    etag: str = document.get("ETag", "") if isinstance(document, dict) else document or ""
    return etag.strip('" ')


def proved_by(call: Request, answer: Response, head: Response) -> Response:
    """Return ``answer``, whose document names no ETag, with the one ``head`` shows. Raise :class:`RequestError` without."""
    if not head.ok:
        raise malformed_response(call, _what_came(answer), f"no ETag, and HEAD of it says {head.status}", answer.status)
    etag = head.headers["etag"]
    document = {**answer.document, "ETag": etag} if isinstance(answer.document, dict) else etag.strip('"')
    return answer._replace(document=document)


def malformed_response(call: Request, what: str, why: str = "", status: int = 0) -> RequestError:
    """Return the error for a response that is not S3's answer to ``call``; ``why`` says how this was found."""
    reason = f" ({_printable_text(why)})" if why else ""
    words = f"{call.name} was answered with {what}, which is not {_WHOSE.get(call.name, 'S3')}'s answer{reason}"
    return RequestError(call.name, call.key, Fault(MALFORMED, words, status))


def too_large(call: Request, what: str) -> RequestError:
    """Return the error for ``what``, an announced size above the limit of the call.

    That may be the true size of another object than was expected: then no other try fares better.
    """
    if call.name != "GetObject":
        return malformed_response(call, what)
    return RequestError(call.name, call.key, Fault(TOO_LARGE, f"the object has {what}", 200))


def _what_came(answer: Response) -> str:
    kind = _media_type(answer)
    body = "" if answer.body else " and no body"
    return f"{answer.status} {_printable_text(kind)}" if kind else f"{answer.status}{body or ' of no type'}"


def _media_type(answer: Response) -> str:
    return answer.headers.get("content-type", "").partition(";")[0].strip().lower()


def _printable_text(text: str) -> str:
    """Return foreign text that breaks no line."""
    return "".join(each if each.isprintable() else "?" for each in text[:160])
