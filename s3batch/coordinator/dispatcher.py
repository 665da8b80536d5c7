"""Leases operations from the journal and gives them to workers that ask: large files in parts, deletes in batches.

    journal ─lease→ ready ─dispatch→ worker      nothing is bound to a worker beyond what it asked for

A ready operation is leased and bound to no worker. It was never begun, so it can be released unchanged.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from s3batch.base.failpoints import reach_failpoint
from s3batch.coordinator.comparisons import Comparisons
from s3batch.coordinator.leased_deletes import LeasedDeletes
from s3batch.executors import collect_work_tags, compute_work_weight, count_outstanding
from s3batch.model import DELETE, DOWNLOAD, TRANSFER, UPLOAD, PlannedDeletes, Stage, Step, Work, make_whole_work
from s3batch.s3.requests import fits_xml

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from s3batch.coordinator.circuit_breaker import CircuitBreaker
    from s3batch.coordinator.deps import CoordinatorDeps
    from s3batch.coordinator.quarantine import Quarantine
    from s3batch.coordinator.retry_queue import RetryQueue
    from s3batch.executors import WorkerState
    from s3batch.model import Operation

KEYS_OUT = 4_000
"""Keys to delete that are leased at once, over all workers: that many a kill leaves to be looked at."""
CARRIED = frozenset({UPLOAD, DOWNLOAD, TRANSFER})
"""Kinds whose size is content that travels."""
ENOUGH = 4_000
"""Operations in the journal that wait for a worker: with so many, planning pauses.

With one more batch of them the journal keeps them in memory (:attr:`s3batch.journal.limits.JournalLimits.fresh`).
"""
_MUCH = 64
"""Operations that are given to workers before more is planned."""
_TOLD_AT_ONCE = 1000
"""Operations that a dry run settles in one turn."""


class Dispatcher:
    """Gives workers leased operations. It judges nothing."""

    def __init__(
        self,
        deps: CoordinatorDeps,
        retries: RetryQueue,
        quarantine: Quarantine,
        breaker: CircuitBreaker,
        settle_early: Callable[[list[Operation]], list[Operation]],
    ) -> None:
        """``settle_early`` settles operations that need not be carried out, and returns the others."""
        self.leased: dict[int, Operation] = {}
        """Operations that are leased and not settled, by row."""
        self.deletes = LeasedDeletes(self.leased)
        """Deletes that are leased and not settled, while nothing is said of a single one."""
        self.more = False
        """True while the journal may hold operations of the stage at work that no lease has passed."""
        self.unleased = 0
        """The approximate number of those."""
        self.leased_count = 0
        """The number of operations that leases by order have handed out."""
        self.comparisons = Comparisons(deps.journal)
        self._stage = Stage.MAIN
        self._ready: deque[Work] = deque()
        self._deps = deps
        self._retries = retries
        self._quarantine = quarantine
        self._breaker = breaker
        self._settle_early = settle_early

    # --- the work to do -----------------------------------------------------------------------

    @property
    def has_enough(self) -> bool:
        """True if so many operations wait for a worker that planning may pause."""
        if self._stage == Stage.DELETE and not self._deps.dry_run:
            return self.count_room(Stage.DELETE) < self._deps.delete_batch  # so all are leased as they are planned
        return self.unleased + self.comparisons.waiting >= self._deps.enough

    @property
    def has_nothing(self) -> bool:
        """True if nothing is leased, waits for a retry, or may be leased."""
        waits = self._retries.delay() is not None or bool(self._deps.uploads.count or self.comparisons.open)
        return not (self.more or self.leased or self.deletes or waits)

    @property
    def is_idle(self) -> bool:
        """True if the next lease need not wait for a worker."""
        waits = self.more or self.comparisons.waiting > 0
        return waits and not self._ready and not count_outstanding(self._deps.executor.workers())

    @property
    def is_due(self) -> bool:
        """True if there is something for workers, and they have nothing, or ask for much of it."""
        waits, workers = self._ready or self.more or self.comparisons.waiting, self._deps.executor.workers()
        if not waits or not count_outstanding(workers):
            return bool(waits)
        waiting = len(self._ready) + (self.unleased if self.more else 0)
        return min(waiting, sum(worker.capacity for worker in workers)) >= _MUCH

    def begin_stage(self, stage: int, count: int) -> None:
        """Begin a stage with ``count`` open operations."""
        self._stage, self.more, self.unleased = stage, count > 0, count

    def note_added(self, count: int) -> None:
        """Note that ``count`` operations of the current stage were added, and not leased."""
        self.unleased += count
        self.more = self.more or count > 0

    def capacity(self) -> int:
        """Return how many more operations to lease now."""
        workers = self._deps.executor.workers()
        room = sum(worker.capacity for worker in workers) - len(self._ready) - self._deps.uploads.count
        if self._deps.dry_run:
            return max(room, _TOLD_AT_ONCE - len(self._ready))
        return self._breaker.allow(room, count_outstanding(workers) + len(self._ready))

    # --- leasing ------------------------------------------------------------------------------

    def hand_out(self, stage: int) -> None:
        """Give workers operations that are due or pending, as far as they ask for them."""
        uploads = self._deps.uploads
        for work in self._retries.take_works():
            uploads.requeue(work)
        if self._retries.row_is_due and (room := self.count_room(stage)) > 0:
            self.prepare(self._deps.journal.operations.lease_rows(self._retries.take_rows(room)))
        if self.more and (room := self.count_room(stage)) > 0:
            leased = self._deps.journal.operations.lease(room, stage)
            self._count_taken(leased)
            self.leased_count += len(leased)
            self.more = len(leased) == room
            self.unleased = max(0, self.unleased - len(leased)) if self.more else 0
            reach_failpoint("leased")
            self.prepare(leased)
        if self._ready or uploads.count or self._quarantine.waits or self.comparisons.waiting:
            self._give_all()

    def _count_taken(self, leased: list[Operation]) -> None:
        """Count the content of operations that an earlier run had planned: only now their sizes are known."""
        is_taken = self._deps.journal.operations.is_taken
        if leased and is_taken(leased[0].id):
            taken = [each.size for each in leased if each.kind in CARRIED and is_taken(each.id)]
            self._deps.totals.bytes_planned += sum(taken)

    def count_room(self, stage: int) -> int:
        """Return how many rows to lease: of deletes as many as make whole batches."""
        if stage != Stage.DELETE or self._deps.dry_run:
            return self.capacity()
        workers = self._deps.executor.workers()
        held = sum(len(work.keys) or 1 for work in self._ready)
        held += sum(len(work.keys) or 1 for worker in workers for work in worker.given.values())
        keys = min(self._deps.keys_out - held, sum(worker.keys_room for worker in workers))
        return 0 if self.capacity() <= 0 or (held and keys < self._deps.delete_batch) else max(0, keys)

    def prepare(self, operations: list[Operation]) -> None:
        """Make work of leased operations."""
        deletes: list[Operation] = []
        quarantine, leased, alone = self._quarantine, self.leased, self._deps.deletes_alone
        is_calm, small = not quarantine.is_in_use, self._deps.uploads.sizes.find_least(self._deps.multipart_threshold)
        for operation in self._settle_early(operations):
            plain = is_calm and operation.size < small and not operation.upload_id
            if plain and (operation.kind is UPLOAD or operation.kind is DOWNLOAD or operation.kind is TRANSFER):
                leased[operation.id] = operation  # nearly all of a first run
                self._ready.append(make_whole_work(operation))
                continue
            together = operation.kind is DELETE and not (alone or operation.is_in_doubt) and fits_xml(operation.key)
            if quarantine.is_in_use and quarantine.is_suspect((operation.id, Step.WHOLE, 0)):
                operation = operation._replace(recheck=True)  # noqa: PLW2901
            leased[operation.id] = operation
            if self._goes_in_parts(operation):
                self._deps.uploads.add(operation)
            elif together:
                deletes.append(operation)
            else:
                self._add(Work(operation))
        self._add_deletes(deletes)

    def prepare_orphans(self, deletes: PlannedDeletes, rows: range) -> None:
        """Make work of deletes that were leased as they were planned: as :meth:`prepare`, without a look at each."""
        alone = self._quarantine.is_in_use or self._deps.deletes_alone or self._deps.has_file is not None
        if alone or len(rows) > self._deps.delete_batch or not fits_xml("".join(deletes.keys)):
            self.prepare(deletes.make_operations(rows))
            return
        self._add(self.deletes.add(deletes, rows))

    def _add_deletes(self, deletes: list[Operation]) -> None:
        """Make work of deletes that go together."""
        size = self._deps.delete_batch
        for at in range(0, len(deletes), size):
            batch = deletes[at : at + size]
            rows = tuple([each.id for each in batch])
            keys, etags = tuple([each.key for each in batch]), tuple([each.etag for each in batch])
            times = tuple([each.stamp.mtime_ns for each in batch])
            self._add(Work(batch[0], keys=keys, rows=rows, etags=etags, times=times))

    def _goes_in_parts(self, operation: Operation) -> bool:
        if operation.kind is TRANSFER:
            return bool(operation.upload_id) or operation.size >= self._deps.uploads.sizes.find_threshold(operation)
        large = operation.kind in (UPLOAD, DOWNLOAD) and operation.size >= self._deps.multipart_threshold
        return bool(operation.upload_id) or (large and not self._deps.whole(operation))

    def _add(self, work: Work) -> None:
        if not (self._quarantine.is_in_use and self._quarantine.withhold(work)):
            self._ready.append(work)

    # --- giving -------------------------------------------------------------------------------

    def _give_all(self) -> None:
        workers = self._deps.executor.workers()
        self._give_suspects(workers)
        free = sorted([each for each in workers if not self._quarantine.uses(each)], key=_compute_capacity)
        self._take_parts(free)
        for index, worker in enumerate(free):  # what one does not ask for is left to those that ask for more
            share = len(self._ready) // (len(free) - index)
            self._dispatch_share(worker, share)
        if self.comparisons.waiting:
            self._give_files(free[::-1])
        reach_failpoint("dispatched")

    def _take_parts(self, workers: Sequence[WorkerState]) -> None:
        """Have as many pieces of large files ready as workers ask for."""
        uploads = self._deps.uploads
        if not uploads.count:
            return
        room = sum(each.capacity for each in workers) - len(self._ready)
        fitting = sum(-(-each.content_room // uploads.sizes.part_size) for each in workers)
        for work in uploads.work(max(0, min(room, fitting + len(workers)))):
            self._add(work)

    def _dispatch_share(self, worker: WorkerState, share: int) -> None:
        works = worker.take_from(self._ready, share)
        if works:
            self._deps.executor.dispatch(worker, works)

    def _give_files(self, workers: Sequence[WorkerState]) -> None:
        """Give workers files to compare, as far as they ask for more than operations."""
        comparisons = self.comparisons
        room = self.capacity() if comparisons.asks else sum(each.capacity for each in workers)
        for index, worker in enumerate(workers):
            most = min(worker.capacity, room, -(-comparisons.waiting // (len(workers) - index)))
            works = []
            while most > 0:
                work = comparisons.make_work(most)
                worker.dispatch(work, 0)
                works.append(work)
                most -= len(work.files)
                room -= len(work.files)
            if works:
                self._deps.executor.dispatch(worker, works)

    def _give_suspects(self, workers: Sequence[WorkerState]) -> None:
        """Give each suspect to a worker that has nothing else, and gets nothing else."""
        for worker, work in self._quarantine.assign(workers):
            worker.dispatch(work, compute_work_weight(work))
            self._deps.executor.dispatch(worker, [work])

    # --- taking back --------------------------------------------------------------------------

    def take_back(self, works: list[Work]) -> None:
        """Take back work that a worker had not begun, to give it to another."""
        for work in works:
            if work.files:
                self.comparisons.take_back(work)
            else:
                self._add(work)

    def put_back(self) -> None:
        """Release leased operations that no worker has begun: no request for them was sent."""
        self.comparisons.clear()
        works = [*self._ready, *self._quarantine.clear()]
        self._ready.clear()
        rows = [row for work in works for row, step, _ in collect_work_tags(work) if step is Step.WHOLE]
        self.deletes.unfold(rows)
        self._deps.journal.operations.put_back([row for row in rows if self.leased.pop(row, None)])


def _compute_capacity(worker: WorkerState) -> int:
    return worker.capacity
