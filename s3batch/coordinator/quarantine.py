"""Operations whose worker died while it had them.

One of them may have killed it. After two deaths an operation is handed out only while no other suspect is, so
that a third death has one culprit.
"""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING

from s3batch.executors import Tag, tags_of

if TYPE_CHECKING:
    from s3batch.model import Result, Work

ALLOWED_DEATHS = 3
"""An operation whose worker died so often is failed. The last of these tries it made alone."""


class Quarantine:
    """Counts deaths by operation and part, and hands out the worst suspects one at a time."""

    def __init__(self) -> None:
        self._deaths: Counter[Tag] = Counter()
        self._waiting: deque[Work] = deque()
        self._alone: Work | None = None
        """The suspect that is handed out alone."""

    def accuse(self, work: Work) -> None:
        """Count a death of the worker that had ``work``."""
        for tag in tags_of(work):
            self.release(tag)
            self._deaths[tag] += 1

    def release(self, tag: Tag) -> None:
        """Note that this came back; the next suspect may go if it was alone."""
        if self._alone is not None and tag in tags_of(self._alone):
            self._alone = None

    def is_suspect(self, tag: Tag) -> bool:
        """Whether a worker died that had it: S3 may have it, and is asked before it is sent again."""
        return bool(self._deaths) and tag in self._deaths

    def is_killer(self, tag: Tag) -> bool:
        """Whether enough workers died with it to fail it."""
        return self._deaths[tag] >= ALLOWED_DEATHS

    def withhold(self, works: list[Work]) -> list[Work]:
        """Keep those that go alone, to be had from :meth:`take_next`; return the others."""
        if not self._deaths:
            return works
        self._waiting += [work for work in works if self._suspicion(work) >= ALLOWED_DEATHS - 1]
        return [work for work in works if self._suspicion(work) < ALLOWED_DEATHS - 1]

    def take_next(self) -> Work | None:
        """Return the suspect to hand out now, if none is out."""
        if self._alone is not None or not self._waiting:
            return None
        self._alone = self._waiting.popleft()
        return self._alone

    def _suspicion(self, work: Work) -> int:
        return max(self._deaths.get(tag, 0) for tag in tags_of(work))


def tag_of(result: Result) -> Tag:
    """Return the tag of the work that gave ``result``."""
    return (result.id, result.step, result.part)
