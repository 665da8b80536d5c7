"""The coordinator's view of one worker: work it asked for, was given, and has begun.

A worker asks in totals since its start ("up to 140 operations"), so that an answer that crosses new work on its way
cannot count anything twice. It begins work in the order in which it was given.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from s3batch.base.named_tuple import NamedTuple
from s3batch.model import (
    DELETED,
    DOWNLOAD,
    PART,
    RECONCILE,
    UPLOAD,
    WHOLE,
    WHOLE_OPERATION,
    SourceObject,
    Step,
)

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Sequence

    from s3batch.model import Operation, Result, ShortRow, Work

Tag = tuple[int, Step, int]
"""Row, step and part, which identify a piece of work and its result."""

CONTENT_IN_FLIGHT = 64 * 1024 * 1024
"""Bytes of content that a worker holds in memory at once; a single larger piece of work still goes."""
CONTENT_AHEAD = 16 * 1024 * 1024
"""Bytes of content that a worker asks for ahead, not yet read."""
KEYS_IN_FLIGHT = 2000
"""Keys of DeleteObjects requests that a worker holds at once."""
FIRST_WORKS = 64
"""Pieces of work that a worker asks for when it starts: they last for three rounds of a window that doubles from 8."""
BEGUN, CURRENT = 0, 1
"""Places in a worker's page: how many pieces of work it has begun, and the row that its loop is busy with (0: none)."""
_BLOCK = 1024 * 1024
"""Bytes that a comparison reads at a time."""


class Credit(NamedTuple):
    """The total that a worker may have been given since its start."""

    works: int = FIRST_WORKS
    content: int = CONTENT_IN_FLIGHT
    """Bytes, as :func:`compute_work_weight` counts them."""
    keys: int = KEYS_IN_FLIGHT


class Status(NamedTuple):
    """A worker's state, sent with each report and once a second at least."""

    begun: int
    """Pieces of work begun since its start."""
    credit: Credit
    stuck: str = ""
    """A file that a thread of it has waited for too long."""
    sent: int = 0
    """Bytes of bodies that it has sent or fetched since its start."""
    is_served: bool = False
    """True if the store has done plain work of it, also where that waits for something else."""


def collect_work_tags(work: Work) -> list[Tag]:
    """Return one tag for each result that will come of ``work``."""
    if work.keys:
        return [(row, WHOLE, 0) for row in work.rows]
    return [(work.operation.id, work.step, work.parts[0].number if work.step is Step.PART else 0)]


def count_begun_pieces(work: Work) -> int:
    """Return by how many pieces a worker's count grows that begins all of ``work``."""
    return len(work.files) or 1


def is_server_copy(operation: Operation) -> bool:
    """Return whether the store copies the object of an operation, or two HEADs compare it."""
    spec = operation.spec
    return spec is not None and type(spec) is SourceObject and not spec.streamed


def compute_work_weight(work: Work) -> int:
    """Return the bytes of content that carrying it out holds in memory, a gzip'd file not considered."""
    operation, step = work.operation, work.step
    if is_server_copy(operation):
        return 0
    if step is WHOLE:
        return min(_BLOCK, operation.size) if operation.kind is RECONCILE else operation.size
    return work.parts[0].size if step is PART else 0


class WorkerState:
    """Keeps the work of one worker. Belongs to the coordinator's thread."""

    __slots__ = ("begun", "credit", "given", "name", "sent", "totals")

    def __init__(self, name: str) -> None:
        self.name = name
        self.credit = Credit()
        self.begun = 0
        self.sent = 0
        """Bytes of bodies on the wire, as far as it has told."""
        self.totals = [0, 0, 0]
        """Works, bytes and keys given since its start."""
        self.given: dict[Tag, Work] = {}
        """Work without a result, in the order in which it was given. Deletes of one request are under their first row."""

    @property
    def capacity(self) -> int:
        """The number of pieces of work it asks for."""
        return max(0, self.credit.works - self.totals[0])

    @property
    def content_room(self) -> int:
        """The bytes of content it asks for."""
        return max(0, self.credit.content - self.totals[1])

    @property
    def keys_room(self) -> int:
        """The number of keys to delete it asks for."""
        return max(0, self.credit.keys - self.totals[2])

    def fits(self, work: Work, weight: int) -> bool:
        """Return whether the worker asks for ``work``. One that has nothing takes any single piece."""
        if not self.given:
            return True
        (works, content, keys), (most_works, most_content, most_keys) = self.totals, self.credit
        if works >= most_works or weight > max(0, most_content - content):
            return False
        return not work.keys or len(work.keys) <= most_keys - keys

    def dispatch(self, work: Work, weight: int) -> None:
        """Note that it has ``work``."""
        totals = self.totals
        totals[0] += len(work.files) or 1
        totals[1] += weight
        if work.keys:
            totals[2] += len(work.keys)
        self.given[work.operation.id, work.step, work.parts[0].number if work.step is PART else 0] = work

    def take_from(self, ready: deque[Work], most: int) -> list[Work]:
        """Take work that it asks for from the front of ``ready``, no more than ``most`` pieces; return it."""
        works: list[Work] = []
        totals, given, (most_works, most_content, _) = self.totals, self.given, self.credit
        while ready and len(works) < most:
            work = ready[0]
            operation = work.operation
            has_content = operation.kind is UPLOAD or operation.kind is DOWNLOAD
            if work[1:] == WHOLE_OPERATION and (has_content or is_server_copy(operation)):
                row, size = operation.id, operation.size if has_content else 0  # nearly all: no further calls
                if given and (totals[0] >= most_works or size > max(0, most_content - totals[1])):
                    break
                totals[0] += 1
                totals[1] += size
                given[row, WHOLE, 0] = work
            else:
                weight = compute_work_weight(work)
                if not self.fits(work, weight):
                    break
                self.dispatch(work, weight)
            works.append(ready.popleft())
        return works

    def on_results(self, results: Sequence[Result], status: Status, stored: Sequence[ShortRow] = ()) -> int:
        """Note the results, and the work it asks for now; return the bytes on the wire since the last time.

        All results of one request come together, and one of them is that of its first row.
        """
        given = self.given
        for short in stored:
            given.pop((short[-1], WHOLE, 0), None)
        for result in results:
            given.pop((result.id, WHOLE if result.step is DELETED else result.step, result.part), None)
        self.begun, self.credit = status.begun, status.credit
        more, self.sent = max(0, status.sent - self.sent), max(self.sent, status.sent)
        return more

    def take_back(self, works: list[Work]) -> None:
        """Note that it will not begin these."""
        for work in works:
            self.totals[0] -= count_begun_pieces(work)
            for tag in collect_work_tags(work):
                self.given.pop(tag, None)

    def find_path(self, row: int) -> str:
        """Return the path of the work for that row of the journal, or of that file of a comparison; empty for none."""
        for (of, _, _), work in self.given.items():
            if of == row:
                return work.operation.path
            if work.files and of - len(work.files) < row < of:
                return work.files[of - row].path
        return ""

    def parted(self) -> tuple[list[Work], list[Work]]:
        """Return the work that it has begun, in part at least, and the work that it has not."""
        works = list({id(work): work for work in self.given.values()}.values())
        begun, waiting = len(works), self.totals[0] - self.begun
        while begun and (pieces := count_begun_pieces(works[begun - 1])) <= waiting:
            begun -= 1
            waiting -= pieces
        return works[:begun], works[begun:]
