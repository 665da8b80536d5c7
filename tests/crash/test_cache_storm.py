"""Fifty rounds of builds beside clean-ups, all of which are killed too; a few without kills are among the server tests."""

import os

import pytest

from tests.crash.cache_scene import make_cache_scene
from tests.crash.eviction import run_rounds

SEED = int(os.environ.get("S3BATCH_TEST_SEED", "20261121"))
ROUNDS = int(os.environ.get("S3BATCH_TEST_ROUNDS", "50"))


@pytest.mark.storm
def test_no_clean_up_takes_a_chunk_from_a_build(tmp_path, bucket, proxy, env):
    run_rounds(make_cache_scene(tmp_path, bucket, proxy, env, segmented=True), ROUNDS, SEED, kills=True)
