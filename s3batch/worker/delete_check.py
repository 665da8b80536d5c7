"""The check before deletes: an object with a new file stays, and so does one that was written since the listing.

    keys ─lstat of each path─> still without a file ─one listing from the first key─> as they were planned ─> DeleteObjects

A listing that jumps over gaps: each page begins at the first key that no page has shown yet. So all checks of a job
together cost no more pages than its listing did.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from s3batch.model import fold_number
from s3batch.s3 import requests
from s3batch.s3.calls import send_request
from s3batch.s3.faults import refusal_for_good
from s3batch.s3.look_up import in_listing_order, jump_to, not_shown
from s3batch.s3.responses import etag_of, raise_for_status, seconds_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from s3batch.model import ListedObject
    from s3batch.objects.key_paths import KeyPaths
    from s3batch.s3.listing import ListingPage
    from s3batch.s3.requests import Response
    from s3batch.worker.context import Tools

CHANGED_MEANWHILE = "skipped: changed meanwhile"


Planned = dict[str, tuple[str, int]]
"""Objects as the listing showed them when their deletes were planned: ETag and LastModified (ns) by key; 0: not known."""


@lru_cache(maxsize=1024)  # many objects are written in one second
def modified_ns(seconds: float) -> int:
    """Return a LastModified as operations carry it: whole milliseconds, which is as far as listings tell it.

    It is folded into the journal's numbers, as stores tell times of any year.
    """
    return fold_number(round(seconds * 1000) * 1_000_000)


class DeleteCheck:
    """The facts that the check needs. Picklable."""

    __slots__ = ("listed", "paths")

    def __init__(self, *, listed: str, paths: KeyPaths | None = None) -> None:
        self.listed = listed
        """The prefix that the job lists: a policy may allow no other."""
        self.paths = paths
        """``None``: this process does not see the source, and the coordinator has looked."""

    def has_file(self, key: str) -> bool:
        """Return true if a file has this key by now."""
        return self.paths is not None and self.paths.has_file(key)

    async def has_source(self, key: str, tools: Tools) -> bool:
        """Return true if the source has something for this key by now."""
        return self.has_file(key)

    async def find_changed(self, planned: Planned, tools: Tools) -> set[str]:
        """Return the keys that must stay. Raises :class:`RequestError` or :class:`MalformedResponseError`."""
        kept = set() if self.paths is None else self.paths.find_files(list(planned))
        left = {key: known for key, known in planned.items() if known[0] and key not in kept}
        return kept | await _find_rewritten(left, self.listed, tools) if left else kept


async def _find_rewritten(planned: Planned, prefix: str, tools: Tools) -> set[str]:
    """Return the keys of objects that are not listed as they were planned."""
    left = in_listing_order(planned)
    changed: set[str] = set()
    while left:
        request = jump_to(left, prefix)
        response = await send_request(request)
        if (fault := refusal_for_good(response)) is not None:
            tools.note_refusal(
                request.name, fault, "deletes do not check whether an object was written since the listing"
            )
            return changed
        page: ListingPage = raise_for_status(response, request).document
        changed.update(_find_others(page.objects, planned))
        if not page.token:
            break
        further = not_shown(left, page)
        if len(further) == len(left):  # the store ignores where a listing should begin
            return changed | await _rewritten_by_head(further, planned)
        left = further
    return changed


def _find_others(listed: Iterable[ListedObject], planned: Planned) -> Iterator[str]:
    """Yield the keys of listed objects that are not as they were planned."""
    for key, _size, etag, modified in listed:
        if (known := planned.get(key)) is not None:
            before, time = known
            if etag != before or (time and time != modified_ns(modified)):
                yield key


async def _rewritten_by_head(keys: Sequence[str], planned: Planned) -> set[str]:
    changed = set()
    for key in keys:
        request = requests.head_object(key)
        response = await send_request(request)
        if response.status != 404 and not _is_as_planned(raise_for_status(response, request), planned[key]):
            changed.add(key)
    return changed


def _is_as_planned(head: Response, planned: tuple[str, int]) -> bool:
    etag, time = planned
    second = modified_ns(int(seconds_of(head.headers.get("last-modified", ""))))
    return etag_of(head) == etag and (not time or second <= time < second + 1_000_000_000)
