"""From stored results to docs/benchmarks.md."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from scripts.benchmarks import calibration
from scripts.benchmarks.row import Bench

INTRODUCTION = """\
# Benchmarks

`scripts/bench` writes this page from `docs/benchmarks.json`, where it stores what it measured. Nothing here is written by
hand but the sentences after "Why", which are stored with the results. [performance.md](performance.md) tells where the time
goes.

- The programs of a row take turns, round after round, on one machine. A ratio is the median over the rounds of a program's
  figure divided by the peer's figure of the *same* round. Ratios count; seconds change with the machine and its load.
- CPU is that of all processes of a program. Memory is the peak of the sum of their proportional set sizes.
- The server is [`scripts/s3sink.c`](../scripts/s3sink.c) unless a row says otherwise. It checks and stores nothing and costs
  next to nothing, so that the client is what is measured. It shares the machine with the clients.
- Trees and downloads are in memory where there is room for them. The journal of s3batch is on a disk.
- "hashes and proves" of uploads is what was seen in the requests of each program: whether the SHA-256 of each body is
  signed, and which checksum or MD5 goes along for the server to verify.
- Two fixed loops, one in Python and one in C, run before and after each row. They show how fast the machine was, and by the
  ratio of wall to CPU, whether others loaded it.
"""
FEW = 4
"""So many goals of one row are listed one by one in the overview."""


def make_page(benches: Sequence[Bench], results: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the whole page; rows without a result are named."""
    measured = [bench for bench in benches if bench.name in results]
    lines = [INTRODUCTION, *_list_environments(measured, results), "", "## All goals", ""]
    lines += ["| row | beside | goals |", "| --- | --- | --- |"]
    lines += [_summarize(bench, results[bench.name]["data"]) for bench in measured]
    if absent := [f"`{bench.name}`" for bench in benches if bench.name not in results]:
        lines += ["", f"Not measured yet: {', '.join(absent)}."]
    section = ""
    for bench in measured:
        if bench.section != section:
            section = bench.section
            lines += ["", f"## {section}"]
        lines += ["", *_render(bench, results[bench.name])]
    return "\n".join([*lines, ""])


def _list_environments(benches: Sequence[Bench], results: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Yield a line for each machine, Python and set of programs, with its rows where there are several."""
    found: dict[str, list[str]] = {}
    for bench in benches:
        record = results[bench.name]
        programs = ", ".join(f"{name} ({version})" for name, version in record["versions"].items())
        text = f"{record['machine']}; {record['python']}; {programs}"
        found.setdefault(text, []).append(f"`{bench.name}`")
    for text, names in found.items():
        yield f"- {text}{'' if len(found) == 1 else ': ' + ', '.join(names)}"


def _summarize(bench: Bench, data: Mapping[str, Any]) -> str:
    peer = list(data.get("sides", {}))[1:2]
    verdicts = bench.judge(data)
    goals = "; ".join(map(str, verdicts)) or f"none: {bench.reason}"
    if len(verdicts) > FEW:
        missed = "; ".join(verdict.text for verdict in verdicts if not verdict.is_met)
        met = sum(verdict.is_met is True for verdict in verdicts)
        goals = f"{met} of {len(verdicts)} met" + (f"; not met: {missed}" if missed else "")
    return f"| {bench.make_title(data)} | {''.join(peer)} | {goals} |"


def _render(bench: Bench, record: Mapping[str, Any]) -> Iterator[str]:
    data, verdicts = record["data"], bench.judge(record["data"])
    yield f"### {bench.make_title(data)}"
    yield ""
    rounds = f"{data['rounds']} rounds, " if "rounds" in data else ""
    yield f"{rounds}{record['date']}: `{record['command']}`"
    yield ""
    yield from bench.render(data)
    yield ""
    yield from (f"- {verdict}" for verdict in verdicts)
    if not verdicts:
        yield f"- no goal: {bench.reason}"
    if note := record.get("note"):
        yield f"- Why: {note}"
    if loops := record.get("calibration"):
        yield f"- {calibration.describe(loops['before'], loops['after'])}"


def find_unexplained(benches: Sequence[Bench], results: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the rows that miss a goal without a sentence that says why."""
    return [
        bench.name
        for bench in benches
        if (record := results.get(bench.name))
        and not record.get("note")
        and any(verdict.is_met is False for verdict in bench.judge(record["data"]))
    ]
