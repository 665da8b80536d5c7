"""The transaction that the parts of a journal share: each of their methods commits, or a batch around them does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from s3batch.journal.database import Database


class Transaction:
    """The open transaction of one connection."""

    def __init__(self, store: Database, before_commit: Callable[[], None]) -> None:
        """``before_commit`` writes what belongs to every commit."""
        self._store = store
        self._before_commit = before_commit
        self._depth = 0

    @contextmanager
    def batch(self) -> Iterator[None]:
        """Commit once, at the end of the outermost block; undo everything since the last commit if a block fails."""
        self._depth += 1
        try:
            yield
            if self._depth == 1:
                self.commit()
        except BaseException:
            self._store.rollback()
            raise
        finally:
            self._depth -= 1

    def commit(self) -> None:
        """Make everything so far lasting. Free when nothing was written."""
        self._before_commit()
        self._store.commit()
