"""Which of some keys a bucket has by now, right before deletes that act on their absence.

keys ─one listing from the first of them, which jumps over gaps─> those that are there
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from s3batch.s3 import requests
from s3batch.s3.calls import send_request
from s3batch.s3.look_up import in_listing_order, jump_to, not_shown
from s3batch.s3.responses import raise_for_status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from s3batch.s3.listing import ListingPage


async def find_present_keys(keys: Sequence[str], prefix: str) -> set[str]:
    """Return those of the keys, all below *prefix*, that have an object. Raises :class:`RequestError`."""
    wanted, found = frozenset(keys), set[str]()
    left = in_listing_order(keys)
    while left:
        request = jump_to(left, prefix)
        page: ListingPage = raise_for_status(await send_request(request), request).document
        found.update(each.key for each in page.objects if each.key in wanted)
        further = not_shown(left, page) if page.token else []
        if len(further) == len(left):  # the store ignores where a listing should begin
            return found | await _find_present_by_head(further)
        left = further
    return found


async def _find_present_by_head(keys: Sequence[str]) -> set[str]:
    found = set()
    for key in keys:
        request = requests.head_object(key)
        response = await send_request(request)
        if response.status != 404:
            raise_for_status(response, request)
            found.add(key)
    return found
