"""What went wrong, and what that means: try again, give up this key, or stop the job.

retryable   the store is busy or the way to it broke; the same request may work later
permanent   this key cannot be done as asked; the others can
fatal       nothing of this job can succeed (signed out, bucket gone)
"""

from __future__ import annotations

import re
from html import unescape
from typing import TYPE_CHECKING, NamedTuple

from s3batch.errors import S3BatchError

if TYPE_CHECKING:
    from s3batch.s3.calls import Answer

THROTTLED = frozenset(
    {"SlowDown", "Throttling", "ThrottlingException", "RequestLimitExceeded", "TooManyRequests", "ServiceUnavailable"}
)
RETRYABLE = THROTTLED | {
    "InternalError",
    "RequestTimeout",
    "OperationAborted",
    "ConditionalRequestConflict",
    "BadDigest",
    "IncompleteBody",
    "XAmzContentSHA256Mismatch",
    "XAmzContentChecksumMismatch",
    "ChecksumMismatch",
    "MalformedAnswer",
    "Timeout",
    "Connection",
}
SIGNED_OUT = frozenset(
    {
        "ExpiredToken",
        "ExpiredTokenException",
        "InvalidAccessKeyId",
        "InvalidToken",
        "TokenRefreshRequired",
        "AuthFailure",
        "UnrecognizedClientException",
    }
)
"""The credentials are wrong for every key, so no other key needs to be tried with them."""
MISREAD = "SignatureDoesNotMatch"
"""A wrong secret, or a store that reads a request otherwise than it was written: certain only before any success."""
FATAL = SIGNED_OUT | {"NoSuchBucket", "AllAccessDisabled", "AccountProblem", "NotSignedUp", "Corrupted", "Environment"}

# Complaints about the content of the request that boto3 would meet just the same.
_CERTAIN = (
    RETRYABLE
    | FATAL
    | {
        "AccessControlListNotSupported",
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

_FIELD = re.compile(rb"<(Code|Message|RequestId|Region|Endpoint|Resource)>([^<]*)</")


class Fault(NamedTuple):
    """One failed request in S3's words and in ours."""

    code: str
    message: str
    status: int = 0
    request_id: str = ""
    region: str = ""
    """The bucket's real region, where the store told it."""

    @property
    def retryable(self) -> bool:
        """Whether the same request may work later."""
        return self.code in RETRYABLE or self.status in (408, 425, 429, 500, 502, 503, 504)

    @property
    def throttled(self) -> bool:
        """Whether the store asks for fewer requests."""
        return self.code in THROTTLED or self.status in (429, 503)

    @property
    def signed_out(self) -> bool:
        """Whether the credentials themselves are refused."""
        return self.code in SIGNED_OUT

    @property
    def fatal(self) -> bool:
        """Whether no other key can fare better."""
        return self.code in FATAL

    def __str__(self) -> str:
        said = self.code or f"HTTP {self.status}"
        return f"{said}: {self.message}" if self.message else said


class CallError(S3BatchError):
    """A call failed where the caller had no use for a failing answer."""

    def __init__(self, name: str, key: str, fault: Fault) -> None:
        super().__init__(f"{name} {key!r}: {fault}" if key else f"{name}: {fault}")
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


def fault_of(answer: Answer) -> Fault:
    """The fault in an answer that is not ok; an answer to HEAD has no words, only its status."""
    found = {name.decode(): unescape(value.decode("utf-8", "replace")) for name, value in _FIELD.findall(answer.body)}
    code = found.get("Code", "")
    if not code or code.isdigit():
        code = _BY_STATUS.get(answer.status, f"HTTP{answer.status}")
    return Fault(
        code=code,
        message=found.get("Message", ""),
        status=answer.status,
        request_id=answer.headers.get("x-amz-request-id", "") or found.get("RequestId", ""),
        region=answer.headers.get("x-amz-bucket-region", "") or found.get("Region", ""),
    )


_ERROR_DOCUMENT = re.compile(rb"\s*(<\?xml[^>]*>)?\s*<Error\b")


def hides_error(answer: Answer) -> bool:
    """Whether a 200 carries an error document, as CopyObject and CompleteMultipartUpload may.

    White space may come first, for as long as S3 took. An object that is such a document has a Last-Modified.
    """
    if answer.status != 200 or not answer.body or "last-modified" in answer.headers:
        return False
    return _ERROR_DOCUMENT.match(answer.body) is not None


REFUSED_FOR_GOOD = frozenset({403, 405, 501})
"""HTTP statuses of a request that will be refused again: a missing permission, or a store that has no such request."""
_OF_THE_SIGNATURE = frozenset({MISREAD, "RequestTimeTooSkewed"})


def refusal_for_good(answer: Answer) -> Fault | None:
    """Return why the store will never carry out this request; ``None`` if it did, may, or refuses the sign-in."""
    if answer.status not in REFUSED_FOR_GOOD:
        return None
    fault = fault_of(answer)
    return fault if refused_for_good(fault) else None


def refused_for_good(fault: Fault) -> bool:
    """Whether the same request will be refused again, and the sign-in is not the reason."""
    if fault.status not in REFUSED_FOR_GOOD or fault.code in _OF_THE_SIGNATURE:
        return False
    return not (fault.retryable or fault.signed_out or fault.fatal)


def puzzling(answer: Answer) -> bool:
    """Whether the lean lane should let boto3 ask again: redirects and complaints about the form of a request."""
    if answer.status in (301, 302, 303, 307, 308, 411, 426, 501, 505):
        return True
    if answer.status == 403:  # a store may reckon the signature of an odd key in a way of its own
        return fault_of(answer).code == MISREAD
    return answer.status == 400 and fault_of(answer).code not in _CERTAIN
