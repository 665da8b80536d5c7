"""Run one schedule by its seed and print what happens: ``python -m tests.simulation SEED``."""

from __future__ import annotations

import sys
import tempfile

from tests.simulation.job import Schedule, carry_out

with tempfile.TemporaryDirectory() as directory:
    sys.stdout.write("\n".join(carry_out(Schedule.diced(int(sys.argv[1])), directory).world.trace) + "\n")
