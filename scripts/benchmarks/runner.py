"""What a job costs that has little to do: on a fresh runner, with a journal, for deletes, for one file.

Each row is a duel with the program that is quickest at the same errand, against the null server. It lists as many objects
as there are files, all of the same content, and forgets nothing. So every round finds the same.
"""

from __future__ import annotations

import hashlib
import shutil
import statistics
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from scripts.benchmarks import hashes, sinks
from scripts.benchmarks.measure import Measurement, measured
from scripts.benchmarks.tools import s5cmd_program
from tests.rig import servers

CONTENT = b"x" * 100
MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Scene:
    """One row at work."""

    tree: Path
    bucket: str
    url: str
    directory: Path
    """Of what the programs keep."""


Command = Callable[[Scene], list[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Duel:
    """Two programs, one errand."""

    title: str
    files: int
    ours: Command
    proves: str
    """What s3batch hashes, and what it proves."""
    peer: str
    theirs: Command
    peer_proves: str
    wall: float
    cpu: float
    """The goals: at most so much of what the peer needs."""
    keeps: bool = False
    """The journal of an unmeasured first run is there in each round; else none is."""
    prepares: bool = False
    """An unmeasured first run leaves its object manifest in the bucket."""


def sync(*flags: str, source: str = "") -> Command:
    """Return a sync of s3batch."""

    def command(scene: Scene) -> list[str]:
        tree = scene.directory / source if source else scene.tree
        return [
            sys.executable, "-m", "s3batch", "sync", str(tree), f"s3://{scene.bucket}/", "--endpoint-url", scene.url,
            "--journal", str(scene.directory / "journal.db"), "--progress", "none", *flags,
        ]  # fmt: skip

    return command


def rclone_sync(*flags: str) -> Command:
    """Return a sync of rclone, with as many requests under way as it is quickest with."""
    return lambda scene: [
        servers.installed("rclone"), "sync", str(scene.tree), f":s3:{scene.bucket}", "--config", "/dev/null",
        "--s3-provider", "Other", "--s3-endpoint", scene.url, "--s3-env-auth", "--transfers", "64", "--checkers", "64",
        "--s3-no-head", "--s3-no-check-bucket", "--fast-list", "--quiet", *flags,
    ]  # fmt: skip


def s5cmd_rm(scene: Scene) -> list[str]:
    """Return the delete of all objects by s5cmd."""
    return [s5cmd_program(), "--endpoint-url", scene.url, "--log", "error", "rm", f"s3://{scene.bucket}/*"]


_CHECKSUM = "MD5 of each file against the listing; asks for no attribute"
_READS_NONE = "reads no file"
DUELS = {
    "runner-fresh": Duel(
        title="files unchanged, no journal", files=100_000, ours=sync(), wall=1.0, cpu=1.0,
        proves="MD5 of each file against the listing and its HEAD, which shows the attributes",
        peer="rclone sync --checksum", theirs=rclone_sync("--checksum"), peer_proves=_CHECKSUM,
    ),
    "runner-manifest": Duel(
        title="files unchanged, no journal, an object manifest", files=100_000, ours=sync("--object-manifest"),
        proves="MD5 of each file against the listing; attributes as the manifest has them", wall=0.5, cpu=0.5,
        peer="rclone sync --checksum", theirs=rclone_sync("--checksum"), peer_proves=_CHECKSUM, prepares=True,
    ),
    "runner-journal": Duel(
        title="files unchanged, with the journal", files=100_000, ours=sync(), wall=0.5, cpu=0.5, keeps=True,
        proves=f"{_READS_NONE}: size, mtime, ctime and inode as recorded, ETag and time of the object as written",
        peer="rclone sync --size-only", theirs=rclone_sync("--size-only"), peer_proves=f"{_READS_NONE}: sizes",
    ),
    "runner-delete": Duel(
        title="objects deleted", files=100_000, ours=sync("--delete", "--allow-empty-source", source="empty"),
        proves="lists twice, looks for a file of each key, journals each key", wall=0.8, cpu=0.8,
        peer="s5cmd rm", theirs=s5cmd_rm, peer_proves="lists once",
    ),
    "runner-one": Duel(
        title="file sent", files=1, ours=sync(source="one"), proves="SHA-256 signed, CRC64NVME", wall=0.4, cpu=0.4,
        peer="import boto3", theirs=lambda _: [sys.executable, "-c", "import boto3"], peer_proves="nothing",
    ),
}  # fmt: skip


def fight(name: str, rounds: int, place: Any, scale: int = 1) -> dict[str, Any]:
    """Return the results of one row, ready for JSON; ``scale`` divides the number of files."""
    duel = DUELS[name]
    files = max(1, duel.files // scale)
    directory = place.scratch / name
    with _scene(files, directory, place.trees) as (scene, environment):
        if duel.keeps or duel.prepares:
            _run(duel.ours(scene), environment, directory)
        pairs = [_round(duel, number, scene, environment) for number in range(rounds)]
    return {
        "duel": name, "files": files, "rounds": rounds,
        "runs": [[{**asdict(run), "output": ""} for run in pair] for pair in pairs],
    }  # fmt: skip


def _round(duel: Duel, number: int, scene: Scene, environment: dict[str, str]) -> tuple[Measurement, Measurement]:
    """Run both, each round in the other order: A B, B A, A B."""

    def ours() -> Measurement:
        if not duel.keeps:
            for file in scene.directory.glob("journal.db*"):
                file.unlink()
        return _run(duel.ours(scene), environment, scene.directory)

    def theirs() -> Measurement:
        return _run(duel.theirs(scene), environment, scene.directory)

    if number % 2:
        second = theirs()
        return ours(), second
    return ours(), theirs()


@contextmanager
def _scene(files: int, directory: Path, trees: Path) -> Iterator[tuple[Scene, dict[str, str]]]:
    for name in ("empty", "one"):
        (directory / name).mkdir(parents=True)
    (directory / "one" / "file").write_bytes(CONTENT)
    etag = hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()
    with sinks.running("plain", directory, etag=etag) as sink:
        scene = Scene(_make_tree(files, trees), f"syn-{files}-{len(CONTENT)}", sink.url, directory)
        yield scene, hashes.plain_environment(directory) | sink.environment


def _make_tree(files: int, parent: Path) -> Path:
    """Return the files that the null server lists; used again when they are there already."""
    root = parent / f"synthetic-{files}"
    if root.exists():
        return root
    making = parent / f"{root.name}.making"
    shutil.rmtree(making, ignore_errors=True)
    for number in range(files):
        directory = making / f"d{number // 1000:03d}"
        if number % 1000 == 0:
            directory.mkdir(parents=True)
        (directory / f"f{number:07d}").write_bytes(CONTENT)
    making.rename(root)
    return root


def _run(command: list[str], environment: dict[str, str], directory: Path) -> Measurement:
    run = measured(command, environment, directory)
    if run.code != 0:
        raise SystemExit(f"{command[:4]} failed with exit code {run.code}:\n{run.output}")
    print(f"  {command[0].rpartition('/')[2]:10} {run.wall:8.2f} s wall {run.cpu:8.2f} s CPU", file=sys.stderr)
    return run


def section(results: list[dict[str, Any]]) -> str:
    """Return the part of the page about all rows that were run."""
    head = (
        "| errand | s3batch: wall s, CPU s, us a file, MiB | the other: wall s, CPU s, us a file | wall | CPU | goals |"
    )
    lines = [
        "## A job that has little to do",
        "",
        *(_dates(results)),
        "",
        head,
        "| --- | --- | --- | ---: | ---: | --- |",
    ]
    lines += [_row(result) for result in results]
    lines += ["", "Hashes and proofs:", ""]
    for result in results:
        duel = DUELS[result["duel"]]
        lines += [f"- {duel.title}: s3batch {duel.proves}. {duel.peer}: {duel.peer_proves}."]
    return "\n".join([*lines, ""])


def _dates(results: list[dict[str, Any]]) -> Iterator[str]:
    yield from dict.fromkeys(f"Rounds: {each['rounds']}, {each['date']}: `{each['command']}`" for each in results)


def _row(result: dict[str, Any]) -> str:
    duel, files = DUELS[result["duel"]], result["files"]
    ours, theirs = ([pair[side] for pair in result["runs"]] for side in (0, 1))
    wall, cpu = (statistics.median(a[each] / b[each] for a, b in result["runs"]) for each in ("wall", "cpu"))
    words = [
        f"{name} ≤ {goal:.1f}: **{'met' if reached <= goal else 'missed'}**"
        for name, goal, reached in (("wall", duel.wall, wall), ("CPU", duel.cpu, cpu))
    ]
    memory = max(run["memory"] for run in ours) / MIB
    cells = [
        f"{files:,} {duel.title}", f"{_figures(ours, files)}, {memory:.0f}", f"{duel.peer}: {_figures(theirs, files)}",
        f"{wall:.2f}", f"{cpu:.2f}", ", ".join(words),
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |"


def _figures(runs: list[dict[str, Any]], files: int) -> str:
    wall, cpu = (statistics.median(run[each] for run in runs) for each in ("wall", "cpu"))
    return f"{wall:.2f}, {cpu:.2f}, {cpu / files * 1e6:,.0f}"
