"""One minute of :mod:`tests.hostile.fuzz`; ``tox -e hostile`` takes ten, with a seed of its own each time."""

from __future__ import annotations

import os
import sys

import pytest

from tests.hostile.fuzz import fuzz, rounds, tell
from tests.hostile.modes import MODES
from tests.hostile.scenes import SCENES

SECONDS = float(os.environ.get("S3BATCH_TEST_HOSTILE_SECONDS", "60"))
SEED = int(os.environ.get("S3BATCH_TEST_HOSTILE_SEED", "1"))


def test_there_are_many_ways_to_be_hostile():
    planned = rounds(7, slow=True)

    assert len(MODES) >= 60
    assert {one.mode for one in planned[: len(MODES)]} == set(MODES)
    assert {one.scene for one in planned[: 2 * len(SCENES)]} == set(SCENES)
    assert planned == rounds(7, slow=True)


@pytest.mark.slow
def test_no_hostile_store_makes_a_command_lie_hang_or_crash():
    found = fuzz(rounds(SEED, slow=False), SEED, SECONDS, 2, sys.stdout, least=10)

    tell(found, SEED, sys.stdout)
    assert found.idle < found.rounds / 2
    assert not found.wrong, "\n\n".join(found.wrong)
