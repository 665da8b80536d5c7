"""The progress of a job for people, on stderr: bars on a terminal, a line now and then in a log.

The coordinator keeps one :class:`Totals` and shows it as often as it likes; drawing is rare and cheap. Nothing here
starts a thread, because the coordinator must stay single threaded. The only door to tqdm.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from s3batch.reporting.console import escape_line
from s3batch.units import format_count, format_duration, format_size

if TYPE_CHECKING:
    from tqdm import tqdm as Bar  # noqa: N812 - a progress bar

    from s3batch.settings.table import Settings

_PLANNING = "{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt}+ [{elapsed}, {rate_fmt}{postfix}]"
_PLANNED = "{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}, {rate_fmt}{postfix}]"

BAR_EVERY = 0.2
"""Seconds between two drawings of the bars."""

LINE_EVERY = 10.0
"""Seconds between two lines in a log. CI services kill a build that is silent for minutes, and keep every line."""


@dataclass(slots=True)
class Totals:
    """Running counts of a job, resumed parts included. Kept by the coordinator."""

    files_planned: int = 0
    """Operations of every kind."""
    bytes_planned: int = 0
    files_done: int = 0
    """Settled operations, failed ones included."""
    bytes_done: int = 0
    unchanged: int = 0
    """Files that needed no operation."""
    failed: int = 0
    planning: bool = True
    """True while the walk runs: the planned numbers can only grow."""
    phase: str = ""
    """The current phase, in one word."""
    bytes_sent: int = 0
    """Bytes of bodies that this run has sent, unfinished requests included."""
    waiting: str = ""
    """The reason why the job waits, such as ``503 SlowDown``; empty while it does not."""
    unit: str = "operations"
    """The unit of ``files_planned`` and ``files_done``."""


class Progress(Protocol):
    """Where totals are shown."""

    def update(self, totals: Totals) -> None:
        """Show ``totals`` if it is time to; may be called thousands of times a second."""

    def close(self) -> None:
        """Remove temporary output, once at the end, also after an error."""


def choose_progress_kind(settings: Settings) -> str:
    """Return the kind of progress that a job shows; none beside ``--quiet``, nor beside a document unless asked for."""
    quiet = settings.quiet or (settings.json and settings.progress == "auto")
    return "none" if quiet else settings.progress


def make_progress(kind: str, stream: TextIO) -> Progress:
    """Return the progress of a kind: ``bar``, ``plain``, ``none``; ``auto`` is bars on a terminal and lines elsewhere."""
    if kind == "none":
        return NoProgress()
    if kind == "bar" or (kind == "auto" and stream.isatty()):
        return ProgressBars(stream)
    return ProgressLines(stream)


class NoProgress:
    """Shows nothing."""

    def update(self, totals: Totals) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


class ProgressLines:
    """One complete line every few seconds; never a carriage return."""

    def __init__(
        self, stream: TextIO, clock: Callable[[], float] = time.monotonic, line_every: float = LINE_EVERY
    ) -> None:
        self._stream = stream
        self._line_every = line_every
        self._clock = clock
        self._begun = self._shown = clock()
        self._first: Totals | None = None

    def update(self, totals: Totals) -> None:
        """Write a line when the last one is old enough."""
        now = self._clock()
        if self._first is None:
            self._first = replace(totals)
        if now - self._shown >= self._line_every:
            self._shown = now
            self._stream.write(escape_line(format_progress_line(totals, self._first, now - self._begun)) + "\n")
            self._stream.flush()

    def close(self) -> None:
        """Do nothing: the lines stay, and the report follows."""


def format_progress_line(totals: Totals, first: Totals, seconds: float) -> str:
    """Return the line of a log; rate and time left are those of the ``seconds`` since ``first``."""
    more = "+" if totals.planning else ""
    parts = [
        f"{format_count(totals.files_done)} of {format_count(totals.files_planned)}{more} {totals.unit}",
        f"{format_size(totals.bytes_done)} of {format_size(max(totals.bytes_planned, totals.bytes_done))}{more}",
        f"{format_size((totals.bytes_done - first.bytes_done) / seconds)}/s",
    ]
    left = None if totals.planning else _estimate_seconds_left(totals, first, seconds)
    parts += [f"{format_duration(left)} left"] if left is not None else []
    parts += [f"{format_count(totals.unchanged)} unchanged"] if totals.unchanged else []
    parts += [f"{format_count(totals.failed)} failed"] if totals.failed else []
    return f"{totals.phase or 'working'}: {', '.join(parts)}"


def _estimate_seconds_left(totals: Totals, first: Totals, seconds: float) -> float | None:
    """Return the longer of the times that bytes and operations need; None while nothing is done."""
    guesses = [
        seconds * (planned - done) / (done - before)
        for planned, done, before in (
            (totals.bytes_planned, totals.bytes_done, first.bytes_done),
            (totals.files_planned, totals.files_done, first.files_done),
        )
        if done > before
    ]
    return max(guesses, default=None)


class ProgressBars:
    """Two bars, operations above bytes, gone when closed. Totals carry a ``+`` while the walk still runs."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._shown = float("-inf")
        self._bars: tuple[Bar[Any], Bar[Any]] | None = None

    def update(self, totals: Totals) -> None:
        """Draw when the last drawing is old enough."""
        now = self._clock()
        if now - self._shown < BAR_EVERY:
            return
        self._shown = now
        if self._bars is None:
            self._bars = _make_progress_bars(self._stream, totals)
        operations, content = self._bars
        operations.set_postfix_str(_format_bar_postfix(totals), refresh=False)
        _draw_bar(operations, totals.phase or "working", totals.files_done, totals.files_planned, totals.planning)
        _draw_bar(content, "content", totals.bytes_done, totals.bytes_planned, totals.planning)

    def close(self) -> None:
        """Erase the bars."""
        for bar in reversed(self._bars or ()):
            bar.close()
        self._bars = None


def _make_progress_bars(stream: TextIO, totals: Totals) -> tuple[Bar[Any], Bar[Any]]:
    from tqdm import tqdm  # noqa: PLC0415 - 30 ms, and of no use in a log

    tqdm.monitor_interval = 0  # its monitor is a thread
    tqdm.set_lock(threading.RLock())  # its default adds a semaphore of multiprocessing, and a process to watch it
    return (
        tqdm(file=stream, initial=totals.files_done, unit="op", position=0, leave=False, dynamic_ncols=True),
        tqdm(
            file=stream,
            initial=totals.bytes_done,
            unit="B",
            unit_scale=True,
            unit_divisor=1024,
            position=1,
            leave=False,
            dynamic_ncols=True,
        ),
    )


def _draw_bar(bar: Bar[Any], phase: str, done: int, planned: int, planning: bool) -> None:
    bar.bar_format = _PLANNING if planning else _PLANNED
    bar.set_description_str(f"{escape_line(phase):>10}", refresh=False)
    bar.total, bar.n = max(planned, done, 1), done
    bar.refresh()


def _format_bar_postfix(totals: Totals) -> str:
    counts = [("unchanged", totals.unchanged), ("failed", totals.failed)]
    return ", ".join(f"{format_count(count)} {name}" for name, count in counts if count)
