"""Run a row: its programs take turns, round after round, each with a directory of its own."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scripts.benchmarks import hashes, sinks, trees
from scripts.benchmarks.measure import Measurement, measured
from scripts.benchmarks.scene import MIB, Place, Scene, Side
from tests.rig import dask_cluster

if TYPE_CHECKING:
    from scripts.benchmarks.row import Row


def run_row(row: Row, rounds: int, place: Place) -> dict[str, Any]:
    """Return the runs of all programs of a row, ready for JSON."""
    directory = place.scratch / row.name
    directory.mkdir()
    with ExitStack() as stack:
        stage = _prepare_stage(row, place, directory, stack)
        present = [side for side in row.sides if stage.has(side)]
        runs: dict[str, list[Measurement]] = {side.name: [] for side in present}
        if row.is_prepared:
            for side in present:
                stage.run(side, 0)
        for number in range(rounds):
            for side in _rotate(present, number):
                runs[side.name].append(stage.run(side, number))
    return {
        "files": row.files,
        "size": row.size,
        "rounds": rounds,
        "sides": {side.name: _describe_side(row, side, runs.get(side.name, []), directory) for side in row.sides},
    }


def _prepare_stage(row: Row, place: Place, directory: Path, stack: ExitStack) -> _Stage:
    """Make the tree, and start the server and the Dask clusters, which end with ``stack``."""
    tree = trees.make_tree(row.files, row.size, place.trees, is_alike=row.is_alike) if row.has_tree else directory
    content = trees.make_sink_environment(row.size, directory) if row.is_alike else {}
    sink = stack.enter_context(
        sinks.run_null_server(directory, has_tls=row.has_tls, delay_ms=row.delay_ms, content=content)
    )
    environment = hashes.plain_environment(directory) | sink.environment
    schedulers = {
        count: stack.enter_context(
            dask_cluster.running(directory / f"cluster-{count}", environment, count=count)
        ).scheduler
        for count in row.workers
    }
    stack.callback(trees.remove_leftovers, place.trees / "downloads")
    return _Stage(row, place, directory, tree, sink.url, environment, schedulers)


@dataclass(frozen=True, slots=True)
class _Stage:
    """Where a row is run."""

    row: Row
    place: Place
    directory: Path
    tree: Path
    url: str
    environment: Mapping[str, str]
    schedulers: Mapping[int, str]

    def has(self, side: Side) -> bool:
        """Return true if the program is installed."""
        return bool(side.command(self._make_scene(side, 0))[0])

    def run(self, side: Side, number: int) -> Measurement:
        """Run a program once. Ends the benchmark if that fails."""
        scene = self._make_scene(side, number)
        if not self.row.is_kept:
            for left in (scene.directory, scene.downloads):
                trees.remove_leftovers(left)
        scene.empty.mkdir(parents=True, exist_ok=True)
        scene.downloads.mkdir(parents=True, exist_ok=True)
        command = side.command(scene)
        run = measured(command, self.environment, self.directory)
        if run.code != 0:
            raise SystemExit(f"{self.row.name}: {side.name} failed with exit code {run.code}:\n{run.output}")
        if not self.row.is_kept:
            trees.remove_leftovers(scene.downloads)
        say(f"  {side.name:24} {run.wall:8.2f} s wall {run.cpu:8.2f} s CPU {run.memory / MIB:6.0f} MiB")
        return run

    def _make_scene(self, side: Side, number: int) -> Scene:
        name = side.name.replace(" ", "-")
        return Scene(
            self.url, self.row.files, self.row.size, self.tree, self.directory / name,
            self.place.trees / "downloads" / name, f"bench/{name}-{number}", self.schedulers,
        )  # fmt: skip


def _rotate(sides: list[Side], number: int) -> Iterator[Side]:
    """Yield them in another order each round, so that none always follows the same neighbour."""
    shift = number % len(sides)
    yield from sides[shift:] + sides[:shift]


def _describe_side(row: Row, side: Side, runs: list[Measurement], directory: Path) -> dict[str, Any]:
    if not runs:
        return {"proves": side.proves, "missing": "not installed", "runs": []}
    recorder = directory / f"seen-{side.name.replace(' ', '-')}"
    proves = side.proves or hashes.see_hashes(side, recorder, size=row.size, has_tls=row.has_tls)
    return {"proves": proves, "runs": [_round_figures(run) for run in runs]}


def _round_figures(run: Measurement) -> dict[str, float]:
    return {"wall": round(run.wall, 3), "cpu": round(run.cpu, 3), "memory": run.memory}


def say(text: str) -> None:
    """Tell the person who waits."""
    print(text, file=sys.stderr, flush=True)
