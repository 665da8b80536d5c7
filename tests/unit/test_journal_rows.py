"""Every field of an operation and of its result is in its row: a field that is new and not bound fails here."""

from __future__ import annotations

import pytest

from s3batch.journal import Journal
from s3batch.model import (
    FILE,
    Kind,
    KnownAttributes,
    Operation,
    PlannedDeletes,
    Reason,
    Result,
    Stage,
    Stamp,
    State,
    Step,
    StoredResult,
    add_stamp,
    expand_row,
    good_result,
    make_short_row,
)


@pytest.fixture
def journal(tmp_path):
    with Journal.open(str(tmp_path / "journal.db")) as opened:
        opened.jobs.begin("sync", "/src", "bucket/", "http://s3", {}, "1")
        yield opened


def test_every_field_of_an_operation_is_read_as_it_was_written(journal):
    stamp = Stamp(FILE, 11, 12, 13, 14, 15)
    planned = Operation(
        kind=Kind.RECONCILE, key="key", reason=Reason.LATE, path="path", size=11, stamp=stamp,
        stage=Stage.PUBLISH_LAST, etag="etag", spec=KnownAttributes("checksum"),
    )  # fmt: skip
    (added,) = journal.operations.add([planned], lease=True)
    assert added == planned._replace(id=added.id)
    journal.uploads.begin(added.id, "upload id", [])
    journal.operations.settle([(State.PENDING, Result(added.id, error="reset"))])  # one attempt
    journal.operations.lease_rows([added.id])
    journal.operations.release()  # to be checked again

    (read,) = journal.operations.lease(1, Stage.PUBLISH_LAST)

    assert read == planned._replace(id=added.id, attempts=1, recheck=True, upload_id="upload id")
    missed = [name for name, default in Operation._field_defaults.items() if getattr(read, name) == default]
    assert missed == [], "this test tells nothing of a field that has its default"


COLUMNS = {
    "error": "error", "code": "code", "status": "status", "request_id": "request_id", "seconds": "seconds",
    "sent": "bytes", "etag": "etag", "checksum": "checksum", "date": "written", "fingerprint": "fingerprint",
}  # fmt: skip
"""The column of each field of a result that the row of its operation keeps."""
ELSEWHERE = {
    "id": "names the row",
    "step": "tells which row: the operation's or a part's",
    "part": "names the row of a part",
    "become": "is the kind of the operation from then on",
    "reason": "is the reason of the operation from then on",
    "spec": "is the spec of the operation from then on",
    "parts": "are rows of the table part",
    "upload_id": "is recorded before the first part, by uploads.begin",
    "warning": "is a row of the table warning",
    "quirks": "are remembered for the endpoint",
    "payload": "goes to the archive",
    "retryable": "decides the state",
    "throttled": "decides the pace",
    "fatal": "decides the state of the job",
    "already": "is told in the report's counts",
    "retry_after": "decides when the next attempt is due",
    "uncounted": "decides whether the attempt counts",
    "stamp": "is in the columns of the operation's stamp from then on",
}
"""The other fields, and why no column has them."""


def test_every_field_of_a_result_has_a_column_or_a_reason_to_have_none():
    assert sorted([*COLUMNS, *ELSEWHERE]) == sorted(Result._fields)


FAILED = Result(
    0, error="error", code="code", status=503, request_id="request", seconds=1.5, sent=7, etag="etag",
    checksum="checksum", date=9.5, fingerprint="fingerprint",
)  # fmt: skip
DONE = good_result(0, "request", 1.5, 7, "etag", "checksum", 9.5, "fingerprint")


@pytest.mark.parametrize(("state", "result"), [(State.FAILED, FAILED), (State.DONE, DONE)], ids=["failed", "done"])
def test_every_field_of_a_result_is_in_its_column(journal, state, result):
    (row,) = journal.operations.add([Operation(Kind.UPLOAD, "key", Reason.MISSING)], lease=True)

    journal.operations.settle([(state, result._replace(id=row.id))])

    columns = ", ".join(["state", *COLUMNS.values()])
    (kept,) = journal._store.rows(f"SELECT {columns} FROM operation WHERE id = ?", (row.id,))
    assert kept == (state.value, *(getattr(result, name) for name in COLUMNS))


def test_a_result_made_quickly_is_equal_to_one_made_by_names():
    named = Result(
        id=0, step=Step.WHOLE, request_id="request", seconds=1.5, sent=7, etag="etag", checksum="checksum", date=9.5,
        fingerprint="fingerprint",
    )  # fmt: skip

    assert named == DONE


@pytest.mark.parametrize("key", ["key", "odd \udcff"])
def test_the_row_of_an_orphan_is_that_of_its_operation(journal: Journal, key: str):
    planned = Operation(Kind.DELETE, key, Reason.ORPHAN, stamp=Stamp(mtime_ns=5), stage=Stage.DELETE, etag="etag")

    (alike,) = journal.operations.add([planned])
    deletes = PlannedDeletes((key,), ("etag",), (5,))
    (row,) = journal.operations.add_orphans(deletes)
    first, second = journal.operations.lease(2, Stage.DELETE)

    assert (first, second) == (planned._replace(id=alike.id), planned._replace(id=alike.id + 1))
    assert deletes.make_operations([row]) == [second]


def test_orphans_are_inserted_one_statement_for_many_and_the_rest_one_by_one(journal: Journal):
    keys = tuple(f"k{n}" if n != 150 else "odd \udcff" for n in range(257))

    rows = journal.operations.add_orphans(PlannedDeletes(keys, ("e",) * 257, tuple(range(257))))

    leased = journal.operations.lease(1000, Stage.DELETE)
    assert [each.id for each in leased] == list(rows)
    assert [(each.key, each.stamp.mtime_ns) for each in leased] == list(zip(keys, range(257), strict=True))


def test_deletes_that_succeed_together_are_done_and_no_others(journal: Journal):
    planned = PlannedDeletes(tuple(f"k{number}" for number in range(9)), ("",) * 9, (0,) * 9)
    rows = journal.operations.add_orphans(planned, lease=True)

    journal.operations.settle_deleted([(0.5, rows[:2]), (0.5, rows[3:6]), (0.5, rows[8:])])

    done = {rows[at] for at in (0, 1, 3, 4, 5, 8)}
    assert {entry.operation.id for entry in journal.outcomes.read_entries(State.DONE)} == done
    assert journal.outcomes.count_open() == 3


def test_a_stored_result_is_short_on_its_way_until_it_says_more():
    assert expand_row(make_short_row(DONE)) == DONE
    assert type(DONE._replace(id=2)) is Result
    assert DONE._replace(warning="a warning") == Result(*DONE)._replace(warning="a warning")


def test_the_short_row_of_a_download_has_the_stamp_of_its_file(journal: Journal):
    planned = [Operation(Kind.DOWNLOAD, f"k{number}", Reason.MISSING, f"f{number}", 5) for number in range(3)]
    one, two, other = journal.operations.add(planned, lease=True)
    fetched = add_stamp(good_result(one.id, "r", 0.5, 5, "e", "", 9.5, "checksum"), Stamp(FILE, 5, 1, 2, 3, 2**62))
    plain = good_result(other.id, "r", 0.5, 5, "e", "", 9.5, "checksum")

    assert expand_row(make_short_row(fetched)) == fetched
    assert type(expand_row(make_short_row(fetched))) is StoredResult
    for result in (fetched, plain):  # rows of one call are of one kind
        journal.operations.settle_stored([make_short_row(result)])
    journal.operations.settle([(State.DONE, fetched._replace(id=two.id))])

    rows = journal._store.rows("SELECT * FROM operation WHERE state = 'done' ORDER BY id")
    first, second, third = ({**dict(zip(_columns_of(journal), row, strict=True)), "id": 0} for row in rows)
    assert first == {**second, "key": "k0", "path": "f0"}
    assert (first["mtime_ns"], first["inode"], first["state"], first["bytes"]) == (1, 2**62, "done", 5)
    assert third["mtime_ns"] == 0
    assert journal.outcomes.count_open() == 0


def _columns_of(journal: Journal) -> list[str]:
    return [row[1] for row in journal._store.rows("PRAGMA table_info(operation)")]
