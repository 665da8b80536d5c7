"""The trees that are sent, and the content that the null server gives."""

from __future__ import annotations

import base64
import hashlib
import os
import random
import shutil
import subprocess
import tempfile
from pathlib import Path

from awscrt import checksums

from scripts.benchmarks.scene import GIB, MIB

PERIOD = 32 * MIB
"""Of the null server's content."""


def make_tree(files: int, size: int, parent: Path, *, is_alike: bool) -> Path:
    """Return a tree of a thousand files a directory, used again when it is there already.

    Files that are alike are those of the null server's listing. Else each has random content of its own.
    """
    root = parent / f"{'alike' if is_alike else 'random'}-{files}-{size}"
    if root.exists():
        return root
    making = parent / f"{root.name}.making"
    shutil.rmtree(making, ignore_errors=True)
    source, content = random.Random(files), make_content(size)
    for number in range(files):
        directory = making / f"d{number // 1000:03d}"
        if number % 1000 == 0:
            directory.mkdir(parents=True)
        with open(directory / f"f{number:07d}", "wb") as file:
            for start in range(0, size, PERIOD):
                piece = min(PERIOD, size - start)
                file.write(content[:piece] if is_alike else source.randbytes(piece))
    making.rename(root)
    return root


def make_content(size: int) -> bytes:
    """Return what an object of the null server begins with, and what it repeats."""
    return random.Random(1).randbytes(min(size, PERIOD))


def make_sink_environment(size: int, directory: Path) -> dict[str, str]:
    """Return what the null server has to know to list and give objects of this size that can be proved."""
    content, left = make_content(size), size
    (directory / "content").write_bytes(content)
    md5, crc = hashlib.md5(usedforsecurity=False), 0
    while left:
        piece = content[: min(left, len(content))]
        md5.update(piece)
        crc = checksums.crc64nvme(piece, crc)
        left -= len(piece)
    return {
        "SYN_ETAG": md5.hexdigest(),
        "SYN_CRC64NVME": base64.b64encode(crc.to_bytes(8, "big")).decode(),
        "SYN_CONTENT": str(directory / "content"),
    }


def find_roomy_place() -> str:
    """Return a directory in memory where there is enough of it, so that no disk is measured."""
    shm = "/dev/shm"
    status = os.statvfs(shm) if Path(shm).is_dir() else None
    parent = shm if status and status.f_bavail * status.f_frsize > 12 * GIB else tempfile.gettempdir()
    return f"{parent}/s3batch-bench-trees"


def remove_leftovers(directory: Path) -> None:
    """Remove a directory that a program has filled, by the quickest way there is."""
    subprocess.run(["rm", "-rf", "--", str(directory)], check=True)
