"""The lists of ``files_from``: the paths that a job is about. ``journal.file_lists``.

A list is named by its digest. It stays until its job is done, so that a resume has it, whatever became of the file.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from s3batch.journal.database import Database, make_bindable
from s3batch.journal.transaction import Transaction

_PAGE = 500
LIST_NAME = "list "
"""The name of the remembered value that a whole list has, before its digest."""


class FileLists:
    """The lists of a journal. Every method that writes commits, unless a batch is open."""

    def __init__(self, store: Database, transaction: Transaction) -> None:
        self._store = store
        self._transaction = transaction

    def store(self, digest: str, pages: Iterable[list[str]]) -> None:
        """Keep a list, whole or not at all; forget those that no unfinished job needs. A path counts once."""
        with self._transaction.batch():
            self._forget_unneeded(digest)
            if self.has(digest):
                return
            for page in pages:
                self._store.execute_many(
                    "INSERT OR IGNORE INTO listed_path VALUES (?, CAST(? AS TEXT))",
                    [(digest, make_bindable(path)) for path in page],
                )
            self._store.execute("INSERT OR REPLACE INTO remembered VALUES (?, '1')", (LIST_NAME + digest,))

    def has(self, digest: str) -> bool:
        """Return whether the whole list is here."""
        return bool(self._store.value("SELECT count(*) FROM remembered WHERE name = ?", (LIST_NAME + digest,)))

    def pages(self, digest: str) -> Iterator[list[str]]:
        """Yield the paths of a list in their order, some at a time."""
        last: str | None = None
        while True:
            after = "" if last is None else "AND path > CAST(? AS TEXT)"
            rows = self._store.rows(
                f"SELECT path FROM listed_path WHERE list = ? {after} ORDER BY path LIMIT ?",  # noqa: S608 - constants
                (digest, *([] if last is None else [make_bindable(last)]), _PAGE),
            )
            if not rows:
                return
            page = [str(path) for (path,) in rows]
            yield page
            last = page[-1]

    def forget(self, digest: str) -> None:
        """Forget a list whose job is done."""
        with self._transaction.batch():
            self._store.execute("DELETE FROM listed_path WHERE list = ?", (digest,))
            self._store.execute("DELETE FROM remembered WHERE name = ?", (LIST_NAME + digest,))

    def _forget_unneeded(self, digest: str) -> None:
        """Forget each list but this one and those of unfinished jobs. Part of a batch."""
        unfinished = self._store.rows("SELECT settings FROM job WHERE state NOT IN ('done', 'superseded')")
        needed = {digest, *(_read_digest(settings) for (settings,) in unfinished)}
        for (name,) in self._store.rows("SELECT name FROM remembered WHERE name LIKE ?", (f"{LIST_NAME}%",)):
            if name.removeprefix(LIST_NAME) not in needed:
                self.forget(name.removeprefix(LIST_NAME))


def _read_digest(settings: str) -> str:
    try:
        return str(json.loads(settings).get("list_digest", ""))
    except (ValueError, AttributeError):
        return ""
