"""The check before deletes of a transfer: what the source has by now stays.

keys ─one listing of the source from the first of them─> still not there ─> the check of every delete ─> DeleteObjects
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from s3batch.s3.event_loop import run_at_source
from s3batch.worker.delete_check import DeleteCheck
from s3batch.worker.present_keys import find_present_keys
from s3batch.worker.source_object import find_source

if TYPE_CHECKING:
    from s3batch.worker.context import Tools
    from s3batch.worker.delete_check import Planned


class SourceDeleteCheck(DeleteCheck):
    """The facts that the check needs. Picklable."""

    __slots__ = ("prefix",)

    def __init__(self, *, listed: str, prefix: str) -> None:
        super().__init__(listed=listed)
        self.prefix = prefix
        """The target's: a key below it has the rest of its name in the source too."""

    async def has_source(self, key: str, tools: Tools) -> bool:
        """Return true if the source has an object for this key by now."""
        source = find_source(tools)
        return bool(await run_at_source(find_present_keys([source.key(key[len(self.prefix) :])], source.prefix)))

    async def find_changed(self, planned: Planned, tools: Tools) -> set[str]:
        """Return the keys that must stay. Raises :class:`RequestError`, also if the source cannot be listed."""
        source = find_source(tools)
        by_name = {source.key(key[len(self.prefix) :]): key for key in planned}
        kept = {by_name[name] for name in await run_at_source(find_present_keys(list(by_name), source.prefix))}
        left = {key: known for key, known in planned.items() if key not in kept}
        return kept | await DeleteCheck.find_changed(self, left, tools)
