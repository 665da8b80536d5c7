"""Runs the stages of a job: plans some operations, hands out as many as there is room for, has the results judged.

    planning ─add→ journal ─lease→ executor ─Result→ judge ─settle→ journal
                      ^                                |
                      +────── due again, later ────────+

One thread and no locks. Nothing that can be computed from the journal is kept here but counts.

Stopping is an order: stop planning, stop leasing, let what is under way end for the grace period, settle,
release the rest. A second signal means now.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING

from s3batch.base.errors import EndpointError, JournalError, S3BatchError
from s3batch.base.failpoints import reach_failpoint
from s3batch.base.units import format_plural
from s3batch.coordinator.circuit_breaker import CircuitBreaker
from s3batch.coordinator.dispatcher import CARRIED, Dispatcher
from s3batch.coordinator.judgement import KILLER, Judgement
from s3batch.coordinator.multipart import LOST
from s3batch.coordinator.open_counts import OpenCounts
from s3batch.coordinator.quarantine import Quarantine
from s3batch.coordinator.retry_queue import RetryQueue
from s3batch.coordinator.sign_in import SignIn
from s3batch.coordinator.signals import StoppedError
from s3batch.executors import collect_work_tags, count_outstanding
from s3batch.model import (
    COMPARE,
    DELETE,
    DELETED,
    SENT_IN_ROW,
    WHOLE,
    Kind,
    Operation,
    PlannedDeletes,
    Result,
    Stage,
    State,
    Step,
    Work,
    expand_row,
)
from s3batch.plan.quirk_memory import QuirkMemory
from s3batch.worker.delete_check import CHANGED_MEANWHILE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from s3batch.coordinator.deps import CoordinatorDeps
    from s3batch.executors import PollResult
    from s3batch.model import Comparison, ShortRow

_PLAN_AHEAD = 0.01
"""Seconds of planning in one turn."""


class Coordinator:
    """Runs the stages of one job. Belongs to the main thread."""

    def __init__(self, deps: CoordinatorDeps) -> None:
        self._deps = deps
        self._journal = deps.journal
        self._warn = deps.warn or deps.journal.jobs.warn
        self._executor = deps.executor
        self._clock = deps.clock
        self._quirks = QuirkMemory(deps.journal)
        self._breaker = CircuitBreaker(deps.clock, deps.endpoint_gone)
        self._retries = RetryQueue(deps.clock)
        self._quarantine = Quarantine()
        self._sign_in = SignIn(deps.login, deps.executor, deps.clock, deps.source_login)
        self._counts = OpenCounts(deps.totals)
        self._dispatcher = Dispatcher(deps, self._retries, self._quarantine, self._breaker, self._settle_early)
        self._judgement = Judgement(
            deps, self._counts, self._dispatcher, self._retries, self._quarantine, self._breaker, self._sign_in
        )
        self._stage = Stage.MAIN
        self._is_stopping = self._has_shrunk = False
        self._counted_again_at = -1
        """How many operations had been leased when the open ones were counted again."""
        self._deleted: list[tuple[float, range]] = []
        """Spans of rows whose deletes have succeeded since the last transaction, with the seconds of their request."""

    # --- a stage ----------------------------------------------------------------------------

    def expect(self, stage: int, count: int) -> None:
        """Count operations of a stage that dead jobs left in the journal, and let the lease look for them."""
        self._counts.open[stage] += count
        self._deps.totals.files_planned += count
        self._dispatcher.note_added(count if stage == self._stage else 0)
        self._dispatcher.more = True

    def add(self, operations: list[Operation]) -> None:
        """Journal planned operations; lease those of the current stage at once while there is room."""
        if not operations:
            return
        now = [each for each in operations if each.stage == Stage.MAIN and each.kind is not DELETE]
        later = [each for each in operations if each.stage != Stage.MAIN or each.kind is DELETE]
        dispatcher = self._dispatcher
        at_once = bool(now) and not dispatcher.more and dispatcher.capacity() >= len(now)
        fresh = self._journal.operations.add(now, lease=at_once) if now else []
        others = self._journal.operations.add(later) if later else []
        for stage, count in Counter([operation.stage for operation in (*fresh, *others)]).items():
            self._counts.open[stage] += count
        reach_failpoint("added")
        self._count_planned((*fresh, *others))
        if at_once:
            dispatcher.prepare(fresh)
        dispatcher.note_added(0 if at_once else len(now))

    def add_deletes(self, deletes: PlannedDeletes) -> None:
        """Journal planned deletes in their stage; lease them at once while there is room for all of them."""
        self._shrink_once()
        dispatcher = self._dispatcher
        count = len(deletes.keys)
        at_once = not (dispatcher.more or self._deps.dry_run) and dispatcher.count_room(Stage.DELETE) >= count
        rows = self._journal.operations.add_orphans(deletes, lease=at_once)
        self._counts.open[Stage.DELETE] += count
        reach_failpoint("added")
        self._deps.totals.files_planned += count
        if at_once:
            dispatcher.prepare_orphans(deletes, rows)
        else:
            dispatcher.note_added(count)

    def _shrink_once(self) -> None:
        """Give memory back before the deletes: listing and walk are over, and workers may be forked now."""
        if not self._has_shrunk:
            self._has_shrunk = True
            self._journal.shrink()

    def compare(self, files: list[Comparison]) -> None:
        """Have files compared that are probably equal to their objects, without a row in the journal."""
        if not self._dispatcher.comparisons.pay_off:
            self.add([each.to_operation() for each in files])
            return
        self._dispatcher.comparisons.add(files)
        self._counts.open[Stage.MAIN] += len(files)
        self._deps.totals.files_planned += len(files)

    def _count_planned(self, operations: tuple[Operation, ...]) -> None:
        totals = self._deps.totals
        totals.files_planned += len(operations)
        totals.bytes_planned += sum([each.size for each in operations if each.kind in CARRIED])

    def run(self, stage: int, planning: Iterator[None] | None = None) -> None:
        """Carry out a stage to its end, planning meanwhile. Raises :class:`StoppedError` with work left."""
        self._stage, self._counted_again_at = stage, -1
        self._dispatcher.begin_stage(stage, self._counts.open[stage])
        if planning is None and not self._counts.open[stage]:
            return
        if stage == Stage.DELETE and self._counts.open[stage]:
            self._shrink_once()
        self._deps.signals.gentle = True
        try:
            while planning is not None or self._counts.open[stage]:
                self._dispatcher.hand_out(stage)  # workers that have asked for more do not wait for the plan
                if planning is not None and not self._dispatcher.has_enough:
                    planning = self._plan(planning)
                    self._dispatcher.hand_out(stage)
                self._take(self._executor.poll(self._patience(is_planning=planning is not None)))
                self._look_around()
                if planning is None and self._counts.open[stage] and self._dispatcher.has_nothing:
                    self._count_again(stage)
            self._take_sample(last=True)
        except S3BatchError as stopped:
            self._executor.drain()
            if self._deps.signals.seen:
                self._say_what_is_finished()
            self._wind_down()
            if self._breaker.worked and stopped.exit_code == EndpointError.exit_code:
                stopped.exit_code = StoppedError.exit_code  # something was sent after all
            raise
        except BaseException:
            self._dispatcher.put_back()
            self._journal.operations.release()
            raise
        finally:
            self._deps.signals.gentle = False

    def _plan(self, planning: Iterator[None]) -> Iterator[None] | None:
        until = self._clock() + _PLAN_AHEAD
        while self._clock() < until and not self._dispatcher.has_enough:
            with self._deps.signals.raising():  # a step waits for the store, or walks far
                step = next(planning, _OVER)
            if step is _OVER:
                self._deps.totals.planning = False
                for stage in (Stage.MAIN, Stage.PUBLISH_LAST, Stage.REDIRECT):
                    self._counts.open[stage] = self._count_open(stage)
                return None
            if self._dispatcher.is_due:
                break
        return planning

    def _count_again(self, stage: int) -> None:
        """Lease again from the first row: the journal says that more is open than was ever handed out or counted.

        No worker has anything, so every lease in the journal is void. Raises JournalError where a pass before handed out
        nothing: without that the job would go round without end.
        """
        self._journal.operations.void_leases()
        self._counts.open[stage] = self._count_open(stage)
        if self._counts.open[stage] and self._dispatcher.leased_count == self._counted_again_at:
            count = format_plural(self._counts.open[stage], "operation")
            raise JournalError(f"the journal {self._journal.path} has {count} that cannot be begun", hint=_ANOTHER)
        self._counted_again_at = self._dispatcher.leased_count
        self._dispatcher.more = self._counts.open[stage] > 0

    def _count_open(self, stage: int) -> int:
        """Count the open rows of a stage, which may take a second: a signal does not wait for it."""
        with self._deps.signals.raising():
            compared = self._dispatcher.comparisons.open if stage == Stage.MAIN else 0
            return self._journal.outcomes.count_open(stage) + compared

    def _patience(self, *, is_planning: bool) -> float:
        """Return the seconds to wait for results: until something is due, with an upper limit for signals and progress."""
        dispatcher = self._dispatcher
        if (is_planning and not dispatcher.has_enough) or dispatcher.is_idle or not self._counts.open[self._stage]:
            return 0.0  # there is more to plan or to lease, or nothing is open and no result comes
        due = self._retries.delay()
        return 0.1 if due is None else min(0.1, due)

    def _look_around(self) -> None:
        totals = self._deps.totals
        self._deps.progress.update(totals)
        self._deps.events.progress(totals)
        self._take_sample()
        self._deps.signals.check()
        if self._deps.signals.seen:
            raise self._deps.signals.error()
        with self._deps.signals.raising():  # both may wait for a server
            if self._deps.look is not None:
                self._deps.look()
            self._sign_in.refresh()
        self._journal.jobs.give_sign_of_life()

    def _take_sample(self, *, last: bool = False) -> None:
        totals = self._deps.totals
        if not self._deps.dry_run:
            self._journal.samples.take(time.time(), totals.files_done, totals.bytes_sent, totals.failed, last=last)

    # --- dry runs ---------------------------------------------------------------------------

    def _settle_early(self, operations: list[Operation]) -> list[Operation]:
        """Settle operations that are not carried out: those of a dry run, and deletes of keys that have a file by now."""
        if self._deps.dry_run:
            return self._only_looking(operations)
        return operations if self._deps.has_file is None else self._without_files(operations, self._deps.has_file)

    def _only_looking(self, operations: list[Operation]) -> list[Operation]:
        """Return the operations that compare; the others are the plan of the dry run."""
        looking = [each for each in operations if each.kind in (Kind.RECONCILE, Kind.REDIRECT)]
        told = [each for each in operations if each.kind not in (Kind.RECONCILE, Kind.REDIRECT)]
        for operation in told:
            self._deps.heard(operation, Result(operation.id))
            self._counts.settle(operation)
        self._journal.operations.settle([(State.SKIPPED, Result(operation.id)) for operation in told])
        return looking

    def _without_files(self, operations: list[Operation], has_file: Callable[[str], bool]) -> list[Operation]:
        kept = {each.id: each for each in operations if each.kind is Kind.DELETE and has_file(each.key)}
        for operation in kept.values():
            self._deps.heard(operation, Result(operation.id, already=True))
            self._counts.settle(operation)
        self._journal.operations.settle([(State.SKIPPED, Result(row, error=CHANGED_MEANWHILE)) for row in kept])
        return [each for each in operations if each.id not in kept]

    # --- taking back ------------------------------------------------------------------------

    def _take(self, news: PollResult) -> None:
        outcomes: list[tuple[State, Result]] = []
        if self._quarantine.is_in_use:
            news.results += map(expand_row, news.stored)
            news.stored = []
        self._judgement.begin_turn()
        totals = self._deps.totals
        totals.bytes_sent += news.sent
        totals.bytes_settled += sum([result.sent for result in news.results if not result.error])
        self._breaker.note_served(news.is_served)
        if news.requests:
            self._journal.jobs.add_tally(requests=news.requests)
        for warning in news.warnings:
            self._warn(warning)
        if news.overruled:
            self._quirks.count_overruled(news.overruled)
        if news.unheard:
            self._journal.doubts.note_unheard(news.unheard)
        try:
            self._take_stored(news.stored)
            self._judge_all(news, outcomes)
        finally:  # the other results are settled even if one of them stops the job
            outcomes += [self._judgement.judge_ended(*ended) for ended in self._deps.uploads.take_ended()]
            deleted, self._deleted = self._deleted, []
            self._journal.operations.settle_deleted(deleted)
            self._journal.operations.settle_stored(news.stored)
            if outcomes:
                self._journal.operations.settle(outcomes)
            if outcomes or deleted or news.stored:
                reach_failpoint("deleted" if self._stage == Stage.DELETE else "settled")
        if self._quirks.learn(quirk for result in news.results for quirk in result.quirks):
            self._executor.learn(self._quirks.quirks)
        throttled = next((result for result in news.results if result.throttled), None)
        if throttled is not None:
            self._executor.throttle()
        if news.results or news.stored:
            totals.waiting = f"{throttled.status or ''} {throttled.code}".strip() if throttled is not None else ""

    def _judge_all(self, news: PollResult, outcomes: list[tuple[State, Result]]) -> None:
        """Judge everything, also after one of them has stopped the job."""
        stopped: StoppedError | None = None
        ended: list[int] = []
        for result in news.results:
            try:
                outcomes += self._judge(result)
            except StoppedError as error:
                stopped = stopped or error
                ended += [result.id] if result.step is WHOLE else []
        for work in news.lost:
            try:
                outcomes += self._lost(work)
            except StoppedError as error:
                stopped = stopped or error
        if news.deaths:
            try:
                self._breaker.record_death()
            except StoppedError as error:
                stopped = stopped or error
        self._dispatcher.take_back(news.dropped)
        if ended:  # what stopped the job has its answer, so no request of it is under way
            self._journal.operations.put_back(ended, recheck=True)
        if stopped is not None:
            raise stopped

    def _judge(self, result: Result) -> list[tuple[State, Result]]:
        if result.warning:
            for words in result.warning.splitlines():
                self._warn(words)
        if result.step is DELETED:
            self._deleted += self._judgement.take_deleted(result)
            return []
        if self._quarantine.is_in_use:
            self._quarantine.release(result)
        if result.step is COMPARE:
            self._settle_files(result)
            return []
        if result.step is not WHOLE:
            return self._judgement.judge_step(result)
        if self._dispatcher.deletes:
            self._dispatcher.deletes.unfold([result.id])
        operation = self._dispatcher.leased.pop(result.id)
        if not result.error:
            return [self._judgement.settle_good_result(operation, result)]
        return [self._judgement.settle_failed_result(operation, result)]

    def _take_stored(self, stored: Sequence[ShortRow]) -> None:
        """Take plain uploads, downloads and copies that worked, of which no more is to be said.

        It is a third of what judging each costs.
        """
        if not stored:
            return
        self._breaker.record_success()
        leased, heard = self._dispatcher.leased, self._deps.heard
        operations = [leased.pop(row[-1]) for row in stored]
        self._counts.settle_stored(operations)
        self._deps.totals.bytes_settled += sum([row[SENT_IN_ROW] for row in stored])
        for operation in operations:
            heard(operation, _STORED)

    def _settle_files(self, result: Result) -> None:
        """Count the files that are equal; the others get operations."""
        settled = self._dispatcher.comparisons.settle(result)
        if settled.asked:
            self._breaker.record_success()
        self._counts.open[Stage.MAIN] -= settled.equal
        self._journal.jobs.note_found_unchanged(settled.equal - settled.sent_before)
        totals = self._deps.totals
        totals.files_done += settled.equal
        totals.unchanged += settled.equal
        self._compare_alone(settled.others)

    def _compare_alone(self, operations: list[Operation]) -> None:
        """Journal the operations of files that bulk comparison could not settle."""
        self._counts.open[Stage.MAIN] -= len(operations)
        self._deps.totals.files_planned -= len(operations)
        if not self._is_stopping:
            self.add(operations)

    def _lost(self, work: Work) -> list[tuple[State, Result]]:
        """Retry an operation whose worker died, after asking S3, unless it seems to kill workers."""
        if work.files:
            self._compare_alone(self._dispatcher.comparisons.lose(work))
            return []
        self._quarantine.accuse(work)
        if work.step in (Step.WHOLE, Step.FINISH):
            rows, keys = work.rows or [work.operation.id], work.keys or [work.operation.key]
            self._journal.doubts.note_lost(list(zip(rows, keys, strict=True)))
            self._dispatcher.deletes.unfold(rows)
        if work.step is Step.WHOLE:
            return [
                self._judgement.lose_row(row) for row, _, _ in collect_work_tags(work) if row in self._dispatcher.leased
            ]
        if not self._quarantine.is_killer(collect_work_tags(work)[0]):
            self._deps.uploads.lost(work)
            return []
        row, step, part = collect_work_tags(work)[0]
        upload_id = work.operation.upload_id
        return self._judgement.judge_step(Result(row, step, part, error=KILLER, code=LOST, upload_id=upload_id))

    # --- the end ----------------------------------------------------------------------------

    def _say_what_is_finished(self) -> None:
        workers = self._executor.workers()
        count = sum(len(each.parted()[0]) for each in workers) or count_outstanding(workers)
        what = ""
        if count:  # a worker may begin work that is on its way before the message to stop arrives
            what = f": finishing {format_plural(count, 'request')}, up to {self._deps.signals.grace:g} s"
        self._deps.say(f"stopping{what}; Ctrl-C again stops now")  # releasing a million rows takes a second

    def _wind_down(self) -> None:
        """Let running operations end, settle them, release the others."""
        self._is_stopping = True
        until = self._clock() + self._deps.signals.grace
        while count_outstanding(self._executor.workers()) and self._clock() < until:
            try:
                self._take(self._executor.poll(0.1))
            except StoppedError:
                if self._deps.signals.again:
                    break  # a second signal: now
                continue  # one more error like the one that stopped the job; results of others in flight count
        self._dispatcher.put_back()
        given = [work for worker in self._executor.workers() for work in worker.given.values()]
        begun = {row for work in given for row, _, _ in collect_work_tags(work)}
        self._journal.operations.release(begun | self._deps.uploads.find_completing())


_OVER = object()
_ANOTHER = "name another --journal"
_STORED = Result(0)
"""What is heard of any plain work that was done."""
