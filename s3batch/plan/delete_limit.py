"""``max_delete``: the number of objects that one job may delete; more are taken as a mistake."""

from __future__ import annotations

from s3batch.base.named_tuple import NamedTuple
from s3batch.base.units import Limit, parse_limit
from s3batch.settings.table import Settings


class DeleteLimit(NamedTuple):
    """``N`` objects, or ``N%`` of those below the target; none: as many as it takes."""

    limit: Limit | None = None

    @classmethod
    def from_settings(cls, settings: Settings) -> DeleteLimit:
        """Return the limit. Raises SettingsError for anything but ``N`` and ``N%``."""
        if not settings.max_delete:
            return cls()
        try:
            return cls(parse_limit(settings.max_delete))
        except ValueError as error:
            raise settings.bad("max_delete", str(error)) from None

    def exceeded(self, planned: int, existing: int) -> bool:
        """Return whether ``planned`` deletes of ``existing`` objects are too many."""
        return self.limit is not None and planned > self.limit.of(existing)
