"""What people see of a running job, on a terminal and in a log."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
from itertools import count

import pytest

from s3batch.reporting.progress import (
    NoProgress,
    ProgressBars,
    ProgressLines,
    Totals,
    format_progress_line,
    make_progress,
)

MIB = 1 << 20


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    """Time that passes only when told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("kind", "stream", "expected"),
    [
        pytest.param("auto", Terminal(), ProgressBars, id="a terminal gets bars"),
        pytest.param("auto", io.StringIO(), ProgressLines, id="a log gets lines"),
        pytest.param("bar", io.StringIO(), ProgressBars, id="bars where asked for"),
        pytest.param("plain", Terminal(), ProgressLines, id="lines where asked for"),
        pytest.param("none", Terminal(), NoProgress, id="nothing where asked for"),
    ],
)
def test_the_setting_and_the_stream_choose(kind: str, stream: io.StringIO, expected: type) -> None:
    assert isinstance(make_progress(kind, stream), expected)


def test_nothing_shows_nothing() -> None:
    stream = Terminal()
    progress = make_progress("none", stream)
    progress.update(Totals())
    progress.close()

    assert stream.getvalue() == ""


class TestLines:
    def test_a_line_is_written_each_ten_seconds_however_often_it_is_told(self) -> None:
        stream, clock = io.StringIO(), Clock()
        progress = ProgressLines(stream, clock)
        for step in range(1, 301):
            clock.now = 100 + step / 10
            progress.update(Totals(files_planned=300, files_done=step, phase="upload"))
        progress.close()

        assert [text.split(",")[0] for text in stream.getvalue().splitlines()] == [
            "upload: 100 of 300+ operations",
            "upload: 200 of 300+ operations",
            "upload: 300 of 300+ operations",
        ]

    def test_the_first_line_comes_two_seconds_after_the_first_byte(self) -> None:
        stream, clock = io.StringIO(), Clock()
        progress = ProgressLines(stream, clock)
        for tenth in range(60):
            clock.now = 100 + tenth / 10
            progress.update(Totals(files_planned=1, bytes_planned=MIB, bytes_sent=max(0, tenth - 10) * 1024))

        (line,) = stream.getvalue().splitlines()
        assert "21 KiB of 1 MiB+, 6.8 KiB/s" in line

    def test_a_log_never_holds_a_carriage_return_or_an_escape(self) -> None:
        stream, clock = io.StringIO(), Clock()
        progress = ProgressLines(stream, clock)
        clock.now += 60
        progress.update(Totals(files_planned=3, files_done=1, bytes_planned=9, bytes_done=3))
        progress.close()

        assert "\r" not in stream.getvalue()
        assert "\x1b" not in stream.getvalue()
        assert stream.getvalue().endswith("\n")

    @pytest.mark.parametrize(
        ("totals", "first", "expected"),
        [
            pytest.param(
                Totals(
                    files_planned=5000,
                    files_done=1204,
                    bytes_planned=98 * MIB,
                    bytes_done=12 * MIB,
                    phase="upload",
                    bytes_sent=12 * MIB,
                    bytes_settled=12 * MIB,
                ),
                Totals(),
                "upload: 1,204 of 5,000+ operations, 12 MiB of 98 MiB+, 1.2 MiB/s",
                id="while the walk runs totals carry a plus and no time left is guessed",
            ),
            pytest.param(
                Totals(
                    files_planned=100,
                    files_done=50,
                    bytes_planned=40 * MIB,
                    bytes_done=10 * MIB,
                    bytes_sent=10 * MIB,
                    bytes_settled=10 * MIB,
                    planning=False,
                ),
                Totals(),
                "working: 50 of 100 operations, 10 MiB of 40 MiB, 1 MiB/s, 30.0 s left",
                id="the slower of bytes and operations tells the time left",
            ),
            pytest.param(
                Totals(
                    files_planned=100,
                    files_done=95,
                    bytes_planned=10 * MIB,
                    bytes_done=9 * MIB,
                    bytes_sent=MIB,
                    bytes_settled=MIB,
                    planning=False,
                ),
                Totals(files_done=90, bytes_done=8 * MIB),
                "working: 95 of 100 operations, 9 MiB of 10 MiB, 102 KiB/s, 10.0 s left",
                id="what an earlier run did counts for no rate",
            ),
            pytest.param(
                Totals(files_planned=2, files_done=2, unchanged=1500, failed=1, planning=False, phase="delete"),
                Totals(),
                "delete: 2 of 2 operations, 0 B of 0 B, 0 B/s, 0 ms left, 1,500 unchanged, 1 failed",
                id="unchanged and failed are named when there are any",
            ),
            pytest.param(
                Totals(files_planned=1, bytes_planned=40 * MIB, bytes_sent=4 * MIB, planning=False),
                Totals(),
                "working: 0 of 1 operations, 4 MiB of 40 MiB, 410 KiB/s, 1m 30s left",
                id="what is on the wire counts, before its request has ended",
            ),
            pytest.param(
                Totals(
                    files_planned=1,
                    bytes_planned=40 * MIB,
                    bytes_done=30 * MIB,
                    bytes_before=20 * MIB,
                    bytes_sent=10 * MIB,
                    bytes_settled=10 * MIB,
                    planning=False,
                ),
                Totals(),
                "working: 0 of 1 operations, 30 MiB of 40 MiB, 1 MiB/s, 10.0 s left",
                id="parts that S3 has already are done, and are no speed",
            ),
            pytest.param(
                Totals(files_planned=2, waiting="503 SlowDown"),
                Totals(),
                "working: 0 of 2+ operations, 0 B of 0 B+, 0 B/s, waiting: 503 SlowDown",
                id="a store that asks for patience is named",
            ),
            pytest.param(
                Totals(files_planned=2, planning=False),
                Totals(),
                "working: 0 of 2 operations, 0 B of 0 B, 0 B/s",
                id="nothing done foretells nothing",
            ),
        ],
    )
    def test_a_line_says(self, totals: Totals, first: Totals, expected: str) -> None:
        assert format_progress_line(totals, first, 10.0) == expected


class TestBars:
    def show(self, *totals: Totals) -> str:
        stream, clock = Terminal(), Clock()
        progress = ProgressBars(stream, clock)
        for one in totals:
            clock.now += 1
            progress.update(one)
        shown = stream.getvalue()
        progress.close()
        return shown

    def test_files_bytes_and_counts_are_drawn(self) -> None:
        shown = self.show(
            Totals(
                files_planned=8,
                files_done=2,
                bytes_planned=4 * MIB,
                bytes_done=MIB,
                unchanged=7,
                failed=1,
                phase="upload",
            )
        )

        assert "upload:  25%" in shown
        assert "2/8+" in shown
        assert "1.00M/4.00M+" in shown
        assert "7 unchanged, 1 failed" in shown

    def test_the_rate_is_that_of_the_wire_and_not_of_what_was_done_before(self) -> None:
        shown = self.show(
            *[
                Totals(
                    bytes_planned=9 * MIB,
                    bytes_done=5 * MIB,
                    bytes_before=5 * MIB,
                    bytes_sent=step * 1024,
                    waiting="503 SlowDown",
                )
                for step in range(4)
            ]
        )

        assert ", 1 KiB/s]" in shown.split("\r")[-1]
        assert "waiting: 503 SlowDown" in shown

    def test_the_plus_goes_when_the_walk_has_ended(self) -> None:
        shown = self.show(Totals(files_planned=8, files_done=2, planning=False))

        assert "2/8 " in shown
        assert "+" not in shown

    def test_drawing_is_rare_however_often_it_is_told(self) -> None:
        stream, clock = Terminal(), Clock()
        progress = ProgressBars(stream, clock)
        for step in range(1000):
            clock.now += 0.001
            progress.update(Totals(files_planned=1000, files_done=step))
        progress.close()

        assert stream.getvalue().count("working") <= 2 * 6

    def test_closing_twice_and_closing_undrawn_is_no_error(self) -> None:
        progress = ProgressBars(Terminal())
        progress.close()
        progress.close()

    def test_drawing_starts_no_thread(self) -> None:
        before = threading.active_count()
        self.show(*[Totals(files_planned=9, files_done=done) for done, _ in zip(count(), range(9))])

        assert threading.active_count() == before


def test_tqdm_is_not_loaded_where_no_bar_is_drawn() -> None:
    code = (
        "import io, sys; from s3batch.reporting.progress import Totals, make_progress; p = make_progress('auto', io.StringIO());"
        "p.update(Totals()); p.close(); sys.exit('tqdm' in sys.modules)"
    )

    assert subprocess.run([sys.executable, "-c", code], check=False, env=os.environ).returncode == 0
