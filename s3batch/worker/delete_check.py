"""The check before deletes: an object with a new file stays, and so does one that was written since the listing.

    keys ─lstat of each path─> still without a file ─one listing from the first key─> as they were planned ─> DeleteObjects

A listing that jumps over gaps: each page begins at the first key that no page has shown yet. So all checks of a job
together cost no more pages than its listing did.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from s3batch.s3 import requests
from s3batch.s3.faults import refusal_for_good
from s3batch.s3.look_up import in_listing_order, jump_to, not_shown
from s3batch.s3.responses import etag_of, raise_for_status, seconds_of
from s3batch.s3.transport import send_request

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from s3batch.model import ListedObject
    from s3batch.objects.key_paths import KeyPaths
    from s3batch.s3.listing import ListingPage
    from s3batch.s3.requests import Response
    from s3batch.worker.context import Tools

CHANGED_MEANWHILE = "skipped: changed meanwhile"


class PlannedDelete(NamedTuple):
    """An object as the listing showed it when its delete was planned."""

    key: str
    etag: str
    modified_ns: int
    """0: not known."""


def modified_ns(seconds: float) -> int:
    """Return a LastModified as operations carry it: whole milliseconds, which is as far as listings tell it."""
    return round(seconds * 1000) * 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteCheck:
    """The facts that the check needs. Frozen and picklable."""

    listed: str
    """The prefix that the job lists: a policy may allow no other."""
    paths: KeyPaths | None = None
    """``None``: this process does not see the source, and the coordinator has looked."""

    def has_file(self, key: str) -> bool:
        """Return true if a file has this key by now."""
        return self.paths is not None and self.paths.has_file(key)

    async def has_source(self, key: str, tools: Tools) -> bool:
        """Return true if the source has something for this key by now."""
        return self.has_file(key)

    async def find_changed(self, planned: Sequence[PlannedDelete], tools: Tools) -> set[str]:
        """Return the keys that must stay. Raises :class:`RequestError` or :class:`MalformedResponseError`."""
        kept = {each.key for each in planned if self.has_file(each.key)}
        left = [each for each in planned if each.key not in kept and each.etag]
        return kept | await _find_rewritten(left, self.listed, tools) if left else kept


async def _find_rewritten(planned: Sequence[PlannedDelete], prefix: str, tools: Tools) -> set[str]:
    """Return the keys of objects that are not listed as they were planned."""
    by_key = {each.key: each for each in planned}
    left = in_listing_order(by_key)
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
        changed |= {each.key for each in page.objects if _is_another(each, by_key)}
        if not page.token:
            break
        further = not_shown(left, page)
        if len(further) == len(left):  # the store ignores where a listing should begin
            return changed | await _rewritten_by_head(further, by_key)
        left = further
    return changed


def _is_another(listed: ListedObject, by_key: Mapping[str, PlannedDelete]) -> bool:
    planned = by_key.get(listed.key)
    if planned is None:
        return False
    same_time = not planned.modified_ns or planned.modified_ns == modified_ns(listed.modified)
    return listed.etag != planned.etag or not same_time


async def _rewritten_by_head(keys: Sequence[str], by_key: Mapping[str, PlannedDelete]) -> set[str]:
    changed = set()
    for key in keys:
        request = requests.head_object(key)
        response = await send_request(request)
        if response.status != 404 and not _is_as_planned(raise_for_status(response, request), by_key[key]):
            changed.add(key)
    return changed


def _is_as_planned(head: Response, planned: PlannedDelete) -> bool:
    seconds = int(seconds_of(head.headers.get("last-modified", "")))
    same_time = not planned.modified_ns or planned.modified_ns // 1_000_000_000 == seconds
    return etag_of(head) == planned.etag and same_time
