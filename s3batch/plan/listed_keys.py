"""``files_from`` of a source in S3: the objects that a list names, in the place of a listing.

    paths of the journal ─ minus what filters hide ─> HEAD of each key, many side by side ─> pages, as a listing has them

A key without an object is a failure of its own: the user has named it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from s3batch.base.errors import EndpointError, JobFailedError
from s3batch.model import ListedObject, Operation, Reason
from s3batch.plan.empty_source import NONE_LISTED
from s3batch.plan.planner import record_failures
from s3batch.s3 import requests
from s3batch.s3.clock import seconds_of
from s3batch.s3.faults import Fault, RequestError, fault_of
from s3batch.s3.gather import gather_results
from s3batch.s3.listing import ListingPage
from s3batch.s3.responses import etag_of
from s3batch.source.listed_walk import format_left_out
from s3batch.source.walk_record import CountedPaths

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from s3batch.journal import Journal
    from s3batch.model import Kind
    from s3batch.reporting.events import EventStream
    from s3batch.reporting.progress import Totals
    from s3batch.s3.bucket import Bucket

_MISSING = ("it does not exist in the source, and the list names it", "Vanished")


@dataclass(slots=True)
class ListedKeys:
    """The objects of one list. It records failures as a planner does."""

    journal: Journal
    totals: Totals
    events: EventStream
    bucket: Bucket
    """The source's."""
    digest: str
    """Names the list in the journal."""
    prefix: str
    """The text before each path in the source's keys."""
    kind: Kind
    """The kind of an operation that fails because there is no object."""
    key: Callable[[str], str]
    """Returns the key of a path as operations have it."""
    leaves_out: Callable[[str], bool]
    """Returns true for a path that filters hide."""
    found: int = 0
    failed: int = 0
    left_out: CountedPaths = field(default_factory=CountedPaths)
    _has_bucket: bool = False
    """True once a missing object cannot mean a missing bucket."""

    def pages(self) -> Iterator[ListingPage]:
        """Yield the objects that are there, in the order of a listing; the others are recorded as failures."""
        for listed in self.journal.file_lists.pages(self.digest):
            paths = []
            for path in listed:
                if self.leaves_out(path):
                    self.left_out.add(path)
                else:
                    paths.append(path)
            yield ListingPage(self._look_at(paths), "")

    def warnings(self) -> Iterator[str]:
        """Yield a sentence about paths that filters hide, and one about a list of which nothing is left."""
        if self.left_out.count:
            yield format_left_out(self.left_out)
        if self.is_empty:
            yield NONE_LISTED

    @property
    def is_empty(self) -> bool:
        """True if the list names no object that the job takes, and none in vain."""
        return not self.found and not self.failed

    def _look_at(self, paths: Sequence[str]) -> list[ListedObject]:
        answers = look_up_by_head(self.bucket, [self.prefix + path for path in paths])
        objects = [each for each in answers if isinstance(each, ListedObject)]
        lost = [(path, each) for path, each in zip(paths, answers, strict=True) if not isinstance(each, ListedObject)]
        if None in answers and not self._has_bucket:
            self.bucket.require_bucket(self.prefix + paths[answers.index(None)])
            self._has_bucket = True
        if lost:
            planned = [Operation(self.kind, self.key(path), Reason.MISSING, path) for path, _ in lost]
            record_failures(self, planned, [_describe_lost(fault) for _, fault in lost])
        self.found += len(objects)
        self.failed += len(lost)
        return objects


def _describe_lost(fault: Fault | None) -> tuple[str, str]:
    """Return error and code for a key. With this code a resume looks at the list again, and not at the operation."""
    return _MISSING if fault is None else (fault.said_of("HeadObject"), "Unreadable")


def look_up_by_head(bucket: Bucket, keys: Sequence[str]) -> list[ListedObject | Fault | None]:
    """Return each object as a listing shows it; ``None`` for a missing one, or the fault of a refusal.

    Raises EndpointError if the store cannot be reached or refuses the sign-in.
    """
    found: list[ListedObject | Fault | None] = bucket.run(gather_results(_look_up_one(bucket, key) for key in keys))
    return found


def record_by_head(journal: Journal, bucket: Bucket, keys: Sequence[str]) -> None:
    """Record the objects that are under the keys, in the place of a listing. Raises JobFailedError for a refusal."""
    found = look_up_by_head(bucket, keys)
    for key, each in zip(keys, found, strict=True):
        if isinstance(each, Fault):
            hint = "the job needs s3:GetObject" if each.status == 403 else ""
            raise JobFailedError(f"{key!r}: {each.said_of('HeadObject')}", hint=hint)
    journal.objects.record_found([each for each in found if isinstance(each, ListedObject)])


async def _look_up_one(bucket: Bucket, key: str) -> ListedObject | Fault | None:
    try:
        response = await bucket.send(requests.head_object(key))
    except RequestError as error:
        return error.fault
    if response.status == 404:
        fault = fault_of(response)
        if fault.code == "NoSuchBucket":
            raise EndpointError(f"bucket {bucket.endpoint.bucket!r} does not exist", code=fault.code, status=404)
        return None
    if not response.ok:
        return fault_of(response)
    headers = response.headers
    return ListedObject(
        key, int(headers.get("content-length", 0)), etag_of(response), seconds_of(headers.get("last-modified", ""))
    )
