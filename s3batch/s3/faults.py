"""Faults of requests and their consequence: try again, give up this key, or stop the job.

retryable   the store is busy or the way to it broke; the same request may work later
permanent   this key cannot be done as asked; the others can
fatal       nothing of this job can succeed (signed out, bucket gone)
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from s3batch.base.error_codes import Trait, select_codes, select_statuses
from s3batch.base.errors import S3BatchError
from s3batch.base.named_tuple import NamedTuple
from s3batch.s3.clock import offset_of, retry_after
from s3batch.s3.documents import decode_references

if TYPE_CHECKING:
    from collections.abc import Mapping

    from s3batch.s3.requests import Body, Response

ACLS_DISABLED = "AccessControlListNotSupported"
"""The code of a bucket whose object ownership is enforced: it takes no ACL."""
THROTTLED = select_codes(Trait.SLOWER)
THROTTLED_STATUSES = select_statuses(Trait.SLOWER)
"""429 Too Many Requests; S3 sends 503 for SlowDown. With either it says that it did nothing."""
MALFORMED = "MalformedAnswer"
"""The code of s3batch for a response that is not S3's answer to the call."""
TOO_LARGE = "TooLarge"
"""The code of s3batch for an object that is larger than a listing, a HEAD or a manifest said."""
SKEWED = "RequestTimeTooSkewed"
RETRYABLE = select_codes(Trait.AGAIN)
_RETRYABLE_STATUSES = select_statuses(Trait.AGAIN)
UNREACHABLE = select_codes(Trait.NO_ANSWER)
"""Codes of s3batch for a request without any response."""
SIGNED_OUT = select_codes(Trait.SIGNED_OUT)
"""Credentials that are wrong for every key, so no other key needs to be tried with them."""
MISREAD = "SignatureDoesNotMatch"
"""A wrong secret, or a store that reads a request otherwise than it was written: certain only before any success."""
FATAL = select_codes(Trait.FATAL)

# Complaints about the content of the request that boto3 would meet just the same.
_CERTAIN = (
    RETRYABLE
    | FATAL
    | {
        ACLS_DISABLED,
        "AccessDenied",
        "EntityTooLarge",
        "EntityTooSmall",
        "InvalidDigest",
        "InvalidEncryptionAlgorithmError",
        "InvalidPart",
        "InvalidPartOrder",
        "InvalidStorageClass",
        "InvalidTag",
        "KeyTooLongError",
        "KMS.DisabledException",
        "KMS.NotFoundException",
        "MetadataTooLarge",
        "NoSuchKey",
        "NoSuchUpload",
        "PreconditionFailed",
    }
)

_FIELD = rb"<(Code|Message|RequestId|Region|Endpoint|Resource|Header)>([^<]*)</"


class Fault(NamedTuple):
    """One failed request, in S3's words and in those of s3batch."""

    code: str
    message: str
    status: int = 0
    request_id: str = ""
    region: str = ""
    """The bucket's real region, if the store named it."""
    retry_after: float = 0.0
    """Seconds the store asks to wait before the next try."""

    @property
    def retryable(self) -> bool:
        """True if the same request may work later."""
        return self.code in RETRYABLE or self.status in _RETRYABLE_STATUSES

    @property
    def throttled(self) -> bool:
        """True if the store asks for fewer requests."""
        return self.code in THROTTLED or self.status in THROTTLED_STATUSES

    @property
    def signed_out(self) -> bool:
        """True if the credentials themselves are refused."""
        return self.code in SIGNED_OUT

    @property
    def fatal(self) -> bool:
        """True if no other key can succeed."""
        return self.code in FATAL

    def said_of(self, name: str) -> str:
        """Return the sentence that the call ``name`` failed so."""
        return self.message if self.code == MALFORMED else f"{name}: {self}"

    def __str__(self) -> str:
        if self.code == MALFORMED:
            return self.message
        said = self.code or f"HTTP {self.status}"
        return f"{said}: {self.message}" if self.message else said


class RequestError(S3BatchError):
    """A call failed where the caller had no use for a failing answer."""

    def __init__(self, name: str, key: str, fault: Fault) -> None:
        words = fault.said_of(name) if fault.code == MALFORMED or not key else f"{name} {key!r}: {fault}"
        super().__init__(f"{words}: {key!r}" if fault.code == MALFORMED and key else words)
        self.name = name
        self.key = key
        self.fault = fault


_BY_STATUS = {
    301: "PermanentRedirect",
    307: "TemporaryRedirect",
    400: "BadRequest",
    401: "AccessDenied",
    403: "AccessDenied",
    404: "NotFound",
    405: "MethodNotAllowed",
    409: "OperationAborted",
    411: "MissingContentLength",
    412: "PreconditionFailed",
    416: "InvalidRange",
    429: "TooManyRequests",
    500: "InternalError",
    501: "NotImplemented",
    502: "BadGateway",
    503: "ServiceUnavailable",
    504: "GatewayTimeout",
}


STATUS_OF = {
    "AccessDenied": 403,
    "InternalError": 500,
    "NoSuchBucket": 404,
    "NoSuchKey": 404,
    "NoSuchUpload": 404,
    "PreconditionFailed": 412,
    "RequestTimeout": 400,
    "ServiceUnavailable": 503,
    "SlowDown": 503,
}
"""Statuses of the errors that a 200 may hide."""


def fault_of(response: Response) -> Fault:
    """Return the fault in an answer that is not ok; an answer to HEAD has no text, only its status."""
    text = response.body[:_WORDS]
    found = {
        name.decode(): decode_references(value.decode("utf-8", "replace")) for name, value in re.findall(_FIELD, text)
    }
    code = found.get("Code", "")
    if not code or code.isdigit():
        code = _BY_STATUS.get(response.status, f"HTTP{response.status}")
    message = found.get("Message", "")
    if header := found.get("Header", ""):  # what is not implemented
        message = f"{message} ({header})".lstrip()
    if code == SKEWED and (ahead := offset_of(response.headers)) is not None:
        message = f"{message} ({_clocks_differ(ahead)})".lstrip()
    return Fault(
        code=code,
        message=message,
        status=response.status,
        request_id=response.headers.get("x-amz-request-id", "") or found.get("RequestId", ""),
        region=_valid_region(response.headers.get("x-amz-bucket-region", "") or found.get("Region", "")),
        retry_after=retry_after(response.headers) if response.status in THROTTLED_STATUSES else 0.0,
    )


def is_acl_refusal(response: Response) -> bool:
    """Return True if a bucket with disabled ACLs refuses the ACL of a request."""
    return response.status == 400 and fault_of(response).code == ACLS_DISABLED


def _valid_region(region: str) -> str:
    """Return the region that a store named, if it is valid: it becomes part of a host name and of a signature."""
    return region if re.fullmatch(_REGION, region) else ""


_REGION = r"[A-Za-z0-9](?:[A-Za-z0-9_-]{0,62}[A-Za-z0-9])?"
_WORDS = 64 * 1024
"""Bytes of an error document that are looked at for its words."""


def _clocks_differ(ahead: float) -> str:
    return f"this machine's clock is {abs(ahead):.0f} s {'behind' if ahead > 0 else 'ahead of'} the store's"


_TEXT = re.compile(rb"[^ \t\r\n]")
_ERROR_TAG = re.compile(rb"<(?:[A-Za-z_][\w.-]{0,64}:)?Error[\s/>]")


def is_error_document(body: Body) -> bool:
    """Return whether ``body`` begins as an error document does: after white space, and a declaration at most."""
    start = _TEXT.search(body, 3 if body[:3] == b"\xef\xbb\xbf" else 0)
    if start and body[start.start() : start.start() + 5] == b"<?xml":
        end = bytes(body[start.start() : start.start() + 1024]).find(b"?>")
        start = _TEXT.search(body, start.start() + end + 2) if end >= 0 else None
    return start is not None and _ERROR_TAG.match(body, start.start()) is not None


def hides_error(response: Response) -> bool:
    """Return whether a 200 carries an error document, as CopyObject and CompleteMultipartUpload may.

    White space may come first, for as long as S3 took. An object that is such a document has a Last-Modified.
    """
    if response.status != 200 or not response.body or "last-modified" in response.headers:
        return False
    return is_error_document(response.body)


NOT_IMPLEMENTED = 501
_SETTINGS = {
    "x-amz-acl": "acl",
    "x-amz-tagging": "tags",
    "x-amz-storage-class": "storage_class",
    "x-amz-server-side-encryption": "encryption",
    "x-amz-server-side-encryption-aws-kms-key-id": "kms_key_id",
    "x-amz-website-redirect-location": "redirects",
    "x-amz-checksum-type": "checksum",
    "x-amz-checksum-algorithm": "checksum",
    "cache-control": "cache_control",
    "content-disposition": "content_disposition",
    "content-encoding": "content_encoding",
    "content-language": "content_language",
    "expires": "expires",
}
"""The setting behind a header of a write; ``x-amz-meta-...`` comes from ``metadata``."""
KMS_KEY_UNAVAILABLE = "KMSKeyUnavailable"
"""The code of s3batch for a KMS key of this object that the store cannot get."""


def explain_fault(fault: Fault, headers: Mapping[str, str]) -> Fault:
    """Return the fault of a request with these headers; of a 501 the message says which settings were in it."""
    if fault.status != NOT_IMPLEMENTED:
        return fault
    carried = {name: _setting_of(name) for name in headers if _setting_of(name)}
    named = {setting for name, setting in carried.items() if name in fault.message.lower()}
    settings = sorted(named or set(carried.values()))
    if not settings:
        return fault
    words = "the store does not implement" if named else "the store may not implement one of the settings it carried:"
    return fault._replace(message=f"{fault.message}; {words} {', '.join(settings)}".lstrip("; "))


def wants_kms(headers: Mapping[str, str]) -> bool:
    """Return true if a write asks for a KMS key."""
    return headers.get("x-amz-server-side-encryption", "").startswith("aws:kms")


def kms_fault(fault: Fault) -> Fault:
    """Return the KMS fault for a refused sign-in that only requests with a KMS key get: Ceph says InvalidAccessKeyId."""
    return fault._replace(code=KMS_KEY_UNAVAILABLE, message=f"the store cannot get the KMS key ({fault})")


def _setting_of(header: str) -> str:
    return "metadata" if header.startswith("x-amz-meta-") else _SETTINGS.get(header, "")


REFUSED_FOR_GOOD = frozenset({403, 405, 501})
"""HTTP statuses of a request that will be refused again: a missing permission, or a store that has no such request."""
_OF_THE_SIGNATURE = frozenset({MISREAD, "RequestTimeTooSkewed"})


def refusal_for_good(response: Response) -> Fault | None:
    """Return why the store will never carry out this request; ``None`` if it did, may, or refuses the sign-in."""
    if response.status not in REFUSED_FOR_GOOD:
        return None
    fault = fault_of(response)
    return fault if refused_for_good(fault) else None


def refused_for_good(fault: Fault) -> bool:
    """Return whether the same request will be refused again, for another reason than the sign-in."""
    if fault.status not in REFUSED_FOR_GOOD or fault.code in _OF_THE_SIGNATURE:
        return False
    return not (fault.retryable or fault.signed_out or fault.fatal)


def needs_fallback(response: Response) -> bool:
    """Return whether boto3 should ask again: redirects and complaints about the form of a request."""
    # redirects, and complaints about method, version or length
    if response.status in (301, 302, 303, 307, 308, 411, 426, 501, 505):
        return True
    if response.status == 403:  # a store may reckon the signature of an odd key in a way of its own
        return fault_of(response).code == MISREAD
    return response.status == 400 and fault_of(response).code not in _CERTAIN
