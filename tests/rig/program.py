"""The real program as a subprocess, in its own session so that all of its processes can be killed at once."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
COMMAND = (sys.executable, "-m", "s3batch")
FOREIGN = ("S3BATCH_", "PLUGIN_", "AWS_", "DRONE_", "CI_", "HARNESS_", "XDG_")


@dataclass(frozen=True, slots=True)
class Finished:
    """How a run of the program ended. A negative ``code`` is the signal that killed it."""

    code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        """The one document of ``--json``."""
        return json.loads(self.stdout)


def clean_environment(home: Path, surroundings: Mapping[str, str] = os.environ) -> dict[str, str]:
    """What the tests themselves have, less every setting that the program or the AWS libraries would read."""
    kept = {name: value for name, value in surroundings.items() if not name.startswith(FOREIGN) and name != "CI"}
    nowhere = str(home / "does-not-exist")
    return kept | {
        "HOME": str(home),
        "XDG_STATE_HOME": str(home / "state"),
        "XDG_CONFIG_HOME": str(home / "config"),
        "AWS_CONFIG_FILE": nowhere,
        "AWS_SHARED_CREDENTIALS_FILE": nowhere,
        "AWS_EC2_METADATA_DISABLED": "true",
        "PYTHONPATH": str(ROOT),
        "PYTHONFAULTHANDLER": "1",
        "S3BATCH_TEST_LONGEST_WAIT": "0",
    }


def run(
    arguments: Iterable[str | Path], environment: Mapping[str, str], cwd: Path, *, timeout: float = 120
) -> Finished:
    """Run it to its end. One that takes longer than ``timeout`` seconds is killed, and that is a failure."""
    process = start(arguments, environment, cwd)
    return finish(process, timeout=timeout)


def start(
    arguments: Iterable[str | Path], environment: Mapping[str, str], cwd: Path, **popen: Any
) -> subprocess.Popen[str]:
    """Start it and let it run; end it with :func:`finish` or :func:`kill`."""
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | popen
    return subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        env=dict(environment),
        cwd=cwd,
        text=True,
        errors="surrogateescape",
        start_new_session=True,
        **pipes,
    )


def finish(process: subprocess.Popen[str], *, timeout: float = 120) -> Finished:
    """Wait for its end and take what it wrote."""
    try:
        stdout, stderr = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        kill(process)
        stdout, stderr = process.communicate()
        raise AssertionError(f"still running after {timeout} s\n{stdout}\n{stderr}") from None
    return Finished(process.returncode, stdout or "", stderr or "")


def read_until(process: subprocess.Popen[str], words: str, *, timeout: float = 60) -> str:
    """Read stderr up to the end of a line with ``words``, and return it; :func:`finish` has the rest."""
    read, until = b"", time.monotonic() + timeout
    while words.encode() not in read or not read.endswith(b"\n"):
        ready, _, _ = select.select([process.stderr], [], [], max(0.0, until - time.monotonic()))
        byte = os.read(process.stderr.fileno(), 1) if ready else b""
        assert byte, f"{words!r} did not come: {read!r}"
        read += byte
    return read.decode(errors="surrogateescape")


def kill(process: subprocess.Popen[str], number: int = signal.SIGKILL) -> None:
    """Send a signal to it and to every process it started; after SIGKILL wait until it is gone."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)
    if number == signal.SIGKILL:
        process.wait(30)
