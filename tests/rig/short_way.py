"""One operation in one worker, to see which way it takes."""

from __future__ import annotations

from s3batch.executors.worker_loop import WorkerLoop
from s3batch.model import Operation, Result, Work


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
