"""What is measured, and how good it has to be."""

from __future__ import annotations

import os
import random
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30


@dataclass(frozen=True, slots=True)
class Goal:
    """At most so much of what s5cmd needs."""

    measure: str
    """"wall" or "cpu"."""
    ratio: float
    stretch: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """One table of the report."""

    name: str
    title: str
    files: int
    size: int
    """Bytes of each file."""
    sink: str = "plain"
    goals: tuple[Goal, ...] = ()
    signed: bool = False
    repeated: bool = False
    """Measure the second run, with nothing changed since the first."""
    tools: tuple[str, ...] = ("s3batch", "s5cmd", "rclone", "aws")
    slow: tuple[str, ...] = ("aws", "s5cmd sync")
    """These take too long for every round: they run in the first only."""

    def only(self, tools: set[str]) -> Workload:
        """With some of the programs."""
        return replace(self, tools=tuple(tool for tool in self.tools if tool in tools))

    def quick(self) -> Workload:
        """Return a tenth of it."""
        fewer = max(1, self.files // 10) if self.files > 10 else self.files
        size = self.size if self.files > 10 else self.size // 10
        return replace(self, files=fewer, size=size, title=f"A tenth of: {self.title}")


WORKLOADS = (
    Workload(
        name="small",
        title="20,000 new files of 4 KiB, equal integrity",
        files=20_000,
        size=4 * KIB,
        signed=True,
        tools=("s3batch", "s5cmd", "s5cmd sync", "rclone", "aws"),
        goals=(Goal("wall", 0.40, 0.25), Goal("cpu", 0.40, 0.25)),
    ),
    Workload(
        name="latency",
        title="20,000 new files of 4 KiB, every request 20 ms away, equal integrity",
        files=20_000,
        size=4 * KIB,
        sink="latency",
        signed=True,
        goals=(Goal("wall", 0.40, 0.25),),
    ),
    Workload(
        name="tls",
        title="20,000 new files of 4 KiB over TLS",
        files=20_000,
        size=4 * KIB,
        sink="tls",
        goals=(Goal("cpu", 0.30, 0.15),),
    ),
    Workload(
        name="medium",
        title="2,000 new files of 1 MiB, checksums on",
        files=2_000,
        size=MIB,
        goals=(Goal("cpu", 0.35, 0.20),),
    ),
    Workload(
        name="large",
        title="4 new files of 1 GiB, checksums on",
        files=4,
        size=GIB,
        goals=(Goal("cpu", 0.30, 0.15), Goal("wall", 0.50, 0.15)),
    ),
    Workload(
        name="unchanged",
        title="20,000 files of 4 KiB, nothing changed (rclone serve s3)",
        files=20_000,
        size=4 * KIB,
        sink="rclone",
        repeated=True,
        goals=(Goal("cpu", 1.0, 0.5), Goal("wall", 1.0, 0.5)),
    ),
    Workload(
        name="real",
        title="20,000 new files of 4 KiB to a real server (rclone serve s3), equal integrity",
        files=20_000,
        size=4 * KIB,
        sink="rclone",
        signed=True,
    ),
)


def make_tree(workload: Workload, parent: Path) -> Path:
    """Files of random content, a thousand in a directory; used again when it is there already."""
    root = parent / f"tree-{workload.files}-{workload.size}"
    if root.exists():
        return root
    making = parent / f"{root.name}.making"
    shutil.rmtree(making, ignore_errors=True)
    source = random.Random(workload.files)
    for number in range(workload.files):
        directory = making / f"d{number // 1000:03d}"
        if number % 1000 == 0:
            directory.mkdir(parents=True)
        write_random(directory / f"f{number:07d}.dat", workload.size, source)
    making.rename(root)
    return root


def write_random(path: Path, size: int, source: random.Random) -> None:
    with open(path, "wb") as file:
        for start in range(0, size, 16 * MIB):
            file.write(source.randbytes(min(16 * MIB, size - start)))


def free_bytes(directory: str) -> int:
    status = os.statvfs(directory)
    return status.f_bavail * status.f_frsize
