"""A Dask cluster of processes on this machine, with s3batch in it: a scheduler and workers of one thread each.

Run as a script it prints one line, ``{"scheduler": "tcp://...", "workers": [PID, ...]}``, and lasts until its
stdin ends. A worker that is killed is replaced, as Dask's nannies do it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.rig import program


@dataclass(frozen=True, slots=True)
class DaskCluster:
    """A running cluster."""

    scheduler: str
    pid: int
    """Of the scheduler."""
    workers: tuple[int, ...]
    """Process ids."""
    log: Path

    @property
    def flags(self) -> tuple[str, ...]:
        return ("--executor", "dask", "--scheduler", self.scheduler)


@contextmanager
def running(
    directory: Path, environment: Mapping[str, str], *, count: int = 2, before: Sequence[str] = ()
) -> Iterator[DaskCluster]:
    """A cluster of ``count`` workers, whose current directory is ``directory``; ``before`` are words before its command."""
    directory.mkdir(parents=True, exist_ok=True)
    log = directory / "cluster.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*before, sys.executable, "-m", "tests.rig.dask_cluster", str(count)],
            env={**environment, "PYTHONPATH": f"{environment.get('PYTHONPATH', '')}:{program.ROOT}"},
            cwd=directory, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=output, text=True,
            start_new_session=True,
        )  # fmt: skip
    try:
        facts = json.loads(process.stdout.readline() or "null")
        assert facts, log.read_text()
        yield DaskCluster(facts["scheduler"], process.pid, tuple(facts["workers"]), log)
    finally:
        process.stdin.close()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            pass
        finally:
            program.kill(process)
            process.stdout.close()


def main() -> None:
    """Be that cluster."""
    from distributed import Client, LocalCluster

    options = {"dashboard_address": None, "worker_dashboard_address": None, "host": "127.0.0.1"}
    with LocalCluster(n_workers=int(sys.argv[1]), threads_per_worker=1, processes=True, **options) as cluster:
        with Client(cluster, set_as_default=False) as client:
            pids = sorted(client.run(os.getpid).values())
        print(json.dumps({"scheduler": cluster.scheduler_address, "workers": pids}), flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
