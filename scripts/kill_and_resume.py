"""The work of scripts/demo: kill a sync half-way, resume it, and let nobody but the bytes say that it worked.

Between s3batch and the server stands a recorder that counts requests; that is how the demo knows
when half is done, and how it can say how little was sent twice. The report of the job stays where the demo names it.
"""

import os
import shutil
import signal
import sys
import sysconfig
import tempfile
import time
import webbrowser
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from tests.rig import buckets, program, servers
from tests.rig.proxy import FaultProxy

BUCKET, PREFIX = "demo", "library"
LIBRARY = Path(sysconfig.get_path("stdlib"))
REPORT = program.ROOT / "demo-report.html"


@dataclass(frozen=True, slots=True)
class Stage:
    """Where the demo plays."""

    tree: Path
    journal: Path
    environment: Mapping[str, str]
    bucket: buckets.Bucket
    recorder: FaultProxy

    @property
    def target(self) -> str:
        return f"s3://{BUCKET}/{PREFIX}"

    def sent(self) -> Counter[str]:
        """How often each key was uploaded with success, also where the reply came to nobody."""
        puts = [request for request in list(self.recorder.requests) if request.operation == "PutObject"]
        return Counter(request.key for request in puts if request.status in (0, 200))


def main(source: Path = LIBRARY, report: Path = REPORT) -> int:
    """Play the demo with a copy of ``source``; return 0 if every byte is there."""
    with ExitStack() as stack:
        stage = set_up(stack, source)
        killed_half_way(stage)
        s3batch(stage, "jobs", "list", "--journal", stage.journal)
        say("Finish it. Only what is missing travels.")
        done = s3batch(stage, "resume", "--journal", stage.journal, "--report", report)
        say("Ask s3batch whether the bucket holds what the directory holds.")
        verified = s3batch(stage, "verify", stage.tree, stage.target)
        s3batch(stage, "jobs", "list", "--journal", stage.journal)
        same = same_bytes(stage)
    show_report(report)
    return 0 if (done, verified, same) == (0, 0, True) else 1


def set_up(stack: ExitStack, source: Path) -> Stage:
    """Make a server, a bucket, and a tree worth sending."""
    directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="s3batch-demo-")))
    say("Start an S3 server on this machine (ministack), and a recorder before it.")
    server = stack.enter_context(servers.running("ministack", directory / "server"))
    recorder = stack.enter_context(FaultProxy(server.url))
    s3 = buckets.client(server)
    s3.create_bucket(Bucket=BUCKET)
    say("Copy Python's standard library, without its tests: that is what we upload.")
    ignored = shutil.ignore_patterns(
        "site-packages", "dist-packages", "__pycache__", "config-*", "test", "tests", "idlelib", "lib2to3"
    )  # the whole story takes less than a minute, on a busy machine too
    tree = Path(shutil.copytree(source, directory / "library", ignore=ignored))
    print(f"{len(files(tree))} files, {sum(path.stat().st_size for path in files(tree)) / 1e6:.1f} MB")
    environment = program.clean_environment(directory) | server.environment() | {"AWS_ENDPOINT_URL": recorder.url}
    return Stage(tree, directory / "journal.db", environment, buckets.Bucket(BUCKET, server, s3), recorder)


def killed_half_way(stage: Stage) -> None:
    """Start the sync, and kill all of its processes when half of the files are on their way."""
    half = len(files(stage.tree)) // 2
    say(f"Synchronise it, and kill every process of it with SIGKILL after {half} uploads.")
    arguments = ["sync", stage.tree, stage.target, "--journal", stage.journal]
    show(stage, arguments)
    process = program.start(arguments, stage.environment, stage.tree.parent, stdout=None, stderr=None)
    while process.poll() is None and len(stage.sent()) < half:
        time.sleep(0.005)
    if process.poll() is not None:
        raise SystemExit(f"the sync ended by itself with exit code {process.returncode} before it could be killed")
    program.kill(process, signal.SIGKILL)
    print(f"\nKilled. {sum(1 for _ in stage.bucket.listed())} objects are in the bucket.")


def s3batch(stage: Stage, *arguments: str | Path) -> int:
    """Run the program for everyone to see; its exit code."""
    show(stage, arguments)
    process = program.start(arguments, stage.environment, stage.tree.parent, stdout=None, stderr=None)
    code = process.wait(600)
    print(f"(exit code {code})")
    return code


def same_bytes(stage: Stage) -> bool:
    """Fetch every object with boto3 and compare it with its file; say how much was sent twice."""
    say("Compare every byte without s3batch: fetch each object with boto3.")
    wanted = {f"{PREFIX}/{path.relative_to(stage.tree).as_posix()}": path for path in files(stage.tree)}
    found = stage.bucket.keys()
    different = [key for key in wanted if key in found and stage.bucket.get(key) != wanted[key].read_bytes()]
    missing, extra = sorted(wanted.keys() - found), sorted(found - wanted.keys())
    for word, keys in (("missing", missing), ("extra", extra), ("different", different)):
        for key in keys:
            print(f"{word}: {key}")
    twice = [key for key, count in stage.sent().items() if count > 1]
    print(f"{len(found)} objects, {len(missing)} missing, {len(extra)} extra, {len(different)} different.")
    print(f"Both runs together sent {stage.sent().total()} uploads; {len(twice)} files travelled twice.")
    return not (missing or extra or different)


def show_report(
    report: Path, environ: Mapping[str, str] = os.environ, open_page: Callable[[str], object] = webbrowser.open
) -> None:
    """Name the report, and open it for a person at a desktop; never in a CI."""
    say("Read the report of both runs: what was sent, how fast, what was slowest.")
    has_desktop = any(environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))
    if has_desktop and sys.stdout.isatty() and not environ.get("CI"):
        open_page(report.as_uri())
    print(report, flush=True)


def files(tree: Path) -> list[Path]:
    return [path for path in tree.rglob("*") if path.is_file()]


def say(text: str) -> None:
    bold, plain = ("\033[1m", "\033[0m") if sys.stdout.isatty() else ("", "")
    print(f"\n{bold}# {text}{plain}", flush=True)


def show(stage: Stage, arguments: tuple[str | Path, ...] | list[str | Path]) -> None:
    words = " ".join(str(argument).removeprefix(f"{stage.tree.parent}/") for argument in arguments)
    print(f"$ s3batch {words}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
