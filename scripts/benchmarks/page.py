"""From results to docs/benchmarks.md: medians, ratios to s5cmd round by round, goals met and missed."""

from __future__ import annotations

import platform
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from scripts.benchmarks import caches, cleanups, runner

MIB = 1 << 20
INTRODUCTION = """\
# Benchmarks

Made by [`scripts/bench`](../scripts/bench); nothing here is written by hand. The programs take turns, round after
round, on the same machine, and each ratio is the median over the rounds of a program's figure divided by s5cmd's figure
of the *same* round: this machine's speed changes from minute to minute, and only the ratios are worth something.

CPU is that of all processes of a program, memory the peak of the sum of their proportional set sizes. The null server
[`scripts/s3sink.c`](../scripts/s3sink.c) checks and stores nothing and costs next to nothing, so that the client is what
is measured; it and the clients share the machine. "hashes" is what was seen in the requests of each program: whether
the SHA-256 of each body is part of the signature, and which checksum or MD5 goes along for the server to verify.
"s5cmd" uploads into an empty prefix by its `cp`, several times cheaper than its `sync`, which looks for what is there;
s3batch, rclone and the AWS command line always do their `sync`, and s3batch keeps its journal, on disk.
"""


def page(results: dict[str, Any], versions: dict[str, str]) -> str:
    """Return the whole document."""
    sections = [_workload(result) for result in results.values() if "hashes" in result]
    if duels := [result for result in results.values() if "duel" in result]:
        sections.append(runner.section(duels))
    if "memory" in results:
        sections.append(_memory(results["memory"]))
    if "journal" in results:
        sections.append(_journal(results["journal"]))
    sections += [_cache(result) for result in results.values() if "tree" in result]
    if "cleanups" in results:
        sections.append(cleanups.section(results["cleanups"]))
    return "\n".join([INTRODUCTION, _machine(versions), *sections])


def _machine(versions: dict[str, str]) -> str:
    model = next((line.split(":")[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), "?")
    cores = sum(line.startswith("processor") for line in _lines("/proc/cpuinfo"))
    gib = int(_lines("/proc/meminfo")[0].split()[1]) / (1 << 20)
    lines = [
        f"Machine: {cores} cores ({model}), {gib:.0f} GiB, Linux {platform.release()}, Python {platform.python_version()}."
    ]
    lines += ["", *(f"- {name}: {version}" for name, version in versions.items())]
    return "\n".join([*lines, ""])


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines()


def _workload(result: dict[str, Any]) -> str:
    lines = [f"## {result['title']}", "", f"Rounds: {result['rounds']}, {result['date']}: `{result['command']}`", ""]
    lines += ["| program | hashes | wall s (min-max) | CPU s | peak MiB | wall / s5cmd | CPU / s5cmd |"]
    lines += ["| --- | --- | ---: | ---: | ---: | ---: | ---: |"]
    lines += [_row(tool, result) for tool in result["runs"]]
    goals = list(_goals(result))
    return "\n".join([*lines, "", *goals, *([""] if goals else [])])


def _row(tool: str, result: dict[str, Any]) -> str:
    runs = [run for run in result["runs"][tool] if run]
    walls = [run["wall"] for run in runs]
    cells = [
        tool,
        result["hashes"][tool],
        f"{statistics.median(walls):.2f} ({min(walls):.2f}-{max(walls):.2f})",
        f"{statistics.median(run['cpu'] for run in runs):.2f}",
        f"{max(run['memory'] for run in runs) / MIB:.0f}",
        f"{ratio(result, tool, 'wall'):.2f}",
        f"{ratio(result, tool, 'cpu'):.2f}",
    ]
    return f"| {' | '.join(cells)} |"


def ratio(result: dict[str, Any], tool: str, measure: str) -> float:
    """Median over the rounds of a tool's figure by s5cmd's of the same round."""
    pairs = zip(result["runs"][tool], result["runs"]["s5cmd"], strict=True)
    return statistics.median(ours[measure] / theirs[measure] for ours, theirs in pairs if ours and theirs)


def _goals(result: dict[str, Any]) -> Iterator[str]:
    for goal in result["goals"]:
        reached = ratio(result, "s3batch", goal["measure"])
        word = verdict(reached, goal["ratio"], goal["stretch"])
        name = {"cpu": "CPU", "wall": "wall"}[goal["measure"]]
        yield f"- goal {name} ≤ {goal['ratio']:.2f} × s5cmd (stretch {goal['stretch']:.2f}): {reached:.2f}, **{word}**"


def verdict(reached: float, goal: float, stretch: float) -> str:
    """In a word."""
    if reached <= stretch:
        return "stretch reached"
    return "met" if reached <= goal else "missed"


def _memory(result: dict[str, Any]) -> str:
    (few, small), (many, large) = result["peaks"].items()
    word = "met" if abs(large / small - 1) <= 0.2 else "missed"
    return "\n".join(
        [
            "## Peak memory of s3batch, all processes",
            "",
            f"{result['date']}: `{result['command']}`",
            "",
            "| files of 1 KiB | peak MiB |",
            "| ---: | ---: |",
            f"| {int(few):,} | {small / MIB:.0f} |",
            f"| {int(many):,} | {large / MIB:.0f} |",
            "",
            f"- goal: within 20 % of each other: {large / small - 1:+.0%}, **{word}**",
            "",
        ]
    )


def _journal(result: dict[str, Any]) -> str:
    word = verdict(result["median"], 0.10, 0.05)
    return "\n".join(
        [
            "## What the journal costs",
            "",
            f"{result['date']}: `{result['command']}`",
            "",
            f"A first upload of {result['files']:,} files of 4 KiB, with a stop-watch around every method of the journal.",
            "",
            f"- goal: at most 10 % of all CPU (stretch 5 %): {result['median']:.1%}, **{word}**",
            "",
        ]
    )


def _cache(result: dict[str, Any]) -> str:
    name = {"node": "a node_modules", "venv": "a .venv"}[result["tree"]]
    head = ["case", "wall s", "CPU s", "MiB sent or fetched", "requests (PUTs)", "peak MiB", "goals"]
    lines = [
        f"## The cache: {name} of {result['files']:,} files",
        "",
        f"Rounds: {result['rounds']}, {result['date']}: `{result['command']}`",
        "",
        "Each cell: s3batch / the other = ratio. The other is `tar | zstd -3 -T0` and one upload, or one download and",
        "`zstd -d | tar x`, by s5cmd, to the same server (rclone serve s3); it does all of that in every case.",
        "",
        f"| {' | '.join(head)} |",
        f"| {' | '.join(['---', *['---:'] * 5, '---'])} |",
        *(f"| {' | '.join(row)} |" for row in caches.rows(result)),
        "",
    ]
    return "\n".join(lines)
