"""A few rounds of the storm, each with another seed; ``python -m tests.crash.storm`` has as many as you like."""

from __future__ import annotations

import os

import pytest

from tests.crash import copy_storm, download_storm
from tests.crash.storm import run_round

SEED = int(os.environ.get("S3BATCH_TEST_SEED", "20261121"))
ROUNDS = int(os.environ.get("S3BATCH_TEST_ROUNDS", "1"))


@pytest.mark.parametrize("seed", range(SEED, SEED + ROUNDS))
def test_whatever_is_killed_whenever_it_is_finished(server, seed):
    run_round(server, seed, evils=False)


def test_a_download_that_is_killed_is_finished(server):
    download_storm.run_round(server, SEED, evils=False)


@pytest.mark.parametrize("far", [False, True], ids=["on one server", "between two"])
def test_a_transfer_that_is_killed_is_finished(server, server_named, far):
    copy_storm.run_round(server, server_named("moto"), SEED, evils=False, far=far)
