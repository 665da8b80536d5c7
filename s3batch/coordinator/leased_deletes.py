"""Deletes of one request that were leased as they were planned. They stay together while all that is said is of all of them.

planned in columns ─lease→ one Work ─all deleted→ gone          a word about one of its keys ─→ an operation for each
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from s3batch.model import PlannedDeletes, Work

if TYPE_CHECKING:
    from collections.abc import Sequence

    from s3batch.model import Operation


class LeasedDeletes:
    """The requests of one job of which no single key was heard of. An operation for each key costs 3 us."""

    def __init__(self, leased: dict[int, Operation]) -> None:
        """``leased``: operations by row; those of a request that is taken apart go there."""
        self._leased = leased
        self._works: dict[int, Work] = {}
        """By their first row."""

    def __bool__(self) -> bool:
        return bool(self._works)

    def add(self, deletes: PlannedDeletes, rows: range) -> Work:
        """Return the work of a request whose deletes were leased."""
        first = PlannedDeletes(deletes.keys[:1], deletes.etags[:1], deletes.times[:1])
        work = Work(first.make_operations(rows[:1])[0], rows=rows, **deletes._asdict())
        self._works[rows[0]] = work
        return work

    def take(self, spans: list[range]) -> Work | None:
        """Remove and return the request of which these are all rows; ``None`` if there is none."""
        work = self._works.get(spans[0][0])
        return self._works.pop(spans[0][0]) if work is not None and spans == [work.rows] else None

    def unfold(self, rows: Sequence[int]) -> None:
        """Take apart the requests that one of these rows belongs to."""
        for first, work in list(self._works.items()):
            if any(row in work.rows for row in rows):
                del self._works[first]
                deletes = PlannedDeletes(work.keys, work.etags, work.times)
                self._leased.update([(each.id, each) for each in deletes.make_operations(work.rows)])
