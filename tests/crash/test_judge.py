"""What the crash tests count as sent twice: a table of short histories."""

from __future__ import annotations

import pytest

from tests.crash.scene import sent_twice
from tests.rig.faults import Request


def at(started: float, operation: str, answered: float = 0.0, *, key: str = "big", action: str = "") -> Request:
    """A request of part 1, or about it."""
    query = {"partNumber": "1"} if operation == "UploadPart" else {}
    return Request(
        operation, "PUT", "bucket", key, query, {}, 200, action, body=b"part", started=started, answered=answered
    )


@pytest.mark.parametrize(
    ("between", "counts"),
    [
        pytest.param([], True, id="nobody asked"),
        pytest.param([at(2, "ListParts")], False, id="asked before the first answer"),
        pytest.param([at(4, "ListParts")], True, id="asked after the first answer"),
        pytest.param([at(2, "ListParts"), at(4, "ListObjectsV2", key="")], False, id="asked in time, listed later"),
        pytest.param([at(2, "ListParts", key="other")], True, id="asked about another key"),
        pytest.param([at(0, "DeleteObjects", 4, action="Delay")], False, id="undone by a late request"),
    ],
)
def test_a_part_is_sent_twice_unless_its_sender_was_told_that_it_is_not_there(between, counts):
    history = [at(1, "UploadPart", 3), *between, at(5, "UploadPart", 6)]

    assert bool(sent_twice(history)) is counts
