"""The question before many deletes, on a terminal: everything is planned first, so nothing is sent before the answer.

planning ─add→ journal (nothing is leased) ─> deletes counted ─> question ─> yes: the coordinator begins
                                                                          └> no: DeclinedError
"""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import TYPE_CHECKING

from s3batch.base.errors import DeclinedError, JobFailedError
from s3batch.base.units import format_count
from s3batch.model import UPLOAD, Operation, Stage
from s3batch.plan import deletes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from s3batch.coordinator.coordinator import Coordinator
    from s3batch.plan.planner import Planner
    from s3batch.reporting.console import Output

UNASKED = 100
"""The number of objects that are deleted without a question."""


def ask_before_deletes(
    planning: Planner, coordinator: Coordinator, listing: Iterator[None], output: Output
) -> Iterator[None]:
    """Plan to the end, and ask if there is much to delete. Raises DeclinedError if the answer is no.

    Return the steps that are left: none.
    """
    held: Counter[int] = Counter()

    def hold(operations: list[Operation]) -> None:
        held.update(each.stage for each in planning.journal.operations.add(operations))
        planning.totals.bytes_planned += sum(each.size for each in operations if each.kind is UPLOAD)

    for _ in planning.steps(hold, partial(coordinator.expect, Stage.MAIN), listing):
        pass
    require_consent(_count_possible(planning), f"below {planning.wanted.target.url}", output)
    for stage, number in held.items():
        coordinator.expect(stage, number)
    return iter(())


def _count_possible(planning: Planner) -> int:
    """Return how many objects would be deleted; 0 if a guard will refuse that after the uploads."""
    count, _ = deletes.count_deletes(planning.wanted, planning.journal)
    try:
        deletes.enforce_delete_limit(planning.wanted, planning.journal, count)
    except JobFailedError:
        return 0
    return count


def require_consent(count: int, place: str, output: Output, what: str = "objects") -> None:
    """Ask whether to delete so many. Raises DeclinedError if the answer is no."""
    if count > UNASKED and not output.ask(f"delete {format_count(count)} {what} {place}?"):
        raise DeclinedError(
            f"not deleting {format_count(count)} {what} {place}; nothing was sent",
            hint="--dry-run names them, --yes deletes without a question",
        )
