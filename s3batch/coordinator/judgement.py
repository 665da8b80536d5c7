"""What becomes of each result: it is settled, its operation goes again, or it has failed. The coordinator journals that.

good result ─> done, skipped, or another operation        refusal ─> again after a pause, or failed
the file changed ─> planned again                         a piece of an upload ─> more pieces, or its end
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from s3batch.base.failpoints import reach_failpoint
from s3batch.base.units import format_plural
from s3batch.coordinator.dispatcher import CARRIED
from s3batch.coordinator.multipart import LOST
from s3batch.coordinator.quarantine import read_result_tag
from s3batch.coordinator.throttling import Throttling
from s3batch.model import (
    DELETE,
    DONE,
    RECONCILE,
    TRANSFER,
    UPLOAD,
    Kind,
    Operation,
    Result,
    SourceObject,
    Stage,
    State,
    Step,
    read_deleted_spans,
)
from s3batch.s3.back_off import back_off
from s3batch.s3.faults import SIGNED_OUT
from s3batch.worker.delete_check import CHANGED_MEANWHILE

if TYPE_CHECKING:
    from s3batch.coordinator.circuit_breaker import CircuitBreaker
    from s3batch.coordinator.deps import CoordinatorDeps
    from s3batch.coordinator.dispatcher import Dispatcher
    from s3batch.coordinator.open_counts import OpenCounts
    from s3batch.coordinator.quarantine import Quarantine
    from s3batch.coordinator.retry_queue import RetryQueue
    from s3batch.coordinator.sign_in import SignIn
    from s3batch.executors import Tag

KILLER = "the worker process died while it worked on this (out of memory?)"


class Judgement:
    """Judges the results of one job."""

    def __init__(
        self, deps: CoordinatorDeps, counts: OpenCounts, dispatcher: Dispatcher, retries: RetryQueue,
        quarantine: Quarantine, breaker: CircuitBreaker, sign_in: SignIn,
    ) -> None:  # fmt: skip
        """``dispatcher`` has the leased operations; one that is settled leaves it."""
        self._deps = deps
        self._journal = deps.journal
        self._clock = deps.clock
        self._counts = counts
        self._leased, self._deletes = dispatcher.leased, dispatcher.deletes
        self._retries = retries
        self._quarantine = quarantine
        self._breaker = breaker
        self._sign_in = sign_in
        self._throttling = Throttling(deps.clock)
        self._tries: Counter[Tag] = Counter()
        """Failures of each piece of an upload."""
        self._changes: Counter[int] = Counter()
        """Times that the file of each row changed while it was read."""
        self._since: dict[int, float] = {}
        """When each operation that goes in pieces was begun, by the clock."""
        self._together: dict[int, float] = {}
        """The pauses of deletes refused in one answer, by attempt: they are sent again as one request."""

    def begin_turn(self) -> None:
        """Begin with the results of another poll."""
        self._together.clear()

    def settle_good_result(self, operation: Operation, result: Result) -> tuple[State, Result]:
        """Return the outcome of an operation that was carried out, or found what to do."""
        self._breaker.record_success()
        if self._deps.dry_run and result.become is not None:
            self._deps.heard(operation._replace(kind=result.become, reason=result.reason or operation.reason), result)
            self._counts.settle(operation)
            return State.SKIPPED, result
        if result.become is RECONCILE or result.become in CARRIED:
            self._retries.add_row(operation.id, 0.0)
            grows = result.become is not RECONCILE and result.become is not operation.kind
            self._deps.totals.bytes_planned += operation.size if grows else 0
            return State.PENDING, result
        self._deps.heard(operation, result)
        if result.already and operation.kind is UPLOAD:
            self._deps.totals.bytes_before += operation.size
        looked = result.already and operation.kind in (RECONCILE, Kind.REDIRECT, Kind.RESTORE, DELETE)
        self._counts.settle(operation, unchanged=looked and operation.kind is RECONCILE)
        if looked and operation.kind is DELETE:
            result = result._replace(error=CHANGED_MEANWHILE)
        return (State.SKIPPED if looked else DONE), result

    def take_deleted(self, result: Result) -> list[tuple[float, range]]:
        """Take the deletes that succeeded in one request; return its seconds with each span of their rows."""
        self._breaker.record_success()
        spans = read_deleted_spans(result)
        count = sum(map(len, spans))
        self._counts.open[Stage.DELETE] -= count
        self._deps.totals.files_done += count
        if self._deps.heard_deletes is not None and (work := self._deletes.take(spans)) is not None:
            self._deps.heard_deletes(work.keys)
            return [(result.seconds, spans[0])]
        rows = [row for span in spans for row in span]
        self._deletes.unfold(rows)
        for row in rows:
            self._deps.heard(self._leased.pop(row), result)
            self._quarantine.release(Result(row))
        return [(result.seconds, span) for span in spans]

    def _fail(self, operation: Operation, result: Result) -> tuple[State, Result]:
        """Return the outcome of an operation that failed for good, which is told at once."""
        self._counts.settle(operation, failed=True)
        self._deps.events.failure(operation, result)
        return State.FAILED, result

    def settle_failed_result(self, operation: Operation, result: Result) -> tuple[State, Result]:
        """Return the outcome of an operation that failed: it goes again while it has tries left."""
        if result.code == "Changed":
            return self._changed(operation, result)
        if result.code == "Vanished" and self._journal.operations.is_taken(operation.id):
            return self._gone(operation, result)
        result = result._replace(uncounted=self._spares(result))
        more = result.uncounted or operation.attempts + 1 < self._deps.tries
        if result.code in SIGNED_OUT and more:
            self._renew_credentials(result)
        if more and (result.retryable or result.code in SIGNED_OUT):
            self._journal.jobs.add_tally(retries=1)
            pause = self._throttling.pause(result, operation.attempts + 1)
            if operation.kind is Kind.DELETE:
                pause = self._together.setdefault(operation.attempts, pause)
            self._retries.add_row(operation.id, pause)
            return State.PENDING, result
        self._breaker.record_failure(result)
        return self._fail(operation, result)

    def _spares(self, result: Result) -> bool:
        """Return whether a try does not count."""
        return self._throttling.spares(result, self._breaker.last_success, worked=self._breaker.worked)

    def _changed(self, operation: Operation, result: Result) -> tuple[State, Result]:
        """Plan an operation again whose file changed, unless the file keeps changing."""
        self._changes[operation.id] += 1
        most = self._deps.tries if isinstance(operation.spec, SourceObject) else self._deps.changes
        if self._changes[operation.id] >= most:
            return self._fail(operation, result._replace(error=f"{result.error}, {format_plural(most, 'time')}"))
        fresh = self._deps.replan(operation)
        if isinstance(fresh, Operation):
            self._journal.operations.settle([(State.PENDING, result)])
            self._journal.operations.replan(fresh)
            self._retries.add_row(operation.id, back_off(self._changes[operation.id]))
            return State.PENDING, result
        if self._journal.operations.is_taken(operation.id):
            return self._gone(operation, result)  # this job's walk tells what is there now
        if fresh is None:  # a directory that could not be read and can be now counts as nothing: the next run walks it
            fresh = Result(operation.id) if operation.path.endswith("/") else result
        if fresh.error:
            return self._fail(operation, fresh)
        self._counts.settle(operation)
        return State.SKIPPED, fresh

    def _gone(self, operation: Operation, result: Result) -> tuple[State, Result]:
        """Settle an operation that a dead job had planned and whose file does not exist any more."""
        self._counts.settle(operation)
        return State.SKIPPED, result._replace(step=Step.WHOLE)

    def lose_row(self, row: int) -> tuple[State, Result]:
        """Return the outcome of an operation whose worker died."""
        operation = self._leased.pop(row)
        result = Result(row, error=KILLER, code=LOST)
        if self._quarantine.is_killer((row, Step.WHOLE, 0)):
            self._breaker.record_failure(result)
            return self._fail(operation, result)
        self._retries.add_row(row, 0.0)
        return State.PENDING, result

    # --- pieces of multipart uploads --------------------------------------------------------

    def judge_step(self, result: Result) -> list[tuple[State, Result]]:
        """Return the outcomes of one piece of an upload: of a part, and of the operation once it is over."""
        uploads = self._deps.uploads
        if uploads.stale(result):
            return []
        self._since.setdefault(result.id, self._clock() - result.seconds)
        if result.error and (pause := uploads.pause_to_look_again(result)):
            self._retries.add_work(uploads.again(result), pause)
            return []
        if result.error and not uploads.mends(result):
            return self._bad_step(result)
        if result.error:
            return []
        self._breaker.record_success()
        is_believed = uploads.is_believed(result)  # the last part of a file that changed has the upload compared
        verdict = uploads.take(result)
        if verdict is not None:
            return [self.judge_ended(verdict.operation, verdict.result)]
        if result.step is Step.SURVEY:
            held = max(0, uploads.count_held(result.id) - self._counts.content[result.id])
            self._deps.totals.bytes_before += held
            self._counts.count_content(result.id, held)
        if result.step is Step.PART:
            self._counts.count_content(result.id, result.sent)
            reach_failpoint("part-settled")
            return [(State.DONE, result)] if is_believed else []
        return []

    def judge_ended(self, operation: Operation, result: Result) -> tuple[State, Result]:
        """Return the outcome of an operation whose upload is over."""
        known = self._leased.pop(operation.id)
        result = result._replace(seconds=self._clock() - self._since.pop(operation.id, self._clock()))
        if result.error and result.code == "Changed":
            known = known._replace(upload_id="", recheck=operation.recheck)  # one of it may have been begun
            return self._changed(known, result._replace(step=Step.WHOLE))
        if result.code == "Vanished" and self._journal.operations.is_taken(operation.id):
            return self._gone(operation, result)
        if result.error:
            return self._fail(operation, result._replace(step=Step.WHOLE))
        self._deps.heard(operation, result)
        self._counts.settle(operation)
        reach_failpoint("finished")
        return State.DONE, result

    def _bad_step(self, result: Result) -> list[tuple[State, Result]]:
        tag = read_result_tag(result)
        spared = self._spares(result)
        self._tries[tag] += not spared
        parked = self._deps.uploads.is_parked(result.id)
        more = not parked and (spared or self._tries[tag] < self._deps.tries)
        if result.code in SIGNED_OUT and more:
            self._renew_credentials(result)
        elif self._deps.uploads.has_changed(result) and self._compare_parts(result):
            return []
        elif result.code == "Changed" or not result.retryable or not more:
            if result.step is not Step.ABORT and result.code != "Changed" and not parked:
                self._breaker.record_failure(result)
            verdict = self._deps.uploads.give_up(result)
            return [self.judge_ended(verdict.operation, verdict.result)] if verdict else []
        self._journal.jobs.add_tally(retries=1)
        work = self._deps.uploads.again(result)
        self._retries.add_work(work, self._throttling.pause(result, self._tries[tag]))
        return []

    def _compare_parts(self, result: Result) -> bool:
        """Go on with an upload whose file has changed, if its size is the same: each part is compared first."""
        operation = self._leased[result.id]
        if operation.kind is TRANSFER:
            return False  # its parts are not here to be compared: it begins anew
        fresh = self._deps.replan(operation) if self._changes[operation.id] + 1 < self._deps.changes else None
        if not isinstance(fresh, Operation) or fresh.size != operation.size:
            return False
        self._changes[operation.id] += 1
        self._leased[operation.id] = fresh
        self._retries.add_work(self._deps.uploads.compare(result, fresh), back_off(self._changes[operation.id]))
        return True

    def _renew_credentials(self, result: Result) -> None:
        with self._deps.signals.raising():
            renewed = self._sign_in.renew()
        if not renewed:
            raise self._breaker.stop(f"the credentials are refused ({result.error})", "renew the credentials")
