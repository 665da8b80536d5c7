"""Leases operations, has them carried out, settles what came of them: one stage of a job at a time.

    planning ─add→ journal ─lease→ executor ─Result→ judge ─settle→ journal
                      ^                                |
                      +────── due again, later ────────+

One thread and no locks: each turn plans a little, hands out what there is room for, and takes what came
back. Nothing that can be computed from the journal is kept here but counts.

Stopping is an order: stop planning, stop leasing, let what is under way end for the grace period, settle,
release the rest. A second signal means now.
"""

from __future__ import annotations

import heapq
import time
from collections import Counter, deque
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from s3batch.crash_points import reach
from s3batch.errors import EndpointError
from s3batch.executors import Tag, tags_of
from s3batch.habits import Doubts
from s3batch.model import Kind, Result, Stage, State, Step, Work
from s3batch.multipart import LOST
from s3batch.s3.calls import fits_xml
from s3batch.s3.carry import back_off
from s3batch.s3.faults import SIGNED_OUT
from s3batch.stopping import InterruptedJobError, StoppedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from s3batch.executors import Executor, News
    from s3batch.journal import Journal
    from s3batch.model import Operation
    from s3batch.multipart import Uploads
    from s3batch.progress import Progress, Totals
    from s3batch.s3.client import Login
    from s3batch.stopping import Signals

GRACE = 10.0
"""Seconds for what is under way after the first signal: what CI systems give before they kill."""
HOPELESS = 50
"""The same permanent error so many times before anything worked: no other operation will fare better.

So many operations are handed out, no more, until one has worked.
"""
_KILLS = 3
"""An operation whose worker died so often is taken for the killer; the last time no other suspect was out."""
_DEATHS = 12
"""So many dead workers before anything worked: it is not an operation that kills them."""
_CHANGES = 5
"""A file that changed so often while it was read is given up."""
DELETE_BATCH = 1000
"""S3's limit of keys in DeleteObjects."""
_RENEW_EVERY = 30.0
_PLAN_AHEAD = 0.02
"""Seconds of planning in one turn."""


@dataclass(slots=True, kw_only=True)
class Parts:
    """What a coordinator is put together from."""

    journal: Journal
    executor: Executor
    uploads: Uploads
    login: Login
    signals: Signals
    totals: Totals
    progress: Progress
    tries: int
    multipart_threshold: int
    whole: Callable[[Operation], bool]
    """Whether an operation must go in one request however large it is."""
    replan: Callable[[Operation], Operation | None]
    """The operation anew after its file changed; ``None`` when the file is gone."""
    heard: Callable[[Operation, Result], None]
    """Told of every good result of a whole operation, and of what a dry run would do."""
    dry_run: bool = False
    """Look and compare only; an operation that would change the bucket is settled as skipped."""


class Coordinator:
    """Runs the stages of one job. Belongs to the main thread."""

    def __init__(self, parts: Parts) -> None:
        self._ = parts
        self._journal = parts.journal
        self._executor = parts.executor
        self._doubts = Doubts(parts.journal)
        self._open = dict.fromkeys((Stage.MAIN, Stage.PUBLISH_LAST, Stage.REDIRECT, Stage.DELETE), 0)
        """Operations of each stage not yet settled for good."""
        self._leased: dict[int, Operation] = {}
        self._due: list[tuple[float, int]] = []
        self._again: list[tuple[float, int, Work]] = []
        """Pieces of multipart uploads to be tried again, by when."""
        self._tries: Counter[tuple[int, Step, int]] = Counter()
        self._suspects: Counter[Tag] = Counter()
        """Operations, and pieces of uploads, whose worker died: S3 may have them."""
        self._apart: deque[Work] = deque()
        """Suspects of two deaths. They go one at a time, so that a third death has one culprit."""
        self._deaths = 0
        """How often workers died, before anything worked."""
        self._alone: Work | None = None
        """The one of them that is out."""
        self._changes: Counter[int] = Counter()
        self._refusals: Counter[str] = Counter()
        self._worked = False
        self._last_good = time.monotonic()
        self._renewed = time.monotonic()
        self._refused_until = 0.0
        """Credentials renewed because of refusals are given until then (monotonic seconds) to work."""
        self._together: dict[int, float] = {}
        """The pauses of deletes refused in one answer, by attempt: what was one request is to be one again."""
        self._leasable = False
        """Whether the journal may hold operations of the stage at work that no lease has come by."""
        self._stage = Stage.MAIN

    # --- a stage ----------------------------------------------------------------------------

    def expect(self, stage: int, count: int) -> None:
        """So many operations of a stage are in the journal already, pending (a resumed job)."""
        self._open[stage] += count
        self._journal.rewind()

    def add(self, operations: list[Operation]) -> None:
        """Journal planned operations; those of the stage at work are leased at once while there is room."""
        if not operations:
            return
        now = [each for each in operations if each.stage == Stage.MAIN and each.kind is not Kind.DELETE]
        later = [each for each in operations if each.stage != Stage.MAIN or each.kind is Kind.DELETE]
        at_once = bool(now) and not self._leasable and self._room() >= len(now)
        fresh = self._journal.add(now, lease=at_once) if now else []
        others = self._journal.add(later) if later else []
        for operation in (*fresh, *others):
            self._open[operation.stage] += 1
        reach("added")
        self._count_planned((*fresh, *others))
        if at_once:
            self._give(fresh)
        # a row that is in the journal already may have been planned anew: let the lease look
        self._leasable = self._leasable or len(now) > len(fresh) * at_once

    def _count_planned(self, operations: tuple[Operation, ...]) -> None:
        totals = self._.totals
        totals.files_planned += len(operations)
        totals.bytes_planned += sum(each.size for each in operations if each.kind is Kind.UPLOAD)

    def run(self, stage: int, planning: Iterator[None] | None = None) -> None:
        """Carry out a stage to its end, planning meanwhile. Raises :class:`StoppedError` with work left."""
        self._stage, self._leasable = stage, self._open[stage] > 0
        if planning is None and not self._leasable:
            return
        self._journal.rewind()
        self._.signals.gentle = True
        try:
            while planning is not None or self._open[stage]:
                planning = self._plan(planning)
                self._hand_out(stage)
                self._take(self._executor.poll(0.0 if planning is not None else self._patience()))
                self._look_around()
        except StoppedError as stopped:
            self._wind_down()
            if self._worked and stopped.exit_code == EndpointError.exit_code:
                stopped.exit_code = StoppedError.exit_code  # something was sent after all
            raise
        except BaseException:
            self._journal.release()
            raise
        finally:
            self._.signals.gentle = False

    def _plan(self, planning: Iterator[None] | None) -> Iterator[None] | None:
        if planning is None:
            return None
        until = time.monotonic() + _PLAN_AHEAD
        while time.monotonic() < until:
            if next(planning, _OVER) is _OVER:
                self._.totals.planning = False
                for stage in (Stage.MAIN, Stage.PUBLISH_LAST, Stage.REDIRECT):
                    self._open[stage] = self._journal.open_count(stage)
                return None
        return planning

    def _patience(self) -> float:
        """How long to wait for news: until something is due, but not for ever: signals, progress."""
        if self._leasable and not self._executor.outstanding():
            return 0.0
        due = [heap[0][0] for heap in (self._due, self._again) if heap]
        return min(0.1, max(0.0, min(due) - time.monotonic())) if due else 0.1

    def _look_around(self) -> None:
        now = time.monotonic()
        self._.progress.update(self._.totals)
        if self._.signals.seen:
            raise InterruptedJobError(self._.signals.seen)
        if now - self._renewed > _RENEW_EVERY:
            self._renewed = now
            if (credentials := self._.login.current()) is not None:
                self._executor.sign_in_again(credentials)

    # --- handing out ------------------------------------------------------------------------

    def _hand_out(self, stage: int) -> None:
        each = DELETE_BATCH if stage == Stage.DELETE else 1
        now = time.monotonic()
        if self._due and self._due[0][0] <= now and (room := self._room()) > 0:
            self._give(self._journal.lease_rows(self._due_rows(now, room * each)))
        while self._again and self._again[0][0] <= now:
            self._.uploads.requeue(heapq.heappop(self._again)[2])
        if self._leasable and (room := self._room() - self._.uploads.count) > 0:
            leased = self._journal.lease(room * each, stage)
            self._leasable = len(leased) == room * each
            reach("leased")
            self._give(leased)
        if self._.uploads.count and (works := self._.uploads.work(max(0, self._executor.room()))):
            self._submit(works)
        if self._apart and self._alone is None:
            self._alone = self._apart.popleft()
            self._executor.submit([self._alone])

    def _room(self) -> int:
        """How many operations to hand out: few until one has worked, lest a wrong key cost a request for each file."""
        room = self._executor.room()
        hopeful = self._worked or self._.dry_run
        return room if hopeful else min(room, HOPELESS - self._executor.outstanding())

    def _due_rows(self, now: float, limit: int) -> list[int]:
        rows: list[int] = []
        while self._due and self._due[0][0] <= now and len(rows) < limit:
            rows.append(heapq.heappop(self._due)[1])
        return rows

    def _give(self, operations: list[Operation]) -> None:
        """Submit leased operations, the large ones by way of their parts, deletes in batches."""
        works: list[Work] = []
        deletes: list[Operation] = []
        if self._.dry_run:
            operations = self._only_looking(operations)
        for operation in operations:
            if self._suspects and self._suspects.get((operation.id, Step.WHOLE, 0)):
                operation = operation._replace(recheck=True)  # noqa: PLW2901
            self._leased[operation.id] = operation
            if self._in_parts(operation):
                self._.uploads.add(operation)
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
        """Hand out ``works``, but keep apart those that may have killed two workers."""
        if self._suspects:
            self._apart += [work for work in works if self._suspicion(work) >= _KILLS - 1]
            works = [work for work in works if self._suspicion(work) < _KILLS - 1]
        if works:
            self._executor.submit(works)

    def _suspicion(self, work: Work) -> int:
        return max(self._suspects.get(tag, 0) for tag in tags_of(work))

    def _only_looking(self, operations: list[Operation]) -> list[Operation]:
        """Those that have something to find out; the others are what the dry run would do."""
        looking = [each for each in operations if each.kind in (Kind.RECONCILE, Kind.REDIRECT)]
        told = [each for each in operations if each.kind not in (Kind.RECONCILE, Kind.REDIRECT)]
        for operation in told:
            self._.heard(operation, Result(operation.id))
            self._settled(operation)
        self._journal.settle([(State.SKIPPED, Result(operation.id)) for operation in told])
        return looking

    def _in_parts(self, operation: Operation) -> bool:
        large = operation.kind is Kind.UPLOAD and operation.size >= self._.multipart_threshold
        return bool(operation.upload_id) or (large and not self._.whole(operation))

    # --- taking back ------------------------------------------------------------------------

    def _take(self, news: News) -> None:
        outcomes: list[tuple[State, Result]] = []
        self._together.clear()
        if news.requests:
            self._journal.add_tally(requests=news.requests)
        if news.doubts:
            self._doubts.count(news.doubts)
        try:
            self._judge_all(news, outcomes)
        finally:  # what one result says of the whole job undoes nothing of what the others say of their own
            if outcomes:
                self._journal.settle(outcomes)
                reach("deleted" if self._stage == Stage.DELETE else "settled")
        if any(result.throttled for result in news.results):
            self._executor.narrow()

    def _judge_all(self, news: News, outcomes: list[tuple[State, Result]]) -> None:
        """Judge everything, also after one of them has stopped the job."""
        stopped: StoppedError | None = None
        judged = (partial(self._judge, result) for result in news.results)
        lost = (partial(self._lost, work) for work in news.lost)
        for judge in (*judged, *lost):
            try:
                outcomes += judge()
            except StoppedError as error:
                stopped = stopped or error
        if news.lost and not self._worked:
            self._deaths += 1
            if self._deaths >= _DEATHS and stopped is None:
                words = f"{_DEATHS} worker processes died before anything was done"
                stopped = self._stopped(words, "look for what ends them (memory?), then resume")
        if news.dropped:
            rows = [row for work in news.dropped for row, step, _ in tags_of(work) if step is Step.WHOLE]
            self._journal.put_back([row for row in rows if self._leased.pop(row, None)])
        if stopped is not None:
            raise stopped

    def _judge(self, result: Result) -> list[tuple[State, Result]]:
        if result.warning:
            self._journal.warn(result.warning)
        if self._alone is not None and (result.id, result.step, result.part) in tags_of(self._alone):
            self._alone = None
        if result.step is not Step.WHOLE:
            return self._judge_step(result)
        operation = self._leased.pop(result.id)
        if not result.error:
            return [self._good(operation, result)]
        return [self._bad(operation, result)]

    def _good(self, operation: Operation, result: Result) -> tuple[State, Result]:
        self._worked, self._last_good = True, time.monotonic()
        if self._.dry_run and result.become is not None:
            self._.heard(operation._replace(kind=result.become, reason=result.reason or operation.reason), result)
            self._settled(operation)
            return State.SKIPPED, result
        if result.become is Kind.UPLOAD:
            self._schedule(operation.id, 0.0)
            self._.totals.bytes_planned += operation.size
            return State.PENDING, result
        self._.heard(operation, result)
        looked = operation.kind in (Kind.RECONCILE, Kind.REDIRECT) and result.already
        self._settled(operation, unchanged=looked and operation.kind is Kind.RECONCILE)
        return (State.SKIPPED if looked else State.DONE), result

    def _settled(self, operation: Operation, *, unchanged: bool = False, failed: bool = False) -> None:
        totals = self._.totals
        self._open[operation.stage] -= 1
        totals.files_done += 1
        totals.unchanged += unchanged
        totals.failed += failed
        if operation.kind is Kind.UPLOAD:
            totals.bytes_done += operation.size

    def _bad(self, operation: Operation, result: Result) -> tuple[State, Result]:
        if result.code == "Changed":
            return self._changed(operation, result)
        more = operation.attempts + 1 < self._.tries
        if result.code in SIGNED_OUT and more:
            self._sign_in_again(result)
        if more and (result.retryable or result.code in SIGNED_OUT):
            self._journal.add_tally(retries=1)
            pause = back_off(operation.attempts + 1)
            if operation.kind is Kind.DELETE:
                pause = self._together.setdefault(operation.attempts, pause)
            self._schedule(operation.id, pause)
            return State.PENDING, result
        self._check_hope(result)
        self._settled(operation, failed=True)
        return State.FAILED, result

    def _schedule(self, row: int, seconds: float) -> None:
        heapq.heappush(self._due, (time.monotonic() + seconds, row))

    def _changed(self, operation: Operation, result: Result) -> tuple[State, Result]:
        """The file is not the one that was planned: plan it anew, unless it never comes to rest."""
        self._changes[operation.id] += 1
        fresh = self._.replan(operation) if self._changes[operation.id] < _CHANGES else None
        if fresh is None and operation.path.endswith("/"):
            self._settled(operation)  # a directory that could not be read and can be now: a resume walks it
            return State.SKIPPED, Result(operation.id)
        if fresh is None:
            self._settled(operation, failed=True)
            words = result.error if self._changes[operation.id] < _CHANGES else f"{result.error}, again and again"
            return State.FAILED, result._replace(error=words)
        self._journal.settle([(State.PENDING, result)])
        self._journal.add([fresh])
        self._schedule(operation.id, back_off(self._changes[operation.id]))
        return State.PENDING, result

    def _lost(self, work: Work) -> list[tuple[State, Result]]:
        """Its worker died. It goes again, after S3 has been asked, unless it seems to be the killer."""
        if self._alone is not None and tags_of(work) == tags_of(self._alone):
            self._alone = None
        for tag in tags_of(work):
            self._suspects[tag] += 1
        if work.step is Step.WHOLE:
            return [self._lost_row(row) for row, _, _ in tags_of(work) if row in self._leased]
        if self._suspicion(work) < _KILLS:
            self._.uploads.lost(work)
            return []
        row, step, part = tags_of(work)[0]
        upload_id = work.operation.upload_id
        return self._judge_step(Result(row, step, part, error=_KILLER, code=LOST, upload_id=upload_id))

    def _lost_row(self, row: int) -> tuple[State, Result]:
        operation = self._leased.pop(row)
        result = Result(row, error=_KILLER, code=LOST)
        if self._suspects[row, Step.WHOLE, 0] >= _KILLS:
            self._check_hope(result)
            self._settled(operation, failed=True)
            return State.FAILED, result
        self._schedule(row, 0.0)
        return State.PENDING, result

    # --- pieces of multipart uploads --------------------------------------------------------

    def _judge_step(self, result: Result) -> list[tuple[State, Result]]:
        uploads = self._.uploads
        if uploads.stale(result):
            return []
        if result.error and not uploads.mends(result):
            return self._bad_step(result)
        if result.error:
            return []
        self._worked, self._last_good = True, time.monotonic()
        verdict = uploads.take(result)
        if verdict is not None:
            return [self._verdict(verdict.operation, verdict.result)]
        if result.step is Step.PART:
            self._.totals.bytes_done += result.sent
            reach("part-settled")
            return [(State.DONE, result)]
        return []

    def _verdict(self, operation: Operation, result: Result) -> tuple[State, Result]:
        known = self._leased.pop(operation.id)
        if result.error and result.code == "Changed":
            return self._changed(known._replace(upload_id=""), result._replace(step=Step.WHOLE))
        if result.error:
            self._settled(operation, failed=True)
            return State.FAILED, result._replace(step=Step.WHOLE)
        self._.heard(operation, result)
        totals = self._.totals
        self._open[operation.stage] -= 1
        totals.files_done += 1
        reach("finished")
        return State.DONE, result

    def _bad_step(self, result: Result) -> list[tuple[State, Result]]:
        tag = (result.id, result.step, result.part)
        self._tries[tag] += 1
        more = self._tries[tag] < self._.tries
        if result.code in SIGNED_OUT and more:
            self._sign_in_again(result)
        elif result.code == "Changed" or not result.retryable or not more:
            if result.step is not Step.ABORT and result.code != "Changed":
                self._check_hope(result)
            verdict = self._.uploads.give_up(result)
            return [self._verdict(verdict.operation, verdict.result)] if verdict else []
        self._journal.add_tally(retries=1)
        work = self._.uploads.again(result)
        heapq.heappush(self._again, (time.monotonic() + back_off(self._tries[tag]), self._tries.total(), work))
        return []

    # --- when nothing can work --------------------------------------------------------------

    def _sign_in_again(self, result: Result) -> None:
        """Have everybody sign with credentials resolved anew: once for all who were refused with the old ones."""
        now = time.monotonic()
        renew = now >= self._refused_until
        credentials = self._.login.renewed() if renew else self._.login.current()
        if credentials is None:
            raise self._stopped(f"the credentials are refused ({result.error})", "sign in anew, then resume")
        if renew:
            self._refused_until = now + GRACE
        self._executor.sign_in_again(credentials)

    def _check_hope(self, result: Result) -> None:
        """Stop the job if what failed here for good tells that nothing else will fare better."""
        if result.fatal:
            raise self._stopped(result.error, "correct it, then resume")
        if result.code in _OF_ONE_FILE:
            return
        if result.retryable and time.monotonic() - self._last_good > GRACE:
            raise self._stopped(f"the endpoint is gone: {result.error}", "resume when it is back")
        self._refusals[result.code] += 1
        if not self._worked and self._refusals[result.code] >= HOPELESS:
            words = f"the first {HOPELESS} operations all failed alike: {result.error}"
            raise self._stopped(words, "correct it, then resume")

    def _stopped(self, message: str, hint: str) -> StoppedError:
        code = StoppedError.exit_code if self._worked else EndpointError.exit_code
        return StoppedError(message, exit_code=code, hint=hint)

    def _wind_down(self) -> None:
        """Let what is under way end, settle it, put the rest back."""
        until = time.monotonic() + GRACE
        self._executor.drain()
        try:
            while self._executor.outstanding() and time.monotonic() < until:
                self._take(self._executor.poll(0.1))
        except StoppedError:
            pass  # a second signal, or one more of what stopped us: now
        self._journal.release()


_OVER = object()
_OF_ONE_FILE = frozenset({"Changed", "Vanished", "BrokenLink", "Unreadable", "Busy"})
"""Reasons of ours that say nothing of the store, nor of any other file."""
_KILLER = "the worker process died while it worked on this (out of memory?)"
