"""Operations that a worker had begun when it died: one of them may have killed it.

Each goes again to a worker that has nothing else, so that a second and a third death have one culprit. Only what dies
with its worker three times is failed.
"""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING

from s3batch.executors import Tag, collect_work_tags

if TYPE_CHECKING:
    from collections.abc import Sequence

    from s3batch.executors import WorkerState
    from s3batch.model import Result, Work

ALLOWED_DEATHS = 3
"""An operation whose worker died so often is failed. It was alone with its worker but for the first time."""


class Quarantine:
    """Counts deaths by operation and part, and chooses workers for those that go alone."""

    def __init__(self) -> None:
        self._deaths: Counter[Tag] = Counter()
        self._waiting: deque[Work] = deque()
        self._workers: list[WorkerState] = []
        """The workers that are kept for suspects."""

    @property
    def is_in_use(self) -> bool:
        """True if a worker has died with operations that have not succeeded since."""
        return bool(self._deaths)

    def accuse(self, work: Work) -> None:
        """Count a death of a worker that had begun ``work``."""
        for tag in collect_work_tags(work):
            self._deaths[tag] += 1

    def is_suspect(self, tag: Tag) -> bool:
        """Return whether a worker died after beginning this operation: S3 may have it and is asked before a retry."""
        return tag in self._deaths

    def is_killer(self, tag: Tag) -> bool:
        """Return whether enough workers died with an operation to fail it."""
        return self._deaths[tag] >= ALLOWED_DEATHS

    def release(self, result: Result) -> None:
        """Forget the suspicion about operations that have succeeded."""
        if self._deaths and not result.error:
            self._deaths.pop(read_result_tag(result), None)

    # --- the suspects ---------------------------------------------------------------------------

    @property
    def waits(self) -> bool:
        """True if a suspect waits for a worker."""
        return bool(self._waiting)

    def withhold(self, work: Work) -> bool:
        """Keep ``work`` back if it has to run alone; return whether it has."""
        if self._deaths.keys().isdisjoint(collect_work_tags(work)):
            return False
        self._waiting.append(work)
        return True

    def clear(self) -> list[Work]:
        """Remove and return the suspects that wait."""
        works = list(self._waiting)
        self._waiting.clear()
        return works

    def uses(self, worker: WorkerState) -> bool:
        """Return whether ``worker`` is reserved for suspects."""
        return worker in self._workers

    def assign(self, workers: Sequence[WorkerState]) -> list[tuple[WorkerState, Work]]:
        """Remove and return the suspects that go now, each with a worker that has nothing.

        Up to half of the workers are kept for suspects, but one at least: those that have the least to finish.
        """
        most = min(len(self._waiting), max(1, len(workers) // 2))
        kept = [worker for worker in self._workers if worker in workers and (worker.given or self._waiting)]
        others = sorted((worker for worker in workers if worker not in kept), key=lambda each: len(each.given))
        self._workers = kept + others[: max(0, most - len(kept))]
        return [(worker, self._waiting.popleft()) for worker in self._workers if not worker.given and self._waiting]


def read_result_tag(result: Result) -> Tag:
    """Return the tag of the work that gave ``result``."""
    return (result.id, result.step, result.part)
