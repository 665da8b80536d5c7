"""The events of a run, as listeners get them."""

from __future__ import annotations

from typing import Any

from s3batch.model import Kind, Operation, Reason, Result
from s3batch.reporting.console import Output
from s3batch.reporting.events import EventStream
from s3batch.reporting.progress import Totals


class Clock:
    """Time that passes only when told to."""

    def __init__(self) -> None:
        self.now = 1796025600.0

    def __call__(self) -> float:
        return self.now


def heard() -> tuple[EventStream, list[dict[str, Any]], Clock]:
    """Return a stream, what its listener has got, and its clock."""
    clock, got = Clock(), list[dict[str, Any]]()
    events = EventStream(clock)
    events.subscribe(got.append)
    return events, got, clock


def test_each_event_has_a_name_and_a_time() -> None:
    events, got, _ = heard()

    events.begun({"job": "j", "command": "sync"})

    assert got == [{"event": "begun", "time": "2026-11-30T08:00:00.000Z", "job": "j", "command": "sync"}]


def test_progress_is_told_once_a_second_with_the_rate_on_the_wire() -> None:
    events, got, clock = heard()
    events.begun({})
    for tenth in range(25):
        clock.now = 1796025600.0 + tenth / 10
        events.progress(Totals(files_planned=9, files_done=tenth, bytes_sent=tenth * 100, phase="syncing"))

    told = [(each["operations_done"], each["bytes_per_second"]) for each in got[1:]]
    assert told == [(10, 1000), (20, 1000)]
    assert got[1]["phase"] == "syncing"


def test_a_failure_is_a_row_of_the_document() -> None:
    events, got, _ = heard()
    operation = Operation(Kind.UPLOAD, "k", Reason.MISSING, "p", attempts=2)

    events.failure(operation, Result(1, error="no", code="AccessDenied", status=403, request_id="R"))

    assert {name: value for name, value in got[0].items() if name not in {"event", "time"}} == {
        "operation": "upload", "key": "k", "path": "p", "error": "no", "code": "AccessDenied", "status": 403,
        "request_id": "R", "attempts": 3,
    }  # fmt: skip


def test_a_warning_is_told_once_however_it_comes() -> None:
    output, got = Output(), list[dict[str, Any]]()
    output.events.subscribe(got.append)

    output.warn("slow")
    output.events.warning("slow")

    assert [(each["event"], each["text"]) for each in got] == [("warning", "slow")]


def test_without_a_listener_nothing_is_made() -> None:
    events = EventStream()

    events.progress(Totals())
    events.failure(Operation(Kind.UPLOAD, "k", Reason.MISSING), Result(1))

    assert not events
