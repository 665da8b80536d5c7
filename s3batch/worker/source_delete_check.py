"""The check before deletes of a transfer: what the source has by now stays.

keys ─one listing of the source from the first of them─> still not there ─> the check of every delete ─> DeleteObjects
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from s3batch.s3 import requests
from s3batch.s3.event_loop import run_at_source
from s3batch.s3.look_up import in_listing_order, jump_to, not_shown
from s3batch.s3.responses import raise_for_status
from s3batch.s3.transport import send_request
from s3batch.worker.delete_check import DeleteCheck
from s3batch.worker.source_object import find_source

if TYPE_CHECKING:
    from collections.abc import Sequence

    from s3batch.s3.listing import ListingPage
    from s3batch.worker.context import Tools
    from s3batch.worker.delete_check import Planned


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceDeleteCheck(DeleteCheck):
    """The facts that the check needs. Frozen and picklable."""

    prefix: str
    """The target's: a key below it has the rest of its name in the source too."""

    async def has_source(self, key: str, tools: Tools) -> bool:
        """Return true if the source has an object for this key by now."""
        source = find_source(tools)
        return bool(await _find_present([source.key(key[len(self.prefix) :])], source.prefix))

    async def find_changed(self, planned: Planned, tools: Tools) -> set[str]:
        """Return the keys that must stay. Raises :class:`RequestError`, also if the source cannot be listed."""
        source = find_source(tools)
        by_name = {source.key(key[len(self.prefix) :]): key for key in planned}
        kept = {by_name[name] for name in await _find_present(list(by_name), source.prefix)}
        left = {key: known for key, known in planned.items() if key not in kept}
        return kept | await DeleteCheck.find_changed(self, left, tools)


async def _find_present(keys: Sequence[str], prefix: str) -> set[str]:
    """Return those of the keys that the source has, by a listing that jumps over gaps."""
    wanted, found = frozenset(keys), set[str]()
    left = in_listing_order(keys)
    while left:
        request = jump_to(left, prefix)
        page: ListingPage = raise_for_status(await run_at_source(send_request(request)), request).document
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
        response = await run_at_source(send_request(request))
        if response.status != 404:
            raise_for_status(response, request)
            found.add(key)
    return found
