"""Two fixed loops, timed before and after each row: they show a machine that drifts, or that others load."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable

STEPS, MEBIBYTES = 4_000_000, 256


def calibrate(steps: int = STEPS, mebibytes: int = MEBIBYTES) -> dict[str, list[float]]:
    """Return wall and CPU seconds of a loop in Python and of one in C, by name."""
    block = bytes(1 << 20)

    def run_python() -> None:
        total = 0
        for number in range(steps):
            total ^= number

    def run_sha256() -> None:
        digest = hashlib.sha256()
        for _ in range(mebibytes):
            digest.update(block)

    return {"Python": _time(run_python), "SHA-256": _time(run_sha256)}


def _time(loop: Callable[[], None]) -> list[float]:
    wall, cpu = time.perf_counter(), time.process_time()
    loop()
    return [round(time.perf_counter() - wall, 3), round(time.process_time() - cpu, 3)]


def describe(before: dict[str, list[float]], after: dict[str, list[float]]) -> str:
    """Return one line: CPU seconds before and after, and how much longer the clock on the wall took."""
    parts = []
    for name, (wall, cpu) in before.items():
        later_wall, later_cpu = after[name]
        load = (wall + later_wall) / max(cpu + later_cpu, 1e-9)
        parts.append(f"{name} {cpu:.2f} and {later_cpu:.2f} s of CPU, wall {load:.1f} times as long")
    return f"Fixed loops before and after: {'; '.join(parts)}."
