"""The numbers behind the plots of a report."""

from __future__ import annotations

import pytest

from s3batch.base.units import format_size
from s3batch.journal import Sample
from s3batch.reporting.plots import Bar, make_curves, make_histogram


def sampled(*counts: tuple[float, int]) -> list[Sample]:
    """Samples at these times with so many bytes."""
    return [Sample(at, 0, size, size // 100, 0) for at, size in counts]


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        pytest.param({}, [], id="nothing"),
        pytest.param({0: 3}, [Bar("empty", "3", 100.0)], id="empty files"),
        pytest.param(
            {11: 5, 13: 10},
            [Bar("1 KiB to 2 KiB", "5", 50.0), Bar("2 KiB to 4 KiB", "0", 0.0), Bar("4 KiB to 8 KiB", "10", 100.0)],
            id="a gap is shown",
        ),
        pytest.param(
            {0: 1, 1: 1, 21: 8},
            [
                Bar("empty", "1", 12.5),
                Bar("1 B to 4 B", "1", 12.5),
                *[Bar(f"{format_size(4**n)} to {format_size(4 ** (n + 1))}", "0", 0.0) for n in range(1, 10)],
                Bar("1 MiB to 4 MiB", "8", 100.0),
            ],
            id="a wide range has wider bars",
        ),
    ],
)
def test_a_histogram_has_a_row_for_each_range(counts: dict[int, int], expected: list[Bar]) -> None:
    assert make_histogram(counts, format_size, "empty") == expected


def test_a_curve_is_the_rate_between_two_samples() -> None:
    throughput, requests = make_curves(sampled((101, 1000), (102, 1000), (104, 5000)), 100.0)

    assert throughput.line == "M0 51.2 L250 51.2 L250 100 L500 100 L500 2.3 L1000 2.3"
    assert throughput.area == f"{throughput.line} L1000 100 L0 100 Z"
    assert (throughput.top, throughput.peak, throughput.mean) == ("2 KiB/s", "2.0 KiB/s", "1.2 KiB/s")
    assert throughput.seconds == "4.0 s"
    assert throughput.rows == [("1.0 s", "1000 B/s"), ("2.0 s", "0 B/s"), ("4.0 s", "2.0 KiB/s")]
    assert requests.name == "Requests"


@pytest.mark.parametrize(
    "samples",
    [sampled(), sampled((100.0, 5)), sampled((100.001, 5), (100.002, 5)), sampled((101, 0), (102, 0), (103, 0))],
)
def test_too_little_is_no_curve(samples: list[Sample]) -> None:
    assert make_curves(samples, 100.0) == []


def test_a_long_course_has_a_bounded_number_of_points() -> None:
    throughput, _ = make_curves(sampled(*((100.0 + n, n * 1000) for n in range(1000))), 100.0)

    assert throughput.line.count("L") <= 500
    assert len(throughput.rows) <= 20
