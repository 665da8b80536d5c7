"""The plots of a report as numbers: curves over time, and counts by size or duration. No markup, no I/O.

A curve is the text of an SVG path in a box of 1,000 by 100, which the page stretches to its width. Labels are text
beside it, so that they stay readable on a telephone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from s3batch.base.named_tuple import NamedTuple
from s3batch.base.units import format_count, format_duration, format_plural, format_size

if TYPE_CHECKING:
    from s3batch.journal import Sample

WIDTH, HEIGHT = 1000, 100
_POINTS = 250
"""Points of a curve: more than a page has room for."""
_BARS = 12
"""Rows of a histogram."""
_ROUND = (1, 2, 5)
"""The first digits of the number at the top of an axis."""


class Curve(NamedTuple):
    """A rate over time."""

    name: str
    line: str
    """The SVG path of the curve."""
    area: str
    """The SVG path of what is below it."""
    top: str
    """The rate at the upper edge."""
    peak: str
    mean: str
    seconds: str
    """The time at the right edge."""
    rows: Sequence[tuple[str, str]]
    """Some of its values as text: time and rate."""


class Bar(NamedTuple):
    """A row of a histogram."""

    label: str
    number: str
    width: float
    """0 to 100."""


def make_curves(samples: Sequence[Sample], started: float) -> list[Curve]:
    """Return throughput and requests over time; empty if there are too few samples."""
    drawn = _spread_samples(samples, started)
    if len(drawn) < 3:
        return []
    throughput = _make_curve("Throughput", drawn, lambda each: each.bytes, lambda rate: f"{format_size(rate)}/s", 1024)
    requests = _make_curve("Requests", drawn, lambda each: each.requests, _format_rate, 10)
    return [curve for curve in (throughput, requests) if curve]


def make_histogram(counts: Mapping[int, int], name: Callable[[float], str], zero: str) -> list[Bar]:
    """Return a bar for each number of binary digits, the smallest first, without gaps; for several where it is wide.

    ``name`` formats a limit, and ``zero`` is the label of 0.
    """
    if not counts:
        return []
    step = -(-(max(counts) - min(counts) + 1) // _BARS)
    grouped: Counter[int] = Counter()
    for digits, number in counts.items():
        grouped[-(-digits // step)] += number
    most = max(grouped.values())
    return [
        Bar(
            _name_range((group - 1) * step, group * step, name) if group else zero,
            format_count(grouped[group]),
            round(100 * grouped[group] / most, 1),
        )
        for group in range(min(grouped), max(grouped) + 1)
    ]


def name_milliseconds(milliseconds: float) -> str:
    """Return a duration for the label of a bar."""
    return format_duration(milliseconds / 1000)


def _name_range(least: int, most: int, name: Callable[[float], str]) -> str:
    return f"{name(1 << least)} to {name(1 << most)}"


def _spread_samples(samples: Sequence[Sample], started: float) -> list[Sample]:
    """Return at most some hundred samples at rising times, beginning with the job."""
    if not samples:
        return []
    zero = samples[0]._replace(at=min(started, samples[0].at), operations=0, bytes=0, requests=0, failed=0)
    rising: list[Sample] = [zero]
    step = (samples[-1].at - zero.at) / _POINTS
    for each in samples:
        if each.at - rising[-1].at > max(step, 0.01) or each is samples[-1]:
            rising.append(each)
    return rising if rising[-1].at > rising[-2].at else rising[:-1]


def _make_curve(
    name: str, samples: Sequence[Sample], count: Callable[[Sample], float], words: Callable[[float], str], base: int
) -> Curve | None:
    rates = [
        (sooner.at, later.at, max(0.0, count(later) - count(sooner)) / (later.at - sooner.at))
        for sooner, later in pairwise(samples)
    ]
    peak = max(rate for _, _, rate in rates)
    if not peak:
        return None
    began, ended = samples[0].at, samples[-1].at
    seconds, top = ended - began, _round_up(peak, base)
    points = [
        (round(WIDTH * (at - began) / seconds, 1), round(HEIGHT * (1 - rate / top), 1))
        for sooner, later, rate in rates
        for at in (sooner, later)
    ]
    line = "M" + " L".join(f"{x:g} {y:g}" for x, y in points)
    mean = (count(samples[-1]) - count(samples[0])) / seconds
    return Curve(
        name, line, f"{line} L{WIDTH} {HEIGHT} L0 {HEIGHT} Z", words(top), words(peak), words(mean),
        format_duration(seconds), [(format_duration(later - began), words(rate)) for _, later, rate in _thin(rates)],
    )  # fmt: skip


def _thin(rates: Sequence[tuple[float, float, float]], most: int = 20) -> Iterable[tuple[float, float, float]]:
    """Return at most some of the rates, each the mean of its neighbours."""
    size = -(-len(rates) // most)
    for first in range(0, len(rates), size):
        some = rates[first : first + size]
        seconds = sum(later - sooner for sooner, later, _ in some)
        yield some[0][0], some[-1][1], sum((later - sooner) * rate for sooner, later, rate in some) / seconds


def _round_up(value: float, base: int) -> float:
    """Return the next number of one digit 1, 2 or 5, and then zeros, in powers of ``base``."""
    unit = 1.0
    while base != 10 and unit * base <= value:
        unit *= base
    decade = 1.0
    while True:
        for digit in _ROUND:
            if digit * decade * unit >= value:
                return digit * decade * unit
        decade *= 10


def _format_rate(rate: float) -> str:
    return f"{format_plural(round(rate), 'request')}/s" if rate >= 10 else f"{rate:.1f} requests/s"
