"""What was just added is leased without being read back; which rows are handed out, and in what order, is the same."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from s3batch.journal import Journal
from s3batch.journal.limits import JournalLimits
from s3batch.model import NO_STAMP, Kind, KnownAttributes, Operation, Reason, Result, Stage, State
from tests.rig.stamps import stamp


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal.open(str(tmp_path / "journal.db")) as journal:
        begin(journal)
        yield journal


def begin(journal: Journal) -> None:
    journal.lock()
    journal.jobs.begin("sync", "/src", "b/", "", {}, "1")


def uploads(first: int, count: int, stage: int = Stage.MAIN) -> list[Operation]:
    return [
        Operation(Kind.UPLOAD, f"k{each}", Reason.MISSING, f"p{each}", 9, stamp()._replace(size=9), stage)
        for each in range(first, first + count)
    ]


def keys(operations: list[Operation]) -> list[str]:
    return [operation.key for operation in operations]


def lease_all(journal: Journal, limit: int, stage: int = Stage.MAIN) -> list[str]:
    found: list[str] = []
    while leased := journal.operations.lease(limit, stage):
        assert len(leased) <= limit
        found += keys(leased)
    return found


def test_what_is_leased_is_what_reading_it_back_would_give(journal: Journal) -> None:
    odd = "caf\udce9 \u2028"
    planned = [
        *uploads(0, 2),
        Operation(
            Kind.RECONCILE, odd, Reason.UNKNOWN, odd, 7, stamp()._replace(size=7), etag="e", spec=KnownAttributes("d")
        ),
        Operation(Kind.UPLOAD, "troubled", Reason.MISSING, "troubled/", 0, NO_STAMP),
    ]
    journal.operations.add(planned)
    from_memory = journal.operations.lease(9, Stage.MAIN)
    journal.operations.put_back([operation.id for operation in from_memory])

    assert len(from_memory) == len(planned)
    assert journal.operations.lease(9, Stage.MAIN) == from_memory


def test_leasing_what_was_just_added_reads_no_row(journal: Journal) -> None:
    statements: list[str] = []
    journal._store._connection.set_trace_callback(statements.append)
    journal.operations.add(uploads(0, 3))

    assert keys(journal.operations.lease(2, Stage.MAIN)) == ["k0", "k1"]
    assert keys(journal.operations.lease(2, Stage.MAIN)) == ["k2"]
    assert not [each for each in statements if each.lstrip().startswith("SELECT") and "FROM operation" in each]
    assert journal.outcomes.count_open() == 3
    assert [entry.state for entry in journal.outcomes.read_entries()] == [State.LEASED] * 3


@pytest.mark.parametrize("limit", [1, 3, 100])
def test_rows_of_other_stages_and_rows_leased_at_once_between_hide_none(journal: Journal, limit: int) -> None:
    journal.operations.add(uploads(0, 4))
    journal.operations.add(uploads(100, 2, Stage.PUBLISH_LAST))
    journal.operations.add(uploads(4, 2), lease=True)
    journal.operations.add(uploads(6, 4))
    journal.operations.add([*uploads(10, 1), *uploads(102, 1, Stage.PUBLISH_LAST), *uploads(11, 1)])

    assert lease_all(journal, limit) == [f"k{each}" for each in (0, 1, 2, 3, 6, 7, 8, 9, 10, 11)]
    assert lease_all(journal, limit, Stage.PUBLISH_LAST) == ["k100", "k101", "k102"]


def test_more_rows_than_are_kept_are_all_leased_once_in_their_order(tmp_path: Path) -> None:
    found: list[str] = []
    with Journal.open(str(tmp_path / "journal.db"), limits=JournalLimits(fresh=10)) as journal:
        begin(journal)
        for first in range(0, 60, 6):
            journal.operations.add(uploads(first, 6))
            found += keys(journal.operations.lease(3, Stage.MAIN))
        found += lease_all(journal, 7)

    assert found == [f"k{each}" for each in range(60)]


def test_what_was_put_back_released_or_rewound_is_leased_again(journal: Journal) -> None:
    journal.operations.add(uploads(0, 6))
    first = journal.operations.lease(3, Stage.MAIN)
    journal.operations.settle([(State.DONE, Result(first[0].id))])
    journal.operations.put_back([first[1].id])
    again = journal.operations.lease(2, Stage.MAIN)
    journal.operations.release()
    journal.operations.rewind()
    last = journal.operations.lease(9, Stage.MAIN)

    assert keys(again) == ["k1", "k3"]
    assert [(each.key, each.recheck) for each in last] == [
        ("k1", True),
        ("k2", True),
        ("k3", True),
        ("k4", False),
        ("k5", False),
    ]


@pytest.mark.parametrize("state", [State.FAILED, State.SKIPPED, State.DONE])
def test_what_was_settled_before_any_lease_is_not_leased(journal: Journal, state: State) -> None:
    """As a dry run settles what the walk could not read."""
    rows = journal.operations.add(uploads(0, 3))
    journal.operations.settle([(state, Result(rows[1].id, error="x" if state is State.FAILED else ""))])

    assert lease_all(journal, 9) == ["k0", "k2"]


def test_a_row_that_is_planned_anew_before_any_lease_is_leased_as_it_is_now(journal: Journal) -> None:
    (row,) = journal.operations.add(uploads(0, 1))
    journal.operations.replan(row._replace(size=5, stamp=row.stamp._replace(size=5)))

    assert [each.size for each in journal.operations.lease(9, Stage.MAIN)] == [5]
