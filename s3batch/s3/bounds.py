"""The bounds of a response in bytes and seconds: one table for both clients.

bytes     a document 64 MiB, an error document 1 MiB, a GET the size asked for
seconds   the timeout and 30, and one second more for each ``SLOWEST`` bytes of body
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from s3batch.base.named_tuple import NamedTuple

if TYPE_CHECKING:
    from s3batch.s3.requests import Request

MIB = 1024 * 1024
HEAD_LIMIT = 64 * 1024
"""Bytes of status line and headers, interim responses included; S3 itself stays below 8 KiB."""
CHUNK_HEAD_LIMIT = 4 * 1024
"""Bytes of the line before a chunk."""
SLOWEST = 1024.0
"""Bytes a second: the slowest body that is waited for."""

_KEPT_ALIVE_CALLS = frozenset({"CompleteMultipartUpload", "CopyObject", "UploadPartCopy"})
_WITHOUT_DOCUMENT = frozenset(
    {
        "AbortMultipartUpload", "DeleteObject", "HeadBucket", "HeadObject", "PutObject", "PutObjectAcl",
        "PutObjectTagging", "UploadPart",
    }
)  # fmt: skip


class ResponseBounds(NamedTuple):
    """The bounds of the responses of one endpoint."""

    document: int = 64 * MIB
    """Bytes of a response to a request that S3 answers with a document, and of an object whose size is not known."""
    error: int = MIB
    """Bytes of any other response: an error document, or no body at all."""
    grace: float = 30.0
    """Seconds beside the timeout that a response may take."""
    kept_alive: float = 1800.0
    """Seconds that S3 may take for a copy, or for completing an upload; it sends spaces meanwhile."""

    def body_limit(self, request: Request | None, status: int) -> int:
        """Return how many bytes of body a response with ``status`` to ``request`` may have."""
        if request is None:
            return self.document
        if status >= 300 or request.name in _WITHOUT_DOCUMENT:
            return self.error
        if request.name == "GetObject" and request.expected >= 0:
            return request.expected
        return self.document


RESPONSE_BOUNDS = ResponseBounds()


def keeps_alive(name: str) -> bool:
    """Return whether S3 may send spaces for minutes before its response to ``name``."""
    return name in _KEPT_ALIVE_CALLS


def is_blank(body: bytes | bytearray) -> bool:
    """Return whether ``body`` is only white space so far, after an XML declaration at most."""
    text = bytes(body[:256]).lstrip()
    if text.startswith(b"<?xml"):
        end = body.find(b"?>", 0, 1024)
        return end >= 0 and not bytes(body[end + 2 :]).strip()
    return not text and not bytes(body).strip()
