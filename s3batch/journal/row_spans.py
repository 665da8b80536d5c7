"""Spans of row numbers: a long statement is cut into short ones, between which a signal may come."""

from __future__ import annotations

from collections.abc import Iterator

from s3batch.journal.database import Database


def find_row_spans(store: Database, after: int, last: int, at_once: int) -> Iterator[tuple[int, int]]:
    """Yield spans of at most ``at_once`` row numbers in which operations lie, above ``after`` and up to ``last``.

    A span is above its first number and includes its second. Gaps cost one look each, whatever their width.
    """
    first = after
    while (found := _find_next_row(store, first)) is not None and found <= last:
        first = max(first, found - 1)
        yield first, min(first + at_once, last)
        first += at_once


def _find_next_row(store: Database, after: int) -> int | None:
    """Return the lowest row number above ``after``, of this journal or of the one that a dry run reads."""
    tables = dict.fromkeys(("operation", f"{store.earlier}operation"))
    rows = [store.value(f"SELECT min(id) FROM {table} WHERE id > ?", (after,)) for table in tables]  # noqa: S608 - constants
    return min((int(row) for row in rows if row is not None), default=None)
