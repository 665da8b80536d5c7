"""Headers by which a request may read and write what belongs to others: the key of SSE-C, and who pays.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/specifying-s3-c-encryption.html
https://docs.aws.amazon.com/AmazonS3/latest/userguide/ObjectsinRequesterPaysBuckets.html
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import MutableMapping

from s3batch.base import hashes

_OF_OBJECT = "x-amz-server-side-encryption-customer-"
_OF_SOURCE = "x-amz-copy-source-server-side-encryption-customer-"
CUSTOMER_ALGORITHM = f"{_OF_OBJECT}algorithm"
"""The header of a response about an object with a customer's key. Its ETag is no MD5."""
SOURCE_KEY = f"{_OF_SOURCE}key"
"""The header of a copy with the key of its source."""
_NO_KEY = "own-key-does-not-open-the-source"
_COPIES = frozenset({"CopyObject", "UploadPartCopy"})
_WITH_KEY = _COPIES | {
    "HeadObject", "GetObject", "GetObjectAttributes", "PutObject", "CreateMultipartUpload", "UploadPart",
    "CompleteMultipartUpload", "ListParts",
}  # fmt: skip


class AccessHeaders:
    """The headers that an endpoint adds to its requests, by S3's names of these."""

    def __init__(self, customer_key: str, *, request_payer: bool) -> None:
        """``customer_key`` is the key of SSE-C in base64; empty for none."""
        payer = {"x-amz-request-payer": "requester"} if request_payer else {}
        own = _make_key_headers(_OF_OBJECT, customer_key)
        source = _make_key_headers(_OF_SOURCE, customer_key)
        self._payer, self._keyed, self._copying = payer, {**payer, **own}, {**payer, **own, **source}

    def __bool__(self) -> bool:
        return bool(self._keyed)

    def complete(self, name: str, headers: MutableMapping[str, str]) -> None:
        """Add to the ``headers`` of a request with this name. A copy may bring those of another source's key along."""
        if name in _COPIES and _NO_KEY in headers:
            del headers[_NO_KEY]
            headers.update(self._keyed)
        else:
            headers.update(self._copying if name in _COPIES else self._keyed if name in _WITH_KEY else self._payer)


def make_source_key_headers(source_key: str, own_key: str) -> dict[str, str]:
    """Return the headers of a copy from objects with another key than ``own_key``; empty for the same key.

    One of them is a mark for :meth:`AccessHeaders.complete`, and never sent.
    """
    if source_key == own_key:
        return {}
    mark = {_NO_KEY: ""} if own_key else {}
    return {**mark, **_make_key_headers(_OF_SOURCE, source_key)}


def _make_key_headers(prefix: str, key: str) -> dict[str, str]:
    if not key:
        return {}
    digest = b64encode(hashes.md5(b64decode(key)).digest()).decode()
    return {f"{prefix}algorithm": "AES256", f"{prefix}key": key, f"{prefix}key-md5": digest}
