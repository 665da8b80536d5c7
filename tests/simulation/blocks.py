"""The schedules of a run, in blocks: each process of a test run takes a file of tests, so they are in two files."""

from __future__ import annotations

import os
import time

from tests.simulation.job import Schedule, carry_out

COUNT = int(os.environ.get("S3BATCH_TEST_SIMULATE", "10000"))
"""Schedules in all, of 11 to 16 ms of CPU each."""
SECONDS = float(os.environ.get("S3BATCH_TEST_SIMULATE_SECONDS", "160"))
"""Of CPU that they may take in all, which a quiet machine needs; what is not begun by then is left out."""
BLOCKS = 8


def play(block: int, directory: str) -> None:
    """Carry out the schedules of one of the :data:`BLOCKS`, with journals in ``directory``."""
    end, share = time.process_time() + SECONDS / BLOCKS, COUNT // BLOCKS
    for number, seed in enumerate(range(block * share, (block + 1) * share)):
        carry_out(Schedule.diced(seed), directory)
        if time.process_time() > end and number >= 20:
            break
