"""The second half of the schedules; see :mod:`tests.simulation.blocks`."""

from __future__ import annotations

import pytest

from tests.simulation.blocks import BLOCKS, play


@pytest.mark.slow
@pytest.mark.parametrize("block", range(BLOCKS // 2, BLOCKS))
def test_every_schedule_comes_to_its_end_and_loses_nothing(directory, block):
    play(block, directory)
