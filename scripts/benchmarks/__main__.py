"""The work of scripts/bench: choose workloads, run them, keep the raw results, write the page."""

from __future__ import annotations

import argparse
import datetime as dt
import json
import shlex
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from scripts.benchmarks import caches, cleanups, page, rounds, runner, tools
from scripts.benchmarks.workloads import GIB, WORKLOADS, Workload, free_bytes
from tests.rig.servers import ROOT

RESULTS = ROOT / "docs" / "benchmarks.json"
PAGE = ROOT / "docs" / "benchmarks.md"
SPECIAL = {
    "memory": "peak memory of s3batch at 20,000 and at 500,000 files",
    "journal": "the journal's share of s3batch's CPU",
    "cache-node": "the cache on a node_modules of 50,000 files, beside tar and zstd",
    "cache-venv": "the cache on a .venv of 30,000 files, beside tar and zstd",
    **{name: f"{duel.files:,} {duel.title}, beside {duel.peer}" for name, duel in runner.DUELS.items()},
    "cleanups": "list and prune of 5,000 caches, every request 30 ms away",
}


def main() -> None:
    options = arguments()
    if options.list:
        for name, title in ({w.name: w.title for w in WORKLOADS} | SPECIAL).items():
            print(f"{name:15} {title}")
        return
    results: dict[str, Any] = {} if options.quick else known_results()
    with tempfile.TemporaryDirectory(prefix="s3batch-bench-") as scratch:
        place = rounds.Place(Path(options.trees), Path(scratch))
        for name, job in chosen(options, place).items():
            rounds.say(name)
            results[name] = said_how(job(), options)
            if not options.quick:
                RESULTS.write_text(json.dumps(results, indent=1) + "\n")
                PAGE.write_text(page.page(results, tools.versions()))
    print(page.page(results, tools.versions()))


def arguments() -> argparse.Namespace:
    names = [workload.name for workload in WORKLOADS] + list(SPECIAL)
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument("workloads", nargs="*", metavar="WORKLOAD", help=f"one or more of {', '.join(names)}")
    parser.add_argument("--list", action="store_true", help="say what there is, and end")
    parser.add_argument("--rounds", type=int, default=5, help="how often each program runs (default 5)")
    parser.add_argument("--quick", action="store_true", help="one round of a tenth of the work; writes nothing")
    parser.add_argument("--tools", help="only these, by comma (s3batch and s5cmd are always there)")
    parser.add_argument(
        "--trees", default=roomy(), help="where to make the trees; kept for the next run (default %(default)s)"
    )
    options = parser.parse_args()
    unknown = set(options.workloads) - set(names)
    if unknown:
        parser.error(f"no workload is named {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    options.workloads = options.workloads or names
    Path(options.trees).mkdir(parents=True, exist_ok=True)
    return options


def roomy() -> str:
    """Memory where there is enough of it, so that no disk is measured."""
    shm = "/dev/shm"
    parent = shm if Path(shm).is_dir() and free_bytes(shm) > 12 * GIB else tempfile.gettempdir()
    return f"{parent}/s3batch-bench-trees"


def chosen(options: argparse.Namespace, place: rounds.Place) -> dict[str, Callable[[], dict[str, Any]]]:
    """Return the workloads to run, by name."""
    count = 1 if options.quick else options.rounds
    jobs: dict[str, Callable[[], dict[str, Any]]] = {}
    for workload in WORKLOADS:
        smaller = workload.quick() if options.quick else workload
        jobs[workload.name] = lambda smaller=smaller: rounds.compare(with_tools(smaller, options), count, place)
    scale = 10 if options.quick else 1
    small = WORKLOADS[0].quick() if options.quick else WORKLOADS[0]
    jobs["memory"] = lambda: rounds.memory(place, 20_000 // scale, 500_000 // scale)
    jobs["journal"] = lambda: rounds.journal(place, small, count)
    for tree in caches.TREES:
        jobs[f"cache-{tree}"] = lambda tree=tree: caches.compare(tree, count, place)
    for duel in runner.DUELS:
        jobs[duel] = lambda duel=duel: runner.fight(duel, count, place, scale)
    jobs["cleanups"] = lambda: cleanups.compare(place, cleanups.CACHES // scale)
    return {name: job for name, job in jobs.items() if name in options.workloads}


def with_tools(workload: Workload, options: argparse.Namespace) -> Workload:
    return workload.only({"s3batch", "s5cmd", *options.tools.split(",")}) if options.tools else workload


def known_results() -> dict[str, Any]:
    return json.loads(RESULTS.read_text()) if RESULTS.exists() else {}


def said_how(result: dict[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    """With the date and the command that makes the same again."""
    command = shlex.join(["scripts/bench", *sys.argv[1:]])
    return result | {"date": dt.datetime.now(dt.UTC).date().isoformat(), "command": command}


if __name__ == "__main__":
    main()
