"""Counts of a job that runs: its unsettled operations, and the content that S3 has."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from s3batch.coordinator.dispatcher import CARRIED
from s3batch.model import Stage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from s3batch.model import Operation
    from s3batch.reporting.progress import Totals


class OpenCounts:
    """The counts of one job. The totals for people follow them."""

    def __init__(self, totals: Totals) -> None:
        self._totals = totals
        self.open = dict.fromkeys((Stage.MAIN, Stage.PUBLISH_LAST, Stage.REDIRECT, Stage.DELETE), 0)
        """Unsettled operations of each stage."""
        self.content: Counter[int] = Counter()
        """Bytes of each multipart upload that S3 has, as far as they are counted."""

    def settle(self, operation: Operation, *, unchanged: bool = False, failed: bool = False) -> None:
        """Count an operation that is settled."""
        totals = self._totals
        self.open[operation.stage] -= 1
        totals.files_done += 1
        totals.unchanged += unchanged
        totals.failed += failed
        if operation.kind in CARRIED:
            size = operation.size
            totals.bytes_done += max(0, size - self.content.pop(operation.id, 0)) if self.content else size

    def settle_stored(self, operations: Sequence[Operation]) -> None:
        """Count plain work that was done."""
        if self.content:
            for operation in operations:
                self.settle(operation)
            return
        totals, size = self._totals, 0
        for operation in operations:
            self.open[operation.stage] -= 1
            size += operation.size
        totals.files_done += len(operations)
        totals.bytes_done += size

    def count_content(self, row: int, size: int) -> None:
        """Count content of a multipart upload that S3 has now, sent by this run or by an earlier one."""
        self.content[row] += size
        self._totals.bytes_done += size
