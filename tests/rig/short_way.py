"""One operation in one worker, to see which way it takes."""

from __future__ import annotations

from typing import Any

import pytest

from s3batch.executors.worker_loop import WorkerLoop
from s3batch.model import Operation, Result, Work
from s3batch.s3 import requests


def carry_out_alone(runner: WorkerLoop, operation: Operation) -> Result:
    """The one result of an operation, after which the worker holds nothing of it."""
    runner.take([Work(operation)])
    while runner.busy:
        runner.turn(1.0)
    (result,) = runner.results
    runner.results.clear()
    assert not runner._weight
    assert not runner._heavy
    return result


def note_unfolded(monkeypatch: pytest.MonkeyPatch, short: Any) -> list[int]:
    """Return a list that gets the row of each request of the class ``short`` that goes on in the general way."""
    rows: list[int] = []
    real = short.unfold

    def noted(made: Any, request: requests.Request) -> Any:
        rows.append(made.row)
        return real(made, request)

    monkeypatch.setattr(short, "unfold", noted)
    return rows
