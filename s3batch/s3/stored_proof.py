"""The proof that the store holds the content that was sent, or that it was to copy.

    it repeats the checksum, or its ETag is the MD5 of the body ─> proved by the answer itself
    a copy has the ETag of its source ──────────────────────────> proved by the answer itself
    none of these ──────────────────────────────────────────────> the object is looked at: size and ETag

After eight correct checks in a row, one object in a hundred is checked. If HEAD is permanently refused, the listing of
the key proves instead. If that is refused too, a warning says that nothing is proved.
"""

from __future__ import annotations

from base64 import b64decode
from functools import partial
from typing import TYPE_CHECKING

from s3batch.base import hashes
from s3batch.base.named_tuple import NamedTuple
from s3batch.s3 import requests
from s3batch.s3.access_headers import CUSTOMER_ALGORITHM
from s3batch.s3.calls import send_request
from s3batch.s3.etag import md5_of_etag
from s3batch.s3.event_loop import run_in_thread
from s3batch.s3.faults import Fault, RequestError, fault_of, refused_for_good

if TYPE_CHECKING:
    from collections.abc import Sequence

    from s3batch.s3.requests import Request, Response

UNPROVED_WARNING = (
    "the store confirms no content and refuses to show its objects ({}): it is not proved that the objects are whole; "
    "the permission s3:GetObject, or s3:ListBucket, would prove it"
)
RIGHT_IN_A_ROW = 8
ONE_IN = 100


class Proof(NamedTuple):
    """The facts about a body that was sent."""

    checksum: str | None
    """The checksum as the store said it again; empty if its ETag proves the body, ``None`` if the answer proves nothing."""
    warning: str = ""


class _ProofFacts(NamedTuple):
    size: int
    etag: str


class Proofs:
    """The proofs that one worker has seen from the store."""

    __slots__ = ("_blind", "_right", "_unproved")

    def __init__(self) -> None:
        self._right = 0
        self._unproved = 0
        self._blind = False

    async def prove(self, request: Request, response: Response, header: dict[str, str]) -> Proof:
        """Prove the body of a PutObject or UploadPart that was answered; ``header`` are the checksums it carried.

        Raises :class:`RequestError` (retryable) when what is stored is not what was sent.
        """
        reckon = partial(confirmed_checksum, response, request, header)  # perhaps an MD5
        checksum = reckon() if len(request.body) <= _ON_LOOP else await run_in_thread(reckon)
        if checksum is not None or request.name != "PutObject":
            return Proof(checksum)
        return Proof(None, await self.look(request.key, len(request.body), strip_etag(response.headers["etag"])))

    async def prove_copy(self, request: Request, etag: str, source_etag: str, size: int) -> str:
        """Prove a copy whose answer names ``etag``; return a warning if that is refused.

        Other parts and another encryption give a copy an ETag of its own, which proves nothing. Raises
        :class:`RequestError` (retryable) when the copy is not there.
        """
        if etag == source_etag:
            return ""
        return await self.look(request.key, size, strip_etag(etag), source_etag, name=request.name)

    async def look(self, key: str, size: int, *etags: str, name: str = "PutObject") -> str:
        """Check an object whose body nothing proves, if its turn has come; return a warning if that is refused.

        ``etags`` are those that the object may show; ``name`` is the request that made it.
        """
        if self._blind or not self._is_due():
            return ""
        found, refusals = await _find_facts(key)
        if refusals:
            self._blind = True
            return UNPROVED_WARNING.format(", ".join(refusals))
        if found is None or found.size != size or found.etag not in etags:
            self._right = 0
            raise RequestError(name, key, _describe_stored_fault(found, size, etags))
        self._right += 1
        return ""

    def _is_due(self) -> bool:
        self._unproved += 1
        return self._right < RIGHT_IN_A_ROW or self._unproved % ONE_IN == 0


def strip_etag(etag: str) -> str:
    """Return an ETag without quotes and weakness."""
    return etag.strip().removeprefix("W/").strip('"')


def _facts_in(head: Response) -> _ProofFacts:
    """Return the facts that a HEAD tells of an object."""
    return _ProofFacts(int(head.headers.get("content-length", -1)), strip_etag(head.headers.get("etag", "")))


async def _find_facts(key: str) -> tuple[_ProofFacts | None, list[str]]:
    """Return the facts of ``key`` in HEAD, or else in the listing; and both refusals, if both are refused."""
    head = await send_request(requests.head_object(key))
    if head.ok:
        return _facts_in(head), []
    if head.status == 404:
        return None, []
    refusal = _refusal_text(head, "HeadObject", key)
    page = await send_request(requests.list_objects(key, limit=1))
    if page.ok:
        first = next((each for each in page.document.objects if each.key == key), None)
        return (_ProofFacts(first.size, strip_etag(first.etag)) if first else None), []
    return None, [refusal, _refusal_text(page, "ListObjectsV2", key)]


def _refusal_text(response: Response, name: str, key: str) -> str:
    """Return the words of a refusal that stays. Raise :class:`RequestError` for one that may pass."""
    fault = fault_of(response)
    if not refused_for_good(fault):
        raise RequestError(name, key, fault)
    return f"{name}: {fault.code}"  # no request's id: all workers are to say the same, once


def require_copy(key: str, etag: str, source: Response, copy: Response) -> None:
    """Raise :class:`RequestError` (retryable) unless ``copy``, a HEAD of ``key``, shows a copy of the object in ``source``.

    ``etag`` is the one that the answer to the copy named; empty where it named none.
    """
    found = _facts_in(copy) if copy.status != 404 else None
    size, source_etag = _facts_in(source)
    if found is None or found.size != size or (etag and found.etag not in (strip_etag(etag), source_etag)):
        raise RequestError("CopyObject", key, _describe_stored_fault(found, size, (etag, source_etag)))


def _describe_stored_fault(found: _ProofFacts | None, size: int, etags: Sequence[str]) -> Fault:
    if found is None:
        return Fault("NotStored", "the store confirmed it, but the object does not exist", 404)
    if found.etag in etags:
        words = f"the store holds {found.size} bytes of an object that was sent with {size}"
        return Fault("Corrupted", words)
    return Fault("NotStored", f"the store holds another object, of {found.size} bytes, ETag {found.etag!r}")


def checks_in(request: Request) -> dict[str, str]:
    """Return the headers of ``request`` by which the store verifies its body."""
    return {name: value for name, value in request.headers.items() if name.startswith(_CHECKS)}


_ON_LOOP = 1024 * 1024
"""Bytes: hashing more than these on the loop would keep other answers waiting."""
_CHECKS = ("content-md5", "x-amz-checksum-")


def confirmed_checksum(response: Response, request: Request, header: dict[str, str]) -> str | None:
    """Return the checksum of ``header`` as the store said it again.

    Empty if its ETag proves the body, ``None`` if nothing does. Raises :class:`RequestError` (retryable) when what is
    stored is not what was sent.
    """
    for name, sent in header.items():
        stored = response.headers.get(name, "") if name.startswith("x-amz-") else ""
        if stored and stored != sent:
            raise _checksum_mismatch(request, f"S3 stored {name} {stored}, sent was {sent}")
        if stored:
            return sent
    return "" if _same_md5(response, request, header) else None


def _same_md5(response: Response, request: Request, header: dict[str, str]) -> bool:
    """Return whether the ETag proves the body. The MD5 of other content is an error; another kind proves nothing."""
    etag = md5_of_etag(response.headers.get("etag", ""))
    if not etag or response.headers.get("x-amz-server-side-encryption", "AES256") != "AES256":
        return False
    if CUSTOMER_ALGORITHM in response.headers:
        return False
    given = header.get("content-md5")
    mine = b64decode(given).hex() if given else hashes.md5(request.body).hexdigest()
    if etag != mine:
        raise _checksum_mismatch(request, f"S3 stored MD5 {etag}, sent was {mine}")
    return True


def _checksum_mismatch(request: Request, words: str) -> RequestError:
    return RequestError(request.name, request.key, Fault("ChecksumMismatch", words))
