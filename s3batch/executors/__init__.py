"""Who runs workers: processes on this machine, this process itself, or a Dask cluster.

All of them take :class:`~s3batch.model.Work`, give back :class:`~s3batch.model.Result`, and say how much they
have room for. They know nothing of plan and journal.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from s3batch.model import Step

if TYPE_CHECKING:
    from collections import Counter

    from s3batch.model import Result, Work
    from s3batch.quirks import Quirks
    from s3batch.s3.sigv4 import Credentials

Tag = tuple[int, Step, int]
"""Row, step and part: what a result and the work it came of have in common."""


def tags_of(work: Work) -> list[Tag]:
    """One for each result that will come of ``work``."""
    if work.keys:
        return [(row, Step.WHOLE, 0) for row, _ in work.keys]
    return [(work.operation.id, work.step, work.parts[0].number if work.step is Step.PART else 0)]


@dataclass(slots=True)
class News:
    """What came back since the last look."""

    results: list[Result] = field(default_factory=list)
    dropped: list[Work] = field(default_factory=list)
    """Handed back untouched, because of :meth:`Executor.drain`."""
    lost: list[Work] = field(default_factory=list)
    """Given to a worker that died; S3 may or may not have it."""
    requests: dict[str, int] = field(default_factory=dict)
    doubts: dict[str, int] = field(default_factory=dict)
    """S3's codes of answers the lean lane left to boto3."""

    def count(self, requests: Counter[str] | dict[str, int], doubts: Counter[str] | dict[str, int]) -> None:
        """Add what a worker counted."""
        for mine, theirs in ((self.requests, requests), (self.doubts, doubts)):
            for name, number in theirs.items():
                mine[name] = mine.get(name, 0) + number


class Executor(Protocol):
    """Runs workers."""

    def room(self) -> int:
        """How many pieces of work it would take now."""

    def submit(self, works: list[Work]) -> None:
        """Take ``works``; never blocks for long."""

    def poll(self, timeout: float) -> News:
        """What came back; waits up to ``timeout`` seconds for something to."""

    def outstanding(self) -> int:
        """How many pieces of work have not come back."""

    def sign_in_again(self, credentials: Credentials) -> None:
        """Have the workers sign with these."""

    def learn(self, quirks: Quirks) -> None:
        """Have the workers ask in the way that these quirks of the store want."""

    def narrow(self) -> None:
        """The store asked one worker for fewer requests: tell them all."""

    def drain(self) -> None:
        """Begin nothing more; hand back what was not begun, finish what is under way."""

    def close(self) -> None:
        """Stop at once."""
