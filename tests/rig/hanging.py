"""What a worker is told to do that never ends, as a read from a file server that does not answer."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

from s3batch.model import Result
from s3batch.s3.event_loop import run_in_thread

if TYPE_CHECKING:
    from s3batch.model import Work
    from s3batch.worker.context import Tools


async def hang_or_die(work: Work, tools: Tools) -> Result:
    """Hang, or kill this process, as the operation's key wants it."""
    if work.operation.key.startswith("hang"):
        time.sleep(3600)  # noqa: ASYNC251 - that is what it is for
    if work.operation.key.startswith("thread"):
        reading, _ = os.pipe()
        await run_in_thread(lambda: tools.source._read_block(work.operation.path, lambda: os.read(reading, 1)))
    if work.operation.key.startswith("die"):
        os.kill(os.getpid(), signal.SIGKILL)
    return Result(work.operation.id)
