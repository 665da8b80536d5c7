"""Compares many files with their objects, where nearly all are expected to be equal: one piece of work, one result.

    file is read, and has the checksum on record or the listed ETag
        ├ attributes on record ──────────────────────────────────────────────> equal
        └ HEAD: ETag, size and attributes ───────────────────────────────────> equal
    anything else ───────────────────────────────────────────────────────────> not known to be equal

Only equality is told here, and only where it is certain. Every other file gets an operation of its own, whose comparison
(:mod:`s3batch.worker.reconcile`) begins anew and decides what to do. So no failure is handled here.
"""

from __future__ import annotations

import types
from array import array
from typing import TYPE_CHECKING, Any

from s3batch.base import hashes
from s3batch.model import COMPARE, Result
from s3batch.objects import compare
from s3batch.objects.content_match import ContentEvidence, are_parts_same, compute_checksum
from s3batch.objects.headers import RemoteAttributes, name_header_aspect
from s3batch.quirks import QuirkKind
from s3batch.s3 import requests
from s3batch.s3.clock import seconds_of
from s3batch.s3.faults import RequestError
from s3batch.s3.head_forms import OF_EACH_OBJECT, ExpectedHead, HeadForms
from s3batch.source.reader import ContentError

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from s3batch.model import Attributes, FileToCompare, Work
    from s3batch.worker.context import Tools

UNKNOWN = -1.0
"""The date of a file that is not known to be equal to its object."""
ON_RECORD = 0.0
"""The date of a file that is equal to its object, about which S3 was not asked."""
_VERDICTS_KEPT = 4096
"""Sets of attributes whose comparison is remembered."""


class BulkComparison:
    """The files of one piece of work, whose comparisons end one by one."""

    def __init__(self, work: Work) -> None:
        self.work = work
        self.begun = 0
        self.left = len(work.files)
        """Files whose comparison has not ended."""
        self.dates = array("d", [UNKNOWN]) * self.left

    def end_file(self, index: int, date: float) -> None:
        """Note the end of one comparison."""
        self.dates[index] = date
        self.left -= 1

    def make_result(self) -> Result:
        """Return the result of all."""
        return Result(self.work.operation.id, COMPARE, payload=self.dates.tobytes())


def read_dates(result: Result) -> Sequence[float]:
    """Return for each file :data:`UNKNOWN`, or that it is equal: LastModified of its object, or :data:`ON_RECORD`."""
    dates = array("d")
    dates.frombytes(result.payload)
    return dates


def compare_on_record(file: FileToCompare, tools: Tools) -> float | None:
    """Return what :func:`compare_alike` returns, where a read and what is on record of the object tell; else ``None``."""
    path, _, stamp, etag, checksum = file
    if checksum is None:
        return None
    body = tools.source.read_plainly(path, stamp)
    if body is None:
        return None
    return ON_RECORD if _is_content(body, etag, checksum, tools) else UNKNOWN


@types.coroutine
def compare_alike(file: FileToCompare, tools: Tools) -> Generator[Any, Any, float]:
    """Return :data:`UNKNOWN`, or that the file is equal to its object: see :func:`read_dates`."""
    path, key, stamp, etag, checksum = file
    try:
        plain = tools.source.read_plainly(path, stamp)
        body = tools.source.read(path, stamp) if plain is None else plain
        del plain
        if not _is_content(body, etag, checksum, tools):
            return UNKNOWN
        if checksum is not None:
            return ON_RECORD
        del body
        attributes, fingerprint = tools.brief.rules.describe(path)
        forms = tools.forms.get(fingerprint) or tools.forms.setdefault(fingerprint, HeadForms())
        response = yield ExpectedHead(requests.head_equal_object(key), etag, stamp.size, forms)
    except (ContentError, RequestError):
        return UNKNOWN
    if isinstance(response, float):
        return response
    headers = response.headers
    if (
        response.status != 200
        or headers.get("etag", "").strip('"') != etag
        or headers.get("content-length") != str(stamp.size)
    ):
        return UNKNOWN
    date = seconds_of(headers.get("last-modified", ""))
    if not date or not _has_attributes(headers, attributes, fingerprint, tools):
        return UNKNOWN
    forms.learn(response, etag, stamp.size)
    return date


def _is_content(body: bytes | bytearray, etag: str, checksum: str | None, tools: Tools) -> bool:
    """Return whether the object certainly has this content, by the checksum on record or else by its ETag.

    A CRC takes a tenth of the time of an MD5, and the ETag of an object under KMS is no MD5.
    """
    sums = ContentEvidence.from_record(etag, checksum).checksums if checksum else ()
    for names, value in sums:
        if any(compute_checksum(name, [body]) == value for name in names):
            return True
    if hashes.md5(body).hexdigest() == etag:
        return True
    return bool(checksum) and not sums and are_parts_same(lambda: [body], len(body), etag, tools.brief.part_size)


def _has_attributes(headers: Mapping[str, str], attributes: Attributes, fingerprint: str, tools: Tools) -> bool:
    """Return whether the object has the attributes; the verdict about equal headers is remembered."""
    verdicts = tools.verdicts
    told = (fingerprint, *[each for each in headers.items() if each[0] not in OF_EACH_OBJECT])
    found = verdicts.get(told)
    if found is None:
        if len(verdicts) >= _VERDICTS_KEPT:
            verdicts.clear()
        unseen = tools.quirks.about(QuirkKind.NOT_ECHOED)
        changes = compare.find_attribute_changes(attributes, RemoteAttributes.from_headers(headers))
        found = verdicts[told] = all(name_header_aspect(change.name) in unseen for change in changes)
    return found
