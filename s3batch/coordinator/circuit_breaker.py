"""Stops a job when its failures show that no other operation can succeed."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from s3batch.base.error_codes import Trait, select_codes
from s3batch.base.errors import EndpointError
from s3batch.coordinator.signals import DiskFullError, StoppedError
from s3batch.s3.faults import NOT_IMPLEMENTED
from s3batch.worker.results import DAMAGED, DISK_FULL

if TYPE_CHECKING:
    from collections.abc import Callable

    from s3batch.model import Result

SAME_FAILURES = 50
"""The same permanent error so many times, before any success, stops the job.

No more operations than that are handed out until one has succeeded.
"""
WORKER_DEATHS = 12
"""The number of dead workers, before any success, that stops the job: no single operation kills them all."""
ENDPOINT_GONE = 10.0
"""Seconds without any success after which several retryable failures that stay mean that the endpoint is gone."""
SEVERAL = 3
"""Permanent failures of so many keys: the store may be unable to serve a single key."""
NOT_IMPLEMENTED_OFTEN = 10
"""Equal answers of a store that does not implement something: every other file with that setting meets the same."""
_OF_ONE_FILE = select_codes(Trait.ONE_FILE)


class CircuitBreaker:
    """Counts successes, failures and dead workers of one job. Times are of ``clock``, in seconds."""

    def __init__(self, clock: Callable[[], float], endpoint_gone: float = ENDPOINT_GONE) -> None:
        self.worked = False
        """True once an operation, or a piece of one, has succeeded."""
        self._clock = clock
        self._endpoint_gone = endpoint_gone
        self.last_success = clock()
        self._unserved: set[int] = set()
        """Operations that failed permanently since the last success with an error that may pass."""
        self._failures: Counter[str] = Counter()
        self._not_implemented: Counter[str] = Counter()
        """The number of 501 answers, by their text."""
        self._deaths = 0

    def record_success(self) -> None:
        """Note that the store took something."""
        self.worked, self.last_success = True, self._clock()
        if self._unserved:
            self._unserved.clear()

    def note_served(self, is_served: bool) -> None:
        """Note whether the store has done something whose result is still to come: more may be handed out then."""
        if is_served and not self.worked:
            self.record_success()

    def record_death(self) -> None:
        """Note that workers died. Raises StoppedError if too many did before anything worked."""
        if self.worked:
            return
        self._deaths += 1
        if self._deaths >= WORKER_DEATHS:
            words = f"{WORKER_DEATHS} worker processes died before anything was done"
            raise self.stop(words, "find out why they died (out of memory?)")

    def record_failure(self, result: Result) -> None:
        """Note a failure that stays. Raises StoppedError if it means that every operation will fail."""
        if result.code == DISK_FULL:
            raise DiskFullError(result.error)
        if result.fatal:
            raise self.stop(result.error, "correct it")
        if result.code in _OF_ONE_FILE:
            return
        if result.retryable and result.code != DAMAGED:  # the store has answered
            self._unserved.add(result.id)
            if len(self._unserved) >= SEVERAL and self._clock() - self.last_success > self._endpoint_gone:
                raise self.stop(f"the endpoint is gone: {result.error}", "wait until it is back")
        if result.status == NOT_IMPLEMENTED:
            self._not_implemented[result.error] += 1
            if self._not_implemented[result.error] >= NOT_IMPLEMENTED_OFTEN:
                raise self.stop(result.error, "remove that setting")
        self._failures[result.code] += 1
        if not self.worked and self._failures[result.code] >= SAME_FAILURES:
            words = f"the first {SAME_FAILURES} operations all failed with the same error: {result.error}"
            raise self.stop(words, "correct it")

    def allow(self, room: int, outstanding: int) -> int:
        """Return how many operations to hand out if there is ``room`` for that many.

        They are few until one has succeeded, so that a wrong key does not cost a request for each file.
        """
        return room if self.worked else min(room, SAME_FAILURES - outstanding)

    def stop(self, message: str, remedy: str) -> StoppedError:
        """Return the error that stops the job; its exit code tells whether anything was done.

        ``remedy``: what to do before the job is resumed.
        """
        code = StoppedError.exit_code if self.worked else EndpointError.exit_code
        return StoppedError(message, exit_code=code, remedy=remedy)
