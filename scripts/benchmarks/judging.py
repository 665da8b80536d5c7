"""From the runs of a row to its figures: medians, ratios of the same round, and goals met or missed."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

MIB = 1 << 20
Runs = list[dict[str, float]]


@dataclass(frozen=True, slots=True)
class Goal:
    """A limit for one of the measures."""

    measure: str
    """A name in ``MEASURES``."""
    limit: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """One goal, and how far the measurement is from it."""

    text: str
    is_met: bool | None
    """``None``: the peer was missing."""

    def __str__(self) -> str:
        return f"{self.text}: **{ {True: 'met', False: 'missed', None: 'not measured'}[self.is_met] }**"


@dataclass(frozen=True, slots=True)
class Measure:
    """Something that a goal limits."""

    label: str
    compute: Callable[[Runs, Runs], float]
    """From the runs of s3batch and of its peer, round by round."""
    form: str = ".2f"
    is_least: bool = False
    """The limit is the least that is good enough, not the most."""
    is_alone: bool = False
    """No peer is looked at."""


def _ratio(measure: str) -> Callable[[Runs, Runs], float]:
    """Return the median over the rounds of ours divided by the peer's of the same round."""
    return lambda ours, peers: statistics.median(a[measure] / b[measure] for a, b in zip(ours, peers, strict=True))


MEASURES: Mapping[str, Measure] = {
    "wall": Measure("wall / peer", _ratio("wall")),
    "cpu": Measure("CPU / peer", _ratio("cpu")),
    "memory ratio": Measure("memory / peer", _ratio("memory")),
    "speed-up": Measure(
        "times as fast",
        lambda ours, peers: statistics.median(b["wall"] / a["wall"] for a, b in zip(ours, peers, strict=True)),
        form=".1f",
        is_least=True,
    ),
    "cpu seconds": Measure("CPU s", lambda ours, _: statistics.median(run["cpu"] for run in ours), is_alone=True),
    "memory": Measure("MiB", lambda ours, _: max(run["memory"] for run in ours) / MIB, form=".0f", is_alone=True),
    "cores": Measure(
        "cores busy",
        lambda ours, _: statistics.median(run["cpu"] / run["wall"] for run in ours),
        is_least=True,
        is_alone=True,
    ),
}


def judge_goal(goal: Goal, data: Mapping[str, Any]) -> Verdict:
    """Compare what was measured with a goal."""
    measure = MEASURES[goal.measure]
    sign = "≥" if measure.is_least else "≤"
    limit = f"{goal.limit:{measure.form}}"
    ours, peers = (_runs_of(data, number) for number in (0, 1))
    if not ours or not (peers or measure.is_alone):
        return Verdict(f"{measure.label} {sign} {limit}", None)
    reached = measure.compute(ours, peers)
    is_met = reached >= goal.limit if measure.is_least else reached <= goal.limit
    return Verdict(f"{measure.label} {reached:{measure.form}}, goal {sign} {limit}", is_met)


def render_sides(data: Mapping[str, Any]) -> list[str]:
    """Return a table with a line for each program."""
    names = list(data["sides"])
    peer = names[1] if len(names) > 1 else ""
    head = ["program", "hashes and proves", "wall s (min-max)", "CPU s", "µs CPU a file", "peak MiB"]
    ratios = [f"wall / {peer}", f"CPU / {peer}"] if peer else []
    lines = [f"| {' | '.join([*head, *ratios])} |"]
    lines += [f"| --- | --- |{' ---: |' * (len(head) + len(ratios) - 2)}"]
    lines += [f"| {' | '.join(_make_cells(data, number))} |" for number in range(len(names))]
    return lines


def _make_cells(data: Mapping[str, Any], number: int) -> Iterator[str]:
    name, side = list(data["sides"].items())[number]
    yield name
    yield side["proves"]
    runs, peers = side["runs"], _runs_of(data, 1)
    empty = len(data["sides"]) > 1 and not peers
    if not runs:
        yield from (side["missing"], *[""] * (5 if len(data["sides"]) > 1 else 3))
        return
    walls = [run["wall"] for run in runs]
    cpu = statistics.median(run["cpu"] for run in runs)
    yield f"{statistics.median(walls):.2f} ({min(walls):.2f}-{max(walls):.2f})"
    yield f"{cpu:.2f}"
    yield f"{cpu / data['files'] * 1e6:,.0f}"
    yield f"{max(run['memory'] for run in runs) / MIB:.0f}"
    if empty:
        yield from ("", "")
    elif peers:
        yield f"{MEASURES['wall'].compute(runs, peers):.2f}"
        yield f"{MEASURES['cpu'].compute(runs, peers):.2f}"


def _runs_of(data: Mapping[str, Any], number: int) -> Runs:
    sides = list(data["sides"].values())
    return sides[number]["runs"] if number < len(sides) else []
