"""What responses say of time."""

from __future__ import annotations

import time
from email.utils import formatdate

import pytest

from s3batch.s3.clock import retry_after, seconds_of
from s3batch.s3.faults import fault_of
from s3batch.s3.requests import Response


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        pytest.param("3", 3.0, id="seconds"),
        pytest.param(" 0 ", 0.0, id="none"),
        pytest.param("9" * 5000, 120.0, id="a number of 5,000 digits"),
        pytest.param("3600", 120.0, id="an hour"),
        pytest.param("-3", 0.0, id="in the past"),
        pytest.param("soon", 0.0, id="no time"),
        pytest.param("Sun, 29 Nov 2026 10:00:07 GMT", 7.0, id="a date, by the store's clock"),
        pytest.param("Sun, 29 Nov 2026 09:00:00 GMT", 0.0, id="a date in the past"),
        pytest.param("Sun, 29 Nov 2026 23:00:00 GMT", 120.0, id="a date far away"),
    ],
)
def test_how_long_to_wait(text, seconds):
    assert retry_after({"retry-after": text, "date": "Sun, 29 Nov 2026 10:00:00 GMT"}) == seconds


@pytest.mark.parametrize(
    "date", ["", "x", "Mon, 99 Foo 9999 99:99:99 GMT", "Fri, 31 Dec 9999 23:59:59 GMT", "1" * 5000, "Thu, 01 Jan 0001"]
)
def test_what_is_no_date_is_none(date):
    assert seconds_of(date) == 0.0


@pytest.mark.parametrize(
    ("ahead", "words"), [(600, "600 s behind the store's"), (-7200, "7200 s ahead of the store's")]
)
def test_a_refusal_for_the_clock_says_by_how_much_it_differs(monkeypatch, ahead, words):
    monkeypatch.setattr(time, "time", lambda: 1_800_000_000.0)
    date = formatdate(1_800_000_000 + ahead, usegmt=True)
    body = b"<Error><Code>RequestTimeTooSkewed</Code><Message>The difference is too large.</Message></Error>"

    fault = fault_of(Response(403, {"date": date}, body))

    assert fault.message == f"The difference is too large. (this machine's clock is {words})"


@pytest.mark.parametrize(("status", "seconds"), [(429, 5.0), (503, 5.0), (500, 0.0)])
def test_a_store_that_is_busy_says_when_it_is_not(status, seconds):
    assert fault_of(Response(status, {"retry-after": "5"})).retry_after == seconds
