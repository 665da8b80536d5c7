"""What all simulations share: a directory in memory, and less garbage collection."""

from __future__ import annotations

import gc
import os
import tempfile

import pytest


@pytest.fixture(scope="module", autouse=True)
def rarely_collected():
    """Look for garbage rarely: a schedule makes thousands of small objects."""
    before = gc.get_threshold()
    gc.set_threshold(100_000, 20, 20)
    yield
    gc.set_threshold(*before)


@pytest.fixture(scope="session")
def directory(tmp_path_factory):
    """A directory in memory, where there is one."""
    shm = "/dev/shm"
    path = tmp_path_factory.mktemp("simulation")
    if not os.access(shm, os.W_OK):
        yield str(path)
        return
    with tempfile.TemporaryDirectory(dir=shm, prefix="s3batch-simulation-") as memory:
        yield memory
