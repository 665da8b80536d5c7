"""Run a workload: every program in turn, round after round, each time to a new prefix with a new journal."""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from scripts.benchmarks import hashes, sinks
from scripts.benchmarks.measure import Measurement, measured
from scripts.benchmarks.sinks import Sink
from scripts.benchmarks.tools import TOOLS, Errand
from scripts.benchmarks.workloads import KIB, MIB, Workload, make_tree

Runs = dict[str, list[Measurement | None]]
"""A measurement per round, or nothing where a program sat that round out."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the work is done."""

    trees: Path
    scratch: Path


def compare(workload: Workload, rounds: int, place: Place) -> dict[str, object]:
    """Return the results of one workload, ready for JSON."""
    tree = make_tree(workload, place.trees)
    scratch = place.scratch / workload.name
    scratch.mkdir()
    with sinks.running(workload.sink, scratch) as sink:
        runs = _rounds(workload, rounds, tree, sink, scratch)
    # so large that each program does what it does with the workload's files: in one piece, or in parts
    size = min(workload.size, 100 * MIB)
    kinds = {"tls": workload.sink == "tls", "signed": workload.signed, "size": size}
    return {
        "title": workload.title,
        "rounds": rounds,
        "hashes": {tool: hashes.seen(tool, scratch / "hashes" / tool, **kinds) for tool in runs},
        "goals": [asdict(goal) for goal in workload.goals],
        "runs": {tool: [run and _figures(run) for run in all_runs] for tool, all_runs in runs.items()},
    }


def _rounds(workload: Workload, rounds: int, tree: Path, sink: Sink, scratch: Path) -> Runs:
    environment = hashes.plain_environment(scratch) | sink.environment
    runs: Runs = {tool: [] for tool in workload.tools}
    if workload.repeated:
        for tool in workload.tools:
            _run(tool, _errand(workload, tree, sink, scratch, tool, 0, first=True), environment, scratch)
    for number in range(rounds):
        for tool in _turned(workload.tools, number):
            if number and tool in workload.slow:
                runs[tool].append(None)
                continue
            again = workload.repeated
            errand = _errand(workload, tree, sink, scratch, tool, 0 if again else number, first=not again)
            runs[tool].append(_run(tool, errand, environment, scratch))
    return runs


def _turned(tools: tuple[str, ...], number: int) -> Iterator[str]:
    """Another one begins each round, so that none always follows the same neighbour."""
    shift = number % len(tools)
    yield from tools[shift:] + tools[:shift]


def _errand(
    workload: Workload, tree: Path, sink: Sink, scratch: Path, tool: str, number: int, *, first: bool
) -> Errand:
    name = f"{workload.name}-{tool.replace(' ', '-')}-{number}"
    return Errand(tree, f"bench/{name}", sink.url, scratch / f"{name}.db", workload.signed, first)


def _run(tool: str, errand: Errand, environment: dict[str, str], scratch: Path) -> Measurement:
    run = measured(TOOLS[tool](errand), environment, scratch)
    if run.code != 0:
        raise SystemExit(f"{tool} failed with exit code {run.code} on {errand.target}:\n{run.output}")
    say(f"  {errand.target:40} {run.wall:8.2f} s wall {run.cpu:8.2f} s CPU {run.memory / MIB:7.0f} MiB")
    return run


def _figures(run: Measurement) -> dict[str, float]:
    return {"wall": round(run.wall, 3), "cpu": round(run.cpu, 3), "memory": run.memory}


def memory(place: Place, few: int, many: int) -> dict[str, object]:
    """Peak memory of all processes of s3batch for few and for many files."""
    peaks: dict[str, float] = {}
    for files in (few, many):
        workload = Workload(name=f"memory-{files}", title="", files=files, size=KIB, tools=("s3batch",))
        result = compare(workload, 1, place)
        peaks[str(files)] = result["runs"]["s3batch"][0]["memory"]
    return {"peaks": peaks}


def journal(place: Place, workload: Workload, rounds: int) -> dict[str, object]:
    """Return the journal's part of the CPU of a first run."""
    tree = make_tree(workload, place.trees)
    scratch = place.scratch / "journal"
    scratch.mkdir()
    shares = []
    with sinks.running("plain", scratch) as sink:
        environment = hashes.plain_environment(scratch) | sink.environment
        for number in range(rounds):
            report = scratch / f"share-{number}.json"
            errand = _errand(workload, tree, sink, scratch, "journal", number, first=True)
            command = TOOLS["s3batch"](errand)
            command[1:3] = ["-m", "scripts.benchmarks.journal_share", str(report)]
            run = measured(command, environment, scratch)
            if run.code != 0:
                raise SystemExit(f"s3batch failed with exit code {run.code}:\n{run.output}")
            shares.append(json.loads(report.read_text())["journal"] / run.cpu)
            say(f"  journal: {shares[-1]:.1%} of {run.cpu:.2f} s CPU")
    return {"files": workload.files, "shares": shares, "median": statistics.median(shares)}


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
