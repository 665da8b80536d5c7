"""Runs work on a transport: as many pieces at once as the store and the memory take. The inside of every worker.

It asks for work that it can begin soon: as much as the window has room for, and as much as it recently began in the
time that asking takes. Of small files, objects and copies it asks for another window: a round trip ends them together.
Files of up to 1 MiB are read on the event loop, which costs less than handing them to a thread. A read that hangs (NFS)
stops the worker's reports. Larger ones are read, hashed and compressed on threads, a block at a time: the worker tells
of a block that does not come. The coordinator replaces a worker in either case.
"""

from __future__ import annotations

import resource
import time
from collections import deque
from functools import partial
from typing import TYPE_CHECKING

from s3batch.base.failpoints import reach_failpoint
from s3batch.executors import Credit, Status, compute_work_weight
from s3batch.executors.window_stretch import WindowStretch
from s3batch.executors.worker_state import (
    BEGUN,
    CONTENT_AHEAD,
    CONTENT_IN_FLIGHT,
    CURRENT,
    FIRST_WORKS,
    KEYS_IN_FLIGHT,
)
from s3batch.model import PART, Kind, Step
from s3batch.s3.lazy_boto import make_boto_sender
from s3batch.s3.transport import Transport
from s3batch.worker.context import Tools
from s3batch.worker.plain_upload import PlainUploads

if TYPE_CHECKING:
    from collections.abc import Callable, MutableSequence

    from s3batch.model import Result, Work
    from s3batch.quirks import Quirks
    from s3batch.s3.congestion_window import CongestionWindow
    from s3batch.s3.sigv4 import Credentials
    from s3batch.worker.bulk import BulkComparison
    from s3batch.worker.context import Brief
    from s3batch.worker.plain_work import PlainWorks

LEAD = 0.05
"""Seconds that asking for work takes on one machine: results are gathered, the coordinator plans a little."""
_LEAD_MOST = 0.5
"""The same at most, on a machine with much else to do."""
_MOST_AHEAD = 512
_GROWTH = 4
"""The window may grow by this factor until the work arrives that is asked for now."""
_MOST_PARKED = 512
"""Coroutines that wait for the disk while others are begun. If the worker dies, each is tried again alone."""
_MEASURE_EVERY = 0.1
"""Seconds over which the rate is measured."""
_STRETCHED = 2
"""The factor by which a worker may exceed its limit of requests in flight where nothing but their number limits it."""
_OTHER_DESCRIPTORS = 20
"""The source, a file being read, the coordinator's socket, standard streams, and what Python opens now and then."""
_READ_WHOLE = (Kind.UPLOAD, Kind.RECONCILE)


class WorkerLoop:
    """Takes work, turns its loop, gives results. One thread."""

    def __init__(
        self, brief: Brief, page: MutableSequence[int] | None = None, *, lead: float = LEAD,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        """``page`` shows others what this worker does, even after it has died; ``lead`` is in seconds."""
        limit = min(brief.limit, _count_connections())
        self.transport = Transport(brief.endpoint, make_boto_sender, limit=limit, bandwidth=brief.bandwidth)
        if brief.source is not None:
            Transport(brief.source.endpoint, make_boto_sender, target=self.transport)
        self.results: list[Result] = []
        """The results; their reader clears the list."""
        self._page = self.transport.loop.page = [0, 0] if page is None else page
        self.lead = lead
        self._clock = clock
        self._tools = Tools(brief)
        self._tools.writes = self.transport.writes
        self._plain = _choose_plain_works(brief)(
            self._tools, self.transport.plain, self.transport.loop.clock, self._stored, self._ended
        )
        self._stretch = _make_stretch(brief, self.transport.window, clock)
        self._compresses = brief.rules.compresses
        self._backlog: deque[tuple[Work, int]] = deque()
        """The works that wait, with their weights."""
        self._files: deque[tuple[BulkComparison, int]] = deque()
        """Files to compare, each with its place in its comparison."""
        self._received = [0, 0, 0]
        """Works, bytes and keys received in all."""
        self._weight = self._heavy = self._keys = 0
        """Bytes held by the work that was begun, bytes of all work received, and its keys."""
        self._ended_works = self._counted_works = 0
        self._counted_at = clock()
        self._rate = 0.0
        """Pieces of work a second, while there was enough to do."""
        self._plain_seconds = 0.0
        """How long the last plain work took; 0 before there was any."""
        self._halted = False
        """True if the store refuses all requests: begin nothing until the coordinator responds to that."""
        self.note_contact()

    @property
    def busy(self) -> bool:
        """True if operations run or wait."""
        return bool(self._backlog or self._files) or self.transport.loop.active > 0

    @property
    def hungry(self) -> bool:
        """True if it could begin more work than it has."""
        return not (self._backlog or self._files) and self.transport.has_capacity

    def note_contact(self) -> None:
        """Note that the coordinator is there."""
        self.transport.writes.open(self._clock() + self._tools.brief.forsaken_after)

    def note_wait(self, seconds: float) -> None:
        """Note how long ago it asked for the work that comes now: if it ran dry, it asks for more from now on."""
        wait = 2 * seconds if self.hungry else 0.0
        self.lead = min(_LEAD_MOST, wait) if wait > self.lead else max(LEAD, (self.lead + wait) / 2)

    def take(self, works: list[Work]) -> None:
        """Queue ``works`` and begin as many as there is room for."""
        received = self._received
        for work in works:
            received[0] += len(work.files) or 1  # count_begun_pieces, without a call for each
            if work.files:
                self._queue_files(work)
                continue
            weight = compute_work_weight(work)
            received[1] += weight
            self._heavy += weight
            received[2] += len(work.keys)
            self._keys += len(work.keys)
            self._backlog.append((work, weight))
        self._begin()

    def _queue_files(self, work: Work) -> None:
        from s3batch.worker.bulk import BulkComparison  # noqa: PLC0415 - a first upload compares nothing

        comparison = BulkComparison(work)
        self._files += [(comparison, index) for index in range(len(work.files))]

    def status(self) -> Status:
        """Return the status: work begun, and work asked for."""
        self._measure_speed()
        loop = self.transport.loop
        capacity = int(self.transport.window.size) - loop.active + min(loop.parked, _MOST_PARKED)
        free = 0 if self._halted else capacity + self._ahead() - len(self._backlog) - len(self._files)
        works, content, keys = self._received
        credit = Credit(
            works + max(0, free),
            content + max(0, CONTENT_IN_FLIGHT + CONTENT_AHEAD - self._heavy),
            keys + max(0, KEYS_IN_FLIGHT - self._keys),
        )
        return Status(
            self._page[BEGUN],
            credit,
            self._tools.source.find_stuck(self._tools.brief.stuck_after),
            self.transport.wire[0],
            self._plain.served_within > 0,
        )

    def _ahead(self) -> int:
        """Return how many pieces of work it will begin before more can arrive."""
        window, expected = self.transport.window, self._rate * self.lead
        # the rate is that of a smaller window, or of one that waited for work
        if seconds := self._plain_seconds or self._plain.served_within:
            rounds = min(1.0, self.lead / seconds)
            expected = max(expected, rounds * min(window.limit, _GROWTH * window.size))
        return min(_MOST_AHEAD, max(1, int(expected)))

    def _measure_speed(self) -> None:
        now = self._clock()
        elapsed = now - self._counted_at
        if elapsed < _MEASURE_EVERY:
            if not self._rate:  # at the start the rate is that of the work done so far
                self._rate = min(FIRST_WORKS, self._ended_works) / self.lead
            return
        rate = (self._ended_works - self._counted_works) / elapsed
        if rate > self._rate:
            self._rate = rate
        elif not self.hungry:  # else there was too little to do: it would ask for ever less
            self._rate = (self._rate + rate) / 2
        self._counted_works, self._counted_at = self._ended_works, now

    def update_source_credentials(self, credentials: Credentials) -> None:
        """Sign requests to a transfer's source with these from now on."""
        if self.transport.source is not None:
            self.transport.source.update_credentials(credentials)
        self._halted = False
        self._begin()

    def update_credentials(self, credentials: Credentials) -> None:
        """Sign with these from now on."""
        self.transport.update_credentials(credentials)
        self._tools.brief = self._tools.brief._replace(endpoint=self.transport.endpoint)
        self._halted = False
        self._begin()

    def learn(self, quirks: Quirks) -> None:
        """Ask in the way that these quirks of the store want, beside those found here."""
        self._tools.learn(quirks)

    def drop(self) -> list[Work]:
        """Return the work that was not begun, and drop it."""
        dropped = list(self._backlog)
        self._backlog.clear()
        for work, weight in dropped:
            self._received[0] -= 1
            self._heavy -= weight
            self._keys -= len(work.keys)
        return [work for work, _ in dropped] + self._drop_files()

    def _drop_files(self) -> list[Work]:
        """Drop the comparisons that were not begun, and return those of which no file was."""
        dropped = []
        for comparison in dict.fromkeys(comparison for comparison, _ in self._files):
            if comparison.begun:
                comparison.left -= len(comparison.work.files) - comparison.begun
                self._received[0] -= len(comparison.work.files) - comparison.begun
                self._end_comparison(comparison)
            else:
                self._received[0] -= len(comparison.work.files)
                dropped.append(comparison.work)
        self._files.clear()
        return dropped

    def turn(self, timeout: float) -> None:
        """Run the loop for up to ``timeout`` seconds, then begin as much work as there is room for."""
        self.transport.turn(timeout)
        self._begin()

    def _begin(self) -> None:
        backlog, transport, page = self._backlog, self.transport, self._page
        wanted = not self._halted and transport.writes.is_open
        while wanted and backlog and transport.has_capacity:
            work, weight = backlog[0]
            held = self._memory_of(work, weight) if self._compresses else weight
            if self._weight and self._weight + held > CONTENT_IN_FLIGHT:
                break
            backlog.popleft()
            self._weight += held
            page[BEGUN] += 1
            reach_failpoint("part-sending" if work.step is PART else "sending")
            page[CURRENT] = work.operation.id
            if not self._plain.begin(work):
                ended = partial(self._ended, held, weight, len(work.keys))
                self._start_general(work, ended)
        if wanted and self._files:
            self._compare_files()
        page[CURRENT] = 0

    def _start_general(self, work: Work, ended: Callable[[list[Result]], None]) -> None:
        from s3batch.worker.dispatch import begin_work  # noqa: PLC0415 - most work is plain

        self.transport.loop.start(begin_work(work, self._tools), ended, work.operation.id)

    def _compare_files(self) -> None:
        from s3batch.worker.bulk import compare_alike, compare_on_record  # noqa: PLC0415 - as above

        files, transport, page, tools = self._files, self.transport, self._page, self._tools
        while files and transport.has_capacity:
            comparison, index = files.popleft()
            comparison.begun += 1
            page[BEGUN] += 1
            reach_failpoint("sending")
            file, number = comparison.work.files[index], comparison.work.operation.id - index
            page[CURRENT] = number
            if (date := compare_on_record(file, tools)) is not None:
                self._compared(comparison, index, date)
                continue
            transport.loop.start(compare_alike(file, tools), partial(self._compared, comparison, index), number)

    def _compared(self, comparison: BulkComparison, index: int, date: float) -> None:
        comparison.end_file(index, date)
        self._ended_works += 1
        self._end_comparison(comparison)

    def _end_comparison(self, comparison: BulkComparison) -> None:
        if not comparison.left:
            self.results.append(comparison.make_result())

    def _memory_of(self, work: Work, weight: int) -> int:
        """Return the bytes that work holds: of a file sent as gzip the content and its compressed form."""
        if work.step is Step.WHOLE and work.operation.kind in _READ_WHOLE:
            attributes = self._tools.brief.rules.attributes(work.operation.path)
            return 2 * work.operation.size if attributes.gzip else weight
        return weight

    def _stored(self, result: Result) -> None:
        """Take the result of plain work that was done."""
        self._plain_seconds = result.seconds
        self._weight -= result.sent
        self._heavy -= result.sent
        self._ended_works += 1
        if self._stretch is not None:
            self._stretch.note(result.seconds)
        tools = self._tools
        self.results.append(tools.add_news(result) if tools.news else result)
        reach_failpoint("stored")

    def _ended(self, held: int, weight: int, keys: int, results: list[Result]) -> None:
        self._weight -= held
        self._heavy -= weight
        self._keys -= keys
        self._ended_works += 1
        for result in results:
            self._halted = self._halted or result.fatal
        self.results += results
        reach_failpoint(_POINTS.get(results[0].step, "stored"))


def _choose_plain_works(brief: Brief) -> type[PlainWorks]:
    """Return the class that begins the plain work of a job."""
    if brief.target is not None:
        from s3batch.worker.plain_fetch import PlainFetches  # noqa: PLC0415 - an upload does not pay for it

        return PlainFetches
    if brief.source is None:
        return PlainUploads
    from s3batch.worker.plain_transfer import PlainTransfers  # noqa: PLC0415 - few jobs read from S3

    return PlainTransfers


def _make_stretch(brief: Brief, window: CongestionWindow, clock: Callable[[], float]) -> WindowStretch | None:
    """Return what stretches the window of a worker, if it may have more requests in flight than its limit."""
    most = min(_STRETCHED * window.limit, _count_connections())
    streams = brief.source is not None and not brief.source.copies  # in threads, which are few
    if not brief.stretches or streams or most <= window.limit:
        return None
    return WindowStretch(window, most, clock, time.thread_time)


def _count_connections() -> int:
    """Return the number of connections this process may open, beside its other descriptors."""
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return max(1, soft - _OTHER_DESCRIPTORS)


_POINTS = {Step.PART: "part-stored", Step.BEGIN: "upload-begun", Step.FINISH: "completed"}
