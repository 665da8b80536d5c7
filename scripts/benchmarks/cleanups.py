"""What ``cache list`` and ``cache prune`` cost at a store that is 30 ms away, with 5,000 caches; and a killed prune."""

from __future__ import annotations

import http.client
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from s3batch.archive.hashing import chunk_id
from s3batch.cache.gc_protocol import RECORD_LIFE, RECORDS, DeletionRecord
from scripts.benchmarks import hashes
from scripts.benchmarks.judging import Verdict
from scripts.benchmarks.measure import Measurement, measured
from scripts.benchmarks.running import say
from scripts.benchmarks.scene import Place
from tests.rig.servers import ROOT

CACHES, DELAY_MS = 5000, 30
GOALS = {"list": 10.0, "list again": 10.0, "dry prune": 10.0, "prune of half": 30.0}
"""Seconds."""
MEMORY = 120 << 20
LATER = 5.0
"""Seconds by which a rebuild that meets a killed prune's record may be slower."""


@dataclass(frozen=True, slots=True)
class CleanupBench:
    """``cache list`` and ``cache prune``. No program does the same, so the goals are seconds."""

    caches: int = CACHES
    name: str = "cleanups"
    section: str = "The cache"
    reason: str = ""

    def shrink(self, files: int) -> CleanupBench:
        """Return the bench with so many caches."""
        return replace(self, caches=files)

    def divide(self, by: int) -> CleanupBench:
        """Return the bench with fewer caches."""
        return replace(self, caches=self.caches // by)

    def make_title(self, data: Mapping[str, Any]) -> str:
        """Return the title with the number of caches."""
        return f"{data.get('caches', self.caches):,} caches listed and cleaned up, {DELAY_MS} ms a request"

    def measure(self, rounds: int, place: Place) -> dict[str, Any]:
        """Return the figures of each command, which runs once: a prune cannot be repeated."""
        return _measure_commands(place, self.caches)

    def judge(self, data: Mapping[str, Any]) -> list[Verdict]:
        """Return a verdict for each goal."""
        runs, memory = data["cleanups"], max(each["memory"] for each in data["cleanups"].values())
        slower = runs["rebuild after a killed prune"]["wall"] - runs["rebuild"]["wall"]
        return [
            *(
                Verdict(f"{name}: {runs[name]['wall']:.1f} s, goal ≤ {goal:.0f} s", runs[name]["wall"] <= goal)
                for name, goal in GOALS.items()
            ),
            Verdict(f"peak memory {memory >> 20} MiB, goal ≤ {MEMORY >> 20} MiB", memory <= MEMORY),
            Verdict(f"a killed prune costs a rebuild {slower:.1f} s, goal ≤ {LATER:.0f} s", slower <= LATER),
        ]

    def render(self, data: Mapping[str, Any]) -> list[str]:
        """Return the table of the commands."""
        lines = ["| command | wall s | CPU s | peak MiB |", "| --- | ---: | ---: | ---: |"]
        for name, each in data["cleanups"].items():
            lines.append(f"| {name} | {each['wall']:.2f} | {each['cpu']:.2f} | {each['memory'] >> 20} |")
        return lines


BENCH = CleanupBench()


def _measure_commands(place: Place, count: int) -> dict[str, Any]:
    scratch = place.scratch / "cleanups"
    scratch.mkdir()
    runs: dict[str, dict[str, float]] = {}
    with _store(count) as url:
        environment = hashes.plain_environment(scratch) | {"AWS_ENDPOINT_URL": url}

        def run(name: str, *words: str) -> None:
            done = _command(environment, scratch, *words)
            runs[name] = {"wall": done.wall, "cpu": done.cpu, "memory": done.memory}
            say(f"  {name:16} {done.wall:6.2f} s wall {done.cpu:6.2f} s CPU {done.memory >> 20} MiB")

        run("dry prune", "prune", "s3://bench", "--ttl", "30d", "--dry-run")  # it leaves no index
        run("list", "list", "s3://bench")
        run("list again", "list", "s3://bench")
        run("prune of half", "prune", "s3://bench", "--ttl", "30d")
        for name, killed in (("rebuild", False), ("rebuild after a killed prune", True)):
            workspace = scratch / name.replace(" ", "-")
            (workspace / "v").mkdir(parents=True)
            (workspace / "v" / "a").write_bytes(name.encode())
            if killed:
                _leave_record(url, name.encode())
            flags = ["--bucket", "bench", "--cache", "v", "--cache-key", name, "--fail-on-error"]
            done = _command(environment, workspace, "rebuild", *flags)
            runs[name] = {"wall": done.wall, "cpu": done.cpu, "memory": done.memory}
            say(f"  {name:16} {done.wall:6.2f} s wall")
    return {"caches": count, "delay_ms": DELAY_MS, "cleanups": runs}


@contextmanager
def _store(count: int) -> Iterator[str]:
    command = [sys.executable, "-m", "scripts.benchmarks.slow_store", str(DELAY_MS), str(count)]
    server = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    try:
        yield f"http://127.0.0.1:{int(server.stdout.readline())}"
    finally:
        server.kill()
        server.wait()


def _command(environment: dict[str, str], cwd: Path, *words: str) -> Measurement:
    keys = {"AWS_ACCESS_KEY_ID": "benchmark", "AWS_SECRET_ACCESS_KEY": "benchmark-secret"}
    run = measured([sys.executable, "-m", "s3batch", "cache", *words, "--json"], environment | keys, cwd)
    if run.code != 0:
        raise SystemExit(f"s3batch cache {' '.join(words)} failed:\n{run.output}")
    return run


def _leave_record(url: str, content: bytes) -> None:
    """Leave the record that a prune, killed a moment ago, leaves: it names the chunk that the rebuild is about to name."""
    record = DeletionRecord(done=False, ids=[chunk_id(content).hex()], deadline=time.time() + RECORD_LIFE)
    connection = http.client.HTTPConnection(url.removeprefix("http://"))
    connection.request("PUT", f"/bench/{RECORDS}killed", msgspec.json.encode(record))
    connection.getresponse().read()
    connection.close()
