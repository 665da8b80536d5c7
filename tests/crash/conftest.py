"""The scene of every crash test."""

from __future__ import annotations

import pytest

from tests.crash.scene import MIB, Scene, make_scene


@pytest.fixture
def scene(tmp_path, bucket, proxy, env) -> Scene:
    """A tree and a bucket that does not hold it yet."""
    return make_scene(tmp_path, bucket, proxy, env)


@pytest.fixture
def small_scene(tmp_path, bucket, proxy, env) -> Scene:
    """One with few files, for what is slow with many."""
    return make_scene(tmp_path, bucket, proxy, env, pages=2, big=11 * MIB)
