"""A few rounds of the storm, each with another seed; ``python -m tests.crash.storm`` has as many as you like."""

from __future__ import annotations

import os

import pytest

from tests.crash.storm import run_round

SEED = int(os.environ.get("S3BATCH_TEST_SEED", "20261121"))
ROUNDS = int(os.environ.get("S3BATCH_TEST_ROUNDS", "3"))


@pytest.mark.parametrize("seed", range(SEED, SEED + ROUNDS))
def test_whatever_is_killed_whenever_it_is_finished(server, seed):
    run_round(server, seed, evils=False)
