"""Executors, which run workers: processes on this machine, this process itself, or a Dask cluster.

    worker ──Status: what it asks for──> executor ──WorkerState──> coordinator
           <──────────── Work ──────────          <──── give ─────

A worker asks for work that it can begin at once; the coordinator gives no more than that. All executors take
:class:`~s3batch.model.Work` and give back :class:`~s3batch.model.Result`. They do not know plan and journal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from s3batch.executors.worker_state import (
    Credit,
    Status,
    Tag,
    WorkerState,
    collect_work_tags,
    compute_work_weight,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from s3batch.model import Result, ShortRow, Work
    from s3batch.quirks import Quirks
    from s3batch.s3.sigv4 import Credentials
    from s3batch.s3.tally import Tally

__all__ = [
    "Credit",
    "Executor",
    "News",
    "Status",
    "Tag",
    "WorkerState",
    "collect_work_tags",
    "compute_work_weight",
    "count_outstanding",
]

BEAT = 0.25
"""Seconds between two messages of the coordinator to a worker."""
SILENCE = 15.0
"""Seconds without a report of a worker, in the coordinator's running time, after which it is replaced."""


class PollResult:
    """The results since the last poll."""

    def __init__(self, results: Iterable[Result] = (), dropped: Iterable[Work] = ()) -> None:
        self.results = list(results)
        self.stored: list[ShortRow] = []
        """Further results: of plain uploads, downloads and copies that worked."""
        self.dropped = list(dropped)
        """Handed back untouched: never begun."""
        self.lost: list[Work] = []
        """Begun by a worker that died; S3 may or may not have it."""
        self.deaths = 0
        """Workers that died."""
        self.warnings: list[str] = []
        self.requests: dict[str, int] = {}
        self.sent = 0
        """Bytes of bodies that were on the wire, of unfinished requests too."""
        self.overruled: dict[str, int] = {}
        """S3's codes of answers the native client left to boto3."""
        self.unheard: list[str] = []
        """Keys of writes that were sent and not answered."""
        self.is_served = False
        """True if the store has done something for a worker."""

    def __repr__(self) -> str:
        return f"PollResult({vars(self)})"

    def add_tally(self, tally: Tally) -> None:
        """Add what a worker's transport has told."""
        for mine, theirs in ((self.requests, tally.requests), (self.overruled, tally.overruled)):
            for name, number in theirs.items():
                mine[name] = mine.get(name, 0) + number
        self.unheard += tally.unheard

    def lose(self, worker: WorkerState) -> None:
        """Add the work of a dead worker."""
        begun, waiting = worker.parted()
        self.lost += begun
        self.dropped += waiting
        self.deaths += 1


class Executor(Protocol):
    """Runs workers."""

    def workers(self) -> Sequence[WorkerState]:
        """Return the workers that can take work; start them if there are none yet."""

    def dispatch(self, worker: WorkerState, works: list[Work]) -> None:
        """Hand ``works`` to a worker, which asked for them; never blocks for long."""

    def poll(self, timeout: float) -> PollResult:
        """Return the results that arrived; wait up to ``timeout`` seconds for one."""

    def update_credentials(self, credentials: Credentials) -> None:
        """Have the workers sign with these."""

    def update_source_credentials(self, credentials: Credentials) -> None:
        """Have the workers sign requests to a transfer's source with these."""

    def learn(self, quirks: Quirks) -> None:
        """Have the workers ask in the way that these quirks of the store want."""

    def throttle(self) -> None:
        """Tell all workers that the store asked one of them for fewer requests."""

    def drain(self) -> None:
        """Begin nothing more; hand back work that was not begun, finish the running operations."""

    def close(self) -> None:
        """Stop at once."""


def count_outstanding(workers: Sequence[WorkerState]) -> int:
    """Return how many pieces of work have no result yet; the deletes of one request are one."""
    return sum(len(worker.given) for worker in workers)


def format_hang_warning(worker: str, seconds: float, path: str) -> str:
    """Return the warning about a worker that is replaced because it hangs, perhaps in a read of ``path``."""
    file = f" while it read {path!r}" if path else ""
    return f"{worker} did not respond for {seconds:.3g} s{file}; it was replaced"


class RunningTime:
    """Seconds that this process has run: a moment in which it, or the machine, stood still counts as one second."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._last = clock()
        self._seconds = 0.0

    def __call__(self) -> float:
        """Return the seconds. Has to be called every second or oftener."""
        now = self._clock()
        self._seconds += min(1.0, now - self._last)
        self._last = now
        return self._seconds
