"""Several pages of a listing asked for at once, where it is known at which keys pages probably begin.

    page ends at K ─ start-after=K ─> page ends at L ─ start-after=L ─> ...      L, M, ... are guesses: the last listing's
                   ─ start-after=L ─────────────────> page

Pages are given in the order of their keys, each key once. What a guess has missed is listed by the token of the page
before. A page that the store should not have given for a guess (none of its keys, no order, an early end) ends the
guessing: from then on tokens alone tell what comes next, as in any listing.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Protocol

from s3batch.s3 import requests
from s3batch.s3.listing import ListingPage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from s3batch.s3.requests import Request

AT_ONCE = 4
"""Pages under way. Each holds a thousand objects, about 0.4 MB."""
_MOST_MISSES = 8
"""Pages that guesses may cost in vain, by one listing."""


class Ask(Protocol):
    """Sends a request for a page, and returns what waits for it: the page, or ``None`` if the store refuses it for good."""

    def __call__(self, request: Request, /) -> Callable[[], ListingPage | None]:
        """Send it."""


class ListingAhead:
    """The beginning of one listing, as far as guesses hold. Its first page has come, and has a token."""

    def __init__(self, prefix: str, first: ListingPage, ask: Ask, guess_end: Callable[[str], str | None]) -> None:
        """``guess_end`` returns the last key of the page that begins after a key; ``None`` where it cannot be known."""
        self.last = first
        """The page that came last."""
        self.is_given = False
        """True if :meth:`pages` has yielded it."""
        self._prefix = prefix
        self._ask = ask
        self._guess_end = guess_end
        self._waiting: deque[tuple[str, Callable[[], ListingPage | None]]] = deque()
        """Pages under way, each with the key that it begins after."""
        self._end = _find_end(first)
        """The last key of :attr:`last`; ``None`` once it cannot be known, or no page follows."""
        self._next = self._end
        """The key that the next page to ask for begins after."""
        self._misses = 0

    def pages(self) -> Iterator[ListingPage]:
        """Yield pages as long as guesses hold; :attr:`last` goes on from there."""
        while (reached := self._end) is not None:
            self._ask_ahead()
            if not self._waiting:
                return
            yield self.last
            if not self._advance(reached):
                self.is_given = True
                return

    def _ask_ahead(self) -> None:
        while self._next is not None and len(self._waiting) < AT_ONCE and self._misses < _MOST_MISSES:
            start = self._next
            self._next = self._guess_end(start)
            if self._next is not None:  # else it is the last page, whose token is to be waited for
                self._waiting.append((start, self._ask(requests.list_objects(self._prefix, start_after=start))))

    def _advance(self, reached: str) -> bool:
        """Make the next page the last one; return false if guesses hold no longer, and it is to be asked for."""
        while self._waiting:
            start, wait = self._waiting[0]
            if start > reached:  # there are more objects than the last listing had: a page between
                self._misses += 1
                page = self._ask(requests.list_objects(self._prefix, token=self.last.token))()
                if page is not None:
                    self.last, self._end = page, _find_end(page) if page.token else None
                return page is not None
            self._waiting.popleft()
            page = wait()
            end = None if page is None else _find_end(page)
            if page is None or end is None or not page.token or page.objects[0].key <= start:
                self._waiting.clear()
                return False
            if end > reached:
                self.last = ListingPage([each for each in page.objects if each.key > reached], page.token)
                self._end = end
                return True
            self._misses += 1
        return False


def _find_end(page: ListingPage) -> str | None:
    """Return the last key of a page in the order of S3's keys; ``None`` if it has another order, or no key."""
    keys = [each.key for each in page.objects]
    try:
        "".join(keys).encode()  # the order of code points is that of UTF-8, but not of escaped bytes
    except UnicodeEncodeError:
        return None
    return keys[-1] if keys and all(map(str.__lt__, keys, keys[1:])) else None
