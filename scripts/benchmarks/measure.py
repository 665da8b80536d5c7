"""Run one command and measure it with all of its descendants: wall and CPU seconds, peak memory.

Run as a program of its own (``python -m scripts.benchmarks.measure COMMAND...``): it makes itself the
one that orphans are given to, so that the CPU of every process the command started is counted, also
of one that nobody waited for. Memory is the sum of the proportional set sizes (a page shared by two
processes counts once), looked at every 0.2 s. The last line on its stdout is the measurement as JSON.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36
LOOK_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Measurement:
    """What one run cost."""

    wall: float
    cpu: float
    memory: int
    """Peak, bytes."""
    code: int
    output: str = ""
    """The end of what it wrote."""


def measured(command: list[str], environment: Mapping[str, str], cwd: Path) -> Measurement:
    """Run the command by way of this module as a program."""
    outer = [sys.executable, "-m", "scripts.benchmarks.measure", str(cwd), *command]
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(outer, env=dict(environment), cwd=root, capture_output=True, text=True, check=True)
    return Measurement(**json.loads(done.stdout.splitlines()[-1]))


def run(cwd: str, command: list[str]) -> Measurement:
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    start = time.monotonic()
    process = subprocess.Popen(
        command, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    peak = Peak(process.pid)
    output = process.stdout.read()
    code = process.wait()
    wall = time.monotonic() - start
    memory = peak.stop()
    with suppress(ChildProcessError):
        while True:
            os.wait()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Measurement(wall, used.ru_utime + used.ru_stime, memory, code, output[-2000:])


class Peak:
    """Looks at the memory of a process and its descendants until it is stopped."""

    def __init__(self, pid: int) -> None:
        self._pid, self._highest = pid, 0
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def stop(self) -> int:
        self._stopped.set()
        self._thread.join()
        return self._highest

    def _look(self) -> None:
        wait = 0.02  # soon at first, for a run that is over in no time
        while not self._stopped.wait(wait):
            wait = min(LOOK_SECONDS, wait * 2)
            self._highest = max(self._highest, sum(map(proportional_size, family(self._pid))))


def family(pid: int) -> Iterator[int]:
    """Return a process and all of its descendants that still exist."""
    yield pid
    with suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            for child in Path(f"/proc/{pid}/task/{thread}/children").read_text().split():
                yield from family(int(child))


def proportional_size(pid: int) -> int:
    """Bytes; 0 for a process that has gone."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0


if __name__ == "__main__":
    print(json.dumps(asdict(run(sys.argv[1], sys.argv[2:]))))
