"""The events of a run: a dictionary for each thing that a program may want to hear of at once.

    begun ─→ (progress, each second │ failure │ warning)* ─→ ended

Subscribe before the command runs, and each event is passed to ``listener`` as it happens::

    output = Output(...)
    output.events.subscribe(listener)     # listener: Callable[[dict[str, Any]], None]
    run_sync(settings, output)

``--json-lines`` is one subscriber: it writes each event as a line. ``on_event`` of the Python API is another. A
listener runs in the coordinator's thread, so it must return soon. Its exceptions end the run.

Every event has ``event`` and ``time`` (UTC, ``2026-11-29T08:00:00.123Z``). docs/events.schema.json has all fields.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from s3batch.base.shown_bytes import show_bytes
from s3batch.reporting.text import format_timestamp

if TYPE_CHECKING:
    from s3batch.model import Operation, Result
    from s3batch.reporting.progress import Totals

Event = dict[str, Any]
Listener = Callable[[Event], None]

PROGRESS_EVERY = 1.0
"""Seconds between two progress events."""


class EventStream:
    """Makes the events of one run and passes each to all listeners. Without a listener nothing is made."""

    def __init__(self, clock: Callable[[], float] = time.time, progress_every: float = PROGRESS_EVERY) -> None:
        self._clock = clock
        self._progress_every = progress_every
        self._listeners: list[Listener] = []
        self._shown = 0.0
        self._bytes_shown = 0
        self._warned: set[str] = set()

    def subscribe(self, listener: Listener) -> None:
        """Pass every event from now on to ``listener``."""
        self._listeners.append(listener)

    def __bool__(self) -> bool:
        """Return whether anyone listens."""
        return bool(self._listeners)

    def begun(self, facts: Mapping[str, Any]) -> None:
        """Tell that a job has begun. ``facts`` are fields of the document that are known by then."""
        self._shown = self._clock()
        self._tell("begun", facts)

    def progress(self, totals: Totals) -> None:
        """Tell the progress, if the last time is a second ago."""
        if not self._listeners:
            return
        now = self._clock()
        seconds = now - self._shown
        if seconds < self._progress_every:
            return
        rate = max(0, totals.bytes_sent - self._bytes_shown) / seconds
        self._shown, self._bytes_shown = now, totals.bytes_sent
        self._tell("progress", make_progress_fields(totals, rate))

    def failure(self, operation: Operation, result: Result) -> None:
        """Tell that an operation has failed for good. The fields are those of a row of ``failures``."""
        if self._listeners:
            self._tell("failure", make_failure_fields(operation, result))

    def warning(self, text: str) -> None:
        """Tell a warning, the first time it is given."""
        if self._listeners and text not in self._warned:
            self._warned.add(text)
            self._tell("warning", {"text": show_bytes(text)})

    def ended(self, document: Mapping[str, Any]) -> None:
        """Tell that the run has ended. The event is the whole document, and no other comes after it."""
        self._tell("ended", document)
        self._listeners.clear()

    def _tell(self, name: str, fields: Mapping[str, Any]) -> None:
        for listener in self._listeners:
            listener({"event": name, "time": format_timestamp(self._clock()), **fields})


def make_progress_fields(totals: Totals, rate: float) -> dict[str, Any]:
    """Return the fields of a progress event; ``rate`` is in bytes a second."""
    return {
        "phase": totals.phase or "working",
        "planning": totals.planning,
        "operations_planned": totals.files_planned,
        "operations_done": totals.files_done,
        "bytes_planned": totals.bytes_planned,
        "bytes_done": totals.bytes_done,
        "bytes_sent": totals.bytes_sent,
        "bytes_per_second": round(rate),
        "unchanged": totals.unchanged,
        "failed": totals.failed,
        "waiting": totals.waiting,
    }


def make_failure_fields(operation: Operation, result: Result) -> dict[str, Any]:
    """Return the fields of a failure event: those of a row of ``failures`` in the document."""
    return {
        "operation": operation.kind.value,
        "key": operation.key,
        "path": operation.path,
        "error": show_bytes(result.error),
        "code": result.code,
        "status": result.status,
        "request_id": result.request_id,
        "attempts": operation.attempts + 1,
    }
