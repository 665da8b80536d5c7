"""Stops a listing that never ends: its pages repeat, or too many in a row hold nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from s3batch.base.errors import EndpointError

if TYPE_CHECKING:
    from collections.abc import Sequence

_EMPTY_PAGES = 10_000
"""S3 may send pages without a row where a bucket holds many delete markers: each stands for some thousand of them."""


class ListingProgress:
    """The pages of one listing so far: their tokens, and how they begin and end."""

    def __init__(self, name: str, *, empty_pages: int = _EMPTY_PAGES) -> None:
        """``name`` is the endpoint's; ``empty_pages`` are as many as may follow each other."""
        self._name = name
        self._most = self._left = empty_pages
        self._seen: set[Any] = set()

    def check(self, token: Any, rows: Sequence[Sequence[Any]]) -> None:
        """Take a page that another one follows. Raises :class:`EndpointError` if the listing gets no further.

        The token of a page that comes again may be a new one each time. So the first and the last row count too, each
        by its first two fields: the key, and the size or the upload id.
        """
        self._left = self._most if rows else self._left - 1
        marks = [(token,), (rows[0][:2], rows[-1][:2], len(rows))] if rows else [(token,)]
        if not self._seen.isdisjoint(marks):
            raise EndpointError(f"{self._name} repeats the same page of the listing")
        if not self._left:
            raise EndpointError(f"{self._name} sends {self._most} listing pages in a row without an object")
        self._seen.update(marks)
