"""The timetable of the bandwidth: which rate holds when."""

from __future__ import annotations

import pickle

import pytest

from s3batch.s3.rate_limit import RateLimiter
from s3batch.settings.bandwidth import BandwidthTimetable, RateChange, parse_bandwidth, parse_timetable, read_bandwidth
from s3batch.settings.table import Settings
from tests.unit.test_rate_limit import Clock

MIB = 1 << 20
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def at(text: str, when: str) -> float:
    """Return the MiB per second of a timetable at ``sat 08:30``."""
    day, _, clock = when.partition(" ")
    hour, _, minute = clock.partition(":")
    return parse_timetable(text).at((DAYS.index(day) * 24 + int(hour)) * 60 + int(minute)) / MIB


OFFICE = "08:00,2MiB 19:00,50MiB sat,off"


@pytest.mark.parametrize(
    ("text", "when", "rate"),
    [
        pytest.param(OFFICE, "tue 08:00", 2, id="from the minute on"),
        pytest.param(OFFICE, "tue 07:59", 50, id="over midnight"),
        pytest.param(OFFICE, "sat 00:00", 0, id="a day begins at midnight"),
        pytest.param(OFFICE, "sat 07:59", 0, id="and its entry holds"),
        pytest.param(OFFICE, "sat 08:00", 2, id="until the next one, of every day"),
        pytest.param("sat,off mon-06:30,1MiB", "sun 23:59", 0, id="over a day"),
        pytest.param("sat,off mon-06:30,1MiB", "mon 06:29", 0, id="and over the end of the week"),
        pytest.param("sat,off mon-06:30,1MiB", "fri 12:00", 1, id="of one day alone"),
        pytest.param("12:00,1MiB", "wed 03:00", 1, id="one entry holds always"),
        pytest.param("00:00,1MiB sun,3MiB", "sun 00:00", 3, id="of two at one minute the later one"),
        pytest.param("  8:05,512K\n SUN-23:59,1M ", "sun 23:59", 1, id="in any case, with blanks"),
    ],
)
def test_the_last_entry_past_holds(text: str, when: str, rate: float) -> None:
    assert at(text, when) == rate


@pytest.mark.parametrize(
    "text",
    ["", "off", "08:00", "08:00,", "24:00,1M", "08:60,1M", "8,1M", "08:00,fast", "sat", "sat-,1M", "sat-08,1M", "day,1M",
     "08:00,1M;19:00,2M", "08:00,0", ",1M", "sat08:00,1M", "mon-08:00-10:00,1M", "10MiB 08:00,1M"],
)  # fmt: skip
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"write a size such as 10MiB, or a timetable|write off for no limit"):
        parse_bandwidth(text)


def test_a_size_stays_a_number_and_both_go_through_the_journal() -> None:
    assert (parse_bandwidth("10MiB"), read_bandwidth(10 * MIB), read_bandwidth(None)) == (10 * MIB, 10 * MIB, 0.0)
    assert parse_bandwidth(" 08:00,2MiB   sat,off ") == "08:00,2MiB sat,off"
    for value in (None, 5, "08:00,2MiB sat,off"):
        assert Settings.from_public(Settings(bandwidth=value).public()).bandwidth == value
    for wrong in ("fast", -1, 1.5, True, ["08:00,1M"]):
        with pytest.raises(ValueError, match="bandwidth is not of its kind"):
            Settings.from_public(Settings().public() | {"bandwidth": wrong})


def test_a_share_of_a_timetable_is_one() -> None:
    half = pickle.loads(pickle.dumps(parse_timetable("08:00,2MiB sat,off") / 2))

    assert (half.at(9 * 60), half.at(5 * 24 * 60), half.lowest, (half * 2).lowest) == (MIB, 0, MIB, 2 * MIB)
    assert parse_timetable("sat,off").lowest == 0


class Changing(BandwidthTimetable):
    rate = 1000.0

    def now(self) -> float:
        return self.rate


def test_a_limiter_looks_at_its_timetable_once_a_second() -> None:
    clock, timetable = Clock(), Changing((RateChange(0, 1.0),))
    limiter = RateLimiter(timetable, clock)
    clock.now += 0.5
    assert limiter.grant(10_000) == 100  # a tenth of a second is saved

    Changing.rate = 0.0
    clock.now += 0.4
    assert limiter.grant(10_000) == 100  # not looked at yet
    clock.now += 0.6
    assert limiter.grant(10 << 30) == 10 << 30  # no limit

    Changing.rate = 2000.0
    clock.now += 1.0
    assert limiter.grant(10_000) == 200
