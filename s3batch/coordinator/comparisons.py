"""Files that are probably equal to their objects: compared in bulk, without a row in the journal for each.

    plan ─add→ waiting ─make_work→ worker ─> equal ──────────> a fact in the journal
                                          └> not known to be ─> an operation, with a row, as for any other file

A comparison changes nothing in the bucket, so nothing is lost with it: the next job's walk finds the file again.
"""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import TYPE_CHECKING

from s3batch.base.named_tuple import NamedTuple
from s3batch.model import COMPARE, Work

if TYPE_CHECKING:
    from collections.abc import Iterable

    from s3batch.journal import Journal
    from s3batch.model import Comparison, Operation, Result

AT_ONCE = 200
"""Files of one piece of work: so few that a worker tells of them several times in the time of asking for more."""
_TRIED = 100
"""Comparisons after which their share of equal files counts."""
_FACTS_AT_ONCE = 2000
"""Facts of one transaction: each commit costs as much as ten of them."""


class SettledFiles(NamedTuple):
    """What came of one piece of work."""

    equal: int
    asked: bool
    """True if S3 has told so of one of them."""
    sent_before: int
    """The number of equal ones that were sent by a job which this one continues."""
    others: list[Operation]
    """The operations of files that are not known to be equal."""


class Comparisons:
    """The files of one job that wait for their comparison, or are compared. Belongs to the coordinator's thread."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._waiting: deque[Comparison] = deque()
        self._given: dict[int, list[Comparison]] = {}
        """The comparisons of a work, by its number."""
        self._next = -1
        """Numbers are negative, so that none is that of a row."""
        self.open = 0
        """Files whose comparison has not ended."""
        self._ended = self._equal = 0
        """Comparisons that have ended, and those of them that found a file equal."""
        self._facts: list[tuple[Comparison, float]] = []
        """Equal files, each with the date of its object, not yet in the journal. After a kill they are compared again."""

    @property
    def waiting(self) -> int:
        """The number of files that wait for a worker."""
        return len(self._waiting)

    def add(self, files: Iterable[Comparison]) -> None:
        """Have these files compared."""
        before = len(self._waiting)
        self._waiting.extend(files)
        self.open += len(self._waiting) - before

    @property
    def pay_off(self) -> bool:
        """True unless most files turn out not to be equal: each of these has been compared in vain, with a HEAD perhaps."""
        return self._ended < _TRIED or 2 * self._equal >= self._ended

    @property
    def asks(self) -> bool:
        """True if the next file that waits costs a request."""
        return self._waiting[0].file.checksum is None

    def make_work(self, most: int) -> Work:
        """Return work of up to ``most`` files that wait; there has to be one."""
        taken = list(islice(self._waiting, min(most, AT_ONCE)))
        for _ in taken:
            self._waiting.popleft()
        number = self._next
        self._given[number] = taken
        self._next -= len(taken)
        return Work(taken[0].to_operation()._replace(id=number), COMPARE, files=tuple([each.file for each in taken]))

    def take_back(self, work: Work) -> None:
        """Take back work that a worker has not begun."""
        self._waiting.extendleft(reversed(self._given.pop(work.operation.id)))

    def lose(self, work: Work) -> list[Operation]:
        """Return the operations of files whose worker died: each is tried by itself."""
        lost = self._given.pop(work.operation.id)
        self.open -= len(lost)
        return [each.to_operation() for each in lost]

    def settle(self, result: Result) -> SettledFiles:
        """Record which files are equal."""
        from s3batch.worker.bulk import ON_RECORD, UNKNOWN, read_dates  # noqa: PLC0415 - a first upload compares nothing

        files = self._given.pop(result.id)
        self.open -= len(files)
        ended = list(zip(files, dates := read_dates(result), strict=True))
        equal = [each for each in ended if each[1] != UNKNOWN] if UNKNOWN in dates else ended
        self._ended += len(files)
        self._equal += len(equal)
        self._facts += equal
        if len(self._facts) >= _FACTS_AT_ONCE or not self.open:
            self.write_facts()
        before = self._journal.facts.find_done_before([file.key for (file, _), _ in equal])
        others = [each.to_operation() for each, date in ended if date == UNKNOWN] if len(equal) < len(files) else []
        return SettledFiles(len(equal), any(date > ON_RECORD for date in dates), len(before), others)

    def write_facts(self) -> None:
        """Have the journal hold what is known of equal files."""
        facts, self._facts = self._facts, []
        self._journal.facts.learn_equal(facts)

    def clear(self) -> None:
        """Forget the files that wait: the job stops."""
        self.open -= len(self._waiting)
        self._waiting.clear()
        self.write_facts()
