"""The work of scripts/bench: choose rows, run them, store the results, write the page."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from scripts.benchmarks import caches, cleanups, programs, trees
from scripts.benchmarks.calibration import calibrate
from scripts.benchmarks.page import find_unexplained, make_page
from scripts.benchmarks.results import RESULTS, Results, load_results, make_record, save_results
from scripts.benchmarks.row import Bench
from scripts.benchmarks.rows import ROWS
from scripts.benchmarks.running import say
from scripts.benchmarks.scene import Place, UnavailableError

BENCHES: tuple[Bench, ...] = (*ROWS, *caches.BENCHES, cleanups.BENCH)
PAGE = RESULTS.with_suffix(".md")


def main() -> None:
    options = read_arguments()
    results = {} if options.quick else load_results()
    if options.list:
        for bench in BENCHES:
            print(f"{bench.name:20} {bench.make_title({})}")
    elif options.note:
        [name], (results[name]["note"],) = options.rows, options.note
        write_page(results)
    elif options.page:
        write_page(results)
    else:
        run_benches(options, results)


def run_benches(options: argparse.Namespace, results: Results) -> None:
    """Measure the chosen rows. Each is stored as soon as it is measured."""
    versions = programs.list_versions()
    chosen = [bench for bench in BENCHES if bench.name in options.rows]
    with tempfile.TemporaryDirectory(prefix="s3batch-bench-") as scratch:
        place = Place(Path(options.trees), Path(scratch))
        for bench in chosen:
            say(bench.name)
            smaller = bench.shrink(options.files) if options.files else bench.divide(10) if options.quick else bench
            before = calibrate()
            try:
                data = smaller.measure(1 if options.quick else options.rounds, place)
            except UnavailableError as error:
                say(f"{bench.name} is not measured: {error}")
                continue
            record = make_record(data, before, calibrate(), versions)
            if note := results.get(bench.name, {}).get("note"):
                record["note"] = note
            results[bench.name] = record
            if not options.quick:
                write_page(results)
    print(make_page(chosen, results))
    for name in [] if options.quick else find_unexplained(chosen, results):
        say(f"{name} misses a goal: scripts/bench {name} --note 'WHERE THE TIME GOES'")


def write_page(results: Results) -> None:
    """Store the results, and the page made from them."""
    save_results(results)
    PAGE.write_text(make_page(BENCHES, results))


def read_arguments() -> argparse.Namespace:
    names = [bench.name for bench in BENCHES]
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"one or more of {', '.join(names)}; default: all")
    parser.add_argument("--list", action="store_true", help="print the rows, and end")
    parser.add_argument("--rounds", type=int, default=5, help="how often each program runs (default 5)")
    parser.add_argument("--files", type=int, help="this many files instead of what the rows plan")
    parser.add_argument("--quick", action="store_true", help="one round of a tenth of each row; writes nothing")
    parser.add_argument("--note", nargs=1, metavar="SENTENCE", help="store why ROW misses a goal, and end")
    parser.add_argument("--page", action="store_true", help="write the page from the stored results, and end")
    parser.add_argument(
        "--trees", default=trees.find_roomy_place(), help="where to make trees, kept for the next run (%(default)s)"
    )
    options = parser.parse_args()
    if unknown := set(options.rows) - set(names):
        parser.error(f"no row is named {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    if options.note and (len(options.rows) != 1 or options.rows[0] not in load_results()):
        parser.error("--note needs the name of one row that was measured")
    if options.rounds < 1 or (options.files is not None and options.files < 1):
        parser.error("--rounds and --files are at least 1")
    options.rows = options.rows or names
    Path(options.trees).mkdir(parents=True, exist_ok=True)
    return options


if __name__ == "__main__":
    main()
