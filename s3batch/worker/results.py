"""Results of work that failed, with the words of the store or the file system."""

from __future__ import annotations

from typing import TYPE_CHECKING

from s3batch.model import Result, Step
from s3batch.s3.faults import RETRYABLE

if TYPE_CHECKING:
    from s3batch.model import Work
    from s3batch.s3.faults import Fault
    from s3batch.source.reader import ContentError

COPY_REFUSED = "CopyRefused"
"""The code of s3batch for a part that the store does not copy: the upload begins again, and is streamed."""
UNSURVEYED = "Unsurveyed"
"""The code of s3batch for a multipart upload whose parts may not be listed."""
DISK_FULL = "DiskFull"
"""The code of s3batch for a local target that takes nothing more."""
DAMAGED = "Damaged"
"""The code of s3batch for a chunk of a cache whose content does not match its id."""
DRIFTED = "Drifted"
"""The code of an operation that was refused, because its file or object is not as it was planned."""


class RefusedChangeError(Exception):
    """The object must not be changed now. ``retryable`` is true if another try may succeed."""

    def __init__(self, message: str, *, retryable: bool = False) -> None:
        super().__init__(message)
        self.retryable = retryable


def refused_result(work: Work, why: str, *, retryable: bool = False) -> Result:
    """Return the result of a change that was refused before anything was sent for it."""
    return Result(work.operation.id, work.step, part_number(work), error=why, code=DRIFTED, retryable=retryable)


def failed_result(work: Work, fault: Fault, name: str) -> Result:
    """Return the result of a refused request of this name, with S3's words for it."""
    return Result(
        work.operation.id, work.step, part_number(work), error=fault.said_of(name), code=fault.code, status=fault.status,
        request_id=fault.request_id, retryable=fault.retryable, throttled=fault.throttled, fatal=fault.fatal,
        retry_after=fault.retry_after,
    )  # fmt: skip


def failed_content(work: Work, error: ContentError) -> Result:
    """Return the result of work whose file cannot be sent as planned."""
    retryable = error.code in RETRYABLE
    return Result(
        work.operation.id, work.step, part_number(work), error=str(error), code=error.code, retryable=retryable
    )


def part_number(work: Work) -> int:
    """Return the number of the part in ``work``; 0 if it is not a part."""
    return work.parts[0].number if work.step is Step.PART else 0


def result_for_each(work: Work, result: Result) -> list[Result]:
    """Return one result per key. A missing result would leave the coordinator waiting indefinitely."""
    return [result._replace(id=row) for row in work.rows] or [result]
