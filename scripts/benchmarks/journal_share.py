"""Run s3batch with a stop-watch around every method of its journal: ``python -m ... FILE ARGUMENTS``.

Writes to FILE the CPU seconds that the coordinator's thread spent inside the journal.
"""

from __future__ import annotations

import functools
import inspect
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from s3batch.cli import main
from s3batch.journal import Journal
from s3batch.journal.doubts import Doubts
from s3batch.journal.jobs import Jobs
from s3batch.journal.objects import Objects
from s3batch.journal.operations import Operations
from s3batch.journal.outcomes import Outcomes
from s3batch.journal.transaction import Transaction
from s3batch.journal.uploads import Uploads


class Watch:
    """CPU seconds of this thread spent inside the wrapped methods; what they call of each other counts once."""

    def __init__(self) -> None:
        self.seconds, self.inside = 0.0, False

    def around(self, method: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(method)
        def timed(*arguments: Any, **named: Any) -> Any:
            outcome = self.time(lambda: method(*arguments, **named))
            return self.stepwise(outcome) if inspect.isgenerator(outcome) else outcome

        return timed

    def stepwise(self, rows: Iterator[Any]) -> Iterator[Any]:
        """Yield the same rows, counting the time it takes to get each."""
        end = object()
        while (row := self.time(lambda: next(rows, end))) is not end:
            yield row

    def time(self, step: Callable[[], Any]) -> Any:
        if self.inside:
            return step()
        self.inside, start = True, time.thread_time()
        try:
            return step()
        finally:
            self.seconds += time.thread_time() - start
            self.inside = False


def watched_run(report: Path, arguments: list[str]) -> int:
    watch = Watch()
    for part in (Journal, Transaction, Jobs, Operations, Outcomes, Uploads, Doubts, Objects):
        for name, method in list(vars(part).items()):
            if inspect.isfunction(method):
                setattr(part, name, watch.around(method))
    sys.argv[1:] = arguments
    try:
        return main() or 0
    finally:
        report.write_text(json.dumps({"journal": watch.seconds}))


if __name__ == "__main__":
    sys.exit(watched_run(Path(sys.argv[1]), sys.argv[2:]))
