"""The codes of errors and what each means for a job: one table, which every package asks. Values only, no imports.

A code is S3's, or one that s3batch gives to a request without an answer, or to a file. A code that is not here concerns
its operation alone, is permanent, and counts towards the failures that stop a job before anything worked.
"""

from __future__ import annotations


class Trait:
    """A property of a code or status. They are added up."""

    AGAIN = 1
    """The same operation may work later."""
    SLOWER = 2
    """The store asks for fewer requests."""
    SIGNED_OUT = 4
    """The credentials are wrong for every key."""
    FATAL = 8
    """Nothing of the job can succeed."""
    NO_ANSWER = 16
    """There is no response at all, or a gateway gave one: the store may have the request."""
    ONE_FILE = 32
    """It concerns one file or object and not the store, so it says nothing of the others."""
    SEEN_ANEW = 64
    """The next walk, or listing, sees it for itself."""


_BUSY = Trait.AGAIN | Trait.SLOWER
_KEYS = Trait.SIGNED_OUT | Trait.FATAL
_FILE = Trait.ONE_FILE | Trait.SEEN_ANEW
_CODES = {
    # S3 is busy, or had trouble
    "SlowDown": _BUSY, "Throttling": _BUSY, "ThrottlingException": _BUSY, "RequestLimitExceeded": _BUSY,
    "TooManyRequests": _BUSY, "ServiceUnavailable": _BUSY,
    "InternalError": Trait.AGAIN, "RequestTimeout": Trait.AGAIN, "OperationAborted": Trait.AGAIN,
    "ConditionalRequestConflict": Trait.AGAIN,
    # the body did not arrive as it was sent
    "BadDigest": Trait.AGAIN, "IncompleteBody": Trait.AGAIN, "XAmzContentSHA256Mismatch": Trait.AGAIN,
    "XAmzContentChecksumMismatch": Trait.AGAIN, "ChecksumMismatch": Trait.AGAIN,
    # codes of s3batch for an exchange
    "MalformedAnswer": Trait.AGAIN, "NotStored": Trait.AGAIN,
    "Timeout": Trait.AGAIN | Trait.NO_ANSWER, "Connection": Trait.AGAIN | Trait.NO_ANSWER,
    # the credentials
    "ExpiredToken": _KEYS, "ExpiredTokenException": _KEYS, "InvalidAccessKeyId": _KEYS, "InvalidToken": _KEYS,
    "TokenRefreshRequired": _KEYS, "AuthFailure": _KEYS, "UnrecognizedClientException": _KEYS,
    # the bucket, the account, a store that spoils what it keeps, a machine without boto3
    "NoSuchBucket": Trait.FATAL, "AllAccessDisabled": Trait.FATAL, "AccountProblem": Trait.FATAL,
    "NotSignedUp": Trait.FATAL, "Corrupted": Trait.FATAL, "Environment": Trait.FATAL,
    # codes of s3batch for a file; S3 has InvalidObjectState for an archived object
    "Changed": _FILE | Trait.AGAIN, "Busy": _FILE | Trait.AGAIN, "Vanished": _FILE, "BrokenLink": _FILE,
    "Unreadable": _FILE, "BadName": _FILE, "Blocked": _FILE, "FileTooLarge": _FILE,
    "Unwritable": Trait.ONE_FILE, "InvalidObjectState": Trait.ONE_FILE, "Drifted": Trait.ONE_FILE,
    "CopyRefused": Trait.ONE_FILE,
}  # fmt: skip
_STATUSES = {
    # time-outs, too early, too many, and failures of the server (RFC 9110, RFC 8470, RFC 6585)
    408: Trait.AGAIN, 425: Trait.AGAIN, 429: _BUSY, 500: Trait.AGAIN, 503: _BUSY,
    502: Trait.AGAIN | Trait.NO_ANSWER, 504: Trait.AGAIN | Trait.NO_ANSWER,
}  # fmt: skip


def select_codes(trait: int) -> frozenset[str]:
    """Return the codes that have a trait."""
    return frozenset(code for code, traits in _CODES.items() if traits & trait)


def select_statuses(trait: int) -> frozenset[int]:
    """Return the HTTP statuses that have a trait, whatever code comes with them."""
    return frozenset(status for status, traits in _STATUSES.items() if traits & trait)
