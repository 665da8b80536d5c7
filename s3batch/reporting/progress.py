"""The progress of a job for people, on stderr: bars on a terminal, a line now and then in a log.

The coordinator keeps one :class:`Totals` and shows it as often as it likes; drawing is rare and cheap. Nothing here
starts a thread, because the coordinator must stay single threaded. The only door to tqdm.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from s3batch.base.units import format_count, format_duration, format_size
from s3batch.reporting.console import escape_line

if TYPE_CHECKING:
    from tqdm import tqdm as Bar  # noqa: N812 - a progress bar

    from s3batch.settings.table import Settings

_SHAPE = "{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt}+ [{elapsed}{postfix}]"
"""The plus stands for what the walk may still find. The rate is ours: tqdm would count what an earlier run did."""

BAR_EVERY = 0.2
"""Seconds between two drawings of the bars."""

LINE_EVERY = 10.0
"""Seconds between two lines in a log. CI services kill a build that is silent for minutes, and keep every line."""
FIRST_LINE = 2.0
"""Seconds from the first byte to the first line of a log."""
_RATE_OVER = 3.0
"""Seconds over which the rate of the bars is measured."""
_IN_FLIGHT = 256 * 1024 * 1024
"""Bytes: no more content than that counts as done while its requests are under way. Failed tries may be among it."""


class Totals:
    """Running counts of a job, resumed parts included. Kept by the coordinator."""

    def __init__(  # noqa: PLR0913 - all are counts
        self, *, files_planned: int = 0, bytes_planned: int = 0, files_done: int = 0, bytes_done: int = 0, unchanged: int = 0, failed: int = 0, planning: bool = True, phase: str = "", bytes_before: int = 0, bytes_sent: int = 0, bytes_settled: int = 0, waiting: str = "", unit: str = "operations",
    ) -> None:  # fmt: skip
        self.files_planned = files_planned
        """Operations of every kind."""
        self.bytes_planned = bytes_planned
        self.files_done = files_done
        """Settled operations, failed ones included."""
        self.bytes_done = bytes_done
        self.unchanged = unchanged
        """Files that needed no operation."""
        self.failed = failed
        self.planning = planning
        """True while the walk runs: the planned numbers can only grow."""
        self.phase = phase
        """The current phase, in one word."""
        self.bytes_before = bytes_before
        """The part of ``bytes_done`` that S3 had already, from an earlier run."""
        self.bytes_sent = bytes_sent
        """Bytes of bodies that this run has sent, unfinished requests included."""
        self.bytes_settled = bytes_settled
        """Those of them whose requests have ended well."""
        self.waiting = waiting
        """The reason why the job waits, such as ``503 SlowDown``; empty while it does not."""
        self.unit = unit
        """The unit of ``files_planned`` and ``files_done``."""

    @property
    def content_done(self) -> int:
        """Bytes of content that S3 has, with what is on the way to it."""
        under_way = min(_IN_FLIGHT, max(0, self.bytes_sent - self.bytes_settled))
        return max(self.bytes_done, min(self.bytes_planned, self.bytes_done + under_way))


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
    """One complete line every few seconds, the first soon after the first byte; never a carriage return."""

    def __init__(
        self, stream: TextIO, clock: Callable[[], float] = time.monotonic, line_every: float = LINE_EVERY
    ) -> None:
        self._stream = stream
        self._line_every = line_every
        self._clock = clock
        self._begun = self._shown = clock()
        self._first: Totals | None = None
        self._sent_since = float("inf")
        """When the first byte was on the wire."""
        self._is_slow = False
        """True once a line was due because bytes travel."""

    def update(self, totals: Totals) -> None:
        """Write a line when the last one is old enough."""
        now = self._clock()
        if self._first is None:
            self._first = Totals(**vars(totals))
        if totals.bytes_sent and not self._is_slow:
            self._sent_since = min(self._sent_since, now)
            self._is_slow = now - self._sent_since >= FIRST_LINE
            if self._is_slow:
                self._shown = min(self._shown, now - self._line_every)
        if now - self._shown >= self._line_every:
            self._shown = now
            line = format_progress_line(totals, self._first, now - self._begun)
            self._stream.write(escape_line(line) + "\n")
            self._stream.flush()

    def close(self) -> None:
        """Do nothing: the lines stay, and the report follows."""


def format_progress_line(totals: Totals, first: Totals, seconds: float) -> str:
    """Return the line of a log; rate and time left are those of the ``seconds`` since ``first``."""
    more = "+" if totals.planning else ""
    parts = [
        f"{format_count(totals.files_done)} of {format_count(totals.files_planned)}{more} {totals.unit}",
        f"{format_size(totals.content_done)} of {format_size(max(totals.bytes_planned, totals.content_done))}{more}",
        f"{format_size((totals.bytes_sent - first.bytes_sent) / seconds)}/s",
    ]
    left = None if totals.planning else _estimate_seconds_left(totals, first, seconds)
    parts += [f"{format_duration(left)} left"] if left is not None else []
    parts += _list_counts(totals)
    return f"{totals.phase or 'working'}: {', '.join(parts)}"


def _list_counts(totals: Totals) -> list[str]:
    """Return the counts that are worth a word when there are any, and why the job waits."""
    counts = [("unchanged", totals.unchanged), ("failed", totals.failed)]
    waiting = [f"waiting: {totals.waiting}"] if totals.waiting else []
    return [f"{format_count(count)} {name}" for name, count in counts if count] + waiting


def _estimate_seconds_left(totals: Totals, first: Totals, seconds: float) -> float | None:
    """Return the longer of the times that bytes and operations need; None while nothing is done.

    What an earlier run did, or S3 had already, tells nothing of the time.
    """
    content = totals.content_done
    before = first.content_done + totals.bytes_before - first.bytes_before
    guesses = [
        seconds * (planned - done) / (done - begun)
        for planned, done, begun in (
            (totals.bytes_planned, content, before),
            (totals.files_planned, totals.files_done, first.files_done),
        )
        if done > begun
    ]
    return max(guesses, default=None)


class ProgressBars:
    """Two bars, operations above bytes, gone when closed. Totals carry a ``+`` while the walk still runs."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._shown = float("-inf")
        self._first: tuple[float, Totals] | None = None
        self._recent: deque[tuple[float, int]] = deque()
        """Times of drawings, and the bytes on the wire by then."""
        self._bars: tuple[Bar[Any], Bar[Any]] | None = None

    def update(self, totals: Totals) -> None:
        """Draw when the last drawing is old enough."""
        now = self._clock()
        if now - self._shown < BAR_EVERY:
            return
        self._shown = now
        if self._bars is None:
            self._bars = _make_progress_bars(self._stream, totals)
        if self._first is None:
            self._first = now, Totals(**vars(totals))
        operations, content = self._bars
        operations.set_postfix_str(", ".join(_list_counts(totals)), refresh=False)
        content.set_postfix_str(self._describe_speed(now, totals), refresh=False)
        for bar in self._bars:
            bar.bar_format = _SHAPE if totals.planning else _SHAPE.replace("+ ", " ")
        _draw_bar(operations, totals.phase or "working", totals.files_done, totals.files_planned)
        _draw_bar(content, "content", totals.content_done, totals.bytes_planned)

    def _describe_speed(self, now: float, totals: Totals) -> str:
        """Return the rate on the wire of the last seconds, and the time left at the rate of the whole run."""
        recent, (begun, first) = self._recent, self._first or (now, totals)
        recent.append((now, totals.bytes_sent))
        while recent[-1][0] - recent[0][0] > _RATE_OVER:
            recent.popleft()
        seconds = now - recent[0][0]
        rate = (totals.bytes_sent - recent[0][1]) / seconds if seconds else 0.0
        left = None if totals.planning or now <= begun else _estimate_seconds_left(totals, first, now - begun)
        return f"{format_size(rate)}/s" + (f", {format_duration(left)} left" if left is not None else "")

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


def _draw_bar(bar: Bar[Any], phase: str, done: int, planned: int) -> None:
    bar.set_description_str(f"{escape_line(phase):>10}", refresh=False)
    bar.total, bar.n = max(planned, done, 1), done
    bar.refresh()
