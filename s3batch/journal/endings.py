"""What the end of a job said beyond its counts: its sentences, its cache, its proofs. ``journal.endings``.

A report that is written later is the same as the one at the end. Most jobs say nothing more, and have no row.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from s3batch.journal.current_job import CurrentJob
    from s3batch.journal.database import Database
    from s3batch.journal.transaction import Transaction

_FORMS: dict[str, type] = {
    "verdict": str, "error": str, "resume": str, "cache": dict, "proved": dict, "warnings": list,
}  # fmt: skip
"""The fields of an ending, each with its type. Anything else was written by another program."""


class Endings:
    """The ending of the job at work, or of the one that is selected."""

    def __init__(self, store: Database, transaction: Transaction, current: CurrentJob) -> None:
        self._store = store
        self._transaction = transaction
        self._current = current

    def keep(self, text: str) -> None:
        """Keep an ending as a JSON object."""
        with self._transaction.batch():
            self._store.execute(
                "INSERT OR REPLACE INTO ending VALUES (?, CAST(? AS TEXT))", (self._current.number, text)
            )

    def read(self) -> Mapping[str, Any]:
        """Return the fields of the ending; empty for a job that said nothing more."""
        text = self._store.value("SELECT facts FROM ending WHERE job = ?", (self._current.number,))
        try:
            found = {} if text is None else json.loads(text)
            json.dumps(found, allow_nan=False)  # Python reads NaN and 1e999, which no report can hold
        except (ValueError, TypeError, RecursionError):
            self._store.refuse("the ending of a job cannot be read")
        if not isinstance(found, dict):
            self._store.refuse("the ending of a job is no map")
        return {name: value for name, value in found.items() if isinstance(value, _FORMS.get(name, ()))}
