"""Look for some keys in a listing that jumps over gaps: each page begins at the first key that no page has shown yet.

Neighbours share a page of 1,000, and no key costs more than one.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from s3batch.s3 import requests
from s3batch.settings.s3_limits import LISTING_PAGE

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from s3batch.s3.listing import ListingPage
    from s3batch.s3.requests import Request

_ALONE = 2
"""Keys to list where one is looked for: stores differ in whether a page may be empty."""


def in_listing_order(keys: Iterable[str]) -> list[str]:
    """Return ``keys`` as listings have them, each once."""
    names = dict.fromkeys(keys)  # in the order that they come in, which is nearly always this one
    return sorted(names, key=None if "".join(names).isascii() else os.fsencode)


def jump_to(left: Sequence[str], prefix: str) -> Request:
    """Return the call for the page that begins at the first of the keys left."""
    limit = _ALONE if len(left) == 1 else LISTING_PAGE
    return requests.list_objects(prefix, start_after=_just_before(left[0]), limit=limit)


def not_shown(left: Sequence[str], page: ListingPage) -> list[str]:
    """Return the keys behind the end of a page. If these are all keys, the store ignores where a listing should begin."""
    shown = os.fsencode(page.objects[-1].key) if page.objects else b""
    if os.fsencode(left[-1]) <= shown:
        return []
    return [key for key in left if os.fsencode(key) > shown]


def _just_before(key: str) -> str:
    """Return a text that sorts right before ``key``: a listing after it begins with ``key``, if that is there."""
    last = ord(key[-1])
    if last == 0 or 0xD800 <= last <= 0xE000:  # a byte that is no UTF-8, or one that follows such
        return key[:-1]
    return key[:-1] + chr(last - 1) + "\U0010fffd"
