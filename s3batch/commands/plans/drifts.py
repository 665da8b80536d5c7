"""The look at all deletes of a saved plan before the first of them: one that has drifted keeps all of them back."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from s3batch.model import Kind, Result, State
from s3batch.worker.results import DRIFTED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from s3batch.commands.sync.direction_job import DirectionJob
    from s3batch.model import Operation

    FindDrifts = Callable[[list[Operation]], Iterable[tuple[Operation, str]]]
    """Yields the deletes that are not as they were planned, each with the reason."""

_BATCH = 1000


def fail_drifted_deletes(job: DirectionJob, find_drifts: FindDrifts) -> bool:
    """Fail the deletes that are not as they were planned; return whether there is one."""
    drifted = 0
    entries = (each.operation for each in job.journal.outcomes.read_entries(State.PENDING))
    planned = (each for each in entries if each.kind is Kind.DELETE)
    while batch := list(islice(planned, _BATCH)):
        found = [
            (operation, Result(operation.id, error=f"drifted: {why}", code=DRIFTED))
            for operation, why in find_drifts(batch)
        ]
        job.journal.operations.claim([operation.id for operation, _ in found])
        job.journal.operations.settle([(State.FAILED, result) for _, result in found])
        for operation, result in found:
            job.output.events.failure(operation, result)
        drifted += len(found)
    job.totals.failed += drifted
    return drifted > 0
