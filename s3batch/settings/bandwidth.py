"""The timetable of ``bandwidth``: limits by time of day and day of the week, in local time.

    08:00,2MiB 19:00,50MiB     every day
    sat,off sun,off            from the begin of a day; off is no limit
    mon-12:00,1MiB             on one day

The last entry past holds, over midnight too, and over the end of the week. Of two at the same minute the later one holds.
"""

from __future__ import annotations

import re
import time
from bisect import bisect_right

from s3batch.base.named_tuple import NamedTuple
from s3batch.base.units import parse_size

TIMETABLE_HINT = "write a size such as 10MiB, or a timetable such as '08:00,2MiB 19:00,50MiB sat,off'"
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_ENTRY = (
    rf"(?:(?:(?P<day>{'|'.join(_DAYS)})-)?(?P<hour>[01]?[0-9]|2[0-3]):(?P<minute>[0-5][0-9])|(?P<whole>{'|'.join(_DAYS)}))"
    r",(?P<rate>.+)"
)
"""Compiled where it is needed: few jobs have a timetable, and compiling takes 1 ms."""
_DAY_MINUTES = 24 * 60


class RateChange(NamedTuple):
    """The rate from one minute of the week on."""

    minute: int
    """Since Monday, 00:00."""
    rate: float
    """Bytes per second; 0 for no limit."""


class BandwidthTimetable:
    """The rates of a week. Picklable; a share of it is one too."""

    __slots__ = ("changes",)

    def __init__(self, changes: tuple[RateChange, ...]) -> None:
        self.changes = changes
        """At least one, in the order of their minutes."""

    def at(self, minute: int) -> float:
        """Return the rate at a minute of the week."""
        return self.changes[bisect_right(self.changes, minute, key=lambda change: change.minute) - 1].rate

    def now(self) -> float:
        """Return the rate of this moment, in local time."""
        local = time.localtime()
        return self.at((local.tm_wday * 24 + local.tm_hour) * 60 + local.tm_min)

    @property
    def lowest(self) -> float:
        """The lowest rate that limits anything; 0 if none does."""
        return min((change.rate for change in self.changes if change.rate), default=0.0)

    def __mul__(self, factor: float) -> BandwidthTimetable:
        return BandwidthTimetable(tuple(change._replace(rate=change.rate * factor) for change in self.changes))

    def __truediv__(self, divisor: float) -> BandwidthTimetable:
        return self * (1 / divisor)


Bandwidth = float | BandwidthTimetable
"""Bytes per second, 0 for no limit, or a timetable of them."""


def parse_timetable(text: str) -> BandwidthTimetable:
    """Return the timetable that a text describes. Raises ValueError with what to write instead."""
    rates: dict[int, float] = {}
    for entry in text.split():
        found = re.fullmatch(_ENTRY, entry, re.IGNORECASE | re.ASCII)
        if found is None:
            raise ValueError(TIMETABLE_HINT)
        minute = int(found["hour"] or 0) * 60 + int(found["minute"] or 0)
        day = (found["day"] or found["whole"] or "").lower()
        days = [_DAYS.index(day)] if day else range(len(_DAYS))
        rates |= dict.fromkeys((day * _DAY_MINUTES + minute for day in days), _parse_rate(found["rate"]))
    if not rates:
        raise ValueError(TIMETABLE_HINT)
    return BandwidthTimetable(tuple(RateChange(minute, rate) for minute, rate in sorted(rates.items())))


def parse_bandwidth(text: str) -> int | str:
    """Return a size in bytes, or the text of a timetable in one spelling. Raises ValueError for anything else."""
    try:
        return parse_size(text)
    except ValueError:
        parse_timetable(text)
        return " ".join(text.split())


def read_bandwidth(value: float | str | None) -> Bandwidth:
    """Return the meaning of a value of the setting."""
    return parse_timetable(value) if isinstance(value, str) else float(value or 0)


def _parse_rate(text: str) -> float:
    if text.lower() == "off":
        return 0.0
    try:
        rate = parse_size(text)
    except ValueError:
        raise ValueError(TIMETABLE_HINT) from None
    if not rate:
        raise ValueError("write off for no limit; 0 would send nothing")
    return float(rate)
