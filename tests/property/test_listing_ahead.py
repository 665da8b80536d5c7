"""Pages that are asked for by guesses: whatever the guesses, and whatever the store makes of them, the listing is whole."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from urllib.parse import parse_qs

from hypothesis import given, settings
from hypothesis import strategies as st

from s3batch.model import ListedObject
from s3batch.s3.listing import ListingPage
from s3batch.s3.listing_ahead import ListingAhead
from s3batch.s3.requests import Request

KEYS = st.sets(st.text(st.sampled_from("abc\uffff\U0001f600\udce9"), min_size=1, max_size=3), min_size=1)
KINDS = ["good", "good", "good", "ignores start-after", "ends early", "refuses", "in no order", "pages of other sizes"]


class Store:
    """A store that lists pages of three keys, in one of several ways."""

    def __init__(self, keys: set[str], kind: str) -> None:
        self.keys = sorted(keys, key=os.fsencode)
        self.kind = kind
        self.asked = 0

    def answer(self, start: str, token: str) -> ListingPage | None:
        self.asked += 1
        if start and self.kind == "refuses":
            return None
        after = token or ("" if self.kind == "ignores start-after" else start)
        keys = [key for key in self.keys if not after or os.fsencode(key) > os.fsencode(after)]
        size = 1 + self.asked % 4 if self.kind == "pages of other sizes" else 3
        page, more = keys[:size], len(keys) > size and not (start and self.kind == "ends early")
        token = page[-1] if more else ""
        if self.kind == "in no order":
            page = page[::-1]
        return ListingPage([ListedObject(key, 1, "e", 1.0) for key in page], token)

    def ask(self, request: Request) -> Callable[[], ListingPage | None]:
        fields = parse_qs(request.query, errors="surrogateescape")
        page = self.answer(fields.get("start-after", [""])[0], fields.get("continuation-token", [""])[0])
        return lambda: page


def list_all(store: Store, guess_end: Callable[[str], str | None]) -> Iterator[ListingPage]:
    page = store.answer("", "")
    if page.token:
        ahead = ListingAhead("", page, store.ask, guess_end)
        yield from ahead.pages()
        page = store.answer("", ahead.last.token) if ahead.is_given else ahead.last
    while True:
        yield page
        if not page.token:
            return
        page = store.answer("", page.token)


@settings(max_examples=400, deadline=None)
@given(keys=KEYS, known=KEYS, kind=st.sampled_from(KINDS), is_known=st.booleans())
def test_a_listing_by_guesses_shows_each_key_once(keys: set[str], known: set[str], kind: str, is_known: bool) -> None:
    last_time = sorted(keys if is_known else known, key=os.fsencode)

    def guess_end(start: str) -> str | None:
        beyond = [key for key in last_time if os.fsencode(key) > os.fsencode(start)]
        return beyond[2] if len(beyond) > 2 and beyond[2].isprintable() else None

    store = Store(keys, kind)
    pages = list(list_all(store, guess_end))

    shown = [each.key for page in pages for each in page.objects]
    assert sorted(shown, key=os.fsencode) == store.keys
    if kind != "in no order":
        assert shown == store.keys
    assert store.asked <= 2 * len(pages) + 16


def test_as_many_requests_as_pages_where_nothing_has_changed() -> None:
    keys = [f"{number:02d}" for number in range(30)]
    store = Store(set(keys), "good")
    ends = dict(zip(keys[2:], keys[5:-1], strict=False))  # of the last page it is not known

    begun = [store.asked for _ in list_all(store, ends.get)]

    assert begun == [5, 6, 7, 8, 9, 9, 9, 9, 9, 10]
