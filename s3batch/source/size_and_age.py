"""The limits of size and age: files and objects beyond them are left alone, neither sent nor deleted."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from s3batch.base.named_tuple import NamedTuple
from s3batch.base.units import format_duration, format_size

if TYPE_CHECKING:
    from s3batch.settings.table import Settings


class FileLimits(NamedTuple):
    """Sizes in bytes, ages in seconds. False where there is no limit."""

    min_size: int = 0
    max_size: int | None = None
    min_age: float = 0.0
    max_age: float = 0.0
    """0 for no limit."""
    now: float = 0.0
    """The time at which ages of files are measured, in seconds since the epoch: the job's begin."""

    @classmethod
    def from_settings(cls, settings: Settings, now: float | None = None) -> FileLimits:
        """Return the limits. Raises SettingsError if no file can be within them."""
        limits = cls(
            min_size=settings.min_size,
            max_size=settings.max_size,
            min_age=settings.min_age,
            max_age=settings.max_age,
            now=time.time() if now is None else now,
        )
        if limits.max_size is not None and limits.min_size > limits.max_size:
            raise settings.bad("min_size", f"write no more than max_size, which is {format_size(limits.max_size)}")
        if limits.max_age and limits.min_age > limits.max_age:
            raise settings.bad("min_age", f"write no more than max_age, which is {format_duration(limits.max_age)}")
        return limits

    def __bool__(self) -> bool:
        return bool(self.min_size or self.max_size is not None or self.min_age or self.max_age)

    def hides(self, size: int, modified: float, now: float = 0.0) -> bool:
        """Return whether a file or object is beyond a limit.

        ``modified`` and ``now`` are seconds since the epoch by the same clock: for an object, the store's.
        """
        age = (now or self.now) - modified
        return (
            size < self.min_size
            or (self.max_size is not None and size > self.max_size)
            or (self.min_age > 0 and age < self.min_age)
            or (self.max_age > 0 and age > self.max_age)
        )
