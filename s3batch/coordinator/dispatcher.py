"""Leases operations from the journal and hands them to the executor: large ones in parts, deletes in batches."""

from __future__ import annotations

from typing import TYPE_CHECKING

from s3batch.crash_points import reach
from s3batch.model import Kind, Stage, Step, Work
from s3batch.s3.calls import fits_xml

if TYPE_CHECKING:
    from collections.abc import Callable

    from s3batch.coordinator.circuit_breaker import CircuitBreaker
    from s3batch.coordinator.deps import CoordinatorDeps
    from s3batch.coordinator.quarantine import Quarantine
    from s3batch.coordinator.retry_queue import RetryQueue
    from s3batch.model import Operation

DELETE_BATCH = 1000
"""S3's limit of keys in DeleteObjects."""


class Dispatcher:
    """Fills the executor's room with leased operations. It judges nothing."""

    def __init__(
        self,
        deps: CoordinatorDeps,
        retries: RetryQueue,
        quarantine: Quarantine,
        breaker: CircuitBreaker,
        only_looking: Callable[[list[Operation]], list[Operation]],
    ) -> None:
        """``only_looking`` settles what a dry run does not carry out, and returns the other operations."""
        self.leased: dict[int, Operation] = {}
        """Operations that are handed out and not settled, by row."""
        self.more = False
        """True while the journal may hold operations of the stage at work that no lease has passed."""
        self._deps = deps
        self._retries = retries
        self._quarantine = quarantine
        self._breaker = breaker
        self._only_looking = only_looking

    def hand_out(self, stage: int) -> None:
        """Hand out what is due and what is pending, as far as there is room."""
        deps = self._deps
        each = DELETE_BATCH if stage == Stage.DELETE else 1
        if self._retries.row_is_due and (room := self.room()) > 0:
            self.give(deps.journal.lease_rows(self._retries.take_rows(room * each)))
        for work in self._retries.take_works():
            deps.uploads.requeue(work)
        if self.more and (room := self.room() - deps.uploads.count) > 0:
            leased = deps.journal.lease(room * each, stage)
            self.more = len(leased) == room * each
            reach("leased")
            self.give(leased)
        if deps.uploads.count and (works := deps.uploads.work(max(0, deps.executor.room()))):
            self._submit(works)
        if (suspect := self._quarantine.take_next()) is not None:
            deps.executor.submit([suspect])

    def room(self) -> int:
        """Return how many operations to hand out now."""
        executor = self._deps.executor
        room = executor.room()
        return room if self._deps.dry_run else self._breaker.allow(room, executor.outstanding())

    def give(self, operations: list[Operation]) -> None:
        """Hand out leased operations."""
        works: list[Work] = []
        deletes: list[Operation] = []
        if self._deps.dry_run:
            operations = self._only_looking(operations)
        for operation in operations:
            if self._quarantine.is_suspect((operation.id, Step.WHOLE, 0)):
                operation = operation._replace(recheck=True)  # noqa: PLW2901
            self.leased[operation.id] = operation
            if self._goes_in_parts(operation):
                self._deps.uploads.add(operation)
            elif operation.kind is Kind.DELETE and fits_xml(operation.key):
                deletes.append(operation)
            else:
                works.append(Work(operation))
        for at in range(0, len(deletes), DELETE_BATCH):
            batch = deletes[at : at + DELETE_BATCH]
            works.append(Work(batch[0], keys=tuple((each.id, each.key) for each in batch)))
        if works:
            self._submit(works)
            reach("dispatched")

    def _submit(self, works: list[Work]) -> None:
        if works := self._quarantine.withhold(works):
            self._deps.executor.submit(works)

    def _goes_in_parts(self, operation: Operation) -> bool:
        large = operation.kind is Kind.UPLOAD and operation.size >= self._deps.multipart_threshold
        return bool(operation.upload_id) or (large and not self._deps.whole(operation))
