"""Coordinator, journal and workers in a simulated world: whatever dies, stalls or answers late, the job comes to its end.

After a failure: ``python -m tests.simulation SEED`` runs that schedule alone. Give it a name below once it is understood.
"""

from __future__ import annotations

import pytest

from tests.simulation.blocks import BLOCKS, play
from tests.simulation.job import Schedule, carry_out


@pytest.mark.slow
@pytest.mark.parametrize("block", range(BLOCKS // 2))
def test_every_schedule_comes_to_its_end_and_loses_nothing(directory, block):
    play(block, directory)


NAMED: dict[str, Schedule] = {
    "nothing happens": Schedule(1),
    "killed at the first step": Schedule(1, kills=(1,)),
    "killed three times": Schedule(2, kills=(30, 60, 90)),
    "a miserable network": Schedule(3, kills=(0,), misery=0.3),
    # CreateMultipartUpload of a run that was killed landed after the next one had looked for such, which asked no more
    "an upload begun by a dead run's late request": Schedule(401, kills=(40, 61), changes=True, late=True),
    # Complete of a run that was killed had worked, then the file became another: its old content counted as sent, and
    # deletes were begun before it was sent
    "a file replaced after its upload was completed": Schedule(271, kills=(75, 56), changes=True, late=True),
    "a file replaced after its upload was completed, again": Schedule(235, kills=(80, 66), changes=True, late=True),
    # CreateMultipartUpload of a worker that died landed after S3 had been asked: the upload stayed for ever
    "an upload begun by a dead worker's late request": Schedule(673, kills=(0,), misery=0.1),
    # the last part under way of a file that had changed was noted as sent of the changed file
    "a part that ends after its file has changed": Schedule(26736, kills=(104,), misery=0.3, changes=True),
    # a row that was leased before its pause was over, and lost, was due twice at once and leased twice
    "a row that is due twice": Schedule(66735, kills=(48, 0), misery=0.3, changes=True, late=True, others=True),
    "an upload begun twice, once by a dead worker": Schedule(383, kills=(0, 36, 120), misery=0.3),
    # the store let the upload go and did not show its object yet: all parts were sent again beside it
    "a dead worker's Complete that is still at work": Schedule(216, kills=(0, 0), misery=0.3, slow=True),
    "a dead run's Complete that is still at work": Schedule(1080, kills=(70, 71), misery=0.1, late=True, slow=True),
    # a PUT of a worker that died landed when its job was done and the next one had sent another content
    "a dead worker's request that lands after its job": Schedule(1229, kills=(0,), misery=0.1, changes=True, late=True),
    "a dead worker's upload that is begun after its job": Schedule(
        729, kills=(0, 0), misery=0.1, changes=True, late=True
    ),
}
"""Schedules that tell something; those that found a bug say which."""


@pytest.mark.parametrize("name", NAMED)
def test_named_schedules(directory, name):
    carry_out(NAMED[name], directory)


def test_the_same_seed_gives_the_same_run(directory):
    first, again = (carry_out(Schedule(7, kills=(50,), misery=0.2), directory).world.trace for _ in range(2))

    assert first == again
